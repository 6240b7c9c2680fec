"""Depthwise convolutions with gradients that are fast in bfloat16 on a CPU.

oneDNN multiplies dense convolutions in bfloat16 several times faster than in float32, but has no fast kernels for the
gradients of depthwise ones with a stride, or with more than 3×3 weights: in an EfficientNet these few took two thirds
of a step. Here the gradient of the input is one more forward convolution, and that of large kernels is in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

BFLOAT16_KERNEL = 3
"""The largest kernel whose gradient oneDNN is fast at in bfloat16."""


class QuickDepthwise(TorchFunctionMode):
    """Within it, ``functional.conv2d`` of a depthwise convolution under autocast on a CPU has the fast gradients.

    The values are those of autocast, the gradients too but for the rounding. Everything else is left as it is.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is functional.conv2d and not kwargs and len(args) == 7 and _is_meant(*args):
            images, weight, bias, stride, padding, _, _ = args
            found = _Depthwise.apply(images, weight, stride[0], padding[0])
            return found if bias is None else found + bias[:, None, None]
        return func(*args, **(kwargs or {}))


def _is_meant(
    images: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> bool:
    """Whether it is depthwise, square and odd, with as much room around as its gradient can be taken with."""
    height, width = weight.shape[2:]
    return (
        images.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.is_grad_enabled()
        and groups == images.shape[1] == len(weight) > 1
        and height == width
        and height % 2 == 1
        and all(isinstance(pair, tuple) and pair[0] == pair[1] for pair in (stride, padding, dilation))
        and dilation[0] == 1
        and padding[0] < height
    )


class _Depthwise(torch.autograd.Function):
    """(B, C, H, W) and weights (C, 1, k, k) to (B, C, H', W'), in bfloat16."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        images, rounded = images.to(torch.bfloat16), weight.to(torch.bfloat16)
        ctx.save_for_backward(images, rounded)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(images, rounded, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        images, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        of_images = _of_images(gradient, images, weight, ctx.stride, ctx.padding) if ctx.needs_input_grad[0] else None
        of_weight = _of_weight(gradient, images, weight, ctx.stride, ctx.padding) if ctx.needs_input_grad[1] else None
        return of_images, of_weight, None, None


def _of_images(gradient: Tensor, images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """A transposed convolution as one with the mirrored weights; with a stride, zeros lie between the gradients."""
    around = weight.shape[-1] - 1 - padding
    if stride > 1:
        batch, channels, height, width = images.shape
        more = 2 * padding - weight.shape[-1] + 1
        size = (batch, channels, height + more, width + more)
        spread = torch.empty(size, dtype=gradient.dtype, memory_format=torch.channels_last).zero_()
        rows, columns = ((side - 1) * stride + 1 for side in gradient.shape[2:])
        spread[:, :, :rows:stride, :columns:stride] = gradient
        gradient = spread
    return functional.conv2d(gradient, weight.flip(2, 3), None, 1, around, 1, len(weight))


def _of_weight(gradient: Tensor, images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    kind = torch.bfloat16 if weight.shape[-1] <= BFLOAT16_KERNEL else torch.float32
    given = (tensor.to(kind) for tensor in (gradient, images, weight))
    found: Tensor = torch.ops.aten.convolution_backward(
        *given, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight), [False, True, False]
    )[1]
    return found.float()

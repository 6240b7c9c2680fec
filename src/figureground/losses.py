"""Losses of logits (B, 1, *spatial) against a figure (B, *spatial), 0 to 1; pixels of weight 0 are left out.

The weight is (B, *spatial) too, 0 to 1; none: all pixels count in full.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional


def bce(logits: Tensor, figure: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, the mean over all pixels that count."""
    logits = logits[:, 0].float()
    if weight is None:
        return functional.binary_cross_entropy_with_logits(logits, figure)
    loss = functional.binary_cross_entropy_with_logits(logits, figure, weight=weight, reduction="sum")
    return loss / weight.sum().clamp(min=1)


def soft_dice(logits: Tensor, figure: Tensor, weight: Tensor | None = None) -> Tensor:
    """One minus the Dice of the probabilities (Milletari et al., V-Net, 2016), per image and then the mean.

    One pixel is added to numerator and denominator, so that an empty mask predicted as empty costs nothing.
    """
    probability = logits[:, 0].float().sigmoid()
    if weight is not None:
        probability, figure = probability * weight, figure * weight
    overlap = (probability * figure).flatten(1).sum(1)
    total = probability.flatten(1).sum(1) + figure.flatten(1).sum(1)
    return (1 - (2 * overlap + 1) / (total + 1)).mean()


def bce_dice(logits: Tensor, figure: Tensor, weight: Tensor | None = None) -> Tensor:
    """The sum of ``bce`` and ``soft_dice``: the first gives smooth gradients, the second looks at small figures."""
    return bce(logits, figure, weight) + soft_dice(logits, figure, weight)


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {"bce": bce, "bce_dice": bce_dice}

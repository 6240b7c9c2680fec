"""Which arithmetic is fast here."""

from __future__ import annotations

import math
import time
from functools import cache

import torch

FASTER = 1.2
"""Times that bfloat16 must be faster than float32 in a product of matrices to be so in a training step."""


def multiplies_bfloat16(on_gpu: bool) -> bool:
    """Whether bfloat16 is faster than float32."""
    return torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else _cpu_multiplies_bfloat16()


@cache
def _cpu_multiplies_bfloat16() -> bool:
    """Whether the processor is faster in it, which is tried: some have the instructions and are not."""
    capabilities = torch.cpu.get_capabilities()
    if not (capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")):
        return False  # it is emulated
    seconds = {dtype: _seconds_of_product(dtype) for dtype in (torch.float32, torch.bfloat16)}
    return seconds[torch.bfloat16] < seconds[torch.float32] / FASTER


def _seconds_of_product(dtype: torch.dtype) -> float:
    """Of two square matrices; the best of a few."""
    matrix, best = torch.ones(768, 768, dtype=dtype), math.inf
    for _ in range(5):
        start = time.perf_counter()
        _ = matrix @ matrix
        best = min(best, time.perf_counter() - start)
    return best

"""What the benchmarks share: the machine a figure was measured on, a table for people, a JSON file for programs."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

INSTRUCTIONS = {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"}
"""Those that decide how fast networks are, by Linux's names."""


def machine() -> dict[str, Any]:
    """The processor, its cores, the GPU if there is one, versions and the date. Imports torch."""
    import torch

    import figureground

    return {
        "cpu": cpu_model(),
        "instructions": sorted(INSTRUCTIONS & set(cpu_info("flags").split())),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in ("onnxruntime", "openvino") if find_spec(name) is not None},
        "torch_threads": torch.get_num_threads(),
        "figureground": figureground.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


def cpu_model() -> str:
    """The processor's name as Linux gives it, elsewhere its architecture."""
    return cpu_info("model name") or platform.processor() or platform.machine()


def cpu_info(key: str) -> str:
    """What Linux says of the first core; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def in_turns(ways: Mapping[str, Callable[[Path], object]], rounds: int, place: Path) -> dict[str, list[float]]:
    """Seconds of each way, round after round; the round before, which warms up, does not count.

    A way is given the path of its results, without a suffix, in ``place``: its name and the round, 0 for the first.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way(place / f"{name} {number}")
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as their widest cell: the first flush left, the others flush right."""
    cells = [list(map(str, row)) for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *rest in cells:
        print("  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]))


def write_results(path: Path | None, benchmark: str, settings: dict[str, Any], results: Any) -> None:
    """Results with their settings and the machine, if a file is wanted."""
    from figureground.evaluation import write_json

    if path is not None:
        write_json(path, {"benchmark": benchmark, "settings": settings, "machine": machine(), "results": results})

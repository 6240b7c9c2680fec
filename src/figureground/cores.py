"""How many cores this process may use: what thread pools and engines are sized by.

``os.cpu_count()`` counts the cores of the machine, of which a container or a batch system lends a few.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

READERS = 16
"""The most threads that read pictures: each holds one, and a disk is not read faster by more."""
_limit: int | None = None


def limit_cores(most: int | None) -> None:
    """Use at most so many cores from now on, in what is made from now on; ``None``: all that may be used."""
    global _limit  # noqa: PLW0603 (cores belong to the process, as its affinity does)
    _limit = most


def usable_cores() -> int:
    """The cores that the affinity, the quota of the process's control group, and ``limit_cores`` leave; at least 1."""
    quota = quota_of_cgroup()
    bounds = [_allowed(), _limit, None if quota is None else math.ceil(quota)]
    return max(1, min(bound for bound in bounds if bound is not None))


def library_threads() -> int:
    """For libraries that know the processor: how many threads they may have, or 0 where nothing limits them.

    Left alone they choose one for each physical core of the machine.
    """
    usable = usable_cores()
    return 0 if usable == os.cpu_count() else usable


def _allowed() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def quota_of_cgroup(root: Path = Path("/")) -> float | None:
    """How many cores' time the process's control group has, or one above it; ``None``: it is not limited.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    lines = _text(root / "proc/self/cgroup").splitlines()
    quotas = [quota for line in lines for quota in _quotas(root / "sys/fs/cgroup", *line.split(":", 2)[1:])]
    return min(quotas, default=None)


def _quotas(mount: Path, controllers: str, path: str) -> Iterator[float]:
    """Of a group and those above it; a container may see its own as the topmost, whatever its path says."""
    version_1 = "cpu" in controllers.split(",")
    if not version_1 and controllers:
        return
    top = mount / "cpu" if version_1 else mount
    group = top / path.lstrip("/")
    for folder in (group, *group.parents):
        if folder.is_relative_to(top):
            files = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if version_1 else ("cpu.max",)
            words = " ".join(_text(folder / name) for name in files).split()
            if len(words) == 2 and all(word.isdigit() for word in words):  # not "max", and not -1
                yield int(words[0]) / int(words[1])


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text()
    return ""

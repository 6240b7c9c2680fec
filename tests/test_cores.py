import os
import subprocess
import sys
from pathlib import Path

import pytest

from figureground import cores
from figureground.cores import library_threads, limit_cores, quota_of_cgroup, usable_cores


@pytest.fixture
def unlimited(monkeypatch):
    """Eight cores, of which the process may use all, and no quota."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "quota_of_cgroup", lambda: None)
    yield monkeypatch
    limit_cores(None)


def test_nothing_limits(unlimited):
    assert (usable_cores(), library_threads()) == (8, 0)


@pytest.mark.parametrize(
    ("allowed", "quota", "limit", "usable"),
    [
        (2, None, None, 2),
        (8, 1.5, None, 2),
        (8, 0.1, None, 1),
        (8, None, 3, 3),
        (2, None, 3, 2),
        (4, 3.0, 2, 2),
        (8, 100.0, None, 8),
    ],
)
def test_the_tightest_limit_counts(unlimited, allowed, quota, limit, usable):
    unlimited.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)), raising=False)
    unlimited.setattr(cores, "quota_of_cgroup", lambda: quota)
    limit_cores(limit)
    assert (usable_cores(), library_threads()) == (usable, usable if usable < 8 else 0)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, None),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/a/cpu.max": "200000 100000\n",
            },
            2.0,
        ),
        ({"proc/self/cgroup": "0::/docker/x\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        (
            {
                "proc/self/cgroup": "3:cpuset:/\n2:cpu,cpuacct:/docker/x\n0::/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
    ],
)
def test_quotas_of_both_versions_of_control_groups(tmp_path, files, quota):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert quota_of_cgroup(tmp_path) == quota


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_the_affinity_of_a_real_process():
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); os.cpu_count = lambda: 64\n"
        "from figureground.cores import library_threads, usable_cores; print(usable_cores(), library_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


def test_the_cores_of_the_machine_are_counted_in_one_place():
    package = Path(cores.__file__).parent
    users = [path.name for path in package.rglob("*.py") if "cpu_count" in path.read_text()]
    assert users == ["cores.py"]

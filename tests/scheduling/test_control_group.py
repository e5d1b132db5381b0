"""CPUs and memory that control groups leave, both versions, read from folders as the kernel lays them out."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from rtpipeline.scheduling import budget, control_group
from rtpipeline.scheduling.budget import usable_cpus
from rtpipeline.scheduling.memory import free_memory_bytes

GB = 2**30


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Writes the files of control groups, and to which of them this process belongs."""
    monkeypatch.setattr(control_group, "MOUNT", tmp_path / "mount")
    monkeypatch.setattr(control_group, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(budget.os, "sched_getaffinity", lambda process: set(range(16)))

    def write(membership: str, files: dict[str, str]) -> None:
        (tmp_path / "membership").write_text(membership)
        for name, text in files.items():
            file = tmp_path / "mount" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    return write


@pytest.mark.parametrize(
    ("membership", "files", "cpus"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        ("0::/\n", {"cpu.max": "350000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/user/job\n", {"user/cpu.max": "400000 100000\n", "user/job/cpu.max": "max 100000\n"}, 4),
        ("0::/user/job\n", {"user/cpu.max": "400000 100000\n", "user/job/cpu.max": "200000 100000\n"}, 2),
        ("0::/on/the/host\n", {"cpu.max": "600000 100000\n"}, 6),  # a container sees only its own folder
        ("4:cpu,cpuacct:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ("4:cpu,cpuacct:/job\n", {"cpu/job/cpu.cfs_quota_us": "500000\n", "cpu/job/cpu.cfs_period_us": "100000\n"}, 5),
        ("4:memory:/\n", {}, 16),
    ],
)
def test_cpus_are_those_that_every_group_allows(groups, membership, files, cpus):
    groups(membership, files)
    assert usable_cpus() == cpus


def limit(folder: str, limit_bytes: int | str, used_bytes: int, cache_bytes: int) -> dict[str, str]:
    return {
        f"{folder}memory.max": f"{limit_bytes}\n",
        f"{folder}memory.current": f"{used_bytes}\n",
        f"{folder}memory.stat": f"anon 1\ninactive_file {cache_bytes}\nactive_file 7\n",
    }


@pytest.mark.parametrize(
    ("membership", "files", "free"),
    [
        ("0::/\n", limit("", GB, GB // 2, 0), GB // 2),
        ("0::/\n", limit("", GB, GB, GB // 4), GB // 4),
        ("0::/\n", limit("", GB, 2 * GB, 0), 0),
        ("0::/a/b\n", {**limit("a/", GB, GB // 2, 0), **limit("a/b/", "max", GB // 2, 0)}, GB // 2),
        ("0::/a/b\n", {**limit("a/", GB, GB // 2, 0), **limit("a/b/", GB // 2, GB // 4, 0)}, GB // 4),
        (
            "3:memory:/a\n",
            {
                "memory/a/memory.limit_in_bytes": f"{GB}\n",
                "memory/a/memory.usage_in_bytes": f"{GB // 2}\n",
                "memory/a/memory.stat": f"total_inactive_file {GB // 8}\n",
            },
            GB // 2 + GB // 8,
        ),
    ],
)
def test_free_memory_is_what_the_tightest_group_leaves(groups, membership, files, free):
    groups(membership, files)
    assert free_memory_bytes() == min(free, psutil.virtual_memory().available)


def test_without_limits_the_machine_counts(groups):
    groups("0::/\n", limit("", "max", GB, 0))
    assert free_memory_bytes() == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_a_system_without_control_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(control_group, "MEMBERSHIP", Path(tmp_path / "none"))
    assert usable_cpus() == len(budget.os.sched_getaffinity(0))

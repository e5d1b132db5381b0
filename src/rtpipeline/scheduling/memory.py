"""How much memory is free, for this process and its children."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from rtpipeline.scheduling.control_group import group_folders
from rtpipeline.scheduling.devices import QUERY_TIMEOUT_S, gpu_uuids

_LIMIT_USED_CACHE = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Files of a control group, and the entry of `memory.stat` that can be dropped: of version 2 and of version 1."""
_KERNEL_COUNTERS = Path("/proc/vmstat")


class Room:
    """Whether something that needs memory fits beside others; what would run alone always fits.

    What has just started may not have taken its memory yet. So it must fit twice: into what is free now, and into what
    was free before the others started, less their estimates.
    """

    def __init__(self) -> None:
        self._before: int | None = None

    def left(self, now: int, others: Sequence[int]) -> int | None:
        """Bytes that something may need to fit; None where it would be alone.

        Args:
            now: bytes that are free.
            others: estimates in bytes of what runs.
        """
        if not others:
            self._before = now
            return None
        before = now if self._before is None else self._before
        return max(0, min(now, before - sum(others)))


def free_memory_bytes() -> int:
    """Memory that programs can still get: of the machine, and of the control group where that is less."""
    available = int(psutil.virtual_memory().available)
    in_group = _free_in_group()
    return available if in_group is None else min(available, in_group)


def kernel_kill_count() -> int | None:
    """How often the kernel ended a process of this machine because memory had run out; None where it does not say."""
    if not _KERNEL_COUNTERS.is_file():
        return None
    found = re.search(r"^oom_kill (\d+)$", _KERNEL_COUNTERS.read_text(encoding="ascii"), flags=re.MULTILINE)
    return int(found[1]) if found else None


def free_gpu_memory_bytes(device: str) -> int | None:
    """Free memory of `gpu:N`, or None where it is not known (another device, no NVIDIA driver)."""
    program = shutil.which("nvidia-smi")
    uuids = gpu_uuids() if device.startswith("gpu:") else ()
    number = int(device.partition(":")[2]) if uuids else 0
    if program is None or number >= len(uuids):
        return None
    query = [program, f"--id={uuids[number]}", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=QUERY_TIMEOUT_S, check=False)
    text = answer.stdout.strip()
    return int(text) * 2**20 if answer.returncode == 0 and text.isdigit() else None


def _free_in_group() -> int | None:
    """What the control groups' limits leave; None where none of them sets a limit."""
    free = [left for folder in group_folders("memory") if (left := _left(folder)) is not None]
    return min(free, default=None)


def _left(folder: Path) -> int | None:
    """What the limit of one control group leaves, files that can be dropped counted as free; None without a limit."""
    for names in _LIMIT_USED_CACHE:
        limit, used = folder / names[0], folder / names[1]
        if not limit.is_file() or not used.is_file() or limit.read_text().strip() == "max":
            continue
        statistics = (folder / "memory.stat").read_text()
        found = re.search(rf"^{names[2]} (\d+)$", statistics, flags=re.MULTILINE)
        return max(0, int(limit.read_text()) - int(used.read_text()) + (int(found[1]) if found else 0))
    return None

"""How much memory is free, for this process and its children."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import psutil

_CGROUP_V2 = Path("/sys/fs/cgroup")
from rtpipeline.scheduling.devices import gpu_uuids

_CGROUP_V1 = Path("/sys/fs/cgroup/memory")
_QUERY_TIMEOUT_S = 20


def free_memory_bytes() -> int:
    """Memory that programs can still get: of the machine, and of the control group where that is less."""
    available = int(psutil.virtual_memory().available)
    in_group = _free_in_group()
    return available if in_group is None else min(available, in_group)


def free_gpu_memory_bytes(device: str) -> int | None:
    """Free memory of `gpu:N`, or None where it is not known (another device, no NVIDIA driver)."""
    program = shutil.which("nvidia-smi")
    uuids = gpu_uuids() if device.startswith("gpu:") else ()
    number = int(device.partition(":")[2]) if uuids else 0
    if program is None or number >= len(uuids):
        return None
    query = [program, f"--id={uuids[number]}", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S, check=False)
    text = answer.stdout.strip()
    return int(text) * 2**20 if answer.returncode == 0 and text.isdigit() else None


def _free_in_group() -> int | None:
    """What the control group's limit leaves, files that can be dropped counted as free; None without a limit."""
    if (_CGROUP_V2 / "memory.max").is_file():
        limit, used, cache = _CGROUP_V2 / "memory.max", _CGROUP_V2 / "memory.current", "inactive_file"
    else:
        limit, used = _CGROUP_V1 / "memory.limit_in_bytes", _CGROUP_V1 / "memory.usage_in_bytes"
        cache = "total_inactive_file"
    if not limit.is_file() or not used.is_file() or limit.read_text().strip() == "max":
        return None
    statistics = (limit.parent / "memory.stat").read_text()
    found = re.search(rf"^{cache} (\d+)$", statistics, flags=re.MULTILINE)
    return max(0, int(limit.read_text()) - int(used.read_text()) + (int(found[1]) if found else 0))

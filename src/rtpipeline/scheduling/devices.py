"""Which devices segmentation can run on."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_QUERY_TIMEOUT_S = 20


@dataclass(frozen=True)
class SegmentationDevices:
    """The devices of one segmentation pool: as many jobs at once as there are entries.

    Attributes:
        slots: a device name for each job that may run at once (`gpu:0`, `mps`, `cpu`).
        note: why these and not the ones asked for; empty when they are the ones asked for.
    """

    slots: tuple[str, ...]
    note: str = ""


def gpu_count() -> int:
    """NVIDIA GPUs that the installed PyTorch can use."""
    if shutil.which("nvidia-smi") is None or not _torch_has_cuda():
        return 0
    listing = subprocess.run(
        ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S, check=False
    )
    return len(re.findall(r"^GPU \d+:", listing.stdout, flags=re.MULTILINE)) if listing.returncode == 0 else 0


def segmentation_devices(device: str, max_workers: int | None, budget: int) -> SegmentationDevices:
    """The slots of a segmentation pool.

    One job at a time on a GPU unless `max_workers` says otherwise; on the CPU as many as the budget allows, and at
    most `max_workers`. Where no usable GPU is found, the CPU takes its place and `note` says so.
    """
    if device == "gpu":
        gpus = gpu_count()
        if gpus:
            return SegmentationDevices(tuple(f"gpu:{slot % gpus}" for slot in range(max_workers or 1)))
        note = (
            "no usable GPU was found (an NVIDIA driver and a PyTorch with CUDA are needed): segmentation goes on with "
            "the CPU, which takes minutes per course instead of seconds; set segmentation.device: cpu to silence this"
        )
        return SegmentationDevices(("cpu",) * min(max_workers or budget, budget), note)
    if device == "mps":
        if platform.system() == "Darwin" and platform.machine() == "arm64":
            return SegmentationDevices(("mps",) * (max_workers or 1))
        return SegmentationDevices(("cpu",) * min(max_workers or budget, budget), "no Apple GPU here: using the CPU")
    return SegmentationDevices(("cpu",) * min(max_workers or budget, budget))


def _torch_has_cuda() -> bool:
    """Whether the installed PyTorch was built with CUDA, without importing it (which takes seconds)."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    version_file = Path(spec.origin).with_name("version.py")
    return re.search(r"^cuda.*= *['\"]", version_file.read_text(encoding="utf-8"), flags=re.MULTILINE) is not None

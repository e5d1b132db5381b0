"""Which devices segmentation can run on."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

QUERY_TIMEOUT_S = 20.0
"""Of a question to `nvidia-smi`."""


@dataclass(frozen=True)
class SegmentationDevices:
    """The devices of one segmentation pool: as many jobs at once as there are entries.

    Attributes:
        slots: a device name for each job that may run at once (`gpu:0`, `mps`, `cpu`).
        note: why these and not the ones asked for; empty when they are the ones asked for.
    """

    slots: tuple[str, ...]
    note: str = ""


def gpu_uuids() -> tuple[str, ...]:
    """What identifies each NVIDIA GPU that the installed PyTorch can use: `gpu:N` is the one at place N.

    The order is that of the driver's list, which is PyTorch's too where `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`, as it is
    for the processes that use them; and of `CUDA_VISIBLE_DEVICES`, where that is set.
    """
    if shutil.which("nvidia-smi") is None or not _torch_has_cuda():
        return ()
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=QUERY_TIMEOUT_S, check=False)
    if listing.returncode != 0:
        return ()
    uuids = re.findall(r"^GPU \d+:.*\(UUID: ([^)]+)\)", listing.stdout, flags=re.MULTILINE)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(uuids) if visible is None else tuple(_visible(visible, uuids))


def _visible(visible: str, uuids: Sequence[str]) -> Iterator[str]:
    """The GPUs that `CUDA_VISIBLE_DEVICES` names, by number or the beginning of an identifier, up to an unknown one."""
    for name in (part.strip() for part in visible.split(",")):
        if name.startswith("MIG-"):
            yield name
            continue
        found = [uuids[int(name)]] if name.isdigit() and int(name) < len(uuids) else []
        found += [uuid for uuid in uuids if name.startswith("GPU-") and uuid.startswith(name)]
        if len(found) != 1:
            return
        yield found[0]


def segmentation_devices(device: str, max_workers: int | None, budget: int) -> SegmentationDevices:
    """The slots of a segmentation pool.

    One job at a time on a GPU unless `max_workers` says otherwise; on the CPU as many as the budget allows, and at
    most `max_workers`. Where no usable GPU is found, the CPU takes its place and `note` says so.
    """
    if device == "gpu":
        gpus = len(gpu_uuids())
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

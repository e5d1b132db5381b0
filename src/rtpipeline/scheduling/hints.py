"""What a user can do about a run that is slow or fails in a known way; each advice is given once a run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping

import psutil

GPU_MEMORY = "gpu_memory"
SLOW_DISK = "slow_disk"
SLUGGISH_DESKTOP = "sluggish_desktop"
SEQUENTIAL_RADIOMICS = "sequential_radiomics"

ADVICE: Mapping[str, str] = {
    GPU_MEMORY: (
        "the GPU ran out of memory or lost its context: set segmentation.max_workers (--seg-workers) back to 1, or to "
        "the number of GPUs"
    ),
    SLOW_DISK: (
        "the disk or network drive is the bottleneck: lower max_workers to 2 to 4, so that fewer jobs use it at once"
    ),
    SLUGGISH_DESKTOP: (
        "this computer has more to do than cores: raise scheduler.reserved_cores to keep some of them free"
    ),
    SEQUENTIAL_RADIOMICS: (
        "radiomics takes one structure after another: set radiomics.sequential to false, and see that "
        "RTPIPELINE_RADIOMICS_SEQUENTIAL is not 1"
    ),
}

INTERVAL_S = 60.0

WAITING_FRACTION = 0.4
"""Share of the CPU time spent waiting for disks from which on they are the bottleneck."""

OVERLOAD = 1.5
"""Load per core from which on a desktop feels sluggish."""

_GPU_WORDS = ("cuda", "cublas", "cudnn")


class Hints:
    """Notices symptoms and logs the advice for them.

    Args:
        logger: gets the advice.
        sequential: labels of stages that work on one structure after another because the user asked for it.
    """

    def __init__(
        self, logger: logging.Logger | logging.LoggerAdapter[logging.Logger], sequential: frozenset[str] = frozenset()
    ) -> None:
        self._log = logger
        self._sequential = sequential
        self._looked = time.monotonic()
        self._said: set[str] = set()
        self._times = psutil.cpu_times()

    def say(self, symptom: str) -> None:
        """Log the advice for a symptom, the first time that it is met."""
        if symptom not in self._said:
            self._said.add(symptom)
            self._log.warning("Tip: %s", ADVICE[symptom])

    def failed(self, reason: str) -> None:
        """Look at why a task failed."""
        if any(word in reason.lower() for word in _GPU_WORDS):
            self.say(GPU_MEMORY)

    def slow(self, label: str) -> None:
        """A task of the stage with this label takes long."""
        if label in self._sequential:
            self.say(SEQUENTIAL_RADIOMICS)

    def look_around(self) -> None:
        """Look at the machine, over the time since the last look; at most once in `INTERVAL_S`."""
        if time.monotonic() - self._looked < INTERVAL_S:
            return
        self._looked = time.monotonic()
        before, self._times = self._times, psutil.cpu_times()
        spent = sum(self._times) - sum(before)
        waited = getattr(self._times, "iowait", 0.0) - getattr(before, "iowait", 0.0)
        if spent > 0 and waited / spent > WAITING_FRACTION:
            self.say(SLOW_DISK)
        desktop = "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
        if desktop and os.getloadavg()[0] > OVERLOAD * (os.cpu_count() or 1):
            self.say(SLUGGISH_DESKTOP)

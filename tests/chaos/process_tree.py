"""How many threads of a process and of all below it compute, looked at every 100 ms."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

EVERY_S = 0.1


def computing_threads(process: psutil.Process) -> int:
    """Threads that run or are ready to run, in the process and all of its descendants."""
    count = 0
    with suppress(psutil.NoSuchProcess):
        for member in (process, *process.children(recursive=True)):
            for stat in Path(f"/proc/{member.pid}/task").glob("*/stat"):
                with suppress(FileNotFoundError, ProcessLookupError):
                    count += stat.read_text().rpartition(")")[2].split()[0] == "R"
    return count


def longest_excess_s(running: subprocess.Popen[str], budget: int) -> tuple[float, int]:
    """Watch a process until it ends.

    Returns:
        For how many seconds at a stretch more threads than `budget` computed, at most, and how many at most.
    """
    process = psutil.Process(running.pid)
    began: float | None = None
    longest, peak = 0.0, 0
    while running.poll() is None:
        now = time.monotonic()
        count = computing_threads(process)
        peak = max(peak, count)
        if count <= budget:
            began = None
        else:
            began = now if began is None else began
            longest = max(longest, now - began)
        time.sleep(EVERY_S)
    return longest, peak

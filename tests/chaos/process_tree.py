"""Which threads of a process and of all below it compute, looked at every 100 ms."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

EVERY_S = 0.1

Ticks = dict[tuple[int, int], int]
"""Processor time so far of each running thread, by process and thread."""


@dataclass(frozen=True)
class Excess:
    """The longest time at a stretch that more threads than allowed computed.

    Attributes:
        seconds: how long.
        peak: how many threads at most, at any time.
        threads: who they were at the beginning of it.
    """

    seconds: float
    peak: int
    threads: tuple[str, ...]


def running_threads(process: psutil.Process) -> Ticks:
    """The threads of the process and its descendants that run or are ready to run."""
    found: Ticks = {}
    with suppress(psutil.NoSuchProcess):
        for member in (process, *process.children(recursive=True)):
            for stat in Path(f"/proc/{member.pid}/task").glob("*/stat"):
                with suppress(FileNotFoundError, ProcessLookupError):
                    fields = stat.read_text().rpartition(")")[2].split()
                    if fields[0] == "R":
                        found[member.pid, int(stat.parent.name)] = int(fields[11]) + int(fields[12])
    return found


def computing(before: Ticks, now: Ticks) -> list[tuple[int, int]]:
    """Threads that ran at both looks and got processor time between them.

    One that only waits, for example for the interpreter's lock, is now and then seen as ready to run too.
    """
    return [thread for thread, ticks in now.items() if ticks > before.get(thread, ticks)]


def longest_excess(running: subprocess.Popen[str], budget: int) -> Excess:
    """Watch a process until it ends; more threads than `budget` are too many."""
    process = psutil.Process(running.pid)
    began: float | None = None
    longest, peak = Excess(0.0, 0, ()), 0
    before: Ticks = {}
    while running.poll() is None:
        looked, ticks = time.monotonic(), running_threads(process)
        threads = computing(before, ticks)
        before = ticks
        peak = max(peak, len(threads))
        if len(threads) <= budget:
            began = None
        else:
            began = looked if began is None else began
            if looked - began >= longest.seconds:
                longest = Excess(looked - began, peak, tuple(_name(*thread) for thread in threads))
        time.sleep(EVERY_S)
    return Excess(longest.seconds, peak, longest.threads)


def _name(pid: int, thread: int) -> str:
    with suppress(psutil.NoSuchProcess):
        words = psutil.Process(pid).cmdline()
        module = words[words.index("-m") + 1] if "-m" in words else " ".join(words)[:60]
        return f"{module} {pid}/{thread}"
    return f"{pid}/{thread}"

"""How much memory the program and all of its processes held while a piece of work ran."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


def resident_bytes() -> int:
    """Resident memory of this process and of all below it; what they share counts for each of them."""
    this = psutil.Process()
    total = 0
    for process in (this, *this.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue  # it has just ended
    return total


class Peak:
    """The most memory that was seen so far, in bytes."""

    def __init__(self) -> None:
        self.bytes = 0


class MemoryWatch:
    """Looks at the memory in use again and again, as long as somebody wants to know.

    Args:
        every_s: seconds between two looks.
    """

    def __init__(self, every_s: float = 1.0) -> None:
        self._every_s = every_s
        self._lock = threading.Lock()
        self._peaks: list[Peak] = []
        self._watching = False

    @contextmanager
    def peak(self) -> Iterator[Peak]:
        """The peak while the block runs, whatever else the program does meanwhile; complete when it has ended."""
        peak = Peak()
        with self._lock:
            self._peaks.append(peak)
            start, self._watching = not self._watching, True
        if start:
            threading.Thread(target=self._watch, name="memory watch", daemon=True).start()
        self._look()
        try:
            yield peak
        finally:
            self._look()
            with self._lock:
                self._peaks.remove(peak)

    def _look(self) -> None:
        now = resident_bytes()
        with self._lock:
            for peak in self._peaks:
                peak.bytes = max(peak.bytes, now)

    def _watch(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(self._every_s)
            with self._lock:
                if not self._peaks:
                    self._watching = False
                    return
            self._look()

"""How many jobs run beside each other: as many as fit into memory, and fewer for a while after memory ran out."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rtpipeline.scheduling.memory import Room

SUCCESSES_BEFORE_GROWTH = 3
NO_LIMIT = 1024
_LOOK_S = 1.0
_logger = logging.getLogger(__name__)


class Company:
    """Lets jobs in, one after another, in the order in which they ask; safe to use from several threads.

    A job waits until its estimate of memory fits into what is free, or until nothing else runs. A job that fails for
    lack of memory halves the number of jobs; it grows back by one after every three that succeed.

    Args:
        free_memory: bytes that are free now.
    """

    def __init__(self, free_memory: Callable[[], int]) -> None:
        self._free_memory = free_memory
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._running: dict[object, tuple[int, int]] = {}
        self._room = Room()
        self._successes = 0
        self.limit = NO_LIMIT
        """How many jobs may run at once."""

    @contextmanager
    def joined(self, needed_bytes: int, largest: int = NO_LIMIT) -> Iterator[None]:
        """Wait until a job may run, and run it.

        Args:
            needed_bytes: the estimate of its memory.
            largest: how many jobs may run at once while this one does.
        """
        job = object()
        with self._changed:
            self._waiting.append(job)
            while self._waiting[0] is not job or not self._may_run(needed_bytes, largest):
                self._changed.wait(_LOOK_S)  # memory of other programs becomes free without a word
            self._waiting.popleft()
            self._running[job] = (needed_bytes, largest)
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                del self._running[job]
                self._changed.notify_all()

    def shrink(self, largest: int) -> int | None:
        """Halve the number of jobs, because one ran out of memory in a company of up to `largest`.

        To be called while that job counts as running.

        Returns:
            In how small a company it is to be tried again; None where it was alone.
        """
        with self._changed:
            together = min(len(self._running), largest)
            self._successes = 0
            if together <= 1:
                return None
            smaller = together // 2
            self.limit = min(self.limit, smaller)
            _logger.warning("memory ran out with %d jobs at once; %d from now on", together, self.limit)
            return smaller

    def grow(self) -> None:
        """A job succeeded."""
        with self._changed:
            self._successes += 1
            if self._successes >= SUCCESSES_BEFORE_GROWTH and self.limit < NO_LIMIT:
                self._successes = 0
                self.limit += 1
                self._changed.notify_all()

    def _may_run(self, needed_bytes: int, largest: int) -> bool:
        others = self._running.values()
        if len(others) >= min(self.limit, largest, *(limit for _, limit in others)):
            return False
        left = self._room.left(self._free_memory(), [needed for needed, _ in others])
        return left is None or needed_bytes <= left

"""One progress line for each finished task of a stage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


def progress_line(label: str, done: int, total: int, elapsed_s: float) -> str:
    """For example `Segmentation: 3/10 (30%) elapsed 12.5s ETA 29.2s`; the ETA follows from the mean rate so far."""
    remaining_s = elapsed_s / done * (total - done) if done else float("inf")
    return f"{label}: {done}/{total} ({done / total:.0%}) elapsed {elapsed_s:.1f}s ETA {remaining_s:.1f}s"


@dataclass(frozen=True)
class PoolView:
    """How far a pool is, for whoever shows it.

    Attributes:
        stages: label → (tasks that have ended, tasks in all), in the order of the tasks.
        running: key and device of every task at work, with the seconds since its start.
    """

    stages: Mapping[str, tuple[int, int]]
    running: tuple[tuple[str, str, float], ...]


class StageProgress:
    """Counts finished tasks by stage.

    Args:
        labels: the stage label of every task to come, one entry a task.
        clock: seconds, monotonic.
    """

    def __init__(self, labels: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._total = Counter(labels)
        self._done: Counter[str] = Counter()
        self._started: dict[str, float] = {}
        self._clock = clock

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """Label → (ended, in all)."""
        return {label: (self._done[label], total) for label, total in self._total.items()}

    def start(self, label: str) -> None:
        """A task of this stage starts; its stage's clock runs from the first of them."""
        self._started.setdefault(label, self._clock())

    def finish(self, label: str) -> str:
        """A task of this stage has ended for good; returns the line to log."""
        self._done[label] += 1
        elapsed_s = self._clock() - self._started[label]
        return progress_line(label, self._done[label], self._total[label], elapsed_s)

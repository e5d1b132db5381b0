"""A task of the adaptive pool, and what it holds while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rtpipeline.outcome import Outcome

Order = tuple[tuple[int, ...], int]
"""Priority, then place in the caller's list; smaller starts first."""


@dataclass(frozen=True)
class Grant:
    """What a running task holds: CPU tokens and, where it asked for a slot, a device."""

    tokens: int
    device: str


@dataclass(frozen=True)
class Task:
    """One piece of work.

    Attributes:
        key: unique, for example `patient/course segmentation`.
        label: what it counts as in the progress lines, for example `Segmentation`.
        run: does the work; a `StageError` fails the task with its reason, any other exception is logged in full.
        tokens: CPU tokens it holds; clipped to the budget.
        slots: name of the slot pool it takes a device from, or None.
        needs: keys of tasks that must have ended before, whatever their outcome.
        priority: smaller starts first.
        group: tasks of more than `parallel_groups` different groups do not run at once (a slot holder does not count).
        memory_bytes: estimate of what it will use; beside other tasks it starts only where so much is free.
        gpu_memory_bytes: the same of its GPU, where another task uses that too.
    """

    key: str
    label: str
    run: Callable[[Grant], Outcome]
    tokens: int = 1
    slots: str | None = None
    needs: tuple[str, ...] = ()
    priority: tuple[int, ...] = ()
    group: str = ""
    memory_bytes: int = 0
    gpu_memory_bytes: int = 0


@dataclass(frozen=True)
class WaitingTask:
    """A task that has not started.

    Attributes:
        task: the task.
        order: its place among those that are ready.
        company: how many tasks, itself included, may run while it runs.
    """

    task: Task
    order: Order
    company: int

"""Which waiting task is next: found without looking through all that wait, so that many thousands of courses may wait.

A task is ready when everything that it needs has ended. Ready tasks stand in lanes, each a heap: one lane for each slot
pool, one for each group of tasks without a slot, and one for those of neither. Only the first of a lane can be next,
and a lane whose slots are taken, or whose group may not start yet, is passed over as a whole.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable

from rtpipeline.scheduling.tasks import Order, Task, WaitingTask

Lane = list[tuple[Order, WaitingTask]]


class ReadyTasks:
    """The tasks that have not started.

    Args:
        parallel_groups: tasks of at most so many groups run at once, those that hold a slot not counted; None for any
            number.
    """

    def __init__(self, parallel_groups: int | None) -> None:
        self._parallel_groups = parallel_groups
        self._ended: set[str] = set()
        self._open_needs: dict[str, int] = {}
        self._dependents: dict[str, list[WaitingTask]] = {}
        self._of_slots: dict[str, Lane] = {}
        self._of_groups: dict[str, Lane] = {}
        self._others: Lane = []
        self._groups_by_first: list[tuple[Order, str]] = []
        """Every group with a ready task, with the order of its first; and outdated entries, left out when met."""
        self._groups_at_work: Counter[str] = Counter()

    def add(self, waiting: WaitingTask) -> None:
        """A task waits from now on (also again, after it was started)."""
        open_needs = [need for need in dict.fromkeys(waiting.task.needs) if need not in self._ended]
        if not open_needs:
            self._enter(waiting)
            return
        self._open_needs[waiting.task.key] = len(open_needs)
        for need in open_needs:
            self._dependents.setdefault(need, []).append(waiting)

    def ended(self, key: str) -> None:
        """A task has ended for good: those that waited for nothing else are ready."""
        self._ended.add(key)
        for waiting in self._dependents.pop(key, []):
            self._open_needs[waiting.task.key] -= 1
            if not self._open_needs[waiting.task.key]:
                del self._open_needs[waiting.task.key]
                self._enter(waiting)

    def first(self, has_free_slot: Callable[[str], bool]) -> WaitingTask | None:
        """The ready task that comes first among those whose slot and group are free; None when there is none."""
        lanes = [lane for name, lane in self._of_slots.items() if lane and has_free_slot(name)]
        lanes += [self._of_groups[group] for group in self._groups_at_work if group in self._of_groups]
        idle_group = self._first_idle_group()
        if idle_group is not None:
            lanes.append(self._of_groups[idle_group])
        if self._others:
            lanes.append(self._others)
        return min(lanes)[0][1] if lanes else None

    def start(self, waiting: WaitingTask) -> None:
        """The task that `first` gave runs from now on."""
        heapq.heappop(self._lane(waiting.task))
        group = self._counted_group(waiting.task)
        if group:
            self._groups_at_work[group] += 1
            self._announce(group)

    def stop(self, task: Task) -> None:
        """A task runs no longer; its group counts no longer when none of it does."""
        group = self._counted_group(task)
        if group:
            self._groups_at_work[group] -= 1
            if not self._groups_at_work[group]:
                del self._groups_at_work[group]
                self._announce(group)

    def _enter(self, waiting: WaitingTask) -> None:
        heapq.heappush(self._lane(waiting.task), (waiting.order, waiting))
        self._announce(self._counted_group(waiting.task))

    def _lane(self, task: Task) -> Lane:
        if task.slots is not None:
            return self._of_slots.setdefault(task.slots, [])
        group = self._counted_group(task)
        return self._of_groups.setdefault(group, []) if group else self._others

    def _counted_group(self, task: Task) -> str:
        """The group whose number is limited, or an empty text."""
        return task.group if self._parallel_groups is not None and task.slots is None else ""

    def _announce(self, group: str) -> None:
        """Keep the lane of a group, and its place among the groups, as its tasks are; an empty lane goes."""
        if group in self._of_groups:
            if self._of_groups[group]:
                heapq.heappush(self._groups_by_first, (self._of_groups[group][0][0], group))
            else:
                del self._of_groups[group]

    def _first_idle_group(self) -> str | None:
        """The group of the first ready task of all groups that are not at work, where one more may be."""
        if self._parallel_groups is None or len(self._groups_at_work) >= self._parallel_groups:
            return None
        while self._groups_by_first:
            order, group = self._groups_by_first[0]
            lane = self._of_groups.get(group)
            if lane and lane[0][0] == order and group not in self._groups_at_work:
                return group
            heapq.heappop(self._groups_by_first)
        return None

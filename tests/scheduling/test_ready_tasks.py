"""The next task is the one that looking through all waiting tasks in order finds."""

from __future__ import annotations

import random

import pytest

from rtpipeline.outcome import ok
from rtpipeline.scheduling.ready_tasks import ReadyTasks
from rtpipeline.scheduling.tasks import Task, WaitingTask


def graph(chance: random.Random) -> list[Task]:
    return [
        Task(
            key=str(number),
            label="Work",
            run=lambda grant: ok(),
            slots=chance.choice([None, None, "gpu"]),
            needs=tuple(str(need) for need in range(number) if chance.random() < 0.15),
            priority=(chance.randrange(3),),
            group=chance.choice(["", "a", "b", "c"]),
        )
        for number in range(chance.randint(1, 20))
    ]


@pytest.mark.parametrize("parallel_groups", [None, 1, 2])
@pytest.mark.parametrize("seed", range(60))
def test_first_is_the_first_that_a_scan_finds(seed, parallel_groups):
    chance = random.Random(seed)
    tasks = graph(chance)
    waiting = {task.key: WaitingTask(task, (task.priority, n), 1) for n, task in enumerate(tasks)}
    ready = ReadyTasks(parallel_groups)
    for entry in waiting.values():
        ready.add(entry)
    running: dict[str, WaitingTask] = {}
    ended: set[str] = set()

    def scanned() -> WaitingTask | None:
        slot_taken = any(entry.task.slots for entry in running.values())
        groups = {entry.task.group for entry in running.values() if entry.task.slots is None and entry.task.group}
        for entry in sorted(waiting.values(), key=lambda entry: entry.order):
            task = entry.task
            limited = parallel_groups is not None and task.slots is None and task.group
            if not set(task.needs) <= ended or (task.slots and slot_taken):
                continue
            if limited and task.group not in groups and len(groups) >= parallel_groups:
                continue
            return entry
        return None

    while waiting or running:
        expected = scanned()
        assert ready.first(lambda name: not any(entry.task.slots for entry in running.values())) == expected
        if expected is not None and (not running or chance.random() < 0.5):
            ready.start(waiting.pop(expected.task.key))
            running[expected.task.key] = expected
            continue
        key = chance.choice(sorted(running))
        entry = running.pop(key)
        ready.stop(entry.task)
        if chance.random() < 0.8:
            ready.ended(key)
            ended.add(key)
        else:
            waiting[key] = entry
            ready.add(entry)

"""The scheduler alone: how busy it keeps 16 workers, and how its time and memory grow with the number of courses.

Each course has two stages, the second after the first. Busy: 2,000 courses whose stages sleep 20 ms. Growth: 200,
2,000 and 20,000 courses whose stages take no time, so that what is measured is the scheduler; each size in a process
of its own.
"""

from __future__ import annotations

import itertools
import json
import logging
import multiprocessing
import sys
import time

import psutil

from rtpipeline.outcome import Outcome, ok
from rtpipeline.scheduling.adaptive_pool import AdaptivePool, Grant, Task

WORKERS = 16
SLEEP_S = 0.02
SIZES = (200, 2000, 20000)


def pool() -> AdaptivePool:
    return AdaptivePool(budget=WORKERS, slots={"segmentation": ("cpu",) * WORKERS}, parallel_groups=WORKERS)


def courses(count: int, work) -> list[Task]:
    tasks = []
    for number in range(count):
        key = f"patient{number}/course"
        tasks += [
            Task(f"{key} segmentation", "Segmentation", work, slots="segmentation", priority=(0, number), group=key),
            Task(f"{key} dvh", "DVH", work, needs=(f"{key} segmentation",), priority=(1, number), group=key),
        ]
    return tasks


def busy_fraction(count: int) -> float:
    """Seconds that tasks ran, over seconds that the workers were there."""
    seconds: list[float] = []

    def work(grant: Grant) -> Outcome:
        start = time.perf_counter()
        time.sleep(SLEEP_S)
        seconds.append(time.perf_counter() - start)
        return ok()

    tasks = courses(count, work)
    start = time.perf_counter()
    pool().run(tasks)
    return sum(seconds) / (WORKERS * (time.perf_counter() - start))


def grow(count: int, answers) -> None:
    """Seconds and growth of the resident memory during a run, in a fresh process."""
    logging.disable(logging.CRITICAL)
    process = psutil.Process()
    ended = itertools.count(1)
    rss_at_half = []

    def work(grant: Grant) -> Outcome:
        if next(ended) == count:
            rss_at_half.append(process.memory_info().rss)
        return ok()

    tasks = courses(count, work)
    before = process.memory_info().rss
    start = time.perf_counter()
    pool().run(tasks)
    elapsed = time.perf_counter() - start
    answers.put((elapsed, before, rss_at_half[0], process.memory_info().rss))


def measured(count: int) -> tuple[float, float, float]:
    """Seconds, MB that the run added, MB that its second half added."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=grow, args=(count, answers))
    process.start()
    elapsed, before, at_half, after = answers.get(timeout=600)
    process.join()
    return elapsed, (after - before) / 1e6, (after - at_half) / 1e6


def main() -> None:
    logging.disable(logging.CRITICAL)
    figures: dict[str, float] = {"busy": busy_fraction(2000)}
    print(f"2,000 courses × 2 stages of {SLEEP_S * 1000:.0f} ms on {WORKERS} workers: {figures['busy']:.1%} busy\n")
    print("courses   seconds   ms per task   MB added   of it in the second half")
    for count in SIZES:
        elapsed, added, late = measured(count)
        figures |= {f"seconds_{count}": elapsed, f"added_mb_{count}": added, f"late_mb_{count}": late}
        print(f"{count:7} {elapsed:9.2f} {1000 * elapsed / (2 * count):13.3f} {added:10.1f} {late:12.1f}")
    per_task = figures["seconds_20000"] / 10 / figures["seconds_2000"]
    bars = {
        "busy": {"value": figures["busy"], "at_least": 0.95},
        "seconds_per_course_20000_over_2000": {"value": per_task, "at_most": 1.5},
        "kb_added_per_course_20000": {"value": figures["added_mb_20000"] * 1000 / 20000, "at_most": 5.0},
    }
    for bar in bars.values():
        bar["ok"] = bar["value"] >= bar.get("at_least", -1e9) and bar["value"] <= bar.get("at_most", 1e9)
    every = all(bar["ok"] for bar in bars.values())
    print(json.dumps({"name": "scheduler", "figures": figures, "bars": bars, "ok": every}))
    sys.exit(0 if every else 1)


if __name__ == "__main__":
    main()

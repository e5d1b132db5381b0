"""How many CPU tokens a run may hold, and how they are shared between courses."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rtpipeline.scheduling.control_group import group_folders

MINIMUM_THREADS_PER_COURSE = 4
TARGET_THREADS_PER_COURSE = 5


def usable_cpus() -> int:
    """How many CPUs this process may use, by its affinity and its control group's quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota = _cgroup_quota()
    return affinity if quota is None else max(1, min(affinity, int(quota)))


def worker_budget(cores: int | None, reserved_cores: int, max_workers: int | None) -> int:
    """The CPU tokens of a run: `max(1, min(cores, usable) - reserved)`, at most `max_workers`."""
    usable = usable_cpus()
    budget = max(1, (usable if cores is None else min(cores, usable)) - reserved_cores)
    return budget if max_workers is None else min(budget, max_workers)


def automatic_parallel_courses(threads: int) -> int:
    """How many courses to work on at once with a budget of `threads`, before clipping to the budget."""
    by_minimum = max(1, threads // MINIMUM_THREADS_PER_COURSE)
    by_target = max(1, threads // TARGET_THREADS_PER_COURSE + 1)
    return max(2, min(by_minimum, by_target))


@dataclass(frozen=True)
class Parallelization:
    """How the worker budget is spread over courses.

    Attributes:
        budget: CPU tokens of the run.
        courses: courses worked on at once.
        threads_per_course: tokens for each of them.
    """

    budget: int
    courses: int
    threads_per_course: int

    @classmethod
    def of(cls, budget: int, parallel_courses: int | None) -> Parallelization:
        """Spread `budget` tokens, over `parallel_courses` courses where that is given; never more than there are."""
        wanted = automatic_parallel_courses(budget) if parallel_courses is None else parallel_courses
        courses = max(1, min(wanted, budget))
        return cls(budget, courses, max(1, budget // courses))

    def __str__(self) -> str:
        active = self.courses * self.threads_per_course
        return (
            f"[rtpipeline] Parallelization: {self.courses} courses × {self.threads_per_course} threads = "
            f"{active}/{self.budget} threads ({round(100 * active / self.budget)}% utilization)"
        )


def _cgroup_quota() -> float | None:
    """CPUs that the control groups allow, or None where none of them sets a limit."""
    quotas = [quota for folder in group_folders("cpu") if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def _quota(folder: Path) -> float | None:
    """CPUs that one control group allows: `cpu.max` of version 2, `cpu.cfs_*` of version 1."""
    if (folder / "cpu.max").is_file():
        quota, _, period = (folder / "cpu.max").read_text().strip().partition(" ")
        return None if quota == "max" else int(quota) / int(period)
    if (folder / "cpu.cfs_quota_us").is_file():
        quota_us = int((folder / "cpu.cfs_quota_us").read_text())
        return None if quota_us <= 0 else quota_us / int((folder / "cpu.cfs_period_us").read_text())
    return None

import pytest

from rtpipeline.scheduling.budget import Parallelization, automatic_parallel_courses, usable_cpus, worker_budget


@pytest.mark.parametrize(
    ("threads", "courses", "threads_per_course", "active", "utilization"),
    [(22, 5, 4, 20, 91), (14, 3, 4, 12, 86), (10, 2, 5, 10, 100), (6, 2, 3, 6, 100)],
)
def test_parallelization_gives_the_published_table(threads, courses, threads_per_course, active, utilization):
    parallelization = Parallelization.of(threads, None)
    assert (parallelization.courses, parallelization.threads_per_course) == (courses, threads_per_course)
    assert str(parallelization) == (
        f"[rtpipeline] Parallelization: {courses} courses × {threads_per_course} threads = "
        f"{active}/{threads} threads ({utilization}% utilization)"
    )


@pytest.mark.parametrize("threads", range(1, 200))
def test_parallelization_never_promises_more_than_the_budget(threads):
    parallelization = Parallelization.of(threads, None)
    assert 1 <= parallelization.courses * parallelization.threads_per_course <= threads


def test_the_automatic_function_asks_for_two_courses_at_least():
    assert [automatic_parallel_courses(threads) for threads in (1, 2, 3)] == [2, 2, 2]


def test_explicit_course_count_is_clipped_to_the_budget():
    assert Parallelization.of(3, 10) == Parallelization(3, 3, 1)


def test_worker_budget_reserves_cores_and_is_at_least_one():
    usable = usable_cpus()
    assert worker_budget(None, 0, None) == usable
    assert worker_budget(None, 1, None) == max(1, usable - 1)
    assert worker_budget(1, 5, None) == 1
    assert worker_budget(10_000, 0, None) == usable


def test_max_workers_caps_the_budget_after_the_reservation():
    assert worker_budget(None, 0, 1) == 1
    assert worker_budget(None, 0, 10_000) == usable_cpus()

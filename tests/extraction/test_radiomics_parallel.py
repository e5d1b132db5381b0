"""What happens to the jobs when real worker processes are killed, hang, or the service itself dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from rtpipeline.config import Configuration
from rtpipeline.extraction.jobs import ExtractionJob, JobResult
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.outcome import StageError
from rtpipeline.radiomics_conda import child_variables, find_radiomics_python
from rtpipeline.radiomics_parallel import RadiomicsClient, radiomics_client
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.resources import Resources
from rtpipeline.scheduling.worker_process import WorkerProcess
from waiting import LONG_S, all_end, eventually, is_running

pytestmark = pytest.mark.radiomics_environment

GRID = Grid.uniform((0, 0, 0), (1, 1, 1), (70, 70, 70))
MakeJob = Callable[..., ExtractionJob]


@pytest.fixture
def ball(tmp_path: Path, make_job: MakeJob) -> Callable[..., ExtractionJob]:
    """Makes a job on noise for a ball of a radius in mm, with the wavelets and other filters that are asked for."""
    random = np.random.default_rng(3)
    volume = Volume(GRID, random.normal(0, 300, GRID.shape).astype(np.float32))
    distance = np.linalg.norm(np.indices(GRID.shape) - 35.0, axis=0)

    def make(radius: int, filters: str = "") -> ExtractionJob:
        parameters = tmp_path / f"parameters{len(filters)}.yaml"
        image_types = f"{{Original: {{}}, Wavelet: {{}}{filters}}}"
        parameters.write_text(f"imageType: {image_types}\nsetting: {{binWidth: 50}}\n", encoding="utf-8")
        return make_job(f"job {radius}", volume, Mask.cropped(GRID, distance <= radius), parameters)

    return make


@pytest.fixture
def jobs(ball: Callable[..., ExtractionJob]) -> list[ExtractionJob]:
    """Six jobs of a second or so, of different sizes."""
    return [ball(radius) for radius in (13, 14, 15, 16, 17, 18)]


@pytest.fixture
def small_job(ball: Callable[..., ExtractionJob]) -> ExtractionJob:
    """A job that is done long before a time limit of some seconds, however slow the machine is."""
    return ball(3)


@pytest.fixture
def long_job(ball: Callable[..., ExtractionJob]) -> ExtractionJob:
    """A job of some seconds, which a signal cannot miss."""
    return ball(33, ", LoG: {sigma: [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5]}")


def service_process(client: RadiomicsClient) -> WorkerProcess:
    return client._service().process


def busy_workers(client: RadiomicsClient, at_least: int = 1) -> list[int]:
    """The workers that have a job, as soon as there are so many."""
    found: list[int] = []

    def enough() -> bool:
        found[:] = workers_of(client)["busy"]
        return len(found) >= at_least

    assert eventually(enough)
    return found


def workers_of(client: RadiomicsClient) -> dict[str, list[int]]:
    return service_process(client).call({"request": "workers"}, LONG_S)


def collect(client: RadiomicsClient, jobs: list[ExtractionJob], timeout_s: float = 600) -> dict[str, JobResult]:
    return {result.key: result for result in client.extract(jobs, timeout_s=timeout_s)}


def during(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def kill_one_busy_worker(client: RadiomicsClient, killed: list[int]) -> None:
    pids = busy_workers(client)
    os.kill(pids[0], signal.SIGKILL)
    killed.append(pids[0])


def group_of(process: psutil.Process) -> int | None:
    """Process group of a process that is running."""
    try:
        return os.getpgid(process.pid) if is_running(process.pid) else None
    except ProcessLookupError:
        return None


def test_a_killed_worker_costs_its_job_one_retry_and_no_row(client: RadiomicsClient, jobs: list[ExtractionJob]) -> None:
    undisturbed = collect(client, jobs)
    killed: list[int] = []
    killer = during(lambda: kill_one_busy_worker(client, killed))

    disturbed = collect(client, jobs)

    killer.join()
    assert len(killed) == 1
    assert all_end(killed)
    assert all(result.status == "ok" for result in undisturbed.values())
    assert disturbed == undisturbed


def test_courses_in_threads_of_their_own_share_spawned_workers(
    client: RadiomicsClient, jobs: list[ExtractionJob]
) -> None:
    """The pool is filled from threads; a forked process would inherit their locks."""
    with ThreadPoolExecutor(3) as courses:
        batches = [[replace(job, key=f"{course} {job.key}") for job in jobs[:2]] for course in range(3)]
        answers = list(courses.map(lambda batch: collect(client, batch), batches))

    assert [set(answer) for answer in answers] == [{job.key for job in batch} for batch in batches]
    assert all(result.status == "ok" for answer in answers for result in answer.values())
    workers = [psutil.Process(pid) for pid in workers_of(client)["idle"]]
    assert workers
    for worker in workers:
        assert any("multiprocessing.spawn" in argument for argument in worker.cmdline())
        assert worker.ppid() == service_process(client).pid


def test_a_job_whose_workers_crash_twice_fails_and_the_others_are_there(
    client: RadiomicsClient, jobs: list[ExtractionJob], long_job: ExtractionJob
) -> None:
    """Segmentation faults of the only job under way until it is given up; the one after it is done."""
    client.at_once = 1
    crashed: list[int] = []

    def crash_twice() -> None:
        while len(crashed) < 2:
            for pid in set(busy_workers(client)) - set(crashed):
                os.kill(pid, signal.SIGSEGV)
                crashed.append(pid)

    crasher = during(crash_twice)
    results = collect(client, [jobs[0], long_job])

    crasher.join()
    failed = results[long_job.key]  # the larger one is started first
    assert failed.status == "failed"
    assert failed.reason == "the worker process ended with exit code -11, 2 times"
    assert not failed.memory_pressure
    assert results[jobs[0].key].status == "ok"


def test_killing_a_random_worker_every_second_loses_no_row(client: RadiomicsClient, long_job: ExtractionJob) -> None:
    """Twelve structures of equal size, so that all are divided: what was done of them is not done again."""
    twelve = [replace(long_job, key=f"job {number}") for number in range(12)]
    undisturbed = collect(client, twelve)
    random = np.random.default_rng(12)
    killed: list[int] = []
    finished = threading.Event()

    def kill_every_second() -> None:
        while not finished.wait(1.0):
            workers = workers_of(client)
            if pids := workers["busy"] + workers["idle"]:
                pid = int(random.choice(pids))
                with suppress(ProcessLookupError):  # one that was killed while it was idle, and is just replaced
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    killer = during(kill_every_second)
    disturbed = collect(client, twelve)

    finished.set()
    killer.join()
    assert len(killed) >= 3
    assert all(result.status == "ok" for result in disturbed.values())
    assert disturbed == undisturbed


def test_workers_that_died_while_idle_cost_nothing(client: RadiomicsClient, jobs: list[ExtractionJob]) -> None:
    undisturbed = collect(client, jobs[:2])
    idle = workers_of(client)["idle"]
    assert idle
    for pid in idle:
        os.kill(pid, signal.SIGKILL)

    assert collect(client, jobs[:2]) == undisturbed


def test_a_worker_that_hangs_is_killed_at_the_time_limit_and_the_others_go_on(
    client: RadiomicsClient, small_job: ExtractionJob, long_job: ExtractionJob
) -> None:
    """The job behind it has all of its own time, although it waited for as long as it is given."""
    client.at_once = 1
    stopped: list[int] = []

    def stop_one() -> None:
        pids = busy_workers(client)
        os.kill(pids[0], signal.SIGSTOP)
        stopped.append(pids[0])

    stopper = during(stop_one)
    results = collect(client, [small_job, long_job], timeout_s=10)

    stopper.join()
    assert results[long_job.key].status == "timed out"  # the larger one is started first
    assert results[long_job.key].reason == "not done within 10 s"
    assert results[small_job.key].status == "ok"
    assert all_end(stopped)


WAITING_FOR_MEMORY = """
import json, os, signal, sys, time
from rtpipeline.extraction.company import Company
from rtpipeline.extraction.jobs import ExtractionJob
from rtpipeline.extraction.pool import WorkerPool

if __name__ == "__main__":
    pool = WorkerPool()
    pool.company = Company(lambda: 0)
    long, small = map(ExtractionJob.from_message, json.load(sys.stdin))
    first = pool.submit(long, 10.0)
    while not (busy := pool.pids()["busy"]):
        time.sleep(0.01)
    os.kill(busy[0], signal.SIGSTOP)
    second = pool.submit(small, 10.0)
    print(first.result().status, second.result().status, sep=", ", end="", flush=True)
    os._exit(0)
"""


def test_the_time_limit_does_not_count_what_a_job_waits_for_memory(
    small_job: ExtractionJob, long_job: ExtractionJob, tmp_path: Path
) -> None:
    """No memory is free: one job runs after the other, and the one that comes first hangs for as long as each has."""
    script = tmp_path / "waiting.py"
    script.write_text(WAITING_FOR_MEMORY, encoding="utf-8")
    variables = {**os.environ, **child_variables(threads=1)}
    answer = subprocess.run(
        [str(find_radiomics_python(Configuration(), os.environ).python), str(script)],
        input=json.dumps([job.as_message() for job in (long_job, small_job)]),
        env={name: value for name, value in variables.items() if value is not None},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )

    assert answer.stdout == "timed out, ok"


def test_a_second_run_computes_only_what_the_first_did_not_finish(
    client: RadiomicsClient, jobs: list[ExtractionJob], tmp_path: Path
) -> None:
    """The image and the masks that are finished are gone: nobody can compute them again."""
    stopped = client.extract(jobs[:3], timeout_s=600, kept=tmp_path / "kept")
    first, second = next(stopped), next(stopped)
    stopped.close()
    for result in (first, second):
        next(job for job in jobs if job.key == result.key).mask.file.unlink()

    again = {result.key: result for result in client.extract(jobs[:3], timeout_s=600, kept=tmp_path / "kept")}

    assert again[first.key] == first
    assert again[second.key] == second
    assert [result.status for result in again.values()] == ["ok"] * 3


def test_a_job_that_needs_more_memory_than_there_is_fails_with_that_reason_and_the_others_are_there(
    resources: Resources, jobs: list[ExtractionJob], tmp_path: Path
) -> None:
    """A real limit on the address space of every worker; a hundred thousand grey levels do not fit into it."""
    python = find_radiomics_python(Configuration(), os.environ).python
    limited = tmp_path / "python"
    limited.write_text(f'#!/bin/sh\nulimit -v 4000000\nexec {python} "$@"\n', encoding="utf-8")
    limited.chmod(0o755)
    children = ChildProcesses()
    held = Resources(**{**vars(resources), "children": children})
    limited_client = radiomics_client(Configuration.model_validate({"radiomics": {"python": limited}}), held)
    setting = {**jobs[0].parameters["setting"], "binWidth": 0.01}
    huge = replace(jobs[0], key="huge", parameters={**jobs[0].parameters, "setting": setting})

    results = collect(limited_client, [huge, *jobs[1:4]])

    children.close()
    assert results["huge"].status == "failed"
    assert results["huge"].memory_pressure, results["huge"].reason
    assert [results[job.key].status for job in jobs[1:4]] == ["ok"] * 3


def test_a_service_that_dies_is_replaced_and_its_jobs_are_handed_in_again(
    client: RadiomicsClient, jobs: list[ExtractionJob]
) -> None:
    undisturbed = collect(client, jobs)
    service = service_process(client).pid

    def kill_service() -> None:
        busy_workers(client)
        os.kill(service, signal.SIGKILL)

    killer = during(kill_service)
    disturbed = collect(client, jobs)

    killer.join()
    assert disturbed == undisturbed
    assert service_process(client).pid != service


def test_workers_end_with_their_service(client: RadiomicsClient, jobs: list[ExtractionJob]) -> None:
    workers: list[int] = []

    def kill_service() -> None:
        workers[:] = busy_workers(client, at_least=2)
        service_process(client).kill()

    killer = during(kill_service)
    collect(client, jobs)

    killer.join()
    assert len(workers) == 2
    assert all_end(workers)


def test_the_largest_job_is_first_and_never_more_than_allowed_are_under_way(
    resources: Resources, jobs: list[ExtractionJob]
) -> None:
    sequential = radiomics_client(Configuration.model_validate({"radiomics": {"sequential": True}}), resources)
    progress: list[tuple[int, int]] = []

    order = [
        result.key
        for result in sequential.extract(
            jobs[:3], timeout_s=600, report_progress=lambda done, total: progress.append((done, total))
        )
    ]

    assert order == [job.key for job in reversed(jobs[:3])]
    assert progress == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("threads", "thread_limit", "sequential", "expected"),
    [(6, None, False, 6), (6, 4, False, 1), (8, 4, False, 2), (2, 4, False, 1), (6, None, True, 1)],
)
def test_workers_times_threads_stay_within_the_tokens(
    resources: Resources, threads: int, thread_limit: int | None, sequential: bool, expected: int
) -> None:
    section = {"thread_limit": thread_limit, "sequential": sequential}
    held = Resources(**{**vars(resources), "threads": threads})

    assert radiomics_client(Configuration.model_validate({"radiomics": section}), held).at_once == expected


def test_a_cancelled_run_stops(client: RadiomicsClient, jobs: list[ExtractionJob]) -> None:
    cancelled = threading.Event()
    cancelled.set()

    with pytest.raises(StageError, match="cancelled"):
        list(client.extract(jobs, timeout_s=600, cancelled=cancelled))


def test_keys_have_to_differ(client: RadiomicsClient, jobs: list[ExtractionJob]) -> None:
    with pytest.raises(ValueError, match="same key"):
        list(client.extract([jobs[0], jobs[0]], timeout_s=600))


def test_a_closed_pool_leaves_no_process(resources: Resources, jobs: list[ExtractionJob]) -> None:
    children = ChildProcesses()
    own = radiomics_client(Configuration(), Resources(**{**vars(resources), "children": children}))
    collect(own, jobs[:1])
    service = service_process(own).pid

    children.close()

    assert all_end([service])
    # A killed process is gone only when its parent has taken note of it.
    assert eventually(lambda: not [process for process in psutil.process_iter() if group_of(process) == service])

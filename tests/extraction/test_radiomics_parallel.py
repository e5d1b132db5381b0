"""What happens to the jobs when real worker processes are killed, hang, or the service itself dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from rtpipeline.config import Configuration
from rtpipeline.extraction.jobs import ExtractionJob, JobResult
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.outcome import StageError
from rtpipeline.radiomics_parallel import RadiomicsClient, radiomics_client
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.resources import Resources
from rtpipeline.scheduling.worker_process import WorkerProcess

pytestmark = pytest.mark.radiomics_environment

GRID = Grid.uniform((0, 0, 0), (1, 1, 1), (70, 70, 70))
MakeJob = Callable[..., ExtractionJob]


@pytest.fixture
def jobs(tmp_path: Path, make_job: MakeJob) -> list[ExtractionJob]:
    """Six jobs of a second or so, of different sizes."""
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text("imageType: {Original: {}, Wavelet: {}}\nsetting: {binWidth: 50}\n", encoding="utf-8")
    random = np.random.default_rng(3)
    volume = Volume(GRID, random.normal(0, 300, GRID.shape).astype(np.float32))
    distance = np.linalg.norm(np.indices(GRID.shape) - 35.0, axis=0)
    return [
        make_job(f"job {radius}", volume, Mask.cropped(GRID, distance <= radius), parameters)
        for radius in (13, 14, 15, 16, 17, 18)
    ]


def service_process(client: RadiomicsClient) -> WorkerProcess:
    return client._service().process


def busy_workers(client: RadiomicsClient) -> list[int]:
    return workers_of(client)["busy"]


def workers_of(client: RadiomicsClient) -> dict[str, list[int]]:
    return service_process(client).call({"request": "workers"}, 10)


def collect(client: RadiomicsClient, jobs: list[ExtractionJob], timeout_s: float = 120) -> dict[str, JobResult]:
    return {result.key: result for result in client.extract(jobs, timeout_s=timeout_s)}


def during(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def kill_one_busy_worker(client: RadiomicsClient, killed: list[int]) -> None:
    while not (pids := busy_workers(client)):
        time.sleep(0.05)
    os.kill(pids[0], signal.SIGKILL)
    killed.append(pids[0])


def is_running(pid: int) -> bool:
    """Whether a process computes; one that has ended and waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


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
    assert not is_running(killed[0])
    assert all(result.status == "ok" for result in undisturbed.values())
    assert disturbed == undisturbed


def test_a_job_whose_workers_die_twice_fails_and_the_others_are_there(
    client: RadiomicsClient, jobs: list[ExtractionJob]
) -> None:
    """The only job under way is killed until it is given up; the one after it is done."""
    client.at_once = 1
    killed: list[int] = []

    def kill_twice() -> None:
        kill_one_busy_worker(client, killed)
        while killed[0] in busy_workers(client):
            time.sleep(0.01)
        kill_one_busy_worker(client, killed)

    killer = during(kill_twice)
    results = collect(client, jobs[:2])

    killer.join()
    assert results[jobs[1].key].status == "failed"  # the larger one is started first
    assert results[jobs[1].key].reason == "the worker process ended with exit code -9, 2 times"
    assert results[jobs[1].key].memory_pressure
    assert results[jobs[0].key].status == "ok"


def test_workers_that_died_while_idle_cost_nothing(client: RadiomicsClient, jobs: list[ExtractionJob]) -> None:
    undisturbed = collect(client, jobs[:2])
    idle = workers_of(client)["idle"]
    assert idle
    for pid in idle:
        os.kill(pid, signal.SIGKILL)

    assert collect(client, jobs[:2]) == undisturbed


def test_a_job_over_its_time_limit_is_killed_and_the_others_go_on(
    client: RadiomicsClient, jobs: list[ExtractionJob], tmp_path: Path
) -> None:
    """An image file that never ends: a pipe that nobody writes to."""
    pipe = tmp_path / "endless.npy"
    os.mkfifo(pipe)
    image = jobs[0].image
    endless = type(image)(pipe, image.origin_mm, image.spacing_mm, image.direction)
    hanging = ExtractionJob("hanging", endless, jobs[0].mask, jobs[0].parameters, 1e9)

    results = collect(client, [hanging, jobs[0]], timeout_s=15)

    assert results["hanging"].status == "timed out"
    assert "15 s" in results["hanging"].reason
    assert results[jobs[0].key].status == "ok"
    assert busy_workers(client) == []


def test_a_service_that_dies_is_replaced_and_its_jobs_are_handed_in_again(
    client: RadiomicsClient, jobs: list[ExtractionJob]
) -> None:
    undisturbed = collect(client, jobs)
    service = service_process(client).pid

    def kill_service() -> None:
        while not busy_workers(client):
            time.sleep(0.05)
        os.kill(service, signal.SIGKILL)

    killer = during(kill_service)
    disturbed = collect(client, jobs)

    killer.join()
    assert disturbed == undisturbed
    assert service_process(client).pid != service


def test_workers_end_with_their_service(client: RadiomicsClient, jobs: list[ExtractionJob]) -> None:
    workers: list[int] = []

    def kill_service() -> None:
        while len(workers) < 2:
            workers[:] = busy_workers(client)
        service_process(client).kill()

    killer = during(kill_service)
    collect(client, jobs)

    killer.join()
    assert not any(map(is_running, workers))


def test_the_largest_job_is_first_and_never_more_than_allowed_are_under_way(
    resources: Resources, jobs: list[ExtractionJob]
) -> None:
    sequential = radiomics_client(Configuration.model_validate({"radiomics": {"sequential": True}}), resources)
    progress: list[tuple[int, int]] = []

    order = [
        result.key
        for result in sequential.extract(
            jobs[:3], timeout_s=60, report_progress=lambda done, total: progress.append((done, total))
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
        list(client.extract(jobs, timeout_s=60, cancelled=cancelled))


def test_keys_have_to_differ(client: RadiomicsClient, jobs: list[ExtractionJob]) -> None:
    with pytest.raises(ValueError, match="same key"):
        list(client.extract([jobs[0], jobs[0]], timeout_s=60))


def test_a_closed_pool_leaves_no_process(resources: Resources, jobs: list[ExtractionJob]) -> None:
    children = ChildProcesses()
    own = radiomics_client(Configuration(), Resources(**{**vars(resources), "children": children}))
    collect(own, jobs[:1])
    service = service_process(own).pid

    children.close()

    assert not is_running(service)
    # A killed process is gone only when its parent has taken note of it.
    deadline = time.monotonic() + 10
    while left := [process for process in psutil.process_iter() if group_of(process) == service]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)

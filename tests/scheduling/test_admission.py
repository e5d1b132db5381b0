"""What starts beside what, by the memory that is free now and by what the others are going to take."""

from __future__ import annotations

import logging

import pytest

from rtpipeline.outcome import ok
from rtpipeline.scheduling.admission import MemoryAdmission
from rtpipeline.scheduling.tasks import Grant, Task

GB = 10**9
TWO_ON_EACH = {"segmentation": ("gpu:0", "gpu:1", "gpu:0", "gpu:1")}


def task(name: str, *, ram: int = 0, vram: int = 0) -> Task:
    return Task(name, "Work", lambda grant: ok(), memory_bytes=ram, gpu_memory_bytes=vram)


def admission(ram: list[int], vram: dict[str, list[int | None]], slots=TWO_ON_EACH) -> MemoryAdmission:
    """Free memory as the readers find it at one look after another; the last value stays."""

    def reading(values):
        return values.pop(0) if len(values) > 1 else values[0]

    logger = logging.getLogger("admission")
    return MemoryAdmission(lambda: reading(ram), lambda device: reading(vram[device]), slots, logger)


@pytest.mark.parametrize(
    ("free_before", "free_now", "fits"),
    [
        (24 * GB, 24 * GB, True),  # the first has not taken its 6 GB yet
        (24 * GB, 18 * GB, True),  # it has
        (11 * GB, 11 * GB, False),  # there is room only as long as the first has not taken its own
        (24 * GB, 5 * GB, False),  # somebody else took it
        (None, None, True),  # not known: not held against anybody
    ],
)
def test_a_second_job_on_a_gpu(free_before, free_now, fits):
    held = admission([100 * GB], {"gpu:0": [free_before, free_now]})
    first, second = task("a", vram=6 * GB), task("b", vram=6 * GB)
    assert held.fits(first, "gpu:0", [])
    assert held.fits(second, "gpu:0", [(first, Grant(1, "gpu:0"))]) == fits


def test_what_runs_on_another_gpu_takes_nothing_from_this_one():
    held = admission([100 * GB], {"gpu:0": [7 * GB], "gpu:1": [7 * GB]})
    first = task("a", vram=6 * GB)
    assert held.fits(first, "gpu:0", [])
    assert held.fits(task("b", vram=6 * GB), "gpu:1", [(first, Grant(1, "gpu:0"))])


def test_a_job_alone_on_its_gpu_starts_even_where_the_estimate_does_not_fit():
    held = admission([100 * GB], {"gpu:0": [4 * GB]})
    assert held.fits(task("a", vram=6 * GB), "gpu:0", [])


def test_a_gpu_with_one_slot_is_not_asked():
    held = admission([100 * GB], {}, slots={"segmentation": ("gpu:0",)})
    assert held.fits(task("a", vram=6 * GB), "gpu:0", [(task("cpu work"), Grant(1, "cpu"))])


def test_both_memories_must_be_free_and_who_waits_is_named_once(caplog):
    held = admission([32 * GB, 32 * GB, 3 * GB], {"gpu:0": [24 * GB]})
    first, second = task("a", ram=4 * GB, vram=6 * GB), task("b", ram=4 * GB, vram=6 * GB)
    running = [(first, Grant(1, "gpu:0"))]
    assert held.fits(first, "gpu:0", [])
    assert held.fits(second, "gpu:0", running)
    with caplog.at_level(logging.INFO):
        assert not held.fits(second, "gpu:0", running)
        assert not held.fits(second, "gpu:0", running)
    assert [record.message for record in caplog.records] == ["b waits for memory: about 4.0 GB, 3.0 GB free"]

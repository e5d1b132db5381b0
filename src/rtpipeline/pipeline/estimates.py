"""What a stage of a course will roughly take: seconds, memory and disk. For planning, never for results.

Seconds are work of one thread. They follow from what the stage took in earlier courses of the same output folder, for
each unit of its work; where it has not run yet, from the figures below, which are typical of one core of a workstation
of 2024. Memory and disk follow from the size of the largest image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rtpipeline.config import Configuration

SLICE_VOXELS = 512 * 512
_MB = 1_000_000
_GB = 1_000 * _MB

UNIT_SECONDS: Mapping[str, float] = {
    "segmentation": 6.0,
    "custom_models": 6.0,
    "auto_rtstruct": 0.2,
    "anatomical_cropping": 5.0,
    "dvh": 2.0,
    "metadata": 1.0,
    "radiomics": 15.0,
    "radiomics_robustness": 10.0,
    "quality_control": 5.0,
}
"""Seconds of one thread for each unit: a slice (segmentation, custom models), a structure (structure sets, DVH,
radiomics), a structure in one perturbation state (robustness), a course (the others)."""

GPU_MEMORY_BYTES = 6 * _GB
"""GPU memory of one segmentation with the 1.5 mm models, as TotalSegmentator's authors give it, rounded up."""

GPU_SPEEDUP = 20.0
FAST_SPEEDUP = 6.0

UNIT_BYTES: Mapping[str, int] = {
    "segmentation": SLICE_VOXELS,
    "custom_models": SLICE_VOXELS // 10,
    "auto_rtstruct": _MB // 2,
    "dvh": 50_000,
    "metadata": 100_000,
    "radiomics": 40_000,
    "radiomics_robustness": 40_000,
    "quality_control": 100_000,
}
"""Bytes on the disk for each unit; cropping writes the image again."""


@dataclass(frozen=True)
class CourseSize:
    """How much there is to do for a course.

    Attributes:
        slices: slices of its largest image series.
        structures: how many structures go through each stage, by its name.
        states: perturbation states of robustness.
    """

    slices: int
    structures: Mapping[str, int] = field(default_factory=dict)
    states: int = 1

    def units(self, stage: str) -> int:
        """Units of a stage's work (see `UNIT_SECONDS`)."""
        if stage in ("segmentation", "custom_models"):
            return self.slices
        if stage in ("auto_rtstruct", "dvh", "radiomics"):
            return self.structures.get(stage, 0)
        if stage == "radiomics_robustness":
            return self.structures.get(stage, 0) * self.states
        return 1


@dataclass(frozen=True)
class Estimate:
    """What a stage takes.

    Attributes:
        thread_seconds: seconds if one thread did it all.
        memory_bytes: memory while it runs.
        disk_bytes: what it leaves on the disk.
    """

    thread_seconds: float
    memory_bytes: int
    disk_bytes: int


def estimate(
    stage: str, size: CourseSize, threads: int, device: str, configuration: Configuration, known: Mapping[str, float]
) -> Estimate:
    """What `stage` will take for a course of this size; `known` has seconds per unit of stages that ran before."""
    units = size.units(stage)
    seconds = known.get(stage)
    if seconds is None:
        seconds = UNIT_SECONDS[stage]
        if stage in ("segmentation", "custom_models"):
            seconds /= GPU_SPEEDUP if device != "cpu" else 1.0
            seconds /= FAST_SPEEDUP if configuration.segmentation.fast and stage == "segmentation" else 1.0
    disk = size.slices * SLICE_VOXELS * 3 if stage == "anatomical_cropping" else units * UNIT_BYTES[stage]
    return Estimate(units * seconds, memory_bytes(stage, size.slices, threads), disk)


def memory_bytes(stage: str, slices: int, threads: int) -> int:
    """Memory of a stage: a model and its class probabilities, or an image for each thread that works on it."""
    voxels = slices * SLICE_VOXELS
    if stage in ("segmentation", "custom_models"):
        return 3 * _GB + 100 * voxels
    if stage in ("radiomics", "radiomics_robustness"):
        return threads * (400 * _MB + 8 * voxels) + 8 * voxels
    if stage == "metadata":
        return 100 * _MB
    return 200 * _MB + 16 * voxels


def seconds_per_unit(ran: Iterable[tuple[str, CourseSize, float]]) -> dict[str, float]:
    """Mean thread-seconds per unit by stage, of (stage, size of the course, thread-seconds) that were seen."""
    seconds: dict[str, float] = {}
    units: dict[str, int] = {}
    for stage, size, took in ran:
        if size.units(stage):
            seconds[stage] = seconds.get(stage, 0.0) + took
            units[stage] = units.get(stage, 0) + size.units(stage)
    return {stage: total / units[stage] for stage, total in seconds.items()}

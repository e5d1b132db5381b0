"""What a run would do: every course × stage with its threads and pools, nothing started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rtpipeline.config import Configuration
from rtpipeline.course import Course
from rtpipeline.pipeline.stages import STAGES, Stage
from rtpipeline.scheduling.budget import Parallelization, worker_budget
from rtpipeline.scheduling.devices import SegmentationDevices, segmentation_devices


@dataclass(frozen=True)
class RunPlan:
    """How a run spreads over the machine.

    Attributes:
        parallelization: the worker budget and how courses share it.
        slots: devices of the two segmentation pools.
        stages: the stages of the courses, in the order of the graph.
    """

    parallelization: Parallelization
    slots: dict[str, SegmentationDevices]
    stages: tuple[Stage, ...]

    @classmethod
    def of(cls, configuration: Configuration, stage_names: Sequence[str] | None = None) -> RunPlan:
        """Plan a run of the enabled stages, or of those among them that are named."""
        budget = worker_budget(configuration.cores, configuration.scheduler.reserved_cores, configuration.max_workers)
        device = configuration.segmentation.device
        slots = {
            "segmentation": segmentation_devices(device, configuration.segmentation.max_workers, budget),
            "custom_models": segmentation_devices(device, configuration.custom_models.max_workers, budget),
        }
        stages = tuple(
            stage
            for stage in STAGES
            if stage.enabled(configuration) and (stage_names is None or stage.name in stage_names)
        )
        parallelization = Parallelization.of(budget, configuration.scheduler.parallel_courses)
        return cls(parallelization, slots, stages)

    def for_courses(self, count: int) -> RunPlan:
        """The same plan where there are only `count` courses, so that each may have a larger share of the budget."""
        courses = max(1, min(self.parallelization.courses, count))
        return replace(self, parallelization=Parallelization.of(self.parallelization.budget, courses))

    @property
    def device_names(self) -> dict[str, tuple[str, ...]]:
        """The devices of each slot pool, one entry for each job that may run at once."""
        return {name: devices.slots for name, devices in self.slots.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know before anything starts about the devices that the stages of this plan use."""
        used = {stage.slots for stage in self.stages}
        notes = (devices.note for name, devices in self.slots.items() if name in used and devices.note)
        return tuple(dict.fromkeys(notes))

    def tokens(self, stage: Stage, configuration: Configuration) -> int:
        """The CPU tokens that a stage holds: what it asks for, clipped to the budget."""
        return max(1, min(stage.tokens(configuration, self.parallelization), self.parallelization.budget))

    def aggregation_threads(self, configuration: Configuration) -> int:
        """How many courses are read at once for the cohort tables: `aggregation.threads`, clipped to the budget."""
        budget = self.parallelization.budget
        return min(configuration.aggregation.threads or budget, budget)

    def needs(self, stage: Stage) -> tuple[str, ...]:
        """The stages of this plan that `stage` waits for, through those that are not part of the plan."""
        planned = {planned.name for planned in self.stages}
        by_name = {stage.name: stage for stage in STAGES}
        found: dict[str, None] = {}
        open_names = list(stage.needs)
        while open_names:
            name = open_names.pop(0)
            if name in planned:
                found[name] = None
            else:
                open_names.extend(by_name[name].needs)
        return tuple(found)


def task_key(course: Course, stage: Stage) -> str:
    """The key of a task in the pool."""
    return f"{course.key} {stage.name}"


def priority(course_number: int, stage: Stage) -> tuple[int, int]:
    """Whatever feeds the GPU first, then courses in the order of the manifest."""
    return (0 if stage.slots is not None else 1, course_number)

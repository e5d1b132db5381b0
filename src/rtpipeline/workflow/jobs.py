"""What the Snakefile asks the project: the rules by the table of stages, their commands, and what is to be done."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rtpipeline.atomic import write_text
from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles, Course
from rtpipeline.outcome import StageError
from rtpipeline.pipeline.plan import RunPlan
from rtpipeline.pipeline.stages import Stage
from rtpipeline.pipeline.state import StageState, holds
from rtpipeline.scheduling.budget import Parallelization

CLUSTER_JOB_THREADS = 8
"""Largest number of threads of one job on a cluster, unless `max_workers` says otherwise."""

_PROGRAM = shlex.join([sys.executable, "-m", "rtpipeline.cli.app"])
_RECORDED_ENDS = "case $? in 1|3) ;; *) exit 1 ;; esac"
"""A stage that failed or is partial has said so in its state and sentinel; the others go on, as in `rtpipeline run`."""


@dataclass(frozen=True)
class Jobs:
    """The jobs of one output folder.

    Attributes:
        configuration: the effective configuration.
        plan: threads and pools.
        local: the jobs run on this machine; otherwise each goes to a node of a cluster.
    """

    configuration: Configuration
    plan: RunPlan
    local: bool

    @classmethod
    def of(cls, configuration: Configuration, cores: int | None) -> Jobs:
        """The jobs that share `cores` cores of this machine, or None for those of a cluster."""
        if cores is not None:
            return cls(configuration, RunPlan.of(configuration.model_copy(update={"cores": cores})), local=True)
        budget = configuration.max_workers or CLUSTER_JOB_THREADS
        plan = replace(RunPlan.of(configuration), parallelization=Parallelization(budget, 1, budget))
        return cls(configuration, plan, local=False)

    @property
    def cohort(self) -> CohortFiles:
        """The files of the output folder, by absolute paths."""
        return CohortFiles(self.configuration.output_dir.resolve())

    @property
    def logs(self) -> Path:
        """Where the output of each job goes."""
        return self.configuration.logs.resolve()

    @property
    def effective_configuration(self) -> Path:
        """The configuration file that every job reads."""
        return self.logs / "_workflow" / "effective_config.yaml"

    @property
    def budget(self) -> int:
        """CPU tokens of the run, or of one job on a cluster."""
        return self.plan.parallelization.budget

    @property
    def pools(self) -> dict[str, int]:
        """How much of each of Snakemake's resources there is: on a cluster, its own scheduler knows better."""
        if not self.local:
            return {}
        pools = {pool_resource(name): len(devices.slots) for name, devices in self.plan.slots.items()}
        return {"workers": self.budget, **pools}

    def resources(self, stage: Stage) -> dict[str, int]:
        """What a job of a stage takes of them."""
        taken = {"workers": self.plan.tokens(stage, self.configuration)}
        if stage.slots is not None:
            taken[pool_resource(stage.slots)] = 1
            if not self.local and self.configuration.segmentation.device == "gpu":
                taken["gpu"] = 1
        return taken

    @property
    def stage_command(self) -> str:
        """The shell command of the rules of stages; Snakemake puts in the parameter, wildcards, threads and log."""
        course = f"{shlex.quote(str(self.cohort.folder))}/{{wildcards.patient}}/{{wildcards.course}}"
        command = f"{self._command('stage')} {{params.stage}} --course {course} --max-workers {{threads}}"
        return f"{command} > {{log:q}} 2>&1 || {_RECORDED_ENDS}"

    def cohort_command(self, stage: str) -> str:
        """The shell command of `organize`, `aggregate` or `report`."""
        command = f"{self._command('run')} --stage {stage} --max-workers {{threads}}"
        return f"{command} --config scheduler.reserved_cores=0 > {{log:q}} 2>&1 || [ $? -eq 3 ]"

    def prepare(self) -> None:
        """Write what every job reads; paths in it stay relative to where Snakemake, and so every job, was started."""
        write_text(self.effective_configuration, self.configuration.as_yaml())

    def courses(self) -> list[Course]:
        """The courses that were organized."""
        return self.cohort.manifest_courses() if self.cohort.manifest.is_file() else []

    def is_due(self, stage: Stage, course: Course) -> bool:
        """Whether a stage has to be done, whatever Snakemake sees in the times of files."""
        return not holds(StageState.load(course.files.state(stage.name)), stage, course, self.configuration)

    def remove_outdated_sentinels(self) -> None:
        """Take the mark away from every stage that is to be done again, so that Snakemake starts it."""
        for course in self.courses():
            for stage in self.plan.stages:
                if self.is_due(stage, course):
                    sentinel(course.files.folder, stage).unlink(missing_ok=True)

    def sentinels(self, course: Course) -> list[Path]:
        """The marks that all stages of a course leave."""
        return [sentinel(course.files.folder, stage) for stage in self.plan.stages]

    def _command(self, *arguments: str) -> str:
        return f"{_PROGRAM} {shlex.join([*arguments, '--config', str(self.effective_configuration)])}"


def rule_name(stage: Stage) -> str:
    """`dvh_course`, `crop_ct_course`, …: a stage's first alias, or its name; `segmentation_custom` stands alone."""
    name = stage.aliases[0] if stage.aliases else stage.name
    return name if name == "segmentation_custom" else f"{name}_course"


def pool_resource(slots: str) -> str:
    """The Snakemake resource that limits how many jobs of a slot pool run at once."""
    return {"segmentation": "seg_workers", "custom_models": "custom_seg_workers"}[slots]


def sentinel(folder: Path | str, stage: Stage) -> Path:
    """The mark of a stage in a course folder (also in a pattern of one)."""
    assert stage.sentinel is not None
    return Path(folder) / stage.sentinel


def exit_code_of_courses(jobs: Jobs) -> int:
    """0 when every stage of every course is there, 3 when some failed or are partial.

    Raises:
        StageError: nothing was organized.
    """
    courses = jobs.courses()
    if not courses:
        raise StageError(f"{jobs.cohort.folder}: no course was organized")
    states = [StageState.load(course.files.state(stage.name)) for course in courses for stage in jobs.plan.stages]
    cohort = [StageState.load(jobs.cohort.state("aggregate"))]
    complete = all(state is not None and state.status in ("ok", "skipped") for state in [*states, *cohort])
    return 0 if complete else 3


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted key."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= dotted(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat

"""Running single stages on organized courses, outside the pipeline."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles, Course
from rtpipeline.organize import organize
from rtpipeline.outcome import Outcome
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.resources import Resources

Stage = Callable[[Course, Configuration, Resources], Outcome]


def organized_courses(root: Path, out: Path) -> dict[str, Course]:
    """Organize the DICOM files below `root` into `out`; the courses by patient folder."""
    result = organize(
        root,
        CohortFiles(out),
        Configuration(),
        threads=2,
        logger=logging.getLogger("test"),
        report_progress=lambda done, total: None,
        cancelled=threading.Event(),
    )
    return {course.description.patient: course for course in result.courses}


def run_stage(stage: Stage, course: Course, threads: int = 2, staging: Path | None = None, **sections: Any) -> Outcome:
    """Run a stage that writes straight into the course folder (or into `staging`); `sections` are configuration."""
    folder = staging or course.files.folder
    resources = Resources(
        threads=threads,
        device="cpu",
        staging=folder,
        scratch=folder / "scratch",
        logs=folder / "logs",
        children=ChildProcesses(),
        logger=logging.getLogger("test"),
    )
    return stage(course, Configuration.model_validate(sections), resources)

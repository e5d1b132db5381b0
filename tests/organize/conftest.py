"""Organizing a small export."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dicom_factory import Patient
from organized import Organize, Organized
from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles
from rtpipeline.organize import organize


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    return folder


@pytest.fixture
def patient(export: Path) -> Patient:
    return Patient(export)


@pytest.fixture
def organized(tmp_path: Path, export: Path) -> Organize:
    """Organize `export` (or another folder) into `out` with settings of the section `organize`."""

    def run(
        root: Path = export,
        out: str = "out",
        threads: int = 2,
        force: bool = False,
        report_progress: Callable[[int, int], None] = lambda done, total: None,
        **settings: Any,
    ) -> Organized:
        cohort = CohortFiles(tmp_path / out)
        result = organize(
            root,
            cohort,
            Configuration.model_validate({"organize": settings}),
            threads=threads,
            logger=logging.getLogger("test"),
            report_progress=report_progress,
            cancelled=threading.Event(),
            force=force,
        )
        return Organized(result, cohort)

    return run

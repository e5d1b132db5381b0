"""Our curves beside those that the planning system stored in the dose of a real plan."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pydicom
import pytest

from rtpipeline import dvh
from rtpipeline.course import Course, CourseFiles
from rtpipeline.dicom.stored_dvh import read_stored_dvhs
from rtpipeline.quality_control.check import Check
from rtpipeline.quality_control.planned_curves import MEAN_DOSE, VOLUME, planned_curves
from rtpipeline.tables.parquet import read_parquet
from stage_runs import organized_courses, run_stage

pytestmark = pytest.mark.real_data
HIGHEST_GY = 14.68


@pytest.fixture(scope="module")
def breast(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Course:
    (course,) = organized_courses(test_data / "breast-tps", tmp_path_factory.mktemp("breast")).values()
    run_stage(dvh.run, course)
    return course


def found_in(course: Course, dose: Path | None = None, folder: Path | None = None) -> list[Check]:
    metrics = read_parquet(course.files.dvh_metrics).to_pylist()
    if dose is not None and folder is not None:
        shutil.copy(dose, folder / "RD.dcm")
        course = Course(CourseFiles(folder), course.description)
    return list(planned_curves(course, metrics, HIGHEST_GY))


def test_stored_curves_have_the_planning_system_values(breast: Course) -> None:
    curves = {curve.roi_number: curve for curve in read_stored_dvhs(breast.files.dose).curves}
    assert curves[5].volume_cm3 == pytest.approx(437.462, abs=1e-3)
    assert curves[5].mean_gy == pytest.approx(0.6427, abs=0.01)
    assert curves[9].mean_gy == pytest.approx(14.2858, abs=0.01)


def test_only_the_truncated_curve_of_the_body_differs(breast: Course) -> None:
    found = found_in(breast)
    assert [(check.check, check.subject) for check in found if check.status == "WARNING"] == [(VOLUME, "manual: BODY")]
    assert [check.status for check in found if check.check == MEAN_DOSE] == ["PASS"]


def test_a_dose_of_another_scale_is_noticed(breast: Course, tmp_path: Path) -> None:
    dataset: Any = pydicom.dcmread(breast.files.dose)
    for item in dataset.DVHSequence:
        item.DVHDoseScaling = float(item.DVHDoseScaling) * 1.1
    dataset.save_as(tmp_path / "scaled.dcm")
    found = found_in(breast, tmp_path / "scaled.dcm", tmp_path)
    assert "manual: Breast" in {check.subject for check in found if check.check == MEAN_DOSE}


@pytest.mark.parametrize("change", ["other structure set", "no curves", "relative"])
def test_nothing_to_compare_is_told(breast: Course, tmp_path: Path, change: str) -> None:
    dataset: Any = pydicom.dcmread(breast.files.dose)
    if change == "other structure set":
        dataset.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    elif change == "no curves":
        del dataset.DVHSequence
    else:
        for item in dataset.DVHSequence:
            item.DoseUnits = "RELATIVE"
    dataset.save_as(tmp_path / "changed.dcm")
    assert {check.status for check in found_in(breast, tmp_path / "changed.dcm", tmp_path)} == {"NOT_APPLICABLE"}

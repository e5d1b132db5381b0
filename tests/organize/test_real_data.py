"""Real exports."""

from __future__ import annotations

from pathlib import Path

import pytest

from organized import Organize
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtdose import read_dose

pytestmark = pytest.mark.real_data


def test_lung_course(test_data: Path, organized: Organize) -> None:
    made = organized(test_data / "LUNG1-001")
    course = made.only
    text = course.description
    assert (text.kind, text.patient, text.start_date) == ("plan", "LUNG1-001", "2008-09-18")
    assert text.planning_ct is not None
    assert text.planning_ct.instance_count == 134
    assert (text.prescription.total_dose_gy, text.prescription.fractions) == (60.0, 30)
    assert text.dose_decision.label == "single_dose"
    assert (text.links, text.warnings) == ((), ())
    assert list(made.unused) == ["LICENSE"]
    assert read_dose(course.files.dose).values.max() == pytest.approx(78.2, abs=0.1)
    assert load_image(course.path("DICOM/CT")).grid.shape == (134, 512, 512)


def test_breast_plan_with_one_slice(test_data: Path, organized: Organize) -> None:
    text = organized(test_data / "breast-tps").only.description
    assert (text.kind, text.images[0].instance_count) == ("plan", 1)
    assert (text.prescription.total_dose_gy, text.prescription.fractions) == (14.0, 7)
    assert text.dose_decision.label == "single_dose"
    assert text.structure_sets[0].primary
    assert any("too few slices" in warning for warning in text.warnings)


def test_phantom(test_data: Path, organized: Organize) -> None:
    text = organized(test_data / "IBSI-1").only.description
    assert (text.kind, text.patient_id, text.images[0].instance_count) == ("structures", "1", 60)
    assert text.course.startswith("0000-00_")


@pytest.mark.parametrize(("patient", "slices"), [("STS_025", (47, 25, 47)), ("STS_042", (49, 42, 49))])
def test_sarcoma_patients_with_three_images(
    test_data: Path, organized: Organize, patient: str, slices: tuple[int, int, int]
) -> None:
    text = organized(test_data / "STS" / patient).only.description
    assert [image.modality for image in text.images] == ["CT", "MR", "PT"]
    assert tuple(image.instance_count for image in text.images) == slices
    assert sorted(one.image_key for one in text.structure_sets) == sorted(image.key for image in text.images)
    assert [one.image_key for one in text.structure_sets if one.primary] == ["CT"]


def test_everything_at_once(test_data: Path, organized: Organize) -> None:
    made = organized(test_data)
    assert {course.description.patient for course in made.result.courses} == {
        "LUNG1-001",
        "STS_025",
        "STS_042",
        "1",
        "123456",
    }
    assert {kind for kind, _ in made.unused.values()} == {"not_dicom"}
    copies = [path for course in made.result.courses for path in course.path("DICOM").rglob("*.dcm")]
    assert len(copies) + len(made.unused) == made.result.files_total
    assert made.result.files_read == made.result.files_total
    assert organized(test_data).result.files_read == 0

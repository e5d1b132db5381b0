"""Which prescription belongs to a structure."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtpipeline.course import (
    Course,
    CourseDescription,
    CourseFiles,
    DoseDecision,
    Plan,
    Prescription,
    TargetPrescription,
)
from rtpipeline.dvh.prescribed import prescribed_to
from rtpipeline.structures import Structure


def level(dose: float, roi: int | None = None) -> TargetPrescription:
    return TargetPrescription(dose_gy=dose, roi_number=roi, source="TargetPrescriptionDose")


def course(*plans: tuple[TargetPrescription, ...]) -> Course:
    listed = tuple(
        Plan(file=f"{i}.dcm", sop_instance_uid=str(i), prescriptions=targets) for i, targets in enumerate(plans)
    )
    total = sum(max(target.dose_gy for target in targets) for targets in plans) if plans else None
    description = CourseDescription(
        patient="P",
        course="C",
        patient_id="P",
        kind="plan",
        plans=listed,
        dose_decision=DoseDecision(label="x", used_plan_uids=tuple(plan.sop_instance_uid for plan in listed)),
        prescription=Prescription(total_dose_gy=total, source="TargetPrescriptionDose" if plans else ""),
    )
    return Course(CourseFiles(Path("nowhere")), description)


SIMULTANEOUS = course((level(60.0, 1), level(54.0, 2)))
UNNUMBERED = course((level(60.0), level(54.0)))


@pytest.mark.parametrize(
    ("course", "number", "name", "dose", "how"),
    [
        (SIMULTANEOUS, 2, "PTV low", 54.0, "of this ROI"),
        (SIMULTANEOUS, 1, "PTV", 60.0, "of this ROI"),
        (SIMULTANEOUS, 9, "Heart", 60.0, ""),
        (UNNUMBERED, 2, "PTV_54", 54.0, "level in the name"),
        (UNNUMBERED, 2, "ptv1 54Gy", 54.0, "level in the name"),
        (UNNUMBERED, 2, "PTV5400", 54.0, "level in the name"),
        (UNNUMBERED, 2, "PTV_50.4", 60.0, ""),
        (UNNUMBERED, 2, "PTV 54-60", 60.0, ""),
        (UNNUMBERED, 2, "Ring 54", 60.0, ""),
        (course((level(50.0, 1),), (level(16.0, 1),)), 1, "PTV", 66.0, "of this ROI"),
        (course((level(50.0, 1),), (level(16.0, 2),)), 2, "PTV boost", 66.0, ""),
    ],
)
def test_a_target_has_its_own_level(course: Course, number: int, name: str, dose: float, how: str) -> None:
    found = prescribed_to(Structure("manual", number, name, ""), course)
    assert found is not None
    assert found.dose_gy == dose
    assert found.source.startswith("TargetPrescriptionDose")
    assert how in found.source


def test_without_a_prescription_there_is_none() -> None:
    assert prescribed_to(Structure("manual", 1, "PTV_60", ""), course()) is None


def test_a_number_of_another_structure_set_is_not_meant() -> None:
    found = prescribed_to(Structure("auto", 2, "PTV low", ""), SIMULTANEOUS)
    assert found is not None
    assert found.dose_gy == 60.0


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("PTV_60", "", True),
        ("Bed", "CTV", True),
        ("Heart", "ORGAN", False),
        ("xPTV", "", False),
        ("Field", "IRRAD_VOLUME", False),
    ],
)
def test_targets(name: str, kind: str, target: bool) -> None:
    assert Structure("manual", 1, name, "", kind).is_target is target

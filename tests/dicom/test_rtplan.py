"""What a plan says of how it treats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicom_factory import Patient
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.rtplan import read_plan


def item(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def beam(number: int, points: list[Dataset], **attributes: Any) -> Dataset:
    common = {"BeamName": f"B{number}", "RadiationType": "PHOTON", "TreatmentDeliveryType": "TREATMENT"}
    return item(BeamNumber=number, ControlPointSequence=points, **{**common, **attributes})


def leaves(*positions: float) -> list[Dataset]:
    return [item(RTBeamLimitingDeviceType="MLCX", LeafJawPositions=list(positions))]


def arc(moving: bool) -> list[Dataset]:
    return [
        item(
            GantryAngle=angle,
            GantryRotationDirection="CC",
            NominalBeamEnergy=6,
            IsocenterPosition=[1.0, 2.0, 3.0],
            BeamLimitingDevicePositionSequence=leaves(-10.0, 10.0 + (angle if moving else 0)),
        )
        for angle in (10.0, 0.0, 350.0)
    ]


@pytest.mark.parametrize(
    ("points", "attributes", "technique"),
    [
        ([item(GantryAngle=0, GantryRotationDirection="NONE"), item()], {}, "static"),
        ([item(BeamLimitingDevicePositionSequence=leaves(-1, x)) for x in (1, 2)], {}, "IMRT"),
        (arc(moving=True), {}, "VMAT"),
        (arc(moving=False), {}, "arc"),
        ([item()], {"RadiationType": "PROTON"}, "ion"),
    ],
)
def test_technique_is_what_moves(
    tmp_path: Path, points: list[Dataset], attributes: dict[str, Any], technique: str
) -> None:
    plan = read_plan(Patient(tmp_path).make_plan(BeamSequence=[beam(1, points, **attributes)]))
    assert plan.technique == technique


def test_energy_machine_isocentre_and_meterset_are_found_where_they_stand(tmp_path: Path) -> None:
    setup = beam(2, [item(GantryAngle=90)], TreatmentDeliveryType="SETUP", TreatmentMachineName="LINAC")
    treating = beam(1, arc(moving=True), TreatmentMachineName="LINAC", PrimaryDosimeterUnit="MU")
    plan = read_plan(Patient(tmp_path).make_plan(BeamSequence=[treating, setup]))
    (found,) = plan.treatment_beams
    assert len(plan.beams) == 2
    assert found.energies == (6.0,)
    assert found.machine == "LINAC"
    assert found.isocentres_mm == ((1.0, 2.0, 3.0),)
    assert (found.meterset, found.meterset_unit) == (100.0, "MU")
    assert found.is_arc
    assert plan.fractions_planned == (30,)


def test_a_plan_without_beams_has_no_technique(tmp_path: Path) -> None:
    assert read_plan(Patient(tmp_path).make_plan(beams=0)).technique == ""


def test_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DicomError, match="not an RT Plan"):
        read_plan(Patient(tmp_path).make_structure_set())


@pytest.mark.real_data
def test_a_real_plan(test_data: Path) -> None:
    plan = read_plan(test_data / "breast-tps" / "rtplan.dcm")
    assert plan.technique == "IMRT"
    assert plan.fractions_planned == (7,)
    assert [found.energies for found in plan.beams] == [(10.0,), (6.0,), (6.0,), (10.0,)]
    assert [found.meterset for found in plan.beams] == [97.0, 87.0, 89.0, 94.0]
    assert [found.gantry_angles_deg[0] for found in plan.beams] == [327.0, 0.0, 56.0, 150.0]

"""Treatment records → fractions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from dicom_factory import Patient
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.rtrecord import read_treatment_record
from rtpipeline.metadata.fractions import delivery_summary, fraction_rows


def delivered(fraction: int | None, **attributes: Any) -> Dataset:
    dataset = Dataset()
    dataset.ReferencedBeamNumber = 1
    if fraction is not None:
        dataset.CurrentFractionNumber = fraction
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def rows_of(*paths: Path) -> list[dict[str, Any]]:
    return fraction_rows([read_treatment_record(path) for path in paths], {})


def test_two_fractions_of_one_day_are_two(tmp_path: Path) -> None:
    patient = Patient(tmp_path)
    rows = rows_of(
        patient.make_record("a", date="20240115", fraction=1),
        patient.make_record("b", date="20240115", fraction=2, TreatmentTime="160000.5"),
        patient.make_record("c", date="20240116", fraction=3),
    )
    assert [(row["treatment_date"], row["fraction_number"], row["first_time"]) for row in rows] == [
        ("2024-01-15", 1, "08:00:00"),
        ("2024-01-15", 2, "16:00:00"),
        ("2024-01-16", 3, "08:00:00"),
    ]
    assert delivery_summary(rows) == {
        "delivered_fractions": 3,
        "first_treatment_date": "2024-01-15",
        "last_treatment_date": "2024-01-16",
        "most_fractions_per_day": 2,
    }


def test_beams_in_several_records_are_one_fraction(tmp_path: Path) -> None:
    patient = Patient(tmp_path)
    beams = [
        delivered(4, DeliveredPrimaryMeterset=meterset, TreatmentTerminationStatus=status)
        for meterset, status in ((101.5, "NORMAL"), (40.0, "OPERATOR"))
    ]
    (row,) = rows_of(
        *(
            patient.make_record(f"beam {number}", TreatmentSessionBeamSequence=[one], TreatmentTime=f"09{number}000")
            for number, one in enumerate(beams)
        )
    )
    assert (row["records_count"], row["beams_delivered"], row["meterset_delivered"]) == (2, 2, 141.5)
    assert row["termination_status"] == "NORMAL; OPERATOR"
    assert (row["first_time"], row["last_time"]) == ("09:00:00", "09:10:00")


def test_an_interrupted_fraction_counts_once(tmp_path: Path) -> None:
    patient = Patient(tmp_path)
    rows = rows_of(
        patient.make_record("a", date="20240115", fraction=1), patient.make_record("b", date="20240116", fraction=1)
    )
    assert len(rows) == 2
    assert delivery_summary(rows)["delivered_fractions"] == 1


def test_an_undated_record_loses_nothing(tmp_path: Path) -> None:
    patient = Patient(tmp_path)
    rows = rows_of(
        patient.make_record("a", fraction=1, TreatmentDate=""), patient.make_record("b", date="20240116", fraction=2)
    )
    assert {(row["treatment_date"], row["fraction_number"]) for row in rows} == {(None, 1), ("2024-01-16", 2)}
    assert delivery_summary(rows)["delivered_fractions"] == 2


def test_without_a_number_a_day_is_a_fraction_without_number(tmp_path: Path) -> None:
    patient = Patient(tmp_path)
    rows = rows_of(
        *(
            patient.make_record(name, date=date, TreatmentSessionBeamSequence=[delivered(None)])
            for name, date in (("a", "20240115"), ("b", "20240115"), ("c", "20240116"))
        )
    )
    assert [(row["fraction_number"], row["records_count"]) for row in rows] == [(None, 2), (None, 1)]
    assert delivery_summary(rows)["delivered_fractions"] == 2


def test_unknown_metersets_are_not_zero(tmp_path: Path) -> None:
    patient = Patient(tmp_path)
    beams = [delivered(1, DeliveredPrimaryMeterset=100.0), delivered(1)]
    (row,) = rows_of(patient.make_record("a", TreatmentSessionBeamSequence=beams))
    assert row["meterset_delivered"] is None


def test_images_for_set_up_are_no_fractions(tmp_path: Path) -> None:
    imaging = [delivered(1, TreatmentDeliveryType="SETUP"), delivered(1, TreatmentDeliveryType="OPEN_PORTFILM")]
    assert rows_of(Patient(tmp_path).make_record("a", TreatmentSessionBeamSequence=imaging)) == []


def test_the_same_record_twice_counts_once(tmp_path: Path) -> None:
    path = Patient(tmp_path).make_record("a")
    assert len(rows_of(path, path)) == 1
    assert rows_of(path, path)[0]["records_count"] == 1


def test_fractions_of_two_plans_are_counted_apart(tmp_path: Path) -> None:
    patient = Patient(tmp_path)
    rows = rows_of(patient.make_record("a", plan="first"), patient.make_record("b", plan="boost"))
    assert delivery_summary(rows)["delivered_fractions"] == 2


def test_no_records_is_unknown_not_zero() -> None:
    assert delivery_summary([]) == {}


def test_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DicomError, match="not an RT treatment record"):
        read_treatment_record(Patient(tmp_path).make_plan())

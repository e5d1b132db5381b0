"""SUV factors of a real PET series whose header is rewritten, against values worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.suv import suv_factor

pytestmark = pytest.mark.real_data

Rewrite = Callable[..., Path]


@pytest.fixture
def rewritten(test_data: Path, tmp_path: Path) -> Rewrite:
    """Three slices of STS_042 (71 kg, 367.008 MBq F-18 at 08:50:00, half-life 6588 s) with other attributes.

    The scan starts at 10:17:57, and the slice is acquired 732 s later for 180 s; tracer attributes begin with
    `Tracer`.
    """

    def rewrite(**changes: Any) -> Path:
        folder = tmp_path / "PT"
        folder.mkdir()
        for file in sorted((test_data / "STS" / "STS_042" / "PET" / "image").iterdir())[:3]:
            dataset = pydicom.dcmread(file)
            dataset.SeriesTime, dataset.AcquisitionTime, dataset.FrameReferenceTime = "101757", "103009", 732000.0
            for keyword, value in changes.items():
                target = dataset
                if keyword.startswith("Tracer"):
                    target, keyword = dataset.RadiopharmaceuticalInformationSequence[0], keyword.removeprefix("Tracer")
                if value is None:
                    delattr(target, keyword)
                else:
                    setattr(target, keyword, value)
            dataset.save_as(folder / file.name)
        return folder

    return rewrite


@pytest.mark.parametrize("patient", ["STS_025", "STS_042"])
def test_series_stored_as_suv_are_taken_as_they_are(test_data: Path, patient: str) -> None:
    assert suv_factor(test_data / "STS" / patient / "PET" / "image").factor == 1.0


def test_activity_corrected_to_the_start_of_the_scan(rewritten: Rewrite) -> None:
    factor = suv_factor(rewritten(Units="BQML", DecayCorrection="START")).factor

    # 08:50:00 to 10:17:57 are 5277 s, 5277/6588 = 0.8010018 half-lives, and 2^-0.8010018 = 0.5739505: the 367.008 MBq
    # have decayed to 210.64442 MBq. 71000 g / 210644420 Bq:
    assert factor == pytest.approx(3.370609e-4, rel=1e-6)


def test_activity_corrected_to_the_administration(rewritten: Rewrite) -> None:
    # Both activities are of 08:50:00: 71000 g / 367008000 Bq.
    assert suv_factor(rewritten(Units="BQML", DecayCorrection="ADMIN")).factor == pytest.approx(1.934563e-4, rel=1e-6)


def test_a_start_time_without_a_date_is_of_the_day_of_the_series(rewritten: Rewrite) -> None:
    folder = rewritten(Units="BQML", DecayCorrection="START", TracerRadiopharmaceuticalStartDateTime=None)

    assert suv_factor(folder).factor == pytest.approx(3.370609e-4, rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Units": "CNTS"}, "Units CNTS"),
        ({"SUVType": "LBM"}, "normalised by LBM"),
        ({"Units": "BQML", "DecayCorrection": "NONE"}, "DecayCorrection NONE"),
        ({"Units": "BQML", "PatientWeight": None}, "PatientWeight is missing"),
        ({"Units": "BQML", "PatientWeight": 71000}, "not plausible in kg"),
        ({"Units": "BQML", "TracerRadionuclideTotalDose": 367.0}, "not plausible in Bq"),
        ({"Units": "BQML", "CorrectedImage": ["DECY", "SCAT"]}, "CorrectedImage lacks ATTN"),
        ({"Units": "BQML", "DecayCorrection": "START", "TracerRadionuclideHalfLife": None}, "RadionuclideHalfLife"),
        ({"Units": "BQML", "DecayCorrection": "START", "SeriesTime": "113009"}, "SeriesTime is not the time"),
        (
            {
                "Units": "BQML",
                "DecayCorrection": "START",
                "TracerRadiopharmaceuticalStartDateTime": None,
                "TracerRadiopharmaceuticalStartTime": "235000",
            },
            "after the administration",
        ),
        (
            {
                "Units": "BQML",
                "DecayCorrection": "START",
                "TracerRadiopharmaceuticalStartDateTime": "20040519085000+0200",
            },
            "another time zone",
        ),
    ],
)
def test_what_cannot_be_known_is_refused(rewritten: Rewrite, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(DicomError, match=reason):
        suv_factor(rewritten(**changes))

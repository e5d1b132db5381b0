"""SUV factors of real PET series whose headers are rewritten as vendors write them, against values worked out by hand.

All but one case begin with STS_042: a woman of 71 kg and 1.58 m, 367.008 MBq F-18 (half-life 6588 s) at 08:50:00, a
scan from 10:17:57, and a bed position that is acquired from 10:30:09 (732 s later) for 180 s. Activities at the time of
the measurement are worked out with A(t) = 367.008 MBq * 2^(-t / 6588 s).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from rtpipeline.dicom.body_size import (
    body_surface_area_cm2,
    lean_body_mass_james_kg,
    lean_body_mass_janmahasatian_kg,
)
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.suv import suv_conversion

Rewrite = Callable[..., Path]
PHILIPS = (0x7053, "Philips PET Private Group")
GE = (0x0009, "GEMS_PETD_01")
TRACER = "Tracer"


Private = tuple[tuple[int, str], int, str, str | bytes]


def philips(element: int, value: str) -> Private:
    return (PHILIPS, element, "DS", value)


def ge(element: int, value: str) -> Private:
    return (GE, element, "DT", value)


def changed(dataset: Dataset, changes: dict[str, Any], private: tuple[Private, ...]) -> None:
    """Attributes set, or removed where the value is None; those of the tracer begin with `Tracer`."""
    for keyword, value in changes.items():
        target = dataset
        if keyword.startswith(TRACER):
            target, keyword = dataset.RadiopharmaceuticalInformationSequence[0], keyword.removeprefix(TRACER)
        if value is not None:
            setattr(target, keyword, value)
        elif keyword in target:
            delattr(target, keyword)
    for (group, creator), element, representation, value in private:
        dataset.private_block(group, creator, create=True).add_new(element, representation, value)


@pytest.fixture(scope="module")
def slices(test_data: Path) -> dict[str, list[Dataset]]:
    """Three slices of each patient's PET."""
    folders = {patient: test_data / "STS" / patient / "PET" / "image" for patient in ("STS_025", "STS_042")}
    return {key: [pydicom.dcmread(file) for file in sorted(folder.iterdir())[:3]] for key, folder in folders.items()}


@pytest.fixture
def rewritten(slices: dict[str, list[Dataset]], tmp_path: Path) -> Rewrite:
    """The slices of a patient with other attributes; `last` are those of the third slice alone."""

    def rewrite(
        *,
        patient: str = "STS_042",
        private: tuple[Private, ...] = (),
        last: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Path:
        folder = tmp_path / "PT"
        folder.mkdir()
        for number, original in enumerate(slices[patient]):
            dataset = copy.deepcopy(original)
            changed(dataset, {**changes, **((last or {}) if number == 2 else {})}, private)
            dataset.save_as(folder / f"{number}.dcm")
        return folder

    return rewrite


BQML = {"Units": "BQML", "SUVType": None}
START = {**BQML, "DecayCorrection": "START"}
CORRECTED_BUT_FOR_DECAY = ["ATTN", "SCAT", "DTIM", "RAN", "DCAL", "NORM"]
NO_DATE = {"TracerRadiopharmaceuticalStartDateTime": None, "TracerRadiopharmaceuticalStopDateTime": None}
LATE_SERIES = {"SeriesDate": "20040521", "SeriesTime": "180000"}
"""A series that was made two days later, as reconstructing it again or editing it does."""

FROM_SCAN_START = 3.370609e-4
"""10:17:57 - 08:50:00 = 5277 s = 0.8010018 half-lives; 2^-0.8010018 = 0.5739505; 367.008 MBq * 0.5739505 =
210.644419 MBq; 71000 g / 210644419 Bq."""

VENDORS: dict[str, tuple[dict[str, Any], float]] = {
    # Corrected to the scan's start by its series time.
    "BQML START": (START, FROM_SCAN_START),
    # Both activities are of the administration: 71000 g / 367008000 Bq.
    "BQML ADMIN": ({**BQML, "DecayCorrection": "ADMIN"}, 1.934563e-4),
    # The frame's average activity is that of the moment t after its start with exp(-λt) = (1 - exp(-λT)) / (λT):
    # λ = ln 2 / 6588 s = 1.052136e-4 /s, λT = 0.01893845, t = 89.858 s. 10:30:09 - 08:50:00 + t = 6098.858 s
    # = 0.9257526 half-lives; 2^-0.9257526 = 0.5264058; 193.195158 MBq; 71000 / 193195158.
    "BQML NONE": (
        {**BQML, "DecayCorrection": "NONE", "CorrectedImage": CORRECTED_BUT_FOR_DECAY, "DecayFactor": None},
        3.675040e-4,
    ),
    # Series time two days late, GE's private scan time is right.
    "GE private scan time": ({**START, **LATE_SERIES, "private": (ge(0x0D, "20040519101757.00"),)}, FROM_SCAN_START),
    # GE's private time of administration, with its date, where the public one has none; scan after midnight:
    # 00:17:57 - 23:30:00 the day before = 2877 s = 0.4367031 half-lives; 2^-0.4367031 = 0.7388211; 271.153241 MBq.
    "GE private administration time": (
        {
            **START,
            **NO_DATE,
            "SeriesDate": "20040520",
            "SeriesTime": "001757",
            "AcquisitionDate": "20040520",
            "AcquisitionTime": "003009",
            "TracerRadiopharmaceuticalStartTime": "233000",
            "private": (ge(0x3B, "20040519233000.00"),),
        },
        2.618446e-4,
    ),
    # FrameReferenceTime to the frame's start, as GE writes it: DecayFactor 1.09032 = 2^(822/6588) says which it is.
    # 10:30:09 - 732 s = 10:17:57.
    "GE without any scan time": ({**START, **LATE_SERIES}, FROM_SCAN_START),
    # FrameReferenceTime to the frame's average, as Siemens writes it: 732 s + 89.858 s = 821.858 s.
    "Siemens without a scan time": (
        {**START, **LATE_SERIES, "Manufacturer": "SIEMENS", "DecayFactor": None, "FrameReferenceTime": 821858.0},
        FROM_SCAN_START,
    ),
    # Nothing but DecayFactor: log2(1.09032) * 6588 s = 821.9 s before the average at 10:31:38.9, within 0.1 s.
    "only DecayFactor says when": ({**START, **LATE_SERIES, "FrameReferenceTime": 0.0}, FROM_SCAN_START),
    # Two bed positions and neither of both: the first began at 10:17:57.
    "only AcquisitionTime says when": (
        {
            **START,
            **LATE_SERIES,
            "FrameReferenceTime": None,
            "DecayFactor": None,
            "AcquisitionTime": "101757",
            "last": {"AcquisitionTime": "102057"},
        },
        FROM_SCAN_START,
    ),
    # A real series that was edited: its series time, 11:52:24, is that of this bed position, but FrameReferenceTime
    # 916 s and DecayFactor 1.11163 = 2^(1006/6588) say 11:37:08. 66 kg, 413.949888 MBq at 10:16:00:
    # 4868 s = 0.7389192 half-lives; 2^-0.7389192 = 0.5991880; 248.033826 MBq; 66000 / 248033826.
    "series time of a later bed position": ({**START, "patient": "STS_025"}, 2.660927e-4),
    # 23:30:00 without a date, scan at 00:17:57 of the next day: 2877 s as above.
    "across midnight without a date": (
        {
            **START,
            **NO_DATE,
            "SeriesDate": "20040520",
            "SeriesTime": "001757",
            "AcquisitionDate": "20040520",
            "AcquisitionTime": "003009",
            "TracerRadiopharmaceuticalStartTime": "233000",
        },
        2.618446e-4,
    ),
    "on the same day without a date": ({**START, **NO_DATE}, FROM_SCAN_START),
    # 06:50:00 UTC is 08:50:00 of the scanner, two hours east.
    "another time zone": (
        {
            **START,
            "TimezoneOffsetFromUTC": "+0200",
            "TracerRadiopharmaceuticalStartDateTime": "20040519065000.00+0000",
            "TracerRadiopharmaceuticalStartTime": None,
        },
        FROM_SCAN_START,
    ),
    # 22:50:00 of the day before, ten hours west of Greenwich, is 08:50:00 UTC.
    "another day in another time zone": (
        {
            **START,
            "TimezoneOffsetFromUTC": "+0000",
            "TracerRadiopharmaceuticalStartDateTime": "20040518225000.00-1000",
        },
        FROM_SCAN_START,
    ),
    # Its own zone: the scanner's, because the time of day is that of RadiopharmaceuticalStartTime.
    "a time zone that only the tracer has": (
        {**START, "TracerRadiopharmaceuticalStartDateTime": "20040519085000.00+0200"},
        FROM_SCAN_START,
    ),
    # The factor is the private one.
    "Philips counts to SUV": (
        {"Units": "CNTS", "SUVType": None, "DecayCorrection": "START", "private": (philips(0x00, "0.000551384"),)},
        5.51384e-4,
    ),
    # 4.2 Bq/ml a count, then as BQML START: 4.2 * 3.370609e-4.
    "Philips counts to activity": (
        {"Units": "CNTS", "SUVType": None, "DecayCorrection": "START", "private": (philips(0x09, "4.2"),)},
        1.415656e-3,
    ),
    # A factor of 0 is none.
    "Philips counts with an empty SUV factor": (
        {
            "Units": "CNTS",
            "SUVType": None,
            "DecayCorrection": "START",
            "private": (philips(0x00, "0"), philips(0x09, "4.2")),
        },
        1.415656e-3,
    ),
    "GML": ({"Units": "GML", "SUVType": "BW"}, 1.0),
    "GML without SUVType": ({"Units": "GML", "SUVType": None}, 1.0),
    # 1.07 * 71 - 148 (71/158)^2 = 46.08424 kg lean body mass; 71 / 46.08424.
    "GML by lean body mass": ({"Units": "GML", "SUVType": "LBMJAMES128"}, 1.540657),
    # 17265.434 cm2 (below): 71000 / 17265.434.
    "CM2ML": ({"Units": "CM2ML", "SUVType": "BSA"}, 4.112263),
}


@pytest.mark.real_data
@pytest.mark.parametrize("vendor", VENDORS)
def test_suv_by_body_weight(rewritten: Rewrite, vendor: str) -> None:
    changes, expected = VENDORS[vendor]

    conversion = suv_conversion(rewritten(**changes))

    assert conversion.factors == pytest.approx([expected] * 3, rel=1e-5)
    assert conversion.decisions


VARIANTS = [
    # 1.07 * 71 - 148 * (71/158)^2 = 75.97 - 29.88576 = 46.08424 kg; 46084.24 g / 367008000 Bq.
    ("lean_body_mass_james", "F", 1.255674e-4),
    # 1.10 * 71 - 128 * (71/158)^2 = 78.1 - 25.84714 = 52.25286 kg.
    ("lean_body_mass_james", "M", 1.423753e-4),
    # B = 71 / 1.58^2 = 28.44095 kg/m2; 9270 * 71 / (8780 + 244 * 28.44095) = 658170 / 15719.593 = 41.86940 kg.
    ("lean_body_mass_janmahasatian", "F", 1.140831e-4),
    # 658170 / (6680 + 216 * 28.44095) = 658170 / 12823.246 = 51.32632 kg.
    ("lean_body_mass_janmahasatian", "M", 1.398507e-4),
    # 71.84 * 71^0.425 * 158^0.725 = 71.84 * e^1.8116389 * e^3.6703697 = 17265.434 cm2.
    ("body_surface_area", "F", 4.704375e-5),
    ("body_surface_area", "O", 4.704375e-5),
]


@pytest.mark.real_data
@pytest.mark.parametrize(("variant", "sex", "expected"), VARIANTS)
def test_other_variants(rewritten: Rewrite, variant: Any, sex: str, expected: float) -> None:
    folder = rewritten(**BQML, DecayCorrection="ADMIN", PatientSex=sex)

    assert suv_conversion(folder, variant).factors == pytest.approx([expected] * 3, rel=1e-5)


@pytest.mark.real_data
def test_stored_suv_are_taken_for_another_variant_by_exchanging_the_body_size(rewritten: Rewrite) -> None:
    # 46.08424 kg lean, of 71 kg.
    assert suv_conversion(rewritten(), "lean_body_mass_james").factors == pytest.approx([0.6490739] * 3, rel=1e-6)


def test_published_formulas_of_body_size() -> None:
    # A man of 70 kg and 1.75 m: 77 - 128 * 0.16 = 56.52 kg; B = 22.85714, 648900 / 11617.143 = 55.857 kg;
    # Du Bois: 1.8481 m2 (their chart reads 1.85).
    assert lean_body_mass_james_kg(70, 175, "M") == pytest.approx(56.52, abs=1e-9)
    assert lean_body_mass_janmahasatian_kg(70, 175, "M") == pytest.approx(55.857, abs=1e-3)
    assert body_surface_area_cm2(70, 175) == pytest.approx(18481, abs=5)


@pytest.mark.real_data
def test_activities_without_decay_correction_are_of_their_own_bed_position(rewritten: Rewrite) -> None:
    folder = rewritten(
        **BQML,
        DecayCorrection="NONE",
        CorrectedImage=CORRECTED_BUT_FOR_DECAY,
        last={"AcquisitionTime": "103309"},
    )
    positions = {file.name: pydicom.dcmread(file).ImagePositionPatient[2] for file in sorted(folder.iterdir())}
    later = sorted(positions.values()).index(positions[max(positions)])

    # 180 s later: 6278.858 s = 0.9530750 half-lives; 2^-0.9530750 = 0.5165303; 189.570770 MBq; 71000 / 189570770.
    expected = [3.675040e-4] * 3
    expected[later] = 3.745303e-4
    assert suv_conversion(folder).factors == pytest.approx(expected, rel=1e-5)


@pytest.mark.real_data
def test_every_slice_has_its_own_rescale_slope(rewritten: Rewrite) -> None:
    folder = rewritten(**START)
    factors = suv_conversion(folder).factors
    volume = load_image(folder)
    heights_mm = [volume.grid.index_to_world(np.array([0.0, 0.0, plane]))[2] for plane in range(3)]
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        (plane,) = np.flatnonzero(np.isclose(heights_mm, dataset.ImagePositionPatient[2]))
        by_hand = dataset.pixel_array.max() * float(dataset.RescaleSlope) * FROM_SCAN_START
        assert volume.values[plane].max() * factors[plane] == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.real_data
def test_provenance_is_enough_to_compute_the_factor_again(rewritten: Rewrite) -> None:
    provenance = suv_conversion(rewritten(**START, **{"private": (ge(0x0D, "20040519101757.00"),)})).provenance

    inputs: Any = provenance["inputs"]
    again = inputs["weight_kg"] * 1000 / (inputs["injected_activity_bq"] * 0.5 ** (5277 / inputs["half_life_s"]))
    assert provenance["factors"] == pytest.approx(again, rel=1e-12)
    assert inputs["uptake_s"] == 5277
    assert (inputs["administration"], inputs["scan_start"]) == ("2004-05-19T08:50:00", "2004-05-19T10:17:57")
    assert provenance["decisions"] == [
        "decay-corrected to the start of the scan, which is from SeriesDate and SeriesTime",
        "administered at the time in RadiopharmaceuticalStartDateTime",
    ]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "counts without private factors": ({"Units": "CNTS"}, "without the private factors of Philips"),
    "counts with a factor of zero": ({"Units": "CNTS", "private": (philips(0x00, "0"),)}, "without the private"),
    "counts with a broken factor": (
        {"Units": "CNTS", "private": ((PHILIPS, 0x00, "UN", b"no"),)},
        "without the private",
    ),
    "relative units": ({"Units": "PROPCPS"}, "Units PROPCPS cannot"),
    "no units": ({"Units": None}, r"Units \(missing\)"),
    "lean body mass of no formula": ({"SUVType": "LBM"}, "type LBM in GML"),
    "ideal body weight": ({"SUVType": "IBW"}, "type IBW"),
    "surface in g/ml": ({"SUVType": "BSA"}, "type BSA in GML"),
    "no decay correction named": ({**BQML, "DecayCorrection": None}, r"DecayCorrection \(missing\)"),
    "decay correction against itself": ({**BQML, "DecayCorrection": "NONE"}, "CorrectedImage has DECY"),
    "no weight": ({**START, "PatientWeight": None}, "PatientWeight is missing"),
    "weight 0": ({**START, "PatientWeight": 0}, "PatientWeight is missing or not plausible in kg"),
    "weight in g": ({**START, "PatientWeight": 71000}, "not plausible in kg"),
    "no dose": ({**START, "TracerRadionuclideTotalDose": None}, "RadionuclideTotalDose is missing"),
    "dose 0": ({**START, "TracerRadionuclideTotalDose": 0}, "RadionuclideTotalDose is missing or not plausible"),
    "dose in MBq": ({**START, "TracerRadionuclideTotalDose": 367.0}, "not plausible in Bq"),
    "no half-life": ({**START, "TracerRadionuclideHalfLife": None}, "RadionuclideHalfLife"),
    "no tracer": ({**START, "RadiopharmaceuticalInformationSequence": None}, "0 radiopharmaceuticals"),
    "not corrected for attenuation": ({**START, "CorrectedImage": ["DECY", "SCAT"]}, "CorrectedImage lacks ATTN"),
    "not corrected for decay": ({**START, "CorrectedImage": ["ATTN", "SCAT"]}, "CorrectedImage lacks DECY"),
    "weight that differs": ({**START, "last": {"PatientWeight": 72}}, "PatientWeight differs"),
    "frames that contradict one another": (
        {**START, **LATE_SERIES, "last": {"FrameReferenceTime": 500000.0, "DecayFactor": None}},
        "up to 232 s apart",
    ),
    "reference time against decay factor": (
        {**START, **LATE_SERIES, "DecayFactor": 1.5},
        "FrameReferenceTime and DecayFactor contradict",
    ),
    "no acquisition time": ({**START, "AcquisitionTime": None}, "AcquisitionTime is missing"),
    "given after the scan": (
        {**START, **NO_DATE, "TracerRadiopharmaceuticalStartTime": "110000"},
        "2523 s after the start of the scan",
    ),
    "given a year before": (
        {**START, "TracerRadiopharmaceuticalStartDateTime": "20030519085000"},
        "not between 0 and 10 half-lives",
    ),
    "two times of the day": (
        {**START, "TracerRadiopharmaceuticalStartDateTime": "20040519074500"},
        "different times of the day",
    ),
    "a time zone and none to compare it with": (
        {
            **START,
            "TracerRadiopharmaceuticalStartDateTime": "20040519085000+0200",
            "TracerRadiopharmaceuticalStartTime": None,
        },
        "TimezoneOffsetFromUTC",
    ),
    "a long-lived tracer without a date": (
        {**START, **NO_DATE, "TracerRadionuclideHalfLife": 282240, "DecayFactor": None},
        "can be imaged days later",
    ),
}


@pytest.mark.real_data
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_known_is_refused(rewritten: Rewrite, case: str) -> None:
    changes, reason = REFUSED[case]
    with pytest.raises(DicomError, match=reason):
        suv_conversion(rewritten(**changes))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"PatientSize": None}, "PatientSize is missing"),
        ({"PatientSize": 158}, "not plausible in m"),
        ({"PatientSex": "O"}, "PatientSex is O"),
        ({"PatientWeight": 95}, "does not hold for 95 kg at 158 cm"),
    ],
)
def test_a_body_that_a_formula_does_not_describe_is_refused(
    rewritten: Rewrite, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DicomError, match=reason):
        suv_conversion(rewritten(**BQML, DecayCorrection="ADMIN", **changes), "lean_body_mass_james")

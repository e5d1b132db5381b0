"""Doses are added where they lie in the patient, on the union of their grids.

What must hold:
- two identical doses are exactly twice one, in every patient position, oblique, with descending, absolute and
  non-uniform frames;
- the same dose stored in another patient position, or with its frames in another order, is the same dose;
- what lies outside a dose is zero, and nothing of any dose is cut off;
- unsigned 16- and 32-bit values; relative units and failed parts are refused, never left out;
- the file is an RT Dose that names its plans and parts, and reading it gives the sum back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import RTDoseStorage, RTPlanStorage

from dicom_factory import Patient
from organized import Organize
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.headers import read_header
from rtpipeline.dicom.radiotherapy_references import DoseReferences
from rtpipeline.dicom.rtdose import read_dose
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.organize.dose_sum import sum_of

POSITIONS = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "HFDR": (0, 1, 0, -1, 0, 0),
    "HFDL": (0, -1, 0, 1, 0, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
    "FFDR": (0, 1, 0, 1, 0, 0),
    "FFDL": (0, -1, 0, -1, 0, 0),
}
"""Directions of rows and columns in the patient for images taken as the scanner sees them (PS3.3 C.7.3.1.1.2)."""
OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
FRAMES = {
    "ascending": (0.0, 3.0, 6.0, 9.0, 12.0),
    "descending": (0.0, -3.0, -6.0, -9.0, -12.0),
    "unordered": (0.0, 6.0, 3.0, 12.0, 9.0),
    "non-uniform": (0.0, 2.0, 5.0, 9.0, 14.0),
}


def write(
    path: Path,
    stored: np.ndarray,
    orientation: tuple[float, ...] = POSITIONS["HFS"],
    frames: tuple[float, ...] = FRAMES["ascending"],
    origin_mm: tuple[float, ...] = (10.0, -20.0, 30.0),
    **attributes: Any,
) -> Path:
    """An RT Dose of stored values (planes, rows, columns) in mGy, 2 × 2.5 mm pixels."""
    made = Patient(path.parent).make_dose(
        path.stem,
        size=stored.shape[::-1],
        spacing_mm=(2.0, 2.5, 3.0),
        offsets_mm=frames,
        origin_mm=origin_mm,
        ImageOrientationPatient=list(orientation),
        **attributes,
    )
    dataset = pydicom.dcmread(made)
    dataset.BitsAllocated = dataset.BitsStored = stored.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelData = stored.tobytes()
    dataset.save_as(made)
    return made


def random_dose(seed: int, shape: tuple[int, int, int] = (5, 6, 7), kind: str = "<u4") -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 60_000, shape).astype(kind)


@pytest.mark.parametrize("kind", ["<u2", "<u4"])
@pytest.mark.parametrize("frames", FRAMES)
@pytest.mark.parametrize("position", [*POSITIONS, "oblique"])
def test_two_identical_doses_are_exactly_twice_one(tmp_path: Path, position: str, frames: str, kind: str) -> None:
    orientation = POSITIONS.get(position, OBLIQUE)
    dose = read_dose(write(tmp_path / "dose.dcm", random_dose(1, kind=kind), orientation, FRAMES[frames]))
    total = sum_of([dose, dose])
    assert total.grid.same_as(dose.grid)
    np.testing.assert_array_equal(total.values, 2 * dose.values)
    assert total.values.max() > 65.536, "more than 16 bits hold"


@pytest.mark.parametrize("normal", [1, -1])
def test_absolute_offsets_are_the_relative_ones(tmp_path: Path, normal: int) -> None:
    orientation = POSITIONS["HFS" if normal == 1 else "FFS"]
    stored = random_dose(2)
    relative = write(tmp_path / "relative.dcm", stored, orientation)
    absolute = tuple(30.0 + normal * offset for offset in FRAMES["ascending"])
    other = write(tmp_path / "absolute.dcm", stored, orientation, absolute)
    one, two = read_dose(relative), read_dose(other)
    assert one.grid.same_as(two.grid)
    np.testing.assert_array_equal(sum_of([one, two]).values, 2 * one.values)


@pytest.mark.parametrize("frames", FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize(
    ("position", "absolute"),
    [*((position, absolute) for position in POSITIONS for absolute in (False, True)), ("oblique", False)],
)
def test_box_in_the_header_is_that_of_the_grid(
    tmp_path: Path, position: str, frames: tuple[float, ...], absolute: bool
) -> None:
    """What organizing compares regions by, from the header alone."""
    orientation = POSITIONS.get(position, OBLIQUE)
    normal_z = np.cross(orientation[:3], orientation[3:])[2]
    offsets = tuple(30.0 + normal_z * offset for offset in frames) if absolute else frames
    path = write(tmp_path / "dose.dcm", random_dose(4), orientation, offsets)
    references = read_header(path).references
    assert isinstance(references, DoseReferences)
    grid = read_dose(path).grid
    ends = np.array(
        [[x, y, z] for x in (0, grid.columns - 1) for y in (0, grid.rows - 1) for z in (0, grid.planes - 1)]
    )
    corners = grid.index_to_world(ends.astype(float))
    np.testing.assert_allclose(references.box_mm, [*corners.min(axis=0), *corners.max(axis=0)], atol=1e-3)


@pytest.mark.parametrize("position", POSITIONS)
def test_the_same_dose_in_another_position_is_the_same_dose(tmp_path: Path, position: str) -> None:
    """A linear dose on cubic voxels, written as the position lays out its rows, columns and frames."""
    low, steps = np.array([0.0, -10.0, 20.0]), np.array([4, 5, 6])

    def dose_gy(world: np.ndarray) -> np.ndarray:
        return np.rint((world - low) @ np.array([300.0, 500.0, 700.0]) + 1000)

    def in_position(orientation: tuple[float, ...]) -> Path:
        x, y = np.array(orientation[:3]), np.array(orientation[3:])
        z = np.cross(x, y)
        directions = np.stack([x, y, z], axis=1)
        size = np.abs(directions.T @ steps).astype(int)
        origin = low + 2.0 * np.where(directions.min(axis=1) < 0, steps - 1, 0)
        index = np.stack(np.meshgrid(*(np.arange(n) for n in size[::-1]), indexing="ij"), axis=-1)[..., ::-1]
        stored = dose_gy(origin + 2.0 * index @ directions.T).astype("<u4")
        path = write(
            tmp_path / f"{orientation}.dcm",
            stored,
            orientation,
            tuple(2.0 * np.arange(size[2])),
            tuple(origin),
            PixelSpacing=[2.0, 2.0],
        )
        return path

    supine, other = read_dose(in_position(POSITIONS["HFS"])), read_dose(in_position(POSITIONS[position]))
    np.testing.assert_allclose(sum_of([supine, other]).values, 2 * supine.values, rtol=0, atol=1e-9)
    np.testing.assert_allclose(sum_of([other, supine]).values, 2 * other.values, rtol=0, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    shift=st.tuples(*[st.integers(-6, 6)] * 3),
    sizes=st.tuples(*[st.integers(1, 6)] * 3),
    position=st.sampled_from(sorted(POSITIONS)),
    seed=st.integers(0, 1000),
)
def test_nothing_is_cut_off_and_nothing_is_added(
    shift: tuple[int, int, int], sizes: tuple[int, int, int], position: str, seed: int
) -> None:
    """On one lattice the sum holds both doses completely: its total is the sum of their totals."""
    x, y = np.array(POSITIONS[position][:3], float), np.array(POSITIONS[position][3:], float)
    direction = np.stack([x, y, np.cross(x, y)], axis=1)
    spacing = np.array([2.0, 2.5, 3.0])
    first = Grid.uniform((0, 0, 0), (2, 2.5, 3), (5, 4, 3), direction)
    second = Grid.uniform(tuple(direction @ (shift * spacing)), (2, 2.5, 3), sizes, direction)
    random = np.random.default_rng(seed)
    one, two = (Volume(grid, random.random(grid.shape)) for grid in (first, second))
    total = sum_of([one, two])
    assert total.values.sum() == pytest.approx(one.values.sum() + two.values.sum(), rel=1e-12)
    assert sum_of([two, one]).values.sum() == pytest.approx(total.values.sum(), rel=1e-12)
    assert total.values.min() >= 0


def test_non_uniform_and_uniform_frames_add(tmp_path: Path) -> None:
    """A dose that is linear across planes is interpolated exactly, whatever its planes."""

    def linear(offsets: tuple[float, ...]) -> np.ndarray:
        return np.broadcast_to(np.asarray(offsets)[:, None, None] * 1000 + 5000, (5, 6, 7)).astype("<u4")

    uneven = read_dose(write(tmp_path / "a.dcm", linear(FRAMES["non-uniform"]), frames=FRAMES["non-uniform"]))
    even = read_dose(write(tmp_path / "b.dcm", linear(FRAMES["ascending"])))
    total = sum_of([uneven, even])
    depth = total.grid.plane_offsets_mm
    inside = depth <= 12
    np.testing.assert_allclose(total.values[inside, 0, 0], 2 * (depth[inside] + 5), rtol=0, atol=1e-9)
    outside = (depth > 12) & (depth <= 14)
    np.testing.assert_allclose(total.values[outside, 0, 0], depth[outside] + 5, rtol=0, atol=1e-9)


def plan_sum(patient: Patient, **boost: Any) -> None:
    patient.make_series()
    patient.make_structure_set()
    for name, gy, label in (("a", 50.0, "Pelvis"), ("b", 16.0, "Boost")):
        patient.make_plan(name, prescriptions_gy=(gy,), label=label)
    patient.make_dose("dose of a", plans=("a",), dose_gy=50)
    patient.make_dose("dose of b", plans=("b",), **{"dose_gy": 16, **boost})


@pytest.mark.parametrize("position", [*POSITIONS, "oblique"])
def test_written_sum_in_every_position(patient: Patient, organized: Organize, position: str) -> None:
    orientation = list(POSITIONS.get(position, OBLIQUE))
    plan_sum(patient, dose_gy=50, ImageOrientationPatient=orientation)
    path = patient.folder / "dose of a.dcm"
    dataset = pydicom.dcmread(path)
    dataset.ImageOrientationPatient = orientation
    dataset.save_as(path)
    course = organized().only
    one, total = read_dose(path), read_dose(course.files.dose)
    assert total.grid.same_as(one.grid)
    np.testing.assert_array_equal(total.values, 2 * one.values)


def test_written_sum_is_an_rt_dose_with_references_to_its_parts(patient: Patient, organized: Organize) -> None:
    plan_sum(patient)
    dataset = pydicom.dcmread(organized().only.files.dose)
    assert (dataset.SOPClassUID, dataset.Modality, dataset.DoseUnits) == (RTDoseStorage, "RTDOSE", "GY")
    assert (dataset.DoseType, dataset.DoseSummationType) == ("PHYSICAL", "MULTI_PLAN")
    plans = dataset.ReferencedRTPlanSequence
    assert [(item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in plans] == [
        (RTPlanStorage, patient.uid("a")),
        (RTPlanStorage, patient.uid("b")),
    ]
    parts = dataset.ReferencedInstanceSequence
    assert [(item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in parts] == [
        (RTDoseStorage, patient.uid("dose of a")),
        (RTDoseStorage, patient.uid("dose of b")),
    ]
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert len(dataset.GridFrameOffsetVector) == dataset.NumberOfFrames == 4
    assert len(dataset.PixelData) == 4 * dataset.NumberOfFrames * dataset.Rows * dataset.Columns
    for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientName"):
        assert dataset.get(keyword)


def test_relative_units_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DicomError, match="RELATIVE"):
        read_dose(write(tmp_path / "dose.dcm", random_dose(3), units="RELATIVE"))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"GridFrameOffsetVector": [0, 3, 3, 9]}, "two frames at the same place"),
        ({"DoseGridScaling": "0"}, "DoseGridScaling"),
        ({"origin_mm": (1e6, 0, 0)}, "voxels"),
    ],
    ids=["frames", "scaling", "far away"],
)
def test_a_part_that_cannot_be_added_leaves_its_course_without_dose_and_the_others_alone(
    export: Path, organized: Organize, damage: dict[str, Any], reason: str
) -> None:
    plan_sum(Patient(export / "a", "A"), **damage)
    prior = pydicom.Dataset()
    prior.ReferencedSOPInstanceUID, prior.RTPlanRelationship = Patient(export, "A").uid("a"), "PRIOR"
    Patient(export / "a", "A").make_plan("b", prescriptions_gy=(16.0,), label="Boost", ReferencedRTPlanSequence=[prior])
    plan_sum(Patient(export / "b", "B"))
    first = organized()
    bad, good = sorted(first.result.courses, key=lambda course: course.key)
    assert good.description.dose_decision.label == "plans_summed"
    decision = bad.description.dose_decision
    assert (decision.label, decision.used_dose_uids) == ("ambiguous", ())
    assert reason in decision.reason
    assert not bad.files.dose.exists()
    assert bad.description.prescription.total_dose_gy is None
    again = organized()
    assert again.snapshot() == first.snapshot()
    assert not again.result.changed

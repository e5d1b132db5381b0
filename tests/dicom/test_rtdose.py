"""RT Dose ↔ volumes."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_files import ROW_AND_COLUMN_DIRECTIONS, grid_of, write_dose_file
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.rtdose import read_dose, write_dose
from rtpipeline.imaging.grid import Grid, Volume

STORED = np.random.default_rng(0).integers(0, 80_000, (9, 11, 14)).astype(np.uint32)


@pytest.mark.parametrize("position", ROW_AND_COLUMN_DIRECTIONS)
def test_relative_offsets_run_along_the_normal_in_every_patient_position(position: str, tmp_path: Path) -> None:
    grid = grid_of(position)
    dose = read_dose(write_dose_file(tmp_path / "dose.dcm", grid, STORED))
    assert dose.grid.same_as(grid)
    assert np.array_equal(dose.values, STORED * 0.001)


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP", "HFDR"])
def test_absolute_offsets_are_z_coordinates(position: str, tmp_path: Path) -> None:
    grid = grid_of(position)
    z = [float(grid.index_to_world(np.array([0, 0, plane]))[2]) for plane in range(9)]
    dose = read_dose(write_dose_file(tmp_path / "dose.dcm", grid, STORED, GridFrameOffsetVector=z))
    assert dose.grid.same_as(grid)
    assert np.array_equal(dose.values, STORED * 0.001)


def test_descending_frames_are_sorted(tmp_path: Path) -> None:
    grid = grid_of()
    last = grid.index_to_world(np.array([0, 0, 8])).tolist()
    offsets = (-grid.plane_offsets_mm).tolist()
    file = write_dose_file(
        tmp_path / "dose.dcm", grid, STORED[::-1], ImagePositionPatient=last, GridFrameOffsetVector=offsets
    )
    dose = read_dose(file)
    assert dose.grid.same_as(grid)
    assert np.array_equal(dose.values, STORED * 0.001)


def test_unequal_offsets_are_kept(tmp_path: Path) -> None:
    offsets = [0.0, 2.0, 4.0, 6.0, 11.0, 13.0, 15.0, 17.0, 19.0]
    dose = read_dose(write_dose_file(tmp_path / "dose.dcm", grid_of(), STORED, GridFrameOffsetVector=offsets))
    assert not dose.grid.is_uniform
    assert dose.grid.plane_offsets_mm.tolist() == offsets


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"DoseUnits": "RELATIVE"}, "DoseUnits is RELATIVE"),
        ({"DoseUnits": None}, "DoseUnits is missing"),
        ({"DoseType": "ERROR"}, "DoseType is ERROR"),
        ({"DoseGridScaling": None}, "DoseGridScaling"),
        ({"DoseGridScaling": "0"}, "DoseGridScaling"),
        ({"GridFrameOffsetVector": [0.0, 1.0]}, "GridFrameOffsetVector has 2 values; expected 9"),
        ({"GridFrameOffsetVector": [float(z) for z in range(17, 26)]}, "cannot be placed"),
        ({"GridFrameOffsetVector": [0.0, 1, 2, 3, 3, 4, 5, 6, 7]}, "two frames at the same place"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "perpendicular"),
        ({"PixelData": None}, "pixels"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "not an RT Dose"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(
    attributes: dict[str, object], message: str, tmp_path: Path
) -> None:
    file = write_dose_file(tmp_path / "dose.dcm", grid_of(), STORED, **attributes)
    with pytest.raises(DicomError, match=message) as error:
        read_dose(file)
    assert "dose.dcm" in str(error.value)


def write(path: Path, volume: Volume, like: Path, entropy: str = "course") -> None:
    write_dose(
        path,
        volume,
        like=like,
        summation_type="MULTI_PLAN",
        referenced_plan_uids=("1.2.3", "1.2.4"),
        source_dose_uids=("1.2.5", "1.2.6"),
        entropy=entropy,
    )


@pytest.mark.parametrize("position", ROW_AND_COLUMN_DIRECTIONS)
def test_twice_a_dose_is_exactly_twice_the_dose(position: str, tmp_path: Path) -> None:
    source = write_dose_file(tmp_path / "dose.dcm", grid_of(position), STORED)
    dose = read_dose(source)
    write(tmp_path / "sum.dcm", Volume(dose.grid, dose.values + dose.values), source)
    total = read_dose(tmp_path / "sum.dcm")
    assert total.grid.same_as(dose.grid)
    assert np.array_equal(total.values, 2 * dose.values)


def test_other_doses_keep_nine_digits(tmp_path: Path) -> None:
    source = write_dose_file(tmp_path / "dose.dcm", grid_of(), STORED)
    offsets = np.array([0.0, 2.0, 4.0, 6.0, 11.0, 13.0, 15.0, 17.0, 19.0])
    grid = Grid(np.array([1 / 3, -1e3 / 7, 2e3 / 3]), grid_of("oblique").direction, (1.1, 0.7), offsets, 14, 11)
    values = np.random.default_rng(1).uniform(0, 78, grid.shape)
    write(tmp_path / "sum.dcm", Volume(grid, values), source)
    back = read_dose(tmp_path / "sum.dcm")
    assert back.grid.same_as(grid)
    assert back.values == pytest.approx(values, abs=78 / 2**32 * 1.01)


def test_the_written_dose_says_what_it_is(tmp_path: Path) -> None:
    source = write_dose_file(tmp_path / "dose.dcm", grid_of(), STORED)
    write(tmp_path / "sum.dcm", read_dose(source), source)
    write(tmp_path / "same.dcm", read_dose(source), source)
    write(tmp_path / "other.dcm", read_dose(source), source, entropy="another course")
    dataset, other = pydicom.dcmread(tmp_path / "sum.dcm"), pydicom.dcmread(tmp_path / "other.dcm")
    assert (tmp_path / "sum.dcm").read_bytes() == (tmp_path / "same.dcm").read_bytes()
    assert dataset.DoseSummationType == "MULTI_PLAN"
    assert [item.ReferencedSOPInstanceUID for item in dataset.ReferencedRTPlanSequence] == ["1.2.3", "1.2.4"]
    assert [item.ReferencedSOPInstanceUID for item in dataset.ReferencedInstanceSequence] == ["1.2.5", "1.2.6"]
    assert dataset.FrameOfReferenceUID == pydicom.dcmread(source).FrameOfReferenceUID
    assert len({dataset.SOPInstanceUID, other.SOPInstanceUID, pydicom.dcmread(source).SOPInstanceUID}) == 3
    assert dataset.BitsAllocated == 32


def test_impossible_doses_are_not_written(tmp_path: Path) -> None:
    source = write_dose_file(tmp_path / "dose.dcm", grid_of(), STORED)
    for value in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="finite and not negative"):
            write(tmp_path / "sum.dcm", Volume(grid_of(), np.full((9, 11, 14), value)), source)
    assert not (tmp_path / "sum.dcm").exists()


def test_a_dose_of_zero_can_be_written(tmp_path: Path) -> None:
    source = write_dose_file(tmp_path / "dose.dcm", grid_of(), STORED)
    write(tmp_path / "sum.dcm", Volume(grid_of(), np.zeros((9, 11, 14))), source)
    assert not read_dose(tmp_path / "sum.dcm").values.any()


@pytest.mark.real_data
def test_a_planning_systems_dose(test_data: Path) -> None:
    dose = read_dose(test_data / "breast-tps" / "rtdose.dcm")
    assert dose.grid.shape == (98, 129, 194) or dose.grid.shape == (98, 194, 129)
    assert 14 < dose.values.max() < 16

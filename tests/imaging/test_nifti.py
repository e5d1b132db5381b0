"""NIfTI files."""

import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dicom_files import ROW_AND_COLUMN_DIRECTIONS, grid_of
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.nifti import read_nifti, write_nifti


@pytest.mark.parametrize("position", ROW_AND_COLUMN_DIRECTIONS)
def test_simpleitk_puts_every_voxel_at_the_same_place(position: str, tmp_path: Path) -> None:
    grid = grid_of(position)
    volume = Volume(grid, np.random.default_rng(0).integers(-1000, 3000, grid.shape).astype(np.int16))
    write_nifti(tmp_path / "image.nii.gz", volume)
    image = sitk.ReadImage(str(tmp_path / "image.nii.gz"))
    for plane, row, column in [(0, 0, 0), (8, 10, 13), (3, 7, 1)]:
        world = grid.index_to_world(np.array([column, row, plane]))
        index = image.TransformPhysicalPointToIndex(world.tolist())
        assert image.GetPixel(index) == volume.values[plane, row, column]
        assert image.TransformIndexToPhysicalPoint(index) == pytest.approx(world, abs=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64, np.bool_])
@pytest.mark.parametrize("position", ["HFS", "FFP", "oblique"])
def test_what_is_written_is_read(position: str, dtype: type, tmp_path: Path) -> None:
    grid = grid_of(position)
    values = np.random.default_rng(0).integers(0, 2, grid.shape).astype(dtype)
    write_nifti(tmp_path / "image.nii.gz", Volume(grid, values))
    back = read_nifti(tmp_path / "image.nii.gz")
    assert back.grid.same_as(grid)
    assert np.array_equal(back.values, values)
    assert back.values.dtype == (np.uint8 if dtype == np.bool_ else dtype)


def test_the_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    volume = Volume(grid_of(), np.arange(9 * 11 * 14, dtype=np.int16).reshape(9, 11, 14))
    write_nifti(tmp_path / "one.nii.gz", volume)
    time.sleep(1.1)
    write_nifti(tmp_path / "another.nii.gz", volume)
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "another.nii.gz").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["another.nii.gz", "one.nii.gz"]


def test_planes_that_are_not_equally_spaced_are_refused(tmp_path: Path) -> None:
    grid = Grid(np.zeros(3), np.eye(3), (1.0, 1.0), np.array([0.0, 3.0, 9.0]), 4, 4)
    with pytest.raises(ValueError, match="not equally spaced"):
        write_nifti(tmp_path / "image.nii.gz", Volume(grid, np.zeros(grid.shape)))
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_refused_with_their_name(tmp_path: Path) -> None:
    write_nifti(tmp_path / "whole.nii.gz", Volume(grid_of(), np.zeros((9, 11, 14))))
    (tmp_path / "short.nii.gz").write_bytes((tmp_path / "whole.nii.gz").read_bytes()[:100])
    (tmp_path / "text.nii").write_text("not an image")
    for name in ("short.nii.gz", "text.nii", "missing.nii"):
        with pytest.raises(ValueError, match=name):
            read_nifti(tmp_path / name)

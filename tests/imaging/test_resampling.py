"""Values at other positions: a linear function of position is reproduced exactly, whatever the grids."""

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from dicom_files import ROW_AND_COLUMN_DIRECTIONS, direction_of
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.resampling import resample

GRADIENT = np.array([0.3, -0.2, 0.5])


def centred(name: str, size: tuple[int, int, int], spacing: tuple[float, float, float]) -> Grid:
    """A grid around the origin."""
    direction = direction_of(name)
    half = (np.array(size) - 1) * np.array(spacing) / 2
    return Grid.uniform(-direction @ half, spacing, size, direction)


def positions(grid: Grid) -> NDArray[np.float64]:
    plane, row, column = np.meshgrid(*(np.arange(size) for size in grid.shape), indexing="ij")
    return grid.index_to_world(np.stack([column, row, plane], axis=-1))


def linear(grid: Grid) -> Volume:
    return Volume(grid, positions(grid) @ GRADIENT + 7)


@pytest.mark.parametrize("target", ROW_AND_COLUMN_DIRECTIONS)
@pytest.mark.parametrize("source", ROW_AND_COLUMN_DIRECTIONS)
def test_a_linear_function_is_exact_between_all_patient_positions(source: str, target: str) -> None:
    volume = linear(centred(source, (21, 23, 19), (2.1, 1.7, 2.5)))
    grid = centred(target, (9, 7, 8), (1.1, 1.9, 2.0))
    assert resample(volume, grid, interpolation="linear", outside=np.nan).values == pytest.approx(linear(grid).values)


@pytest.mark.parametrize("direction", ["HFS", "oblique"])
def test_planes_that_are_not_equally_spaced(direction: str) -> None:
    offsets = np.array([0.0, 2.0, 3.0, 9.0, 11.0])
    source = Grid(np.array([-20.0, -20.0, -5.0]), np.eye(3), (2.0, 2.0), offsets, 21, 21)
    grid = centred(direction, (5, 5, 5), (1.0, 1.0, 1.0))
    assert resample(linear(source), grid, interpolation="linear", outside=np.nan).values == pytest.approx(
        linear(grid).values
    )


def test_the_same_grid_gives_the_same_values_also_at_the_edge() -> None:
    for name in ROW_AND_COLUMN_DIRECTIONS:
        grid = Grid.uniform((-301.3, 77.7, 1e3 / 3), (0.9765625, 0.9765625, 2.5), (7, 6, 5), direction_of(name))
        volume = Volume(grid, np.random.default_rng(0).normal(size=grid.shape))
        assert np.array_equal(resample(volume, grid, interpolation="nearest", outside=-9).values, volume.values)
        assert resample(volume, grid, interpolation="linear", outside=-9).values == pytest.approx(
            volume.values, abs=1e-9
        )


def test_outside_is_beyond_the_centres_for_linear_and_beyond_the_voxels_for_nearest() -> None:
    source = Volume(Grid.uniform((0, 0, 0), (1, 1, 1), (3, 1, 1)), np.array([[[1.0, 2.0, 3.0]]]))
    grid = Grid.uniform((-0.75, 0, 0), (0.25, 1, 1), (16, 1, 1))
    near = resample(source, grid, interpolation="nearest", outside=0).values[0, 0]
    flat = resample(source, grid, interpolation="linear", outside=0).values[0, 0]
    assert near.tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 0, 0]
    assert flat.tolist() == [0, 0, 0, 1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 2.75, 3, 0, 0, 0, 0]


@pytest.mark.parametrize("target", ["HFS", "FFP", "oblique"])
@pytest.mark.parametrize("source", ["HFS", "HFP", "oblique"])
def test_simpleitk_agrees_inside(source: str, target: str) -> None:
    volume = Volume(centred(source, (17, 15, 13), (2.1, 1.7, 2.5)), np.random.default_rng(3).normal(size=(13, 15, 17)))
    grid = centred(target, (9, 7, 8), (1.13, 1.97, 2.01))
    image = sitk.GetImageFromArray(volume.values)
    image.SetSpacing(volume.grid.spacing_mm)
    image.SetOrigin(volume.grid.origin_mm.tolist())
    image.SetDirection(volume.grid.direction.ravel().tolist())
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize((9, 7, 8))
    resampler.SetOutputSpacing(grid.spacing_mm)
    resampler.SetOutputOrigin(grid.origin_mm.tolist())
    resampler.SetOutputDirection(grid.direction.ravel().tolist())
    for interpolation, theirs in (("linear", sitk.sitkLinear), ("nearest", sitk.sitkNearestNeighbor)):
        resampler.SetInterpolator(theirs)
        expected = sitk.GetArrayFromImage(resampler.Execute(image))
        ours = resample(volume, grid, interpolation=interpolation, outside=0.0).values  # type: ignore[arg-type]
        assert ours == pytest.approx(expected, abs=1e-9)


def test_types_are_kept() -> None:
    grid = Grid.uniform((0, 0, 0), (1, 1, 1), (3, 3, 3))
    for dtype in (np.uint8, np.int16, np.float32, np.bool_):
        volume = Volume(grid, np.ones(grid.shape, dtype))
        assert resample(volume, grid, interpolation="nearest", outside=0).values.dtype == dtype
    small = Volume(grid, np.ones(grid.shape, np.float32))
    assert resample(small, grid, interpolation="linear", outside=0).values.dtype == np.float32


@pytest.mark.parametrize("direction", [np.eye(3), np.eye(3)[:, [1, 0, 2]] * [1, -1, 1]], ids=["parallel", "turned"])
def test_a_single_plane_stands_for_its_thickness(direction: NDArray[np.float64]) -> None:
    grid = Grid.uniform((0, 0, 10), (1, 1, 3), (2, 2, 1))
    volume = Volume(grid, np.full(grid.shape, 5.0))
    offsets = np.array([0.0, 0.2, 1.6, 3.0, 3.2])
    target = Grid(np.array([0.5, 0.5, 8.4]), direction, (1.0, 1.0), offsets, 1, 1)
    assert resample(volume, target, interpolation="linear", outside=0.0).values.ravel().tolist() == [0, 5, 5, 5, 0]

"""Where voxels lie."""

import numpy as np
import pytest

from dicom_files import ROW_AND_COLUMN_DIRECTIONS, grid_of
from rtpipeline.imaging.grid import Grid


@pytest.mark.parametrize("position", ROW_AND_COLUMN_DIRECTIONS)
def test_index_and_world_are_inverse_in_every_patient_position(position: str) -> None:
    grid = grid_of(position)
    index = np.random.default_rng(0).uniform(-5, 20, size=(50, 3))
    assert grid.world_to_index(grid.index_to_world(index)) == pytest.approx(index, abs=1e-9)


@pytest.mark.parametrize(
    ("position", "step"),
    [
        ("HFS", (1.3 * 2, 0.9 * 3, 2.5 * 4)),
        ("HFP", (-1.3 * 2, -0.9 * 3, 2.5 * 4)),
        ("FFS", (-1.3 * 2, 0.9 * 3, -2.5 * 4)),
        ("FFP", (1.3 * 2, -0.9 * 3, -2.5 * 4)),
        ("HFDR", (-0.9 * 3, 1.3 * 2, 2.5 * 4)),
        ("sagittal", (-2.5 * 4, 1.3 * 2, -0.9 * 3)),
    ],
)
def test_two_columns_three_rows_four_planes_are_this_far_in_the_patient(
    position: str, step: tuple[float, float, float]
) -> None:
    grid = grid_of(position)
    assert grid.index_to_world(np.array([2, 3, 4])) - grid.origin_mm == pytest.approx(step)


def test_oblique_steps_follow_the_direction_columns() -> None:
    grid = grid_of("oblique")
    expected = grid.origin_mm + 1.3 * np.array([0.8, 0.6, 0]) + 0.9 * np.array([-0.36, 0.48, 0.8])
    assert grid.index_to_world(np.array([1, 1, 0])) == pytest.approx(expected)


def test_a_missing_plane_keeps_the_true_positions() -> None:
    grid = Grid(np.zeros(3), np.eye(3), (1.0, 1.0), np.array([0.0, 3.0, 9.0, 12.0]), 5, 5)
    assert not grid.is_uniform
    assert grid.index_to_world(np.array([0, 0, 2]))[2] == 9.0
    assert grid.world_to_index(np.array([0, 0, 6.0]))[2] == pytest.approx(1.5)
    assert grid.world_to_index(np.array([0, 0, -3.0]))[2] == pytest.approx(-1.0)
    assert grid.world_to_index(np.array([0, 0, 15.0]))[2] == pytest.approx(4.0)
    assert grid.plane_thicknesses_mm == pytest.approx([3, 3, 3, 3])
    with pytest.raises(ValueError, match="not equally spaced"):
        _ = grid.plane_spacing_mm


def test_thick_planes_next_to_thin_ones_count_as_far_as_the_median_gap_reaches() -> None:
    grid = Grid(np.zeros(3), np.eye(3), (1.0, 1.0), np.array([0.0, 2.0, 4.0, 5.0, 6.0]), 5, 5)
    # gaps 2 2 1 1, median 1.5
    assert grid.plane_thicknesses_mm == pytest.approx([1.5, 1.5, 1.25, 1.0, 1.0])


def test_rounded_positions_are_evenly_spaced() -> None:
    offsets = np.round(np.arange(40) * 1.25, 1)
    grid = Grid(np.zeros(3), np.eye(3), (1.0, 1.0), offsets, 5, 5)
    assert grid.is_uniform
    assert np.ptp(np.diff(grid.plane_offsets_mm)) < 1e-9


def test_a_missing_plane_is_seen_wherever_it_is() -> None:
    for missing in range(1, 99):
        offsets = np.delete(np.arange(100) * 0.5, missing)
        assert not Grid(np.zeros(3), np.eye(3), (1.0, 1.0), offsets, 5, 5).is_uniform


@pytest.mark.parametrize("position", ["HFS", "FFP", "oblique"])
def test_a_part_lies_where_it_was_cut_from(position: str) -> None:
    grid = grid_of(position)
    part = grid.crop(slice(2, 6), slice(1, 4), slice(5, 9))
    assert part.shape == (4, 3, 4)
    assert part.index_to_world(np.array([1, 2, 3])) == pytest.approx(grid.index_to_world(np.array([6, 3, 5])))
    assert part.same_as(grid.crop(slice(2, 6), slice(1, 4), slice(5, 9)))
    assert not part.same_as(grid.crop(slice(1, 5), slice(1, 4), slice(5, 9)))


def test_one_plane_of_a_grid_keeps_its_thickness() -> None:
    grid = grid_of()
    assert grid.crop(slice(3, 4), slice(0, 11), slice(0, 14)).voxel_volume_cm3 == pytest.approx(grid.voxel_volume_cm3)


@pytest.mark.parametrize(
    "change",
    [
        {"direction": np.diag([1.0, 1.0, 0.9])},
        {"plane_offsets_mm": np.array([0.0, 2.0, 2.0])},
        {"plane_offsets_mm": np.array([1.0, 2.0, 3.0])},
        {"plane_offsets_mm": np.array([])},
        {"pixel_spacing_mm": (0.0, 1.0)},
        {"columns": 0},
    ],
)
def test_impossible_grids_are_refused(change: dict[str, object]) -> None:
    arguments: dict[str, object] = {
        "origin_mm": np.zeros(3),
        "direction": np.eye(3),
        "pixel_spacing_mm": (1.0, 1.0),
        "plane_offsets_mm": np.array([0.0, 2.0]),
        "columns": 3,
        "rows": 3,
    }
    with pytest.raises(ValueError, match=r"must|not orthonormal"):
        Grid(**(arguments | change))  # type: ignore[arg-type]

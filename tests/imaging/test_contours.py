"""Contours → masks."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_files import ROW_AND_COLUMN_DIRECTIONS, grid_of
from rtpipeline.imaging.contours import group_by_plane, rasterise, rasterise_with_notes
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.slabs import slab_stack

Contour = NDArray[np.float64]


def circle(radius: float, z: float, centre: tuple[float, float] = (0.0, 0.0), points: int = 720) -> Contour:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    x, y = centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)
    return np.stack([x, y, np.full(points, z)], axis=-1)


def rectangle(x0: float, y0: float, x1: float, y1: float, z: float = 0.0) -> Contour:
    return np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]])


def axial(planes: int = 1, gap: float = 1.0, size: int = 61, spacing: float = 1.0) -> Grid:
    start = -spacing * (size - 1) / 2
    return Grid.uniform((start, start, 0), (spacing, spacing, gap), (size, size, planes))


def area_mm2(grid: Grid, contours: list[Contour]) -> float:
    return rasterise(contours, grid).voxel_count * grid.pixel_spacing_mm[0] * grid.pixel_spacing_mm[1]


@pytest.mark.parametrize("radius", [3.0, 5.0, 10.0, 20.0])
def test_circles_are_not_fattened(radius: float) -> None:
    generator = np.random.default_rng(1)
    areas = [area_mm2(axial(), [circle(radius, 0, tuple(generator.uniform(-1, 1, 2)))]) for _ in range(200)]
    assert np.mean(areas) == pytest.approx(np.pi * radius**2, rel=0.01)


@pytest.mark.parametrize("position", ROW_AND_COLUMN_DIRECTIONS)
def test_a_box_is_where_it_was_drawn_in_every_patient_position(position: str) -> None:
    grid = grid_of(position)
    contours = []
    for plane in (3, 4, 5):
        index = np.array([[2.4, 3.6, plane], [7.4, 3.6, plane], [7.4, 8.6, plane], [2.4, 8.6, plane]])
        contours.append(grid.index_to_world(index))
    expected = np.zeros(grid.shape, bool)
    expected[3:6, 4:9, 3:8] = True
    assert np.array_equal(rasterise(contours, grid).on(grid), expected)


def test_nested_contours_are_holes_and_islands() -> None:
    grid = axial()
    contours = [circle(20, 0), circle(12, 0), circle(5, 0)]
    expected = area_mm2(grid, contours[:1]) - area_mm2(grid, contours[1:2]) + area_mm2(grid, contours[2:])
    assert area_mm2(grid, contours) == expected


def test_a_keyhole_is_the_same_hole() -> None:
    grid = axial()
    outer, inner = circle(20, 0), circle(12, 0)[::-1]
    keyhole = np.concatenate([outer, outer[:1], inner[-1:], inner, outer[:1]])
    assert area_mm2(grid, [keyhole]) == area_mm2(grid, [outer, inner])


@pytest.mark.parametrize("shift", [0, 100])
@pytest.mark.parametrize("sense", [1, -1])
def test_a_contour_drawn_twice_does_not_cancel(shift: int, sense: int) -> None:
    grid = axial()
    again = np.roll(circle(10, 0), shift, axis=0)[::sense]
    mask, notes = rasterise_with_notes([circle(10, 0), again], grid)
    assert mask.voxel_count == rasterise([circle(10, 0)], grid).voxel_count
    assert "exact duplicates" in notes[0]


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(circle(10.2, 0, (0.001, 0)), id="moved"),
        pytest.param(circle(10.2, 0)[::7], id="fewer points"),
        pytest.param(circle(10.15, 0), id="smaller"),
        pytest.param(np.round(circle(10.2, 0), 1), id="rounded"),
    ],
)
def test_nearly_the_same_contour_drawn_twice_does_not_cancel(again: Contour) -> None:
    grid = axial()
    mask, notes = rasterise_with_notes([circle(10.2, 0), again], grid)
    assert mask.voxel_count == pytest.approx(rasterise([circle(10.2, 0)], grid).voxel_count, abs=2)
    assert "united" in notes[0]
    assert slab_stack([circle(10.2, 0), again], 1.0).volume_cm3 == pytest.approx(np.pi * 10.2**2 / 1000, rel=3e-3)


def test_a_hole_that_crosses_its_outline_a_little_stays_a_hole() -> None:
    """In voxels as in slabs."""
    grid = Grid.uniform((-30, -30, 0), (0.5, 0.5, 1), (121, 121, 1))
    outer, hole = rectangle(-20.25, -10.25, 20.25, 10.25), rectangle(-10.25, -10.26, 10.25, 5.25)
    expected = 40.5 * 20.5 - 20.5 * 15.5
    assert area_mm2(grid, [outer, hole]) == pytest.approx(expected, abs=0.5)
    assert slab_stack([outer, hole], 1.0).volume_cm3 * 1000 == pytest.approx(expected, abs=0.5)


def test_skin_of_one_millimetre_is_a_wall() -> None:
    body, inner = circle(150, 0), circle(149, 0)
    assert slab_stack([body, inner], 1.0).volume_cm3 * 1000 == pytest.approx(np.pi * (150**2 - 149**2), rel=1e-2)


def test_a_wall_thinner_than_a_voxel_is_not_filled() -> None:
    grid = axial()
    outer, inner = rectangle(-10.4, -10.4, 10.4, 10.4), rectangle(-10.1, -10.1, 10.1, 10.1)
    assert rasterise([outer, inner], grid).is_empty


def test_a_wall_of_one_voxel_is_kept_however_small_voxels_are() -> None:
    grid = Grid.uniform((0, 0, 0), (0.1, 0.1, 0.1), (120, 120, 1))
    outer, inner = rectangle(0.95, 0.95, 10.95, 10.95), rectangle(1.05, 1.05, 10.85, 10.85)
    assert rasterise([outer, inner], grid).voxel_count == 100**2 - 98**2


def test_contours_that_overlap_are_united() -> None:
    grid = axial()
    one, other = rectangle(-10.5, -5.5, 2.5, 5.5), rectangle(-2.5, -5.5, 10.5, 5.5)
    mask, notes = rasterise_with_notes([one, other], grid)
    assert mask.voxel_count == rasterise([rectangle(-10.5, -5.5, 10.5, 5.5)], grid).voxel_count
    assert "united" in notes[0]


def test_holes_that_overlap_are_one_hole() -> None:
    grid = axial()
    outer = rectangle(-15.5, -15.5, 15.5, 15.5)
    holes = [rectangle(-10.5, -5.5, 2.5, 5.5), rectangle(-2.5, -5.5, 10.5, 5.5)]
    assert area_mm2(grid, [outer, *holes]) == 31 * 31 - 21 * 11


def test_parts_side_by_side_are_both_there_without_a_note() -> None:
    mask, notes = rasterise_with_notes([circle(5, 0, (-10, 0)), circle(5, 0, (10, 0))], axial())
    assert mask.voxel_count == 2 * rasterise([circle(5, 0, (10, 0))], axial()).voxel_count
    assert notes == ()


@pytest.mark.parametrize("offset", [0.0, 0.4, 1.4])
def test_contours_off_the_planes_fill_the_nearest_ones(offset: float) -> None:
    grid = axial(planes=20, gap=3.0)
    contours = [circle(10, z + offset) for z in np.arange(4, 12) * 3.0]
    planes = np.flatnonzero(rasterise(contours, grid).on(grid).any(axis=(1, 2)))
    assert planes.tolist() == list(range(4, 12))


def test_contours_on_every_second_plane_leave_no_empty_planes() -> None:
    grid = axial(planes=20, gap=3.0)
    contours = [circle(10, z) for z in (12.0, 18.0, 24.0, 30.0)]
    filled = rasterise(contours, grid).on(grid)
    one = rasterise([circle(10, 0)], axial()).voxel_count
    assert filled.sum(axis=(1, 2)).tolist() == [0] * 3 + [one] * 8 + [0] * 9


def test_contours_closer_than_the_planes_are_sampled() -> None:
    grid = axial(planes=20, gap=3.0)
    contours = [circle(5 + z / 10, z) for z in np.arange(10.0, 40.0, 0.5)]
    filled = rasterise(contours, grid).on(grid)
    assert np.flatnonzero(filled.any(axis=(1, 2))).tolist() == list(range(4, 14))
    assert filled[8].sum() == rasterise([circle(5 + 2.4, 24.0)], grid).voxel_count


def test_a_real_gap_between_two_parts_stays_empty_and_is_told() -> None:
    grid = axial(planes=20, gap=3.0)
    contours = [circle(10, z) for z in (6.0, 9.0, 12.0, 30.0, 33.0, 36.0)]
    mask, notes = rasterise_with_notes(contours, grid)
    assert np.flatnonzero(mask.on(grid).any(axis=(1, 2))).tolist() == [2, 3, 4, 10, 11, 12]
    assert any("gap" in note for note in notes)


def test_two_single_planes_far_apart_are_single_planes() -> None:
    grid = axial(planes=20, gap=3.0)
    planes = rasterise([circle(10, 6.0), circle(10, 36.0)], grid).on(grid).any(axis=(1, 2))
    assert np.flatnonzero(planes).tolist() == [2, 12]


def test_contours_beyond_the_image_are_left_out_with_a_word() -> None:
    grid = axial(planes=5, gap=3.0)
    contours = [circle(10, z) for z in np.arange(-9.0, 10.0, 3.0)]
    mask, notes = rasterise_with_notes(contours, grid)
    assert np.flatnonzero(mask.on(grid).any(axis=(1, 2))).tolist() == [0, 1, 2, 3]
    assert notes == ("3 contour planes lie beyond the image and were left out",)


def test_contours_that_stick_out_sideways_are_cut_at_the_edge() -> None:
    grid = axial(size=11)
    assert rasterise([rectangle(-100, -100, 100, 100)], grid).voxel_count == 121
    assert rasterise([rectangle(-100, -0.5, 0.5, 100)], grid).voxel_count == 6 * 6
    assert rasterise([rectangle(50, 50, 60, 60)], grid).is_empty


def test_tilted_contours_are_left_out_with_a_word() -> None:
    tilted = circle(10, 0)
    tilted[:, 2] = tilted[:, 0]
    mask, notes = rasterise_with_notes([tilted], axial(planes=5))
    assert mask.is_empty
    assert notes == ("1 contours are not parallel to the image planes and were left out",)


def test_no_contours_are_an_empty_mask() -> None:
    assert rasterise([], axial()).is_empty


def test_the_volume_does_not_depend_on_a_missing_image_plane() -> None:
    offsets = np.delete(np.arange(10) * 3.0, 5)
    grid = Grid(np.array([-30.0, -30.0, 0.0]), np.eye(3), (1.0, 1.0), offsets, 61, 61)
    contours = [circle(10, z) for z in offsets[2:7]]
    mask = rasterise(contours, grid)
    assert mask.volume_cm3 == pytest.approx(5 * 3 * rasterise(contours[:1], grid).voxel_count / 1000)


def test_group_by_plane_sorts_and_drops_duplicates() -> None:
    planes = group_by_plane([circle(3, 5), circle(3, 2), circle(4, 5.004), circle(3, 5)], np.array([0.0, 0.0, 1.0]))
    assert [plane.offset_mm for plane in planes] == pytest.approx([2.0, 5.0], abs=0.01)
    assert [len(plane.contours) for plane in planes] == [1, 2]

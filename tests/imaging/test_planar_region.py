"""Regions of a plane against areas that geometry gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rtpipeline.imaging.cell_kernel import collect_pieces, sum_rows
from rtpipeline.imaging.planar_region import Regions, regions_of


def ring(radius: float, centre: tuple[float, float] = (0.0, 0.0), points: int = 400) -> np.ndarray:
    angle = np.arange(points) * 2 * np.pi / points + 0.1
    return np.column_stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)])


def rectangle(x: float, y: float, width: float, height: float) -> np.ndarray:
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], float)


def shoelace(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))


def area_of(*polygons: np.ndarray) -> float:
    return float(regions_of([polygons]).areas_mm2[0])


def coverage(region: Regions, corner: float, cell_mm: float, size: int) -> list[np.ndarray]:
    """Covered fraction, and mean x and y of the covered part, of `size` × `size` cells."""
    found = [np.empty((size, size)) for _ in range(3)]
    sums = np.zeros((size, size, 5))
    collect_pieces((region.pieces - corner) / cell_mm, sums)
    sum_rows(sums, *found)
    return found


def test_area_of_one_polygon_is_the_shoelace_area() -> None:
    assert area_of(ring(30)) == pytest.approx(shoelace(ring(30)), rel=1e-12)


def test_nested_contours_are_hole_and_island() -> None:
    outer, hole, island = ring(30), ring(10, (3, 2)), ring(4, (3, 2))
    expected = shoelace(outer) - shoelace(hole) + shoelace(island)
    assert area_of(outer, hole, island) == pytest.approx(expected, rel=1e-12)


def test_a_keyhole_is_a_hole() -> None:
    keyhole = np.array(
        [[0, 0], [10, 0], [10, 10], [0, 10], [0, 5], [3, 5], [3, 7], [6, 7], [6, 3], [3, 3], [3, 5], [0, 5]]
    )
    assert area_of(keyhole.astype(float)) == pytest.approx(100 - 12, rel=1e-12)


def test_a_contour_drawn_twice_counts_once() -> None:
    outline = ring(30)
    region = regions_of([[outline, np.roll(outline[::-1], 7, axis=0)]])
    assert region.areas_mm2[0] == pytest.approx(shoelace(outline), rel=1e-9)
    assert region.united == 1


def test_overlapping_circles_are_united() -> None:
    radius, distance = 10.0, 10.0
    lens = 2 * radius**2 * np.arccos(distance / (2 * radius)) - distance / 2 * np.sqrt(4 * radius**2 - distance**2)
    region = regions_of([[ring(radius, points=4000), ring(radius, (distance, 0), points=4000)]])
    assert region.areas_mm2[0] == pytest.approx(2 * np.pi * radius**2 - lens, rel=1e-5)
    assert region.united == 1


@pytest.mark.parametrize(
    ("second", "area"),
    [
        (rectangle(1, 0, 2, 2), 6.0),  # overlap with shared horizontal edges
        (rectangle(2, 0, 2, 2), 8.0),  # a common edge
        (rectangle(2, 2, 2, 2), 8.0),  # a common corner
        (rectangle(0.5, 0.5, 1, 1), 3.0),  # a hole
        (rectangle(5, 5, 1, 1), 5.0),  # apart
    ],
)
def test_pairs_of_rectangles(second: np.ndarray, area: float) -> None:
    assert area_of(rectangle(0, 0, 2, 2), second) == pytest.approx(area, rel=1e-12)


def test_a_figure_eight_keeps_both_loops() -> None:
    bow = np.array([[0, 0], [2, 2], [2, 0], [0, 2]], float)
    assert area_of(bow) == pytest.approx(2.0, rel=1e-12)


def test_nothing_encloses_nothing() -> None:
    assert area_of() == 0.0
    assert area_of(np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])) == 0.0
    assert len(regions_of([]).areas_mm2) == 0


def test_every_plane_has_a_region_of_its_own() -> None:
    planes = [[rectangle(0, 0, 2, 2)], [], [rectangle(1, 1, 3, 3), rectangle(2, 2, 1, 1)]]
    regions = regions_of(planes)
    assert regions.areas_mm2.tolist() == [4.0, 0.0, 8.0]
    assert regions.bounds[[0, 2]].tolist() == [[0, 0, 2, 2], [1, 1, 4, 4]]
    assert regions.chosen(regions.areas_mm2 > 4).areas_mm2.tolist() == [8.0]


def test_an_outline_that_never_crosses_itself_keeps_its_edges() -> None:
    assert len(regions_of([[ring(30, points=100)]]).pieces) == 100


@given(seed=st.integers(0, 10_000), overlapping=st.booleans())
@settings(max_examples=40, deadline=None)
def test_areas_are_those_of_points_in_polygons(seed: int, overlapping: bool) -> None:
    """Of a polygon that crosses itself, counted even-odd, and of its union with a second one that overlaps it."""
    generator = np.random.default_rng(seed)
    polygons = [generator.normal(0, 3, (7, 2)) for _ in range(2 if overlapping else 1)]
    step = 0.05
    ticks = np.arange(-15, 15, step) + step / 2
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    inside = np.any([crossings_to_the_right(polygon, points) % 2 == 1 for polygon in polygons], axis=0)
    assume(regions_of([polygons]).united == len(polygons) - 1)
    assert area_of(*polygons) == pytest.approx(inside.sum() * step**2, abs=0.6)


def crossings_to_the_right(polygon: np.ndarray, points: np.ndarray) -> np.ndarray:
    x, y = points.T
    count = np.zeros(len(points), int)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        meets = (y0 <= y) != (y1 <= y)
        count += meets & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return count


@given(
    points=st.lists(
        st.tuples(st.floats(-20, 20, allow_nan=False), st.floats(-20, 20, allow_nan=False)), min_size=3, max_size=12
    ),
    cell=st.floats(0.3, 5.0),
)
@settings(max_examples=60, deadline=None)
def test_cells_add_up_to_the_region(points: list[tuple[float, float]], cell: float) -> None:
    region = regions_of([[np.array(points)]])
    fraction, _, _ = coverage(region, -21.0, cell, int(np.ceil(42 / cell)) + 1)
    assert fraction.min() >= 0
    assert fraction.max() <= 1
    assert fraction.sum() * cell * cell == pytest.approx(region.areas_mm2[0], abs=1e-6)


def test_centroids_of_cells_give_the_centroid_of_the_region() -> None:
    triangle = np.array([[0.3, 0.2], [9.1, 1.4], [4.2, 8.8]])
    fraction, along_x, along_y = coverage(regions_of([[triangle]]), -0.5, 0.7, 20)
    x = -0.5 + (np.arange(20) + along_x) * 0.7
    y = -0.5 + (np.arange(20)[:, None] + along_y) * 0.7
    found = [(fraction * x).sum() / fraction.sum(), (fraction * y).sum() / fraction.sum()]
    assert found == pytest.approx(triangle.mean(axis=0).tolist(), abs=1e-9)

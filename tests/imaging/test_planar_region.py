"""Regions of a plane against areas that geometry gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtpipeline.imaging.cell_coverage import coverage
from rtpipeline.imaging.planar_region import region_of


def ring(radius: float, centre: tuple[float, float] = (0.0, 0.0), points: int = 400) -> np.ndarray:
    angle = np.arange(points) * 2 * np.pi / points + 0.1
    return np.column_stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)])


def rectangle(x: float, y: float, width: float, height: float) -> np.ndarray:
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], float)


def shoelace(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))


def test_area_of_one_polygon_is_the_shoelace_area() -> None:
    assert region_of([ring(30)]).area_mm2 == pytest.approx(shoelace(ring(30)), rel=1e-12)


def test_nested_contours_are_hole_and_island() -> None:
    outer, hole, island = ring(30), ring(10, (3, 2)), ring(4, (3, 2))
    expected = shoelace(outer) - shoelace(hole) + shoelace(island)
    assert region_of([outer, hole, island]).area_mm2 == pytest.approx(expected, rel=1e-12)


def test_a_keyhole_is_a_hole() -> None:
    keyhole = np.array(
        [[0, 0], [10, 0], [10, 10], [0, 10], [0, 5], [3, 5], [3, 7], [6, 7], [6, 3], [3, 3], [3, 5], [0, 5]]
    )
    assert region_of([keyhole.astype(float)]).area_mm2 == pytest.approx(100 - 12, rel=1e-12)


def test_a_contour_drawn_twice_counts_once() -> None:
    outline = ring(30)
    region = region_of([outline, np.roll(outline[::-1], 7, axis=0)])
    assert region.area_mm2 == pytest.approx(shoelace(outline), rel=1e-9)
    assert region.united == 1


def test_overlapping_circles_are_united() -> None:
    radius, distance = 10.0, 10.0
    lens = 2 * radius**2 * np.arccos(distance / (2 * radius)) - distance / 2 * np.sqrt(4 * radius**2 - distance**2)
    region = region_of([ring(radius, points=4000), ring(radius, (distance, 0), points=4000)])
    assert region.area_mm2 == pytest.approx(2 * np.pi * radius**2 - lens, rel=1e-5)
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
    assert region_of([rectangle(0, 0, 2, 2), second]).area_mm2 == pytest.approx(area, rel=1e-12)


def test_a_figure_eight_keeps_both_loops() -> None:
    bow = np.array([[0, 0], [2, 2], [2, 0], [0, 2]], float)
    assert region_of([bow]).area_mm2 == pytest.approx(2.0, rel=1e-12)


def test_nothing_encloses_nothing() -> None:
    assert region_of([]).area_mm2 == 0.0


@given(
    points=st.lists(
        st.tuples(st.floats(-20, 20, allow_nan=False), st.floats(-20, 20, allow_nan=False)), min_size=3, max_size=12
    ),
    cell=st.floats(0.3, 5.0),
)
@settings(max_examples=60, deadline=None)
def test_cells_add_up_to_the_region(points: list[tuple[float, float]], cell: float) -> None:
    region = region_of([np.array(points)])
    size = int(np.ceil(42 / cell)) + 1
    covered = coverage(region, (-21.0, -21.0), cell, (size, size))
    assert covered.fraction.min() >= 0
    assert covered.fraction.max() <= 1
    assert covered.fraction.sum() * cell * cell == pytest.approx(region.area_mm2, abs=1e-6)


def test_centroids_of_cells_give_the_centroid_of_the_region() -> None:
    triangle = np.array([[0.3, 0.2], [9.1, 1.4], [4.2, 8.8]])
    covered = coverage(region_of([triangle]), (-0.5, -0.5), 0.7, (20, 20))
    x = -0.5 + (np.arange(20) + covered.centroid_x) * 0.7
    y = -0.5 + (np.arange(20)[:, None] + covered.centroid_y) * 0.7
    total = covered.fraction.sum()
    found = [(covered.fraction * x).sum() / total, (covered.fraction * y).sum() / total]
    assert found == pytest.approx(triangle.mean(axis=0).tolist(), abs=1e-9)


def test_a_lattice_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond the lattice"):
        coverage(region_of([rectangle(0, 0, 5, 5)]), (0.0, 0.0), 1.0, (4, 4))

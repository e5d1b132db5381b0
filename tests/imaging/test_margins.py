"""Margins in millimetres of the patient, against closed forms of grown and shrunk solids."""

import math
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_files import direction_of
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.margins import Margins, expand
from rtpipeline.imaging.mask import Mask

Spacing = tuple[float, float, float]

OFFSETS = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 3))
"""Of the centre of a solid from a voxel's centre, in voxels: what one position rounds up another rounds down."""


def grid_in(
    position: str = "HFS", spacing: tuple[float, float, float] = (1.0, 1.5, 2.0), half_mm: float = 30.0
) -> Grid:
    columns, rows, planes = (2 * math.ceil(half_mm / step) + 1 for step in spacing)
    size = (columns, rows, planes)
    direction = direction_of(position)
    return Grid.uniform(-direction @ ((np.array(size) - 1) * np.array(spacing) / 2), spacing, size, direction)


def positions(grid: Grid) -> NDArray[np.float64]:
    plane, row, column = np.meshgrid(*(np.arange(size) for size in grid.shape), indexing="ij")
    return grid.index_to_world(np.stack([column, row, plane], axis=-1))


def ball(grid: Grid, radius_mm: float, offset: NDArray[np.float64]) -> Mask:
    centre = offset * np.array(grid.spacing_mm)
    return Mask.cropped(grid, np.linalg.norm(positions(grid) - centre, axis=-1) <= radius_mm)


def box(grid: Grid, half_mm: tuple[float, float, float] = (12.0, 12.0, 12.0)) -> Mask:
    return Mask.cropped(grid, (np.abs(positions(grid)) <= np.array(half_mm)).all(axis=-1))


def ball_volume(radius_mm: float) -> float:
    return 4 / 3 * math.pi * radius_mm**3 / 1000


@pytest.mark.parametrize(
    "spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (3.0, 3.0, 3.0), (1.0, 1.0, 3.0), (0.98, 0.98, 2.5)]
)
@pytest.mark.parametrize(("radius", "margin"), [(15.0, 5.0), (15.0, 3.0), (10.0, 7.0)])
def test_a_ball_grows_to_the_larger_ball(spacing: Spacing, radius: float, margin: float) -> None:
    grid = grid_in("HFS", spacing)
    volumes = [expand(ball(grid, radius, offset), margin, grid).volume_cm3 for offset in OFFSETS]
    assert np.mean(volumes) == pytest.approx(ball_volume(radius + margin), rel=0.025)


@pytest.mark.parametrize(
    "spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (3.0, 3.0, 3.0), (1.0, 1.0, 3.0), (0.98, 0.98, 2.5)]
)
def test_a_ball_shrinks_to_the_smaller_ball(spacing: Spacing) -> None:
    grid = grid_in("HFS", spacing)
    volumes = [expand(ball(grid, 20.0, offset), -5.0, grid).volume_cm3 for offset in OFFSETS]
    assert np.mean(volumes) == pytest.approx(ball_volume(15.0), rel=0.03)


@pytest.mark.parametrize("spacing", [(5.0, 1.2, 1.2), (1.2, 1.2, 5.0)])
def test_thick_planes_cost_little(spacing: Spacing) -> None:
    grid = grid_in("HFS", spacing)
    volumes = [expand(ball(grid, 15.0, offset), 5.0, grid).volume_cm3 for offset in OFFSETS]
    assert np.mean(volumes) == pytest.approx(ball_volume(20.0), rel=0.04)


@pytest.mark.parametrize(
    ("edge", "spacing", "margin", "rel"),
    [(25, 1.0, 5.0, 0.015), (10, 1.0, 5.0, 0.02), (4, 1.0, 5.0, 0.03), (10, 2.0, 6.0, 0.05)],
)
def test_a_box_grows_to_a_rounded_box(edge: int, spacing: float, margin: float, rel: float) -> None:
    """Steiner's formula: volume + surface × r + π r² (sum of edges / 4) + a ball."""
    grid = Grid.uniform((0.0, 0.0, 0.0), (spacing,) * 3, (edge + 16,) * 3)
    values = np.zeros(grid.shape, bool)
    values[8:-8, 8:-8, 8:-8] = True
    a = edge * spacing
    expected = a**3 + 6 * a**2 * margin + 3 * math.pi * a * margin**2 + 4 / 3 * math.pi * margin**3
    assert expand(Mask.cropped(grid, values), margin, grid).volume_cm3 == pytest.approx(expected / 1000, rel=rel)


@pytest.mark.parametrize(("radius", "planes"), [(10.0, 30), (6.0, 40)])
def test_a_cylinder_keeps_the_edges_of_its_ends(radius: float, planes: int) -> None:
    """Steiner's formula, with the integral of the mean curvature π h + π² R (Santaló, Integral Geometry, III.13)."""
    grid = grid_in("HFS", (1.0, 1.0, 1.0))
    volumes, margin = [], 5.0
    for offset in OFFSETS:
        across = np.hypot(*np.moveaxis(positions(grid)[..., :2] - offset[:2], -1, 0)) <= radius
        across[: (grid.planes - planes) // 2] = across[(grid.planes + planes) // 2 :] = False
        values = across & (np.arange(grid.planes) < (grid.planes - planes) // 2 + planes)[:, None, None]
        height = np.count_nonzero(values.any(axis=(1, 2)))
        exact = math.pi * radius**2 * height + 2 * math.pi * radius * (radius + height) * margin
        exact += (math.pi * height + math.pi**2 * radius) * margin**2 + 4 / 3 * math.pi * margin**3
        volumes.append(1000 * expand(Mask.cropped(grid, values), margin, grid).volume_cm3 / exact)
    assert np.mean(volumes) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("steps", [1, 2, -1, -2])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (3.0, 3.0, 3.0)])
def test_flat_faces_move_by_the_margin(spacing: Spacing, steps: int) -> None:
    grid = grid_in("HFS", spacing)
    mask = box(grid)
    moved = expand(mask, steps * spacing[0], grid)
    assert moved.grid.shape == tuple(size + 2 * steps for size in mask.grid.shape)
    middle = moved.grid.shape[0] // 2
    assert moved.values[:, middle, middle].all()


def test_shrinking_a_box_leaves_the_smaller_box() -> None:
    grid = grid_in("HFS", (2.0, 2.0, 2.0))
    assert np.array_equal(expand(box(grid), -4.0, grid).on(grid), box(grid, (8.0, 8.0, 8.0)).on(grid))


MARGINS = Margins(anterior_mm=10, posterior_mm=5, left_mm=7, right_mm=3, superior_mm=14, inferior_mm=6)


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP", "HFDR", "sagittal"])
def test_faces_move_by_the_margin_of_their_side_of_the_patient(position: str) -> None:
    grid = grid_in(position, (1.0, 1.0, 1.0))
    grown = expand(box(grid), MARGINS, grid)
    inside = positions(grid)[grown.on(grid)]
    # Voxel centres: those of the box reach 12, its faces half a voxel more.
    assert inside.max(axis=0) == pytest.approx([12 + 7, 12 + 5, 12 + 14])
    assert inside.min(axis=0) == pytest.approx([-12 - 3, -12 - 10, -12 - 6])


def test_corners_reach_an_octant_of_an_ellipsoid() -> None:
    """Steiner's formula with six margins: an octant of the box, its faces, its edges and its corner, eight times."""
    grid = grid_in("HFS", (1.0, 1.0, 1.0))
    a, total = 12.5, 0.0
    for x in (7, 3):
        for y in (5, 10):
            for z in (14, 6):
                total += (
                    a**3 + a * a * (x + y + z) + math.pi / 4 * a * (x * y + y * z + x * z) + math.pi / 6 * x * y * z
                )
    assert expand(box(grid), MARGINS, grid).volume_cm3 == pytest.approx(total / 1000, rel=0.03)


def test_a_margin_in_one_direction_moves_nothing_else() -> None:
    grid = grid_in("HFS", (1.0, 1.5, 2.0))
    mask = box(grid)
    grown = expand(mask, Margins(superior_mm=6), grid)
    assert grown.grid.shape == (mask.grid.planes + 3, *mask.grid.shape[1:])
    assert grown.values[:, 1:-1, 1:-1].all()


def test_shrinking_a_side_takes_that_side() -> None:
    grid = grid_in("HFS", (1.0, 1.0, 1.0))
    shrunk = expand(box(grid), Margins(anterior_mm=-4, left_mm=-2), grid).on(grid)
    inside = positions(grid)[shrunk]
    assert inside.min(axis=0) == pytest.approx([-12, -8, -12])
    assert inside.max(axis=0) == pytest.approx([10, 12, 12])
    assert shrunk.sum() == pytest.approx(23 * 21 * 25, rel=0.005)


def test_a_single_voxel_grows_to_about_a_ball() -> None:
    """From the voxel's surface, about 0.6 voxels from its centre."""
    grid = grid_in("HFS", (2.0, 2.0, 2.0))
    values = np.zeros(grid.shape, bool)
    values[15, 15, 15] = True
    distance = np.linalg.norm(positions(grid) - positions(grid)[15, 15, 15], axis=-1)
    grown = expand(Mask.cropped(grid, values), 8.0, grid).on(grid)
    assert grown[distance <= 8.0].all()
    assert not grown[distance > 10.0].any()


def test_a_plate_of_one_plane_is_not_lost() -> None:
    grid = grid_in("HFS", (2.0, 2.0, 2.0))
    values = np.zeros(grid.shape, bool)
    values[15, 8:23, 8:23] = True
    grown = expand(Mask.cropped(grid, values), 4.0, grid)
    assert grown.grid.planes == 5
    assert grown.values[:, 9, 9].all()


def test_shrinking_more_than_there_is_leaves_nothing() -> None:
    grid = grid_in()
    assert expand(box(grid), -30.0, grid).is_empty


def test_nothing_leaves_the_image() -> None:
    grid = grid_in(half_mm=10.0)
    corner = np.zeros(grid.shape, bool)
    corner[0, 0, 0] = True
    assert expand(Mask.cropped(grid, corner), 60.0, grid).on(grid).all()


def test_a_large_structure_is_followed_on_a_coarser_lattice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtpipeline.imaging.surface.LARGEST_FINE_LATTICE", 100_000)
    grid = grid_in("HFS", (2.0, 2.0, 2.0))
    grown = expand(ball(grid, 15.0, np.zeros(3)), 5.0, grid)
    assert grown.volume_cm3 == pytest.approx(ball_volume(20.0), rel=0.03)


def test_unequal_planes_are_refused() -> None:
    grid = Grid(np.zeros(3), np.eye(3), (1.0, 1.0), np.array([0.0, 3.0, 9.0]), 4, 4)
    with pytest.raises(ValueError, match="equally spaced"):
        expand(Mask.cropped(grid, np.ones(grid.shape, bool)), 3.0, grid)


def test_different_margins_on_oblique_images_are_refused_and_equal_ones_work() -> None:
    grid = grid_in("oblique", (2.0, 2.0, 2.0))
    mask = ball(grid, 15.0, np.zeros(3))
    assert expand(mask, 5.0, grid).volume_cm3 == pytest.approx(ball_volume(20.0), rel=0.03)
    with pytest.raises(ValueError, match="oblique"):
        expand(mask, MARGINS, grid)


def test_a_margin_that_leaves_the_image_costs_no_more_than_the_image() -> None:
    grid = grid_in(half_mm=12.0)
    corner = np.zeros(grid.shape, bool)
    corner[:5, :5, :5] = True
    tracemalloc.start()
    grown = expand(Mask.cropped(grid, corner), 200.0, grid)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert grown.voxel_count == np.prod(grid.shape)
    assert peak_bytes < 50e6  # all that lies within 200 mm are 32 million voxels

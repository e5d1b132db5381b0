"""Dose-volume curves against closed forms; a linear dose is exact on every dose grid, so only geometry can err."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from analytic_solids import CENTRE_GY, SOLIDS, H, R, Solid, circle
from rtpipeline.dvh.curve import DoseVolumeCurve
from rtpipeline.dvh.histogram import DoseHistogram, SampledDose
from rtpipeline.dvh.refinement import curve_of_mask, curve_of_slabs
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.slabs import slab_stack

FRACTIONS = (0.99, 0.95, 0.5, 0.05, 0.01)


def linear_dose(direction: str, spacing: tuple[float, float, float], offset: float = 0.13) -> Volume:
    """16 Gy at the origin, rising by 1 Gy/mm along y or z, on a grid around the solids."""
    size = tuple(int(40 / step) + 2 for step in spacing)
    grid = Grid.uniform((-20 + offset, -20 - offset, -20 + offset), spacing, size)  # type: ignore[arg-type]
    plane, row, _ = np.indices(grid.shape).astype(float)
    position = grid.origin_mm[1] + row * spacing[1] if direction == "y" else grid.origin_mm[2] + plane * spacing[2]
    return Volume(grid, CENTRE_GY + position)


def curve_of(contours: list[np.ndarray], dose: Volume, image_spacing: float) -> DoseVolumeCurve:
    stack = slab_stack(contours, image_spacing)
    return curve_of_slabs(stack, SampledDose(dose))


def deviations(solid: Solid, curve: DoseVolumeCurve, direction: str, spacing: float) -> dict[str, float]:
    """Relative deviations of volume, doses at volume fractions and at 0.03 cm3 from the closed form."""
    volume = solid.volume_mm3(spacing) / 1000
    found = {"V": curve.volume_total_cm3 / volume - 1}
    for fraction in FRACTIONS:
        truth = solid.dose_at(fraction, direction, spacing)
        found[f"D{100 * fraction:g}"] = curve.dose_at(fraction * curve.covered_cm3) / truth - 1
    found["D0.03cc"] = curve.dose_at(0.03) / solid.dose_at(0.03 / volume, direction, spacing) - 1
    return found


@pytest.mark.parametrize("direction", ["y", "z"])
@pytest.mark.parametrize("solid", SOLIDS, ids=lambda solid: solid.name)
def test_finely_drawn_solids_have_the_exact_curve(solid: Solid, direction: str) -> None:
    curve = curve_of(solid.contours(0.2), linear_dose(direction, (2.0, 2.0, 2.0)), 0.2)
    for name, deviation in deviations(solid, curve, direction, 0.2).items():
        assert abs(deviation) < 0.005, f"{name}: {100 * deviation:.2f} %"


def test_drawing_every_few_millimetres_costs_little() -> None:
    """Contours and dose every 1, 2 and 3 mm: at most 10 of 195 values deviate by more than 3 % (after Nelms 2015).

    Nine are what drawing at such a spacing costs by itself.
    """
    counted = [
        deviation
        for spacing in (1.0, 2.0, 3.0)
        for solid in SOLIDS
        for direction in ("y", "z")
        for deviation in deviations(
            solid,
            curve_of(solid.contours(spacing), linear_dose(direction, (spacing,) * 3), spacing),
            direction,
            spacing,
        ).values()
    ]
    assert len(counted) == 210
    assert sum(abs(deviation) > 0.03 for deviation in counted) <= 10


@pytest.mark.parametrize("spacing", [0.4, 1.0, 2.5, 3.0])
@pytest.mark.parametrize("offset", [0.0, 0.5, 1.25])
def test_the_dose_grid_does_not_change_volume_or_doses(spacing: float, offset: float) -> None:
    solid = SOLIDS[0]
    reference = curve_of(solid.contours(1.0), linear_dose("z", (2.0, 2.0, 2.0)), 1.0)
    curve = curve_of(solid.contours(1.0), linear_dose("z", (spacing,) * 3, offset), 1.0)
    assert curve.volume_total_cm3 == reference.volume_total_cm3
    assert curve.coverage_fraction == 1.0
    assert curve.mean_gy == pytest.approx(reference.mean_gy, abs=1e-9)
    for fraction in FRACTIONS:
        volume = fraction * curve.covered_cm3
        assert curve.dose_at(volume) == pytest.approx(reference.dose_at(volume), abs=2e-3)


@pytest.mark.parametrize("ct", [0.8, 1.0, 1.25, 2.0, 2.5, 3.0])
@pytest.mark.parametrize("planes", [2.0, 2.5, 3.0])
def test_volume_of_a_sphere_is_that_of_its_contours_whatever_the_dose_grid(ct: float, planes: float) -> None:
    radius = 25.0
    heights = np.arange(-radius + 0.37 * ct, radius, ct)
    contours = [
        np.column_stack([circle(np.sqrt(radius**2 - z**2)), np.full(720, z)]) for z in heights if abs(z) < radius - 0.05
    ]
    drawn = sum(np.pi * (radius**2 - contour[0, 2] ** 2) * ct for contour in contours) / 1000
    grid = Grid.uniform((-30.3, -29.1, -30.7), (2.5, 2.5, planes), (26, 26, int(62 / planes) + 1))
    curve = curve_of(contours, Volume(grid, np.full(grid.shape, 2.0)), ct)
    assert curve.volume_total_cm3 == pytest.approx(drawn, rel=1e-3)
    assert curve.volume_total_cm3 == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=1e-2)
    assert curve.volume_at(1.0) == pytest.approx(curve.volume_total_cm3, rel=1e-9)


def test_a_gaussian_dose_in_a_sphere() -> None:
    """A dose that is not linear: V(D) = 4/3 π s³ (2 ln(Dc / D))^1.5 inside the sphere."""
    centre_gy, width = 50.0, 15.0
    grid = Grid.uniform((-15.0, -15.0, -15.0), (0.5, 0.5, 0.5), (61, 61, 61))
    z, y, x = 0.5 * np.indices(grid.shape) - 15.0
    dose = Volume(grid, centre_gy * np.exp(-(x**2 + y**2 + z**2) / (2 * width**2)))
    curve = curve_of(SOLIDS[0].contours(0.2), dose, 0.2)
    for level in (40.0, 43.0, 46.0):
        radius = width * np.sqrt(2 * np.log(centre_gy / level))
        assert curve.volume_at(level) == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.01)


@pytest.mark.parametrize("direction", ["y", "z"])
def test_masks_give_the_curve_of_their_voxels(direction: str) -> None:
    """The curve of a mask is the curve of its voxel boxes: counted here by brute force on a fine lattice."""
    grid = Grid.uniform((-14.5, -14.5, -14.0), (1.0, 1.0, 2.0), (30, 30, 15))
    mask = rasterise(SOLIDS[0].contours(2.0), grid)
    dose = linear_dose(direction, (3.0, 3.0, 3.0))
    curve = curve_of_mask(mask, SampledDose(dose))
    assert curve.volume_total_cm3 == pytest.approx(mask.voxel_count * 0.002, rel=1e-12)
    voxels = np.argwhere(mask.values)
    steps = (np.arange(200) + 0.5) / 200 - 0.5
    axis, spacing = (1, 1.0) if direction == "y" else (0, 2.0)
    centres = mask.grid.origin_mm[1 if direction == "y" else 2] + voxels[:, axis] * spacing
    doses = np.sort((CENTRE_GY + centres[:, None] + steps * spacing).ravel())
    for fraction in FRACTIONS:
        assert curve.dose_at(fraction * curve.covered_cm3) == pytest.approx(np.quantile(doses, 1 - fraction), abs=0.01)
    assert curve.mean_gy == pytest.approx(doses.mean(), abs=1e-6)


def test_an_oblique_dose_grid_gives_the_same_curve() -> None:
    turn = Rotation.from_euler("xyz", [20, 35, -15], degrees=True).as_matrix()
    centre = turn @ np.array([30.0, 30.0, 30.0])
    grid = Grid(-centre, turn, (2.0, 2.5), np.arange(25) * 2.5, 31, 25)
    index = np.stack(np.meshgrid(np.arange(31.0), np.arange(25.0), np.arange(25.0), indexing="ij"), axis=-1)
    world = grid.index_to_world(index.transpose(2, 1, 0, 3))
    contours = SOLIDS[0].contours(1.0)
    oblique = curve_of(contours, Volume(grid, CENTRE_GY + world[..., 2]), 1.0)
    straight = curve_of(contours, linear_dose("z", (2.0, 2.0, 2.0)), 1.0)
    assert oblique.coverage_fraction == 1.0
    for fraction in FRACTIONS:
        volume = fraction * straight.covered_cm3
        assert oblique.dose_at(volume) == pytest.approx(straight.dose_at(volume), abs=5e-3)


def test_coverage_is_the_part_within_the_grid_and_the_volume_stays() -> None:
    solid = SOLIDS[1]
    dose = linear_dose("y", (2.0, 2.0, 2.0))
    half = Volume(dose.grid.crop(slice(10, 22), slice(0, 22), slice(0, 22)), dose.values[10:22])
    curve = curve_of(solid.contours(1.0), half, 1.0)
    lowest = half.grid.origin_mm[2]
    assert curve.volume_total_cm3 == pytest.approx(solid.volume_mm3(1.0) / 1000, rel=1e-3)
    assert curve.coverage_fraction == pytest.approx(((H + 1) / 2 - lowest) / (H + 1), abs=0.02)
    assert curve.mean_gy == pytest.approx(CENTRE_GY, abs=1e-6)


def test_a_structure_outside_the_grid_has_no_doses() -> None:
    dose = linear_dose("z", (2.0, 2.0, 2.0))
    far = [contour + np.array([200.0, 0.0, 0.0]) for contour in SOLIDS[0].contours(1.0)]
    curve = curve_of(far, dose, 1.0)
    assert curve.coverage_fraction == 0.0
    assert np.isnan(curve.mean_gy)
    assert curve.volume_total_cm3 == pytest.approx(4 / 3 * np.pi * R**3 / 1000, rel=0.01)


def test_thinning_keeps_the_curve() -> None:
    curve = curve_of(SOLIDS[0].contours(1.0), linear_dose("z", (2.0, 2.0, 2.0)), 1.0)
    thin = curve.thinned()
    assert len(thin.dose_gy) < 1000 < len(curve.dose_gy)
    restored = np.interp(curve.dose_gy, thin.dose_gy, thin.volume_cm3)
    assert np.abs(restored - curve.volume_cm3).max() <= 2.1e-5 * curve.covered_cm3
    assert np.all(np.diff(thin.volume_cm3) <= 0)


def test_more_volume_than_there_is_has_no_dose() -> None:
    curve = curve_of(SOLIDS[0].contours(1.0), linear_dose("z", (2.0, 2.0, 2.0)), 1.0)
    with pytest.raises(ValueError, match="more than the structure"):
        curve.dose_at(8.0)


def test_a_curve_that_drops_at_one_dose_is_thinned() -> None:
    """A homogeneous dose: the whole volume gets 60 Gy, none gets more."""
    doses, volumes = np.array([0.0, 30.0, 60.0, 60.0]), np.array([8.0, 8.0, 8.0, 0.0])
    thin = DoseVolumeCurve(doses, volumes, 8.0, 1.0, 60.0, 60.0, 60.0).thinned()
    assert thin.volume_cm3[0] == 8.0
    assert thin.dose_gy[-1] == 60.0


def test_unevenly_spaced_dose_planes_give_the_same_curve() -> None:
    even = linear_dose("z", (2.0, 2.0, 2.0))
    kept = np.array([0, 2, 3, 7, 8, 9, 12, 15, 16, 18, 20, 21])
    grid = even.grid
    uneven = Grid(grid.origin_mm, grid.direction, grid.pixel_spacing_mm, grid.plane_offsets_mm[kept], 22, 22)
    assert not uneven.is_uniform
    contours = SOLIDS[0].contours(1.0)
    expected, found = curve_of(contours, even, 1.0), curve_of(contours, Volume(uneven, even.values[kept]), 1.0)
    assert found.coverage_fraction == 1.0
    assert found.mean_gy == pytest.approx(expected.mean_gy, abs=1e-9)
    for fraction in FRACTIONS:
        volume = fraction * expected.covered_cm3
        assert found.dose_at(volume) == pytest.approx(expected.dose_at(volume), abs=2e-3)


@pytest.mark.parametrize("cut_mm", [-5.9, -2.35, 0.0, 3.3])
def test_coverage_is_exact_where_the_grid_cuts_through_cells(cut_mm: float) -> None:
    """A box of 24 mm (a cylinder along x seen in z) of which the dose grid begins at `cut_mm`."""
    square = np.array([[-12.0, -12.0], [12.0, -12.0], [12.0, 12.0], [-12.0, 12.0]])
    contours = [np.column_stack([square, np.full(4, z)]) for z in np.arange(-11.5, 12.0, 1.0)]
    grid = Grid.uniform((-20.0, cut_mm, -20.0), (2.0, 2.0, 2.0), (21, 21, 21))
    curve = curve_of(contours, Volume(grid, np.full(grid.shape, 3.0)), 1.0)
    assert curve.coverage_fraction == pytest.approx((12.0 - cut_mm) / 24.0, abs=1e-6)


def test_the_estimated_error_bounds_the_error() -> None:
    """A dose with a sharp edge on a coarse grid, against cells of 0.1 mm."""
    grid = Grid.uniform((-20.3, -20.1, -19.7), (3.0, 3.0, 3.0), (15, 15, 15))
    z, y, x = (axis * 3.0 for axis in np.indices(grid.shape))
    dose = SampledDose(Volume(grid, 60.0 / (1.0 + np.exp((np.hypot(x - 21, y - 18) - 9) / 1.5)) + 0.1 * z))
    stack = slab_stack(SOLIDS[0].contours(2.0), 2.0)
    curve = curve_of_slabs(stack, dose)
    fine = DoseHistogram(dose)
    fine.add_slabs(stack, 0.1)
    truth = fine.curve(stack.volume_cm3, 0.0)
    assert 0 < curve.error < 1e-3
    tolerance_cm3, tolerance_gy = 3 * curve.error * stack.volume_cm3, 3 * curve.error * 64.0
    for level in np.linspace(1.0, 60.0, 60):
        assert curve.volume_at(level) <= truth.volume_at(level - tolerance_gy) + tolerance_cm3
        assert curve.volume_at(level) >= truth.volume_at(level + tolerance_gy) - tolerance_cm3


@pytest.mark.parametrize("doses_gy", [(20.0, 40.0, 60.0), (0.0, 33.3, 50.1), (2.0, 2.5, 79.9)])
@pytest.mark.parametrize("as_mask", [False, True])
def test_what_gets_exactly_a_dose_gets_at_least_that_dose(doses_gy: tuple[float, ...], as_mask: bool) -> None:
    """A third of the structure lies in each of three even doses, of which one is the largest of the grid."""
    squares = [np.array([[x, 2.0], [x + 6.0, 2.0], [x + 6.0, 12.0], [x, 12.0]]) for x in (2.0, 12.0, 22.0)]
    contours = [np.column_stack([square, np.full(4, z)]) for square in squares for z in (3.0, 5.0, 7.0)]
    grid = Grid.uniform((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (31, 14, 11))
    columns = np.digitize(np.arange(31), [10, 20])
    dose = SampledDose(Volume(grid, np.broadcast_to(np.array(doses_gy)[columns], grid.shape).copy()))
    voxels = Grid.uniform((0.5, 0.5, 3.0), (1.0, 1.0, 2.0), (30, 14, 3))
    curve = (
        curve_of_mask(rasterise(contours, voxels), dose)
        if as_mask
        else curve_of(contours, Volume(grid, dose.field.values), 2.0)
    )
    assert curve.volume_total_cm3 == pytest.approx(1.08, rel=1e-9)
    for parts, level in zip((3, 2, 1), doses_gy, strict=True):
        assert curve.volume_at(level) == pytest.approx(0.36 * parts, rel=1e-6)
        assert curve.volume_at(level + 0.01) == pytest.approx(0.36 * (parts - 1), abs=1e-9)
    assert [curve.dose_at(volume) for volume in (0.9, 0.54, 0.18)] == pytest.approx(doses_gy, abs=0.005)
    thin = curve.thinned()
    assert [thin.volume_at(level) for level in doses_gy] == pytest.approx([1.08, 0.72, 0.36], abs=3e-5)

"""Conformity of a spherical target in a dose that falls linearly from its centre, in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from analytic_solids import circle
from rtpipeline.dvh.conformity import REACHES_EDGE, IsodoseVolumes, conformity_metrics
from rtpipeline.dvh.histogram import SampledDose
from rtpipeline.dvh.refinement import curve_of_slabs
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.slabs import slab_stack

RADIUS = 10.0


def falling_dose() -> Volume:
    """100 Gy at the centre, 2 Gy/mm less outwards; at 44 mm from it the grid ends."""
    grid = Grid.uniform((-44, -44, -44), (1.0, 1.0, 1.0), (89, 89, 89))
    z, y, x = np.indices(grid.shape) - 44.0
    return Volume(grid, np.maximum(100.0 - 2.0 * np.sqrt(x**2 + y**2 + z**2), 0.0))


def metrics(prescription: float) -> dict[str, tuple[float | None, str]]:
    heights = np.arange(-9.75, 10.0, 0.5)
    contours = [np.column_stack([circle(np.sqrt(RADIUS**2 - z**2)), np.full(720, z)]) for z in heights]
    dose = falling_dose()
    target = curve_of_slabs(slab_stack(contours, 0.5), SampledDose(dose))
    found = conformity_metrics(target, IsodoseVolumes(dose, 0.5 * prescription), prescription)
    return {metric.name: (metric.value, metric.status) for metric in found}


@pytest.mark.parametrize("reach", [8.0, 9.0, 14.0])
def test_indices_are_those_of_concentric_spheres(reach: float) -> None:
    """The prescription isodose is a sphere of radius `reach`, half of it one of radius `25 + reach / 2`."""
    prescription = 100.0 - 2.0 * reach
    found = metrics(prescription)
    isodose, common = (reach / RADIUS) ** 3, min(reach / RADIUS, 1.0) ** 3
    assert found["Coverage"][0] == pytest.approx(common, rel=0.01)
    assert found["CI_RTOG"][0] == pytest.approx(isodose, rel=0.01)
    assert found["CI_Paddick"][0] == pytest.approx(common**2 / isodose, rel=0.02)
    assert found["GI"][0] == pytest.approx(((25.0 + reach / 2) / reach) ** 3, rel=0.01)


def test_an_isodose_that_leaves_the_grid_has_no_volume() -> None:
    found = metrics(20.0)
    assert found["CI_RTOG"] == (pytest.approx((40.0 / RADIUS) ** 3, rel=0.01), "ok")
    assert found["GI"] == (None, REACHES_EDGE)


def test_a_prescription_that_is_not_reached() -> None:
    found = metrics(150.0)
    assert found["Coverage"][0] == 0.0
    assert found["CI_Paddick"][0] is None

"""Single structures in a dose, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.dvh.histogram import SampledDose
from rtpipeline.dvh.structure_dvh import StructureDvh, structure_dvh
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.polygons import outline
from rtpipeline.structures import Structure

GRID = Grid.uniform((0.0, 0.0, 0.0), (1.0, 1.0, 3.0), (30, 30, 10))
DOSE = SampledDose(Volume(GRID, np.full(GRID.shape, 20.0)))


def measured(structure: Structure, made_on: Grid | None = None) -> StructureDvh:
    return structure_dvh(structure, DOSE, image_plane_spacing_mm=3.0, minimum_coverage_fraction=0.99, made_on=made_on)


def test_a_structure_made_of_voxels_has_their_volume() -> None:
    """Two planes of voxels with an empty one between; drawn on every second image, they would stand for all three."""
    values = np.zeros(GRID.shape, bool)
    values[[3, 5], 10:20, 10:20] = True
    contours = tuple(outline(Mask.cropped(GRID, values)))
    drawn = measured(Structure("manual", 1, "drawn", "", contours=contours))
    made = measured(Structure("custom", 1, "made", "", contours=contours), GRID)
    assert drawn.curve is not None
    assert made.curve is not None
    assert (drawn.geometry, drawn.curve.volume_total_cm3) == ("contours", pytest.approx(1.2))
    assert (made.geometry, made.curve.volume_total_cm3) == ("voxels", pytest.approx(0.6))
    assert made.curve.mean_gy == pytest.approx(20.0)


def test_contours_that_overlap_or_leave_gaps_are_told() -> None:
    square = np.array([[10.0, 10, 0], [20, 10, 0], [20, 20, 0], [10, 20, 0]])
    planes = [square + np.array([0.0, 0, z]) for z in (3.0, 6.0, 9.0, 18.0, 21.0)]
    result = measured(
        Structure("manual", 1, "drawn", "", contours=(*planes, planes[0], planes[1] + np.array([5.0, 0, 0])))
    )
    assert result.status == "ok"
    assert result.curve is not None
    assert result.curve.volume_total_cm3 == pytest.approx(0.1 * 3 * 5 + 0.05 * 3)
    warnings = "; ".join(result.warnings)
    for expected in (
        "1 repeated contours were used once",
        "1 contours overlap others",
        "the space between is not filled",
    ):
        assert expected in warnings

"""`structure_comparison` through the stage, for shifted cubes and spheres whose every distance is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_files import direction_of
from rtpipeline import quality_control
from rtpipeline.dicom.rtstruct import RoiToWrite, write_structure_set
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.polygons import outline
from rtpipeline.tables.parquet import read_parquet
from stage_runs import run_stage
from structure_courses import make_course, write_segmentation


def compared(folder: Path, grid: Grid, drawn: NDArray[np.bool_], found: NDArray[np.bool_]) -> dict[str, Any]:
    """The row that compares a drawn liver with one that was found."""
    course = make_course(folder, grid)
    rois = [RoiToWrite("Leber", outline(Mask.cropped(grid, drawn)), "ORGAN", "MANUAL")]
    write_structure_set(course.files.structure_set, course.path("DICOM/CT"), rois, label="manual")
    file = course.files.segmentation("CT", "total")
    file.parent.mkdir(parents=True)
    write_segmentation(file, Volume(grid, found.astype(np.uint8)), {1: "liver"})
    run_stage(quality_control.run, course)
    (row,) = read_parquet(course.files.structure_comparison).to_pylist()
    assert (row["roi_name_a"], row["roi_name_b"], row["standard_name"]) == ("Leber", "liver", "Liver")
    return dict(row)


@pytest.mark.parametrize("position", ["HFS", "FFP"])
def test_cubes_of_voxels_shifted_along_x(tmp_path: Path, position: str) -> None:
    """Cubes of n voxels a side, k apart: a voxel of one's surface is as far from the other's as counting says."""
    n, k, spacing = 12, 3, (1.2, 0.8, 2.0)
    grid = Grid.uniform((-20.0, 11.0, 70.0), spacing, (30, 24, 20), direction_of(position))
    drawn, found = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    drawn[3 : 3 + n, 5 : 5 + n, 8 : 8 + n] = True
    found[3 : 3 + n, 5 : 5 + n, 8 + k : 8 + k + n] = True
    row = compared(tmp_path, grid, drawn, found)
    (sx, sy, sz), last = spacing, n - 1
    distances = []
    for x, y, z in np.ndindex(n, n, n):
        if x < k and (x == 0 or {y, z} & {0, last}):
            distances.append((k - x) * sx)  # straight to the other's near face
        elif x >= k and {y, z} & {0, last}:
            distances.append(0.0)  # on a side of both
        elif x == last:  # inside of the other: to its sides, or to its near or far face
            sides = [min(y, last - y) * sy, min(z, last - z) * sz]
            distances.append(min(*sides, k * sx, (last - k) * sx))
    assert len(distances) == n**3 - (n - 2) ** 3
    volume = n**3 * sx * sy * sz / 1000.0
    assert row["volume_a_cm3"] == row["volume_b_cm3"] == pytest.approx(volume)
    assert row["volume_difference_percent"] == pytest.approx(0.0)
    assert row["dice"] == pytest.approx((n - k) / n)
    assert row["centroid_distance_mm"] == pytest.approx(k * sx)
    for limit in (1, 2, 3):
        assert row[f"surface_dice_{limit}mm"] == pytest.approx(np.mean([one <= limit for one in distances]))
    assert row["hausdorff_95_mm"] == pytest.approx(np.percentile(distances, 95), abs=1e-4)
    assert row["mean_surface_distance_mm"] == pytest.approx(np.mean(distances), abs=1e-4)
    # Of the outline of 4 (n - 1) pixels in each plane, two sides are followed over n - k pixels.
    missed = n * (4 * (n - 1) - 2 * (n - k))
    assert row["added_path_length_mm"] == pytest.approx(missed * math.sqrt(sx * sy))


def test_spheres_shifted_by_less_than_their_radius(tmp_path: Path) -> None:
    """A point at the angle t to the shift d lies |sqrt(r² + d² - 2 r d cos t) - r| from the other; cos t is uniform."""
    radius, shift, spacing = 30.0, 8.0, 1.0
    grid = Grid.uniform((0.0, 0.0, 0.0), (spacing,) * 3, (80, 68, 68), np.eye(3))
    z, y, x = np.indices(grid.shape) * spacing
    squared = (y - 33.3) ** 2 + (z - 33.7) ** 2
    drawn, found = (squared + (x - centre) ** 2 <= radius**2 for centre in (34.1, 34.1 + shift))
    row = compared(tmp_path, grid, drawn, found)
    cosine = np.linspace(-1, 1, 200_001)
    distance = np.abs(np.sqrt(radius**2 + shift**2 - 2 * radius * shift * cosine) - radius)
    overlap = math.pi * (4 * radius + shift) * (2 * radius - shift) ** 2 / 12
    volume = 4 / 3 * math.pi * radius**3
    assert row["volume_a_cm3"] == pytest.approx(volume / 1000.0, rel=5e-3)
    assert row["volume_difference_percent"] == pytest.approx(0.0, abs=0.5)
    assert row["dice"] == pytest.approx(overlap / volume, abs=2e-3)
    assert row["centroid_distance_mm"] == pytest.approx(shift, abs=0.02)
    assert row["hausdorff_95_mm"] == pytest.approx(np.percentile(distance, 95), abs=0.3)
    assert row["mean_surface_distance_mm"] == pytest.approx(distance.mean(), abs=0.2)
    for limit in (1, 2, 3):
        below, above = (np.mean(distance <= limit + half * spacing) for half in (-0.5, 0.5))
        assert below <= row[f"surface_dice_{limit}mm"] <= above

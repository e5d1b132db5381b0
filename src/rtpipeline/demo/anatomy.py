"""The synthetic patients: where their organs lie, and what their CT, MR and PET look like."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from rtpipeline.demo.phantom_codes import ORGAN_HU
from rtpipeline.demo.shapes import Ellipsoid
from rtpipeline.imaging.grid import FloatArray, Grid, Volume

SPACING_MM = 3.0
"""The spacing of TotalSegmentator's fast model, so that the tiny weights see the painted voxels unchanged."""

CT_GRID = Grid.uniform((-94.5, -94.5, -88.5), (SPACING_MM, SPACING_MM, SPACING_MM), (64, 64, 60))
MR_GRID = Grid.uniform((-70.0, -60.0, -20.0), (2.5, 2.5, 4.0), (56, 48, 26))
PET_GRID = Grid.uniform((-96.0, -96.0, -86.0), (4.0, 4.0, 4.0), (49, 49, 44))

AIR_HU = -1000.0
SOFT_TISSUE_HU = 30.0
TUMOUR_HU = 45.0
TUMOUR_TEXTURE_HU = 20.0
HYPOXIC_CORE_HU = -25.0
NOISE_HU = 6.0
PTV_MARGIN_MM = 6.0

BODY = Ellipsoid((0.0, 0.0, 0.0), (86.0, 68.0, math.inf))
SPINAL_CORD = Ellipsoid((0.0, 46.0, 0.0), (5.5, 5.5, math.inf))
ORGANS = {
    "lung_upper_lobe_right": Ellipsoid((-43.0, -4.0, 42.0), (29.0, 42.0, 40.0)),
    "lung_upper_lobe_left": Ellipsoid((43.0, -4.0, 42.0), (29.0, 42.0, 40.0)),
    "heart": Ellipsoid((4.0, -22.0, 22.0), (16.0, 22.0, 20.0)),
    "liver": Ellipsoid((-38.0, -6.0, -24.0), (34.0, 42.0, 22.0)),
    "spleen": Ellipsoid((48.0, 12.0, -22.0), (18.0, 20.0, 18.0)),
    "urinary_bladder": Ellipsoid((0.0, -24.0, -68.0), (19.0, 16.0, 14.0)),
    "femur_right": Ellipsoid((-48.0, 6.0, -70.0), (13.0, 13.0, 13.0)),
    "femur_left": Ellipsoid((48.0, 6.0, -70.0), (13.0, 13.0, 13.0)),
    "aorta": Ellipsoid((10.0, 22.0, -10.0), (7.0, 7.0, 70.0)),
    "vertebrae_L5": Ellipsoid((0.0, 42.0, -64.0), (16.0, 16.0, 20.0)),
    "vertebrae_L1": Ellipsoid((0.0, 42.0, -22.0), (16.0, 16.0, 20.0)),
    "vertebrae_T12": Ellipsoid((0.0, 42.0, 22.0), (16.0, 16.0, 20.0)),
    "vertebrae_C7": Ellipsoid((0.0, 42.0, 64.0), (16.0, 16.0, 20.0)),
}
"""Organs that the tiny weights know, under TotalSegmentator's names (patient right is at negative x)."""

UPTAKE_SUV = {
    "lung_upper_lobe_right": 0.4,
    "lung_upper_lobe_left": 0.4,
    "heart": 3.0,
    "liver": 2.2,
    "urinary_bladder": 12.0,
}


@dataclass(frozen=True)
class Anatomy:
    """One patient.

    Attributes:
        seed: of the noise and of the tumour's texture.
        organs: the organs of `ORGANS`, moved and scaled a little.
        tumour: the gross tumour volume.
        hypoxic_core: a part of the tumour with lower density, signal and uptake.
    """

    seed: int
    organs: dict[str, Ellipsoid]
    tumour: Ellipsoid
    hypoxic_core: Ellipsoid

    @classmethod
    def draw(cls, seed: int, tumour_radius_mm: float) -> Anatomy:
        """A patient whose organs and tumour vary with `seed`."""
        random = np.random.default_rng([seed, 0])
        organs = {
            name: organ.moved(random.uniform(-2.0, 2.0, 3), float(random.uniform(0.92, 1.04)))
            for name, organ in ORGANS.items()
        }
        x, y, z = (float(value) for value in np.array([-42.0, -6.0, 44.0]) + random.uniform(-4.0, 4.0, 3))
        flatness = random.uniform(0.85, 1.15, 3)
        radii = tuple(float(tumour_radius_mm * factor) for factor in flatness)
        core = tuple(0.45 * radius for radius in radii)
        return cls(
            seed=seed,
            organs=organs,
            tumour=Ellipsoid((x, y, z), (radii[0], radii[1], radii[2])),
            hypoxic_core=Ellipsoid((x + 2.0, y - 1.0, z + 1.0), (core[0], core[1], core[2])),
        )

    @property
    def planning_target(self) -> Ellipsoid:
        """The tumour with its margin."""
        return self.tumour.expanded(PTV_MARGIN_MM)

    def ct(self, grid: Grid = CT_GRID) -> Volume:
        """HU on `grid`: air, soft tissue, lungs, bone, coded organs, and a tumour with texture."""
        points = _voxel_centres(grid)
        values = np.full(grid.shape, AIR_HU)
        values[BODY.contains(points)] = SOFT_TISSUE_HU
        for name, organ in self.organs.items():
            values[organ.contains(points)] = ORGAN_HU[name]
        values[SPINAL_CORD.contains(points)] = ORGAN_HU["spinal_cord"]
        tumour = self.tumour.contains(points)
        values[tumour] = TUMOUR_HU + TUMOUR_TEXTURE_HU * self._texture(grid, 1)[tumour]
        values[self.hypoxic_core.contains(points)] += HYPOXIC_CORE_HU
        return Volume(grid, np.round(np.clip(values + self._noise(grid, 2, NOISE_HU), -1024.0, 3071.0)))

    def mr(self) -> Volume:
        """Signal of a contrast-enhanced image in arbitrary units; organs have their code as signal, lungs have none."""
        points = _voxel_centres(MR_GRID)
        values = np.full(MR_GRID.shape, 5.0)
        values[BODY.contains(points)] = 90.0
        for name, organ in self.organs.items():
            values[organ.contains(points)] = max(ORGAN_HU[name], 20.0)
        values[SPINAL_CORD.contains(points)] = ORGAN_HU["spinal_cord"]
        tumour = self.tumour.contains(points)
        values[tumour] = 1600.0 + 70.0 * self._texture(MR_GRID, 3)[tumour]
        values[self.hypoxic_core.contains(points)] -= 150.0
        return Volume(MR_GRID, np.round(np.clip(values + self._noise(MR_GRID, 4, 8.0), 0.0, 4000.0)))

    def pet(self) -> Volume:
        """Standardised uptake values by body weight (g/ml), blurred as a scanner does."""
        points = _voxel_centres(PET_GRID)
        values = np.full(PET_GRID.shape, 0.02)
        values[BODY.contains(points)] = 0.8
        for name, uptake in UPTAKE_SUV.items():
            values[self.organs[name].contains(points)] = uptake
        values[self.tumour.contains(points)] = 9.0
        values[self.hypoxic_core.contains(points)] = 5.0
        blurred = ndimage.gaussian_filter(values, 0.9)
        return Volume(PET_GRID, np.clip(blurred * (1.0 + 0.04 * self._texture(PET_GRID, 5)), 0.0, None))

    def _texture(self, grid: Grid, stream: int) -> FloatArray:
        """A smooth random field (z, y, x) of zero mean and unit standard deviation, clipped at 2.5."""
        white = np.random.default_rng([self.seed, stream]).standard_normal(grid.shape)
        smooth = ndimage.gaussian_filter(white, 1.2)
        return np.clip((smooth - smooth.mean()) / smooth.std(), -2.5, 2.5)

    def _noise(self, grid: Grid, stream: int, standard_deviation: float) -> FloatArray:
        return np.random.default_rng([self.seed, stream]).normal(0.0, standard_deviation, grid.shape)


def dose_gy(target: Ellipsoid, prescription_gy: float, grid: Grid) -> Volume:
    """A smooth dose (z, y, x) in Gy: homogeneous in the target, steep at its edge, a bath of two opposed beams around.

    With r = `target.radius_at(point)` (1 on the target's surface), it is `P (1.04 / (1 + exp(14 (r - 1.3))) + b)`,
    where the bath b is 0.2 in the beams' shadow and outside the high dose, and 0.02 elsewhere.
    """
    points = _voxel_centres(grid)
    radius = target.radius_at(points)
    high = 1.04 / (1.0 + np.exp(np.clip(14.0 * (radius - 1.3), -60.0, 60.0)))
    across = (points - np.asarray(target.centre_mm))[..., [0, 2]] / np.asarray(target.radii_mm)[[0, 2]]
    shadow = np.exp(-np.sum((across / 1.2) ** 4, axis=-1))
    bath = (0.02 + 0.18 * shadow) * (1.0 - high / 1.04) * BODY.contains(points)
    return Volume(grid, prescription_gy * (high + bath))


def _voxel_centres(grid: Grid) -> FloatArray:
    """World positions (planes, rows, columns, 3) of all voxels."""
    plane, row, column = np.indices(grid.shape, dtype=float)
    return grid.index_to_world(np.stack([column, row, plane], axis=-1))

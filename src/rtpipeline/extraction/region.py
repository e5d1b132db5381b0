"""The voxels of one structure on one (filtered) image, prepared once for every class of features."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from radiomics import cMatrices

from rtpipeline.extraction.discretisation import grey_levels
from rtpipeline.extraction.neighbourhood import count_neighbourhoods

_SMALL = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Place:
    """Where the voxels of a structure lie, in a box that is padded by zeros on every side.

    Attributes:
        mask: the structure (z, y, x), in a box that it fills.
        pad: how many voxels of padding there are; no neighbour is farther away.
    """

    mask: NDArray[np.bool_]
    pad: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the box (z, y, x), without padding."""
        depth, height, width = self.mask.shape
        return depth, height, width

    @cached_property
    def inside(self) -> NDArray[np.intp]:
        """Flat indices of the voxels in the box, in raster order."""
        return np.flatnonzero(self.mask)

    @property
    def padded_shape(self) -> tuple[int, int, int]:
        """Of the padded box (z, y, x)."""
        depth, height, width = (size + 2 * self.pad for size in self.shape)
        return depth, height, width

    @cached_property
    def padded_inside(self) -> NDArray[np.intp]:
        """Flat indices of the voxels in the padded box, in raster order."""
        z, y, x = np.unravel_index(self.inside, self.shape)
        indices: NDArray[np.intp] = np.ravel_multi_index((z + self.pad, y + self.pad, x + self.pad), self.padded_shape)
        return indices

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Each line along x that meets the structure, in raster order.

        Two columns: the flat index of its first voxel in the padded box, and how many voxels it takes to its last one.
        """
        line = self.padded_inside // self.padded_shape[2]
        first = np.flatnonzero(np.diff(line, prepend=-1))
        last = np.append(first[1:], line.size) - 1
        start = self.padded_inside[first]
        return np.ascontiguousarray(np.stack([start, self.padded_inside[last] - start + 1], axis=1))

    def offsets(self, angles: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Steps (z, y, x) as distances of flat indices in the padded box."""
        _, height, width = self.padded_shape
        return np.ascontiguousarray(angles @ np.array([height * width, width, 1]), dtype=np.int64)


@dataclass(frozen=True)
class Region:
    """One structure on one image.

    Attributes:
        image: the image, for its spacing.
        place: where the voxels lie.
        values: of the voxels in raster order, in the image's own type.
        setting: PyRadiomics' settings for this image.
    """

    image: sitk.Image
    place: Place
    values: NDArray[Any]
    setting: dict[str, Any] = field(repr=False)

    @cached_property
    def voxel_levels(self) -> NDArray[np.int64]:
        """Grey levels of the voxels in raster order, from 1."""
        return grey_levels(self.values, self.setting)

    @cached_property
    def level_counts(self) -> NDArray[np.int64]:
        """How many voxels have grey level 1, 2, …, up to the highest in the region."""
        return np.bincount(self.voxel_levels)[1:]

    @property
    def highest_level(self) -> int:
        """The highest grey level."""
        return int(self.level_counts.size)

    @cached_property
    def present_levels(self) -> NDArray[np.intp]:
        """The grey levels that occur."""
        return np.flatnonzero(self.level_counts) + 1

    @cached_property
    def levels(self) -> NDArray[Any]:
        """Grey levels in the padded box, flat; 0 outside the structure.

        The type is the smallest that holds the sum over a voxel's neighbours.
        """
        neighbours = len(self.angles(self.distances, both_ways=True))
        small = self.highest_level * max(neighbours, 1) <= _SMALL
        levels = np.zeros(int(np.prod(self.place.padded_shape)), np.uint16 if small else np.uint32)
        levels[self.place.padded_inside] = self.voxel_levels
        return levels

    @property
    def distances(self) -> list[int]:
        """At which distances, in voxels (infinity norm), neighbours are compared."""
        return list(self.setting.get("distances", [1]))

    @cached_property
    def neighbourhoods(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """See `count_neighbourhoods`."""
        offsets = self.place.offsets(self.angles(self.distances, both_ways=True))
        alpha = self.setting.get("gldm_a", 0)
        counts: tuple[NDArray[np.int64], NDArray[np.float64]] = count_neighbourhoods(
            self.levels, self.place.rows, offsets, self.highest_level, alpha if isinstance(alpha, int) else 0
        )
        return counts

    def angles(self, distances: Sequence[int], *, both_ways: bool) -> NDArray[np.int32]:
        """Steps (z, y, x) to the neighbours at these distances that fit into the box, in PyRadiomics' order.

        Args:
            distances: in voxels.
            both_ways: every direction with its opposite; else one of the two.
        """
        angles: NDArray[np.int32] = cMatrices.generate_angles(
            np.array(self.place.shape),
            np.array(distances),
            both_ways,
            self.setting.get("force2D", False),
            self.setting.get("force2Ddimension", 0),
        )
        return angles


class OnRegion:
    """Put before one of PyRadiomics' feature classes: it then starts from a prepared region.

    It takes the place of the library's constructor, which reads the image and discretises it again. The formulas,
    the names and the choice of features stay the library's.
    """

    coefficients: dict[str, Any]

    def __init__(self, region: Region) -> None:
        setting = region.setting
        self.region = region
        self.logger = logging.getLogger("radiomics.region")
        self.settings = setting
        self.voxelBased = False
        self.enabledFeatures: dict[str, bool] = {}
        self.featureValues: dict[str, Any] = {}
        self.featureNames = self.getFeatureNames()  # type: ignore[attr-defined]
        self.inputImage = region.image
        self.pixelSpacing = region.image.GetSpacing()
        self.voxelArrayShift = setting.get("voxelArrayShift", 0)
        self.symmetricalGLCM = setting.get("symmetricalGLCM", True)
        self.weightingNorm = setting.get("weightingNorm")
        self.coefficients = {"grayLevels": region.present_levels, "Ng": region.highest_level}

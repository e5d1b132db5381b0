"""A mask in a box of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.mask import BoolArray, Mask, bounding_box

Index = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Region:
    """A mask on the lattice of an image, cut to a box that may reach beyond the image.

    Attributes:
        values: (z, y, x), True inside.
        first: index (z, y, x) in the image of `values[0, 0, 0]`; may be negative.
        spacing_mm: (z, y, x).
    """

    values: BoolArray
    first: Index
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, mask: Mask, image: Grid) -> Region:
        """The region of `mask`, whose voxels are voxels of `image`.

        Raises:
            ValueError: the mask's voxels are not voxels of `image`, or its planes are not equally spaced.
        """
        x_mm, y_mm, z_mm = image.spacing_mm
        planes, rows, columns = mask.box_on(image)
        first = (planes.start, rows.start, columns.start)
        return cls(mask.values, first, (z_mm, y_mm, x_mm)).trimmed()

    def mask(self, image: Grid) -> Mask:
        """The region as a mask on its part of `image`, of which it must be within (see `is_within`)."""
        own = self.trimmed()
        box = [slice(start, start + size) for start, size in zip(own.first, own.values.shape, strict=True)]
        return Mask(image.crop(box[0], box[1], box[2]), np.ascontiguousarray(own.values))

    @property
    def voxel_count(self) -> int:
        """Number of voxels inside."""
        return int(np.count_nonzero(self.values))

    @property
    def volume_cm3(self) -> float:
        """Volume of the voxels inside."""
        return self.voxel_count * math.prod(self.spacing_mm) / 1000.0

    def with_values(self, values: BoolArray) -> Region:
        """The same box with other values."""
        return Region(values, self.first, self.spacing_mm)

    def trimmed(self) -> Region:
        """Cut to the bounding box of its voxels."""
        box = bounding_box(self.values)
        first = tuple(start + part.start for start, part in zip(self.first, box, strict=True))
        return Region(self.values[box], (first[0], first[1], first[2]), self.spacing_mm)

    def padded(self, margin_mm: float) -> Region:
        """Trimmed, and with all voxels around it whose centre is within `margin_mm` of it, and one more."""
        own = self.trimmed()
        width = [math.ceil(margin_mm / step) + 1 for step in self.spacing_mm]
        first = tuple(start - count for start, count in zip(own.first, width, strict=True))
        values = np.pad(own.values, [(count, count) for count in width])
        return Region(values, (first[0], first[1], first[2]), self.spacing_mm)

    def moved(self, steps: Index) -> Region:
        """Shifted by whole voxels (z, y, x)."""
        z, y, x = (start + step for start, step in zip(self.first, steps, strict=True))
        return Region(self.values, (z, y, x), self.spacing_mm)

    def is_within(self, shape: tuple[int, ...]) -> bool:
        """Whether every voxel inside is a voxel of an image of this shape (z, y, x)."""
        own = self.trimmed()
        ends = zip(own.first, own.values.shape, shape, strict=True)
        return all(start >= 0 and start + size <= limit for start, size, limit in ends)

    def same_as(self, other: Region) -> bool:
        """Whether both have the same voxels inside."""
        own, others = self.trimmed(), other.trimmed()
        return own.first == others.first and np.array_equal(own.values, others.values)

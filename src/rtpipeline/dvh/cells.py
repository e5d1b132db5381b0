"""Structures cut into small cells of known volume and place, from slabs and from masks alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rtpipeline.imaging.grid import FloatArray
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.planar_region import coverage
from rtpipeline.imaging.slabs import Slab, SlabStack

CELLS_PER_STRUCTURE = 400_000
SMALLEST_CELL_MM = 0.2
LARGEST_CELL_MM = 1.0
LARGEST_CELL_OF_LARGE_STRUCTURES_MM = 1.5
LARGE_STRUCTURE_CM3 = 3000.0
LARGEST_LATTICE = 1_000_000
"""Most cells in the rectangle around one slab: thin structures that reach far get larger ones."""
CELLS_AT_ONCE = 16_384
"""So few that what is computed for them stays in the processor's cache, and that BLAS does not start threads."""


@dataclass(frozen=True, eq=False)
class Cells:
    """n cells of one structure: boxes with parallel edges, of which the structure may fill a part.

    Attributes:
        centroids_mm: (n, 3) world position of the centroid of the part that belongs to the structure.
        volumes_mm3: (n,) volume of that part.
        edges_mm: (3, 3); its columns are the three edges of a full cell in the patient's coordinates.
        scales: (n, 3) extent of the part along the edges, 0 to 1.
    """

    centroids_mm: FloatArray
    volumes_mm3: FloatArray
    edges_mm: FloatArray
    scales: FloatArray

    def blocks(self) -> Iterator[Cells]:
        """The same cells, `CELLS_AT_ONCE` at a time."""
        for start in range(0, len(self.volumes_mm3), CELLS_AT_ONCE):
            part = slice(start, start + CELLS_AT_ONCE)
            yield Cells(self.centroids_mm[part], self.volumes_mm3[part], self.edges_mm, self.scales[part])


def cell_edge_mm(volume_cm3: float) -> float:
    """Edge of the cells of a structure: `CELLS_PER_STRUCTURE` cells, within limits."""
    largest = LARGEST_CELL_OF_LARGE_STRUCTURES_MM if volume_cm3 > LARGE_STRUCTURE_CM3 else LARGEST_CELL_MM
    edge = (1000.0 * volume_cm3 / CELLS_PER_STRUCTURE) ** (1.0 / 3.0)
    return float(np.clip(edge, SMALLEST_CELL_MM, largest))


def cells_of_slabs(stack: SlabStack) -> Iterator[Cells]:
    """The cells of a structure made of slabs, one slab at a time."""
    edge = cell_edge_mm(stack.volume_cm3)
    for slab in stack.slabs:
        yield _cells_of_slab(slab, stack.axes, edge)


def _cells_of_slab(slab: Slab, axes: FloatArray, edge: float) -> Cells:
    low_u, low_v, high_u, high_v = slab.region.bounds
    edge = max(edge, float(np.sqrt((high_u - low_u) * (high_v - low_v) / LARGEST_LATTICE)))
    origin = (np.floor(low_u / edge) * edge, np.floor(low_v / edge) * edge)
    shape = (int((high_v - origin[1]) / edge) + 1, int((high_u - origin[0]) / edge) + 1)
    covered = coverage(slab.region, origin, edge, shape)
    row, column = np.nonzero(covered.fraction)
    fraction = covered.fraction[row, column]
    u = origin[0] + (column + covered.centroid_x[row, column]) * edge
    v = origin[1] + (row + covered.centroid_y[row, column]) * edge
    # An even number, because dose planes are often those of the contours: then no cell lies on both sides of one.
    count = 2 * max(1, int(np.ceil(slab.thickness_mm / (2 * edge))))
    step = slab.thickness_mm / count
    heights = slab.low_mm + (np.arange(count) + 0.5) * step
    in_plane = np.sqrt(fraction)
    scales = np.stack([in_plane, in_plane, np.ones(len(fraction))], axis=1)
    flat = u[:, None] * axes[:, 0] + v[:, None] * axes[:, 1]
    return Cells(
        centroids_mm=(flat[None, :, :] + heights[:, None, None] * axes[:, 2]).reshape(-1, 3),
        volumes_mm3=np.tile(fraction * edge * edge * step, count),
        edges_mm=axes * np.array([edge, edge, step]),
        scales=np.tile(scales, (count, 1)),
    )


def cells_of_mask(mask: Mask) -> Iterator[Cells]:
    """The cells of a mask, one plane at a time: its voxels, cut smaller where these are coarse for its volume."""
    edge = cell_edge_mm(mask.volume_cm3)
    grid = mask.grid
    x, y = grid.pixel_spacing_mm
    parts_x, parts_y = (max(1, int(np.ceil(spacing / edge - 1e-6))) for spacing in (x, y))
    thicknesses = grid.plane_thicknesses_mm
    low = grid.plane_offsets_mm - thicknesses / 2
    within = np.stack(np.meshgrid(_centres(parts_y), _centres(parts_x), indexing="ij"), axis=-1).reshape(
        -1, 2
    )  # (parts, (row, column)) offsets in voxels
    for plane in np.flatnonzero(mask.values.any(axis=(1, 2))):
        voxels = np.argwhere(mask.values[plane]).astype(float)
        row_column = (voxels[:, None, :] + within[None, :, :]).reshape(-1, 2)
        thickness = float(thicknesses[plane])
        parts_z = 2 * max(1, int(np.ceil(thickness / (2 * edge) - 1e-6)))
        step = thickness / parts_z
        heights = low[plane] + (np.arange(parts_z) + 0.5) * step
        flat = (
            grid.origin_mm + row_column[:, 1:] * x * grid.direction[:, 0] + row_column[:, :1] * y * grid.direction[:, 1]
        )
        count = len(flat) * parts_z
        edges = grid.direction * np.array([x / parts_x, y / parts_y, step])
        yield Cells(
            centroids_mm=(flat[None, :, :] + heights[:, None, None] * grid.direction[:, 2]).reshape(-1, 3),
            volumes_mm3=np.full(count, x * y * step / (parts_x * parts_y)),
            edges_mm=edges,
            scales=np.ones((count, 3)),
        )


def _centres(parts: int) -> FloatArray:
    """Centres of equal parts of a voxel, from its centre, in voxels."""
    return (np.arange(parts) + 0.5) / parts - 0.5

"""How far the surfaces of two masks lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rtpipeline.imaging.grid import FloatArray, Grid
from rtpipeline.imaging.mask import BoolArray, Mask

TOLERANCES_MM = (1.0, 2.0, 3.0)


@dataclass(frozen=True)
class SurfaceAgreement:
    """Distances between two surfaces.

    Attributes:
        surface_dice: tolerance in mm → part of both surfaces that lies within it of the other one.
        hausdorff_95_mm: the larger of the two 95th percentiles of the distances from one surface to the other.
        mean_distance_mm: mean of the distances of both surfaces to the other one.
        added_path_length_mm: length of the first one's outline, plane by plane, that the second one's does not follow.
    """

    surface_dice: Mapping[float, float]
    hausdorff_95_mm: float
    mean_distance_mm: float
    added_path_length_mm: float


def surface_agreement(first: Mask, second: Mask, grid: Grid) -> SurfaceAgreement | None:
    """Compare the surfaces of two masks, neither of them empty.

    A surface is the voxels of a mask that share a face with one outside, and distances are Euclidean ones in mm from
    voxel centre to voxel centre, by SimpleITK (Maurer et al. 2003), so that nothing below a voxel is measured. With a
    surface's voxels S, the distance d to the other surface and the tolerance t:

        surface Dice = (|{a: d(a) <= t}| + |{b: d(b) <= t}|) / (|S_a| + |S_b|)    (Nikolov et al. 2021)
        HD95 = max(P95(d(a)), P95(d(b)))
        mean surface distance = (sum d(a) + sum d(b)) / (|S_a| + |S_b|)
        added path length = pixels of a's outline that are not on b's, times the pixel spacing (Vaassen et al. 2020)

    Args:
        first: the reference.
        second: what is compared with it.
        grid: both masks are parts of it.

    Returns:
        None where the grid has one plane, or planes that are not equally spaced.
    """
    if grid.planes < 2 or not grid.is_uniform:
        return None
    a, b = _together(first, second, grid)
    spacing = grid.spacing_mm
    surface_a, surface_b = _surface(a), _surface(b)
    from_a = _distance_to(surface_b, spacing)[surface_a]
    from_b = _distance_to(surface_a, spacing)[surface_b]
    both: FloatArray = np.concatenate([from_a, from_b])
    missed = np.count_nonzero(_outline(a) & ~_outline(b))
    return SurfaceAgreement(
        surface_dice={limit: float(np.mean(both <= limit + 1e-4)) for limit in TOLERANCES_MM},
        hausdorff_95_mm=float(max(np.percentile(from_a, 95), np.percentile(from_b, 95))),
        mean_distance_mm=float(both.mean()),
        added_path_length_mm=float(missed * np.sqrt(spacing[0] * spacing[1])),
    )


def _together(first: Mask, second: Mask, grid: Grid) -> tuple[BoolArray, BoolArray]:
    """Both masks (z, y, x) in the box around them, with a voxel of background on each side."""
    boxes = [first.box_on(grid), second.box_on(grid)]
    low = [min(box[axis].start for box in boxes) for axis in range(3)]
    high = [max(box[axis].stop for box in boxes) for axis in range(3)]
    part = grid.crop(*(slice(start, stop) for start, stop in zip(low, high, strict=True)))
    return np.pad(first.on(part), 1), np.pad(second.on(part), 1)


def _surface(values: BoolArray) -> BoolArray:
    """The voxels with a face towards the outside."""
    return values & ~ndimage.binary_erosion(values)


def _outline(values: BoolArray) -> BoolArray:
    """The same, each plane by itself."""
    return values & ~ndimage.binary_erosion(values, structure=ndimage.generate_binary_structure(2, 1)[None])


def _distance_to(surface: BoolArray, spacing_mm: tuple[float, float, float]) -> NDArray[np.float32]:
    """Distance in mm (z, y, x) of every voxel centre from the nearest one of `surface`.

    Args:
        surface: (z, y, x).
        spacing_mm: (x, y, z).
    """
    import SimpleITK

    image = SimpleITK.GetImageFromArray(surface.astype(np.uint8))
    image.SetSpacing(spacing_mm)
    measure = SimpleITK.SignedMaurerDistanceMapImageFilter()
    measure.SetSquaredDistance(False)
    measure.SetUseImageSpacing(True)
    measure.SetNumberOfThreads(1)
    distances: Any = SimpleITK.GetArrayFromImage(measure.Execute(image))
    found: NDArray[np.float32] = np.abs(distances)
    found[surface] = 0.0
    return found

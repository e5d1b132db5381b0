"""Structures of one name from two sources, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.mask import Mask
from rtpipeline.structures import Structure

Row = dict[str, object]


def comparison_rows(masks: Sequence[tuple[Structure, Mask]], grid: Grid) -> Iterator[Row]:
    """One row per pair of structures with the same standard name and different sources.

    Args:
        masks: structures and their voxels on the planning CT; empty ones are left out.
        grid: of the planning CT.
    """
    named: dict[str, list[tuple[Structure, Mask]]] = {}
    for structure, mask in masks:
        if structure.standard_name and not mask.is_empty:
            named.setdefault(structure.standard_name, []).append((structure, mask))
    for name, found in sorted(named.items()):
        for (one, first), (other, second) in combinations(found, 2):
            if one.source != other.source:
                yield _row(name, one, first, other, second, grid)


def dice(first: Mask, second: Mask, grid: Grid) -> float:
    """2 |a ∩ b| / (|a| + |b|) by volume (Dice 1945); both masks are parts of `grid`.

    Planes count with their thickness.
    """
    thickness = grid.plane_thicknesses_mm
    box, other = first.box_on(grid), second.box_on(grid)
    common = [slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(box, other, strict=True)]
    if any(part.stop <= part.start for part in common):
        return 0.0
    both = _part(first, box, common) & _part(second, other, common)
    per_plane = np.count_nonzero(both, axis=(1, 2))
    area = grid.pixel_spacing_mm[0] * grid.pixel_spacing_mm[1]
    shared_cm3 = float(per_plane @ thickness[common[0]]) * area / 1000.0
    return 2.0 * shared_cm3 / (first.volume_cm3 + second.volume_cm3)


def _part(mask: Mask, box: tuple[slice, slice, slice], wanted: list[slice]) -> np.ndarray:
    inner = tuple(slice(part.start - own.start, part.stop - own.start) for own, part in zip(box, wanted, strict=True))
    return mask.values[inner]


def _row(name: str, one: Structure, first: Mask, other: Structure, second: Mask, grid: Grid) -> Row:
    return {
        "standard_name": name,
        "source_a": one.source,
        "roi_name_a": one.roi_name,
        "source_b": other.source,
        "roi_name_b": other.roi_name,
        "volume_a_cm3": first.volume_cm3,
        "volume_b_cm3": second.volume_cm3,
        "volume_difference_percent": 100.0 * (second.volume_cm3 - first.volume_cm3) / first.volume_cm3,
        "dice": dice(first, second, grid),
        "centroid_distance_mm": float(np.linalg.norm(first.centroid_mm - second.centroid_mm)),
    }

"""Structures of one name from two sources, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.surface_agreement import surface_agreement
from rtpipeline.structures import Structure

Row = dict[str, object]


@dataclass(frozen=True)
class Pair:
    """Two structures with one standard name, from two sources; the first is manual where one of them is."""

    standard_name: str
    one: Structure
    first: Mask
    other: Structure
    second: Mask

    def columns(self) -> Row:
        """What identifies a row."""
        return {
            "standard_name": self.standard_name,
            "source_a": self.one.source,
            "roi_name_a": self.one.roi_name,
            "source_b": self.other.source,
            "roi_name_b": self.other.roi_name,
        }


def pairs(masks: Sequence[tuple[Structure, Mask]]) -> Iterator[Pair]:
    """Every pair of structures with the same standard name and different sources.

    Args:
        masks: structures and their voxels on the planning CT, manual ones first; empty ones are left out.
    """
    named: dict[str, list[tuple[Structure, Mask]]] = {}
    for structure, mask in masks:
        if structure.standard_name and not mask.is_empty:
            named.setdefault(structure.standard_name, []).append((structure, mask))
    for name, found in sorted(named.items()):
        for (one, first), (other, second) in combinations(found, 2):
            if one.source != other.source:
                yield Pair(name, one, first, other, second)


def comparison_row(pair: Pair, grid: Grid) -> Row:
    """Volumes, overlap and surface distances of a pair.

    Args:
        pair: both of its masks are parts of `grid`.
        grid: of the planning CT.
    """
    first, second = pair.first, pair.second
    row = {
        **pair.columns(),
        "volume_a_cm3": first.volume_cm3,
        "volume_b_cm3": second.volume_cm3,
        "volume_difference_percent": 100.0 * (second.volume_cm3 - first.volume_cm3) / first.volume_cm3,
        "dice": dice(first, second, grid),
        "centroid_distance_mm": float(np.linalg.norm(first.centroid_mm - second.centroid_mm)),
    }
    surfaces = surface_agreement(first, second, grid)
    if surfaces is None:
        return row
    return {
        **row,
        **{f"surface_dice_{limit:g}mm": value for limit, value in surfaces.surface_dice.items()},
        "hausdorff_95_mm": surfaces.hausdorff_95_mm,
        "mean_surface_distance_mm": surfaces.mean_distance_mm,
        "added_path_length_mm": surfaces.added_path_length_mm,
    }


def dose_rows(compared: Iterable[Pair], metrics: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """One row per pair and dose-volume metric that both have.

    Args:
        compared: the pairs.
        metrics: rows of the course's dvh_metrics.
    """
    values: dict[tuple[Any, ...], dict[tuple[str, str], float]] = {}
    for row in metrics:
        if row["value"] is not None:
            key = (row["segmentation_source"], row["roi_number"], row["roi_name"])
            values.setdefault(key, {})[row["metric"], row["unit"] or ""] = row["value"]
    for pair in compared:
        first, second = (values.get((s.source, s.roi_number, s.roi_name), {}) for s in (pair.one, pair.other))
        for metric, unit in sorted(first.keys() & second.keys()):
            a, b = first[metric, unit], second[metric, unit]
            yield {**pair.columns(), "metric": metric, "unit": unit, "value_a": a, "value_b": b, "difference": b - a}


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

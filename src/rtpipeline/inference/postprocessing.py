"""Cleaning label volumes: keep the largest part of a structure, remove its islands, fill its holes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rtpipeline.config import PostprocessingSection
from rtpipeline.imaging.mask import bounding_box
from rtpipeline.inference.label_names import fits
from rtpipeline.inference.model_description import Postprocessing

Labels = NDArray[np.uint8]
WHOLE_NEIGHBOURHOOD = np.ones((3, 3, 3), dtype=bool)
"""Voxels that share a face, an edge or a corner are one part."""


@dataclass(frozen=True)
class Cleaning:
    """What is done to one structure, in this order.

    Attributes:
        keep_largest: of its connected parts only the largest stays.
        smallest_part_cm3: connected parts below this volume are removed.
        fill_holes: background that the structure encloses on all sides becomes part of it.
    """

    keep_largest: bool = False
    smallest_part_cm3: float = 0.0
    fill_holes: bool = False

    @property
    def does_something(self) -> bool:
        """Whether it can change a structure at all."""
        return self != Cleaning()

    def as_facts(self) -> dict[str, Any]:
        """JSON-ready, for the label map."""
        return {
            "keep_largest_component": self.keep_largest,
            "smallest_part_cm3": self.smallest_part_cm3,
            "fill_holes": self.fill_holes,
        }


def merged(rules: Iterable[Cleaning]) -> Cleaning:
    """Everything that one of several rules asks for."""
    rules = tuple(rules)
    return Cleaning(
        any(rule.keep_largest for rule in rules),
        max((rule.smallest_part_cm3 for rule in rules), default=0.0),
        any(rule.fill_holes for rule in rules),
    )


def configured_cleaning(section: PostprocessingSection, names: Mapping[str, str]) -> dict[int, Cleaning]:
    """What the configuration asks for, by label; structures that no pattern names are not in it.

    Args:
        section: patterns of structure names, without regard to case.
        names: label number as text → name.
    """
    given = section.remove_islands
    islands = given if isinstance(given, dict) else dict.fromkeys(given, section.smallest_island_cm3)
    cleaning = {
        int(label): Cleaning(
            fits(name, section.keep_largest_component),
            next((volume_cm3 for pattern, volume_cm3 in islands.items() if fits(name, (pattern,))), 0.0),
            fits(name, section.fill_holes),
        )
        for label, name in names.items()
    }
    return {label: rule for label, rule in cleaning.items() if rule.does_something}


def model_cleaning(rule: Postprocessing) -> Cleaning:
    """What the file of a user's own model asks for."""
    return Cleaning(rule.keep_largest_component, rule.min_component_volume_cm3, rule.fill_holes)


def cleaned(labels: Labels, cleaning: Mapping[int, Cleaning], voxel_volume_cm3: float) -> Labels:
    """A cleaned copy of a label volume.

    No structure takes voxels of another: what is removed becomes background, and only background is filled. Of two
    largest parts of the same size the one that comes first in the array stays.

    Args:
        labels: (z, y, x).
        cleaning: by label, applied in the order of the labels.
        voxel_volume_cm3: volume of a voxel in cm3.
    """
    result = labels.copy()
    for label, rule in sorted(cleaning.items()):
        whole = result == label
        if not whole.any():
            continue
        part = result[bounding_box(whole)]
        before = part == label
        after = _without_parts(before, rule, voxel_volume_cm3)
        part[before & ~after] = 0
        if rule.fill_holes:
            part[ndimage.binary_fill_holes(after) & (part == 0)] = label
    return result


def _without_parts(mask: NDArray[np.bool_], rule: Cleaning, voxel_volume_cm3: float) -> NDArray[np.bool_]:
    if not rule.keep_largest and rule.smallest_part_cm3 <= 0:
        return mask
    parts, count = ndimage.label(mask, structure=WHOLE_NEIGHBOURHOOD)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    stays = sizes * voxel_volume_cm3 >= rule.smallest_part_cm3
    if rule.keep_largest:
        stays &= np.arange(count + 1) == sizes[1:].argmax() + 1
    stays[0] = False
    kept: NDArray[np.bool_] = stays[parts]
    return kept

"""Checks of names of structures: the same name twice, and sides of the patient that the place contradicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rtpipeline.imaging.mask import Mask
from rtpipeline.quality_control.check import Check, each_or_pass
from rtpipeline.structures import Structure

SMALLEST_DISTANCE_MM = 10.0
"""Between the two of a pair across the patient; structures closer than this may lie either way."""


def repeated_names(structures: Sequence[Structure]) -> list[Check]:
    """Structures of one source with one name, which tables can tell apart only by their number."""
    counts = Counter((structure.source, structure.roi_name.strip().lower()) for structure in structures)
    findings = (
        Check("structure_name_repeated", "WARNING", "medium", f"{count} structures have this name", f"{source}: {name}")
        for (source, name), count in sorted(counts.items())
        if count > 1
    )
    passed = "every structure of a source has a name of its own"
    return each_or_pass("structure_name_repeated", "medium", findings, passed, bool(structures))


def sides(masks: Sequence[tuple[Structure, Mask]]) -> list[Check]:
    """Pairs of a source (`Lung_L`, `Lung_R`) whose left one lies further to the patient's right than the right one.

    x of the patient's coordinates grows to the left (DICOM PS3.3 C.7.6.2.1.1).
    """
    x = {(s.source, s.standard_name): float(mask.centroid_mm[0]) for s, mask in masks if not mask.is_empty}
    pairs = [
        (source, name.removesuffix("_L"), left, x[source, f"{name.removesuffix('_L')}_R"])
        for (source, name), left in sorted(x.items())
        if name.endswith("_L") and (source, f"{name.removesuffix('_L')}_R") in x
    ]
    return each_or_pass(
        "structure_side", "high", _swapped(pairs), "left structures lie to the left of their right ones", bool(pairs)
    )


def _swapped(pairs: Sequence[tuple[str, str, float, float]]) -> Iterator[Check]:
    for source, name, left, right in pairs:
        if left - right < -SMALLEST_DISTANCE_MM:
            message = (
                f"{name}_L lies {right - left:.0f} mm to the right of {name}_R: the names may be exchanged, or "
                "the orientation of the images wrong"
            )
            yield Check("structure_side", "FAIL", "high", message, f"{source}: {name}", left - right, 0.0, "mm")

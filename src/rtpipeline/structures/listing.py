"""Every name that structures of a cohort were drawn under, with what it may stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from rtpipeline.structures.name_mapping import NameRule
from rtpipeline.structures.names import propose
from rtpipeline.structures.structure import Structure


def name_rows(
    structures_by_course: Mapping[str, Iterable[Structure]], sources: Sequence[str], rules: Sequence[NameRule] = ()
) -> list[dict[str, object]]:
    """Rows of the table `structure_names`.

    Args:
        structures_by_course: the structures of each course.
        sources: shell patterns of the sources that count.
        rules: the user's mapping.
    """
    found: dict[str, list[tuple[str, Structure]]] = {}
    for course, structures in structures_by_course.items():
        for structure in structures:
            if any(fnmatchcase(structure.source, pattern) for pattern in sources):
                found.setdefault(structure.roi_name, []).append((course, structure))
    return [_row(name, drawn, rules) for name, drawn in sorted(found.items())]


def _row(name: str, drawn: Sequence[tuple[str, Structure]], rules: Sequence[NameRule]) -> dict[str, object]:
    proposal = propose(name, rules)
    return {
        "roi_name": name,
        "standard_name": proposal.standard_name if proposal.confidence == "certain" else "",
        "proposed_name": proposal.standard_name,
        "confidence": proposal.confidence,
        "reason": proposal.reason,
        "structures": len(drawn),
        "courses": len({course for course, _ in drawn}),
        "sources": ", ".join(sorted({structure.source for _, structure in drawn})),
        "interpreted_types": ", ".join(sorted({s.interpreted_type for _, s in drawn if s.interpreted_type})),
    }

"""Which source a structure is taken from where several have it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from rtpipeline.structures.names import token
from rtpipeline.structures.structure import Structure

Priority = Mapping[str, Sequence[str]]
"""Pattern of names → patterns of sources, first one first; the first pattern that fits a name counts."""


def by_priority(structures: Iterable[Structure], priority: Priority) -> list[Structure]:
    """Structures that stand for the same thing, those of the preferred source first.

    The first pattern of `priority` that fits a name of one of them, as drawn or standard, decides; sources that it does
    not name come last. Where nothing decides, the order stays as it is.
    """
    candidates = list(structures)
    names = {name.lower() for one in candidates for name in (one.roi_name, one.standard_name) if name}
    fitting = (
        sources for pattern, sources in priority.items() if any(fnmatchcase(name, pattern.lower()) for name in names)
    )
    sources = next(fitting, ())

    def rank(structure: Structure) -> int:
        return next(
            (number for number, pattern in enumerate(sources) if fnmatchcase(structure.source, pattern)), len(sources)
        )

    return sorted(candidates, key=rank)


def same_thing(structure: Structure) -> str:
    """Structures with the same text stand for the same thing, by their standard name or else by their drawn one."""
    return token(structure.standard_name or structure.roi_name)

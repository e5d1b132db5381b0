"""Which structures go through a stage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from rtpipeline.config import SelectionSection
from rtpipeline.structures.structure import Structure


def selected(structures: Iterable[Structure], selection: SelectionSection) -> tuple[Structure, ...]:
    """The structures whose source and name (as drawn, or standard) a selection includes and does not exclude.

    Patterns are shell patterns without regard to case; `exclude` wins over `include`.
    """
    return tuple(structure for structure in structures if is_selected(structure, selection))


def is_selected(structure: Structure, selection: SelectionSection) -> bool:
    """Whether a selection takes this structure."""
    names = [name for name in (structure.roi_name, structure.standard_name) if name]
    return (
        _matches([structure.source], selection.sources)
        and _matches(names, selection.include)
        and not _matches(names, selection.exclude)
    )


def is_named(structure: Structure, names: Iterable[str]) -> bool:
    """Whether a structure is called one of `names`, as drawn or by its standard name.

    Case, spaces and punctuation do not count: `Couch_Surface` is `couchsurface`.
    """
    own = {_plain(name) for name in (structure.roi_name, structure.standard_name)} - {""}
    return any(_plain(name) in own for name in names)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _matches(texts: Sequence[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(text.strip().lower(), pattern.lower()) for text in texts for pattern in patterns)

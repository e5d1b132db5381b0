"""Names, patterns and aliases → the structures of a course that they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.mask import Mask
from rtpipeline.structures import Structure, standard_name
from rtpipeline.structures.names import token
from rtpipeline.structures.priority import Priority, by_priority, same_thing

_SIGNS_OF_PATTERNS = frozenset("*?[")


@dataclass(frozen=True)
class Found:
    """What a name means.

    Attributes:
        structures: those that it means; more than one for a pattern.
        notes: what a reader of the result should know of the choice.
        reason: why there is none; empty otherwise.
        ambiguous: there are several, of which only one can be meant.
    """

    structures: tuple[Structure, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""
    ambiguous: bool = False


@dataclass
class CourseStructures:
    """The structures of a course, found by name; each one's mask is made once.

    Attributes:
        structures: in the order of their sources.
        priority: which source is preferred.
        aliases: token of a name → other names and patterns for it.
        grid: of the planning CT.
    """

    structures: Sequence[Structure]
    priority: Priority
    aliases: Mapping[str, Sequence[str]]
    grid: Grid
    _masks: dict[int, tuple[Mask, tuple[str, ...]]] = field(default_factory=dict)

    def mask(self, structure: Structure) -> Mask:
        """The structure's voxels."""
        return self._mask_and_notes(structure)[0]

    def notes(self, structure: Structure) -> tuple[str, ...]:
        """What was left out or repaired when its mask was made."""
        return self._mask_and_notes(structure)[1]

    def find(self, name: str, source: str = "*") -> Found:
        """What a name or pattern means, else the first of its aliases that means something.

        A name means every structure that is called so as drawn, in another spelling, or by its standard name; of these
        the one of the preferred source is taken, unless it has no voxel. A pattern means all structures whose drawn or
        standard name it fits, of each name the one of the preferred source.

        Args:
            name: as in the user's file.
            source: pattern of the sources to look in.
        """
        found = self._find(name, source)
        reasons = [found.reason]
        for other in self.aliases.get(token(name), ()):
            if found.structures or found.ambiguous:
                break
            found = self._find(other, source)
            reasons.append(f"{other}: {found.reason}")
        return found if found.structures else Found(reason=", ".join(reasons))

    def _find(self, name: str, source: str) -> Found:
        there = [structure for structure in self.structures if fnmatchcase(structure.source, source)]
        if _SIGNS_OF_PATTERNS & set(name) and all(structure.roi_name != name for structure in there):
            return self._fitting(name, there)
        candidates = by_priority(self._named(name, there), self.priority)
        if not candidates:
            return Found(reason="there is no such structure" + (f" of {source}" if source != "*" else ""))
        empty: list[str] = []
        for one_source in dict.fromkeys(structure.source for structure in candidates):
            drawn = [one for one in candidates if one.source == one_source and not self.mask(one).is_empty]
            nearest = _nearest(name, drawn)
            if len(nearest) > 1:
                return Found(
                    reason=f"{len(nearest)} {one_source} structures could be meant; give one of them another name",
                    ambiguous=True,
                )
            if nearest:
                return Found((nearest[0],), tuple(f"that of {other} has no voxel" for other in empty))
            empty.append(one_source)
        return Found(reason="it has no voxel")

    def _fitting(self, pattern: str, there: Sequence[Structure]) -> Found:
        def fits(structure: Structure) -> bool:
            names = (structure.roi_name, structure.standard_name)
            return any(fnmatchcase(name.lower(), pattern.lower()) for name in names if name)

        groups: dict[str, list[Structure]] = {}
        for structure in there:
            if fits(structure) and not self.mask(structure).is_empty:
                groups.setdefault(same_thing(structure), []).append(structure)
        chosen: list[Structure] = []
        for group in groups.values():
            ordered = by_priority(group, self.priority)
            chosen += [structure for structure in ordered if structure.source == ordered[0].source]
        return Found(tuple(chosen), reason="" if chosen else "no structure fits the pattern")

    def _named(self, name: str, there: Sequence[Structure]) -> list[Structure]:
        own, standard = token(name), standard_name(name)
        return [
            structure
            for structure in there
            if token(structure.roi_name) == own
            or (structure.standard_name and token(structure.standard_name) == own)
            or (structure.standard_name and structure.standard_name == standard)
        ]

    def _mask_and_notes(self, structure: Structure) -> tuple[Mask, tuple[str, ...]]:
        if id(structure) not in self._masks:
            self._masks[id(structure)] = structure.mask_with_notes(self.grid)
        return self._masks[id(structure)]


def _nearest(name: str, candidates: Sequence[Structure]) -> list[Structure]:
    """Those whose name is nearest: as drawn, else in another spelling, else by standard name, of the first task."""
    tests: tuple[Callable[[Structure], bool], ...] = (
        lambda structure: structure.roi_name == name,
        lambda structure: token(structure.roi_name) == token(name),
        lambda structure: "--" not in structure.roi_name,
    )
    for test in tests:
        fitting = [structure for structure in candidates if test(structure)]
        if fitting:
            return fitting
    return list(candidates)

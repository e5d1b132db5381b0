"""Building custom structures on the grid of the planning CT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np

from rtpipeline.custom_structures.grammar import (
    CustomStructure,
    CustomStructures,
    DirectedMargin,
    Expression,
    OfSource,
    Source,
    expression_text,
)
from rtpipeline.custom_structures.matching import CourseStructures
from rtpipeline.imaging.edges import touched_sides
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.margins import expand
from rtpipeline.imaging.mask import BoolArray, Mask
from rtpipeline.structures import Structure
from rtpipeline.structures.names import token
from rtpipeline.structures.priority import Priority

OPERATIONS: dict[str, Callable[[BoolArray, BoolArray], BoolArray]] = {
    "union": np.logical_or,
    "intersection": np.logical_and,
    "subtract": lambda one, other: one & ~other,
    "xor": np.logical_xor,
}


@dataclass(frozen=True, eq=False)
class _Value:
    """What a source comes to; see `CustomResult`."""

    mask: Mask | None = None
    missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, eq=False)
class CustomResult:
    """What became of one entry.

    Attributes:
        definition: the entry.
        mask: on the planning CT; None where the entry was skipped.
        missing_sources: a sentence for each source that could not be used, also those of its sources.
        cropped_sides: sides of the patient at which the mask touches the edge of the image, where it may go on.
        remarks: what else a reader should know: sources that touch the edge of the image or were repaired.
        used: which structures of the course it is made from, as `<source> <name>`.
        reason: why the entry was skipped; empty otherwise.
    """

    definition: CustomStructure
    mask: Mask | None
    missing_sources: tuple[str, ...] = ()
    cropped_sides: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    reason: str = ""

    @property
    def name(self) -> str:
        """Of the entry."""
        return self.definition.name

    @property
    def status(self) -> Literal["ok", "partial", "skipped"]:
        """`partial` where a source is missing from a union."""
        if self.mask is None:
            return "skipped"
        return "partial" if self.missing_sources else "ok"


def evaluate(
    definitions: CustomStructures, structures: Sequence[Structure], grid: Grid, priority: Priority
) -> tuple[CustomResult, ...]:
    """Build every entry on `grid`.

    A source that is missing or empty leaves a union of the others (status `partial`, which entries made from it
    inherit); every other operation is skipped with the reason, and so is an entry without any voxel.

    Args:
        definitions: as `load_custom_structures` returns them.
        structures: the structures of the course.
        grid: of the planning CT.
        priority: which source is preferred (`structures.priority` of the configuration).
    """
    evaluation = _Evaluation(CourseStructures(structures, priority, definitions.aliases, grid))
    return tuple(evaluation.entry(entry) for entry in definitions.entries)


class _Evaluation:
    """The entries that were built so far."""

    def __init__(self, course: CourseStructures) -> None:
        self._course = course
        self._grid = course.grid
        self._earlier: dict[str, CustomResult] = {}

    def entry(self, definition: CustomStructure) -> CustomResult:
        value = self._expression(definition, token(definition.name))
        result = CustomResult(
            definition,
            value.mask,
            tuple(dict.fromkeys(value.missing)),
            touched_sides(value.mask, self._grid) if value.mask is not None else (),
            tuple(dict.fromkeys(value.remarks)),
            tuple(dict.fromkeys(value.used)),
            value.reason,
        )
        self._earlier[token(definition.name)] = result
        return result

    def _expression(self, expression: Expression, entry: str) -> _Value:
        """The value of an expression inside of the entry with the token `entry`."""
        sources = [(expression_text(source), self._source(source, entry)) for source in expression.source_structures]
        boundary = None
        if expression.crop_to is not None:
            boundary = self._source(expression.crop_to, entry)
            sources.append((expression_text(expression.crop_to), boundary))
        absent = [f"{label}: {one.reason}" for label, one in sources if one.mask is None]
        inherited = [f"{label}: {sentence}" for label, one in sources if one.mask for sentence in one.missing]
        missing = (*absent, *inherited)
        used = tuple(name for _, one in sources for name in one.used)
        remarks = tuple(remark for _, one in sources for remark in one.remarks)
        masks = [one.mask for _, one in sources[: len(expression.source_structures)] if one.mask is not None]
        impossible = not masks or (boundary is not None and boundary.mask is None)
        if absent and (expression.operation != "union" or impossible):
            return _Value(missing=missing, reason=f"missing sources ({'; '.join(absent)})")
        try:
            mask = self._built(expression, masks, boundary.mask if boundary is not None else None)
        except ValueError as error:
            return _Value(missing=missing, reason=str(error))
        if mask.is_empty:
            return _Value(missing=missing, reason="the result has no voxel")
        return _Value(mask, missing, remarks, used)

    def _built(self, expression: Expression, masks: Sequence[Mask], boundary: Mask | None) -> Mask:
        """The operation, then the margin, the wall, and the boundary.

        Raises:
            ValueError: a margin is not possible on this grid.
        """
        margin = expression.margin.margins() if isinstance(expression.margin, DirectedMargin) else expression.margin
        mask = expand(_combined(expression.operation, masks, self._grid), margin, self._grid)
        if expression.wall is not None and not mask.is_empty:
            outer = expand(mask, expression.wall.outward_mm, self._grid)
            inner = expand(mask, -expression.wall.inward_mm, self._grid)
            mask = outer if inner.is_empty else _combined("subtract", [outer, inner], self._grid)
        if boundary is not None and not mask.is_empty:
            mask = _combined("intersection", [mask, boundary], self._grid)
        return mask

    def _source(self, source: Source, entry: str) -> _Value:
        if isinstance(source, Expression):
            return self._expression(source, entry)
        if isinstance(source, OfSource):
            return self._of_course(source.structure, source.source)
        # An entry that names itself means the structure of the course.
        other = self._earlier.get(token(source)) if token(source) != entry else None
        if other is None:
            return self._of_course(source, "*")
        if other.mask is None:
            return _Value(reason="it could not be made")
        remarks = _at_edge(other.name, other.cropped_sides)
        return _Value(other.mask, other.missing_sources, (*other.remarks, *remarks), other.used)

    def _of_course(self, name: str, source: str) -> _Value:
        found = self._course.find(name, source)
        if not found.structures:
            return _Value(reason=found.reason)
        remarks = [f"{name}: {note}" for note in found.notes]
        for structure in found.structures:
            remarks += [f"{structure.roi_name}: {note}" for note in self._course.notes(structure)]
            remarks += _at_edge(structure.roi_name, touched_sides(self._course.mask(structure), self._grid))
        return _Value(
            _combined("union", [self._course.mask(structure) for structure in found.structures], self._grid),
            remarks=tuple(remarks),
            used=tuple(f"{structure.source} {structure.roi_name}" for structure in found.structures),
        )


def _at_edge(name: str, sides: Sequence[str]) -> tuple[str, ...]:
    return (f"{name} touches the edge of the image ({', '.join(sides)})",) if sides else ()


def _combined(operation: str, masks: Sequence[Mask], grid: Grid) -> Mask:
    """The operation over masks on `grid`, in the box around all of them."""
    if len(masks) == 1:
        return masks[0]
    boxes = [mask.box_on(grid) for mask in masks]
    low = [min(box[axis].start for box in boxes) for axis in range(3)]
    high = [max(box[axis].stop for box in boxes) for axis in range(3)]
    part = grid.crop(*(slice(start, stop) for start, stop in zip(low, high, strict=True)))
    return Mask.cropped(part, reduce(OPERATIONS[operation], [mask.on(part) for mask in masks]))

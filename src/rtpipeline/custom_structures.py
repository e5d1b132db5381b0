"""Structures that the user builds from others: unions, intersections, differences, margins.

The grammar is a YAML file with a list `custom_structures`; see `CustomStructure` for an entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rtpipeline.imaging.edges import touched_sides
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.margins import Margins, expand
from rtpipeline.imaging.mask import BoolArray, Mask
from rtpipeline.outcome import StageError
from rtpipeline.structures import Structure

Millimetres = Annotated[float, Field(strict=True, ge=-500, le=500, allow_inf_nan=False)]
OPERATIONS: dict[str, Callable[[BoolArray, BoolArray], BoolArray]] = {
    "union": np.logical_or,
    "intersection": np.logical_and,
    "subtract": lambda one, other: one & ~other,
    "xor": np.logical_xor,
}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DirectedMargin(_Strict):
    """A margin in mm for each direction of the patient; `uniform_mm` stands for those that are not given."""

    uniform_mm: Millimetres = 0.0
    anterior_mm: Millimetres | None = None
    posterior_mm: Millimetres | None = None
    left_mm: Millimetres | None = None
    right_mm: Millimetres | None = None
    superior_mm: Millimetres | None = None
    inferior_mm: Millimetres | None = None

    def margins(self) -> Margins:
        """The six margins."""
        given = self.model_dump(exclude={"uniform_mm"})
        return Margins(**{side: self.uniform_mm if margin is None else margin for side, margin in given.items()})


class Wall(_Strict):
    """A shell around the surface: what lies within `outward_mm` outside or `inward_mm` inside of it."""

    outward_mm: Annotated[float, Field(strict=True, ge=0, le=500)] = 0.0
    inward_mm: Annotated[float, Field(strict=True, ge=0, le=500)] = 0.0

    @model_validator(mode="after")
    def _has_a_thickness(self) -> Wall:
        if self.outward_mm + self.inward_mm == 0:
            raise ValueError("a wall needs outward_mm or inward_mm above 0")
        return self


class CustomStructure(_Strict):
    """One entry: `operation` over `source_structures` in their order, then `margin` (mm; negative shrinks), then
    `wall`, then only what lies in `crop_to`.

    `subtract` takes all further sources away from the first. A source (and `crop_to`) is the name of a structure of
    the course or of another entry, in any order.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    operation: Literal["union", "intersection", "subtract", "xor"] = "union"
    source_structures: Annotated[tuple[str, ...], Field(min_length=1)]
    margin: Millimetres | DirectedMargin = 0.0
    wall: Wall | None = None
    crop_to: str | None = None
    description: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """Every name that it is made from."""
        return self.source_structures if self.crop_to is None else (*self.source_structures, self.crop_to)

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if name != name.strip() or "\\" in name:
            raise ValueError("a name must not begin or end with a space, or contain a backslash")
        return name


class _File(_Strict):
    custom_structures: tuple[CustomStructure, ...]


@dataclass(frozen=True, eq=False)
class CustomResult:
    """What became of one entry.

    Attributes:
        definition: the entry.
        mask: on the planning CT; None where the entry was skipped.
        missing_sources: a sentence for each source that could not be used, also those of its sources.
        cropped_sides: sides of the patient at which the mask touches the edge of the image, where it may go on.
        reason: why the entry was skipped; empty otherwise.
    """

    definition: CustomStructure
    mask: Mask | None
    missing_sources: tuple[str, ...] = ()
    cropped_sides: tuple[str, ...] = ()
    reason: str = ""

    @property
    def status(self) -> Literal["ok", "partial", "skipped"]:
        """`partial` where a source is missing from a union."""
        if self.mask is None:
            return "skipped"
        return "partial" if self.missing_sources else "ok"


def load_custom_structures(file: Path) -> tuple[CustomStructure, ...]:
    """Read and check the user's YAML; entries come back in an order in which each follows its sources.

    Raises:
        StageError: the file cannot be read, an entry has an unknown key or a wrong value, two entries have one name,
            or entries need each other in a circle.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StageError(f"custom_structures: {file} cannot be read as YAML: {error}") from error
    try:
        entries = _File.model_validate(content).custom_structures
    except ValidationError as error:
        raise StageError(f"custom_structures: {file}: {_explain(error, content)}") from error
    names = [entry.name for entry in entries]
    double = sorted({name for name in names if sum(_token(name) == _token(other) for other in names) > 1})
    if double:
        raise StageError(f"custom_structures: {file}: several entries are called {', '.join(double)}; rename them")
    return _sorted_by_need(entries, file)


def evaluate(
    definitions: Sequence[CustomStructure], structures: Sequence[Structure], grid: Grid
) -> tuple[CustomResult, ...]:
    """Build every entry on `grid`.

    A source that is missing or empty leaves a union of the others (status `partial`, which entries made from it
    inherit); every other operation is skipped with the reason, and so is an entry without any voxel.

    Args:
        definitions: as `load_custom_structures` returns them.
        structures: the structures of the course.
        grid: of the planning CT.
    """
    results: dict[str, CustomResult] = {}
    masks: dict[int, Mask] = {}
    for definition in definitions:
        results[definition.name] = _build(definition, structures, results, grid, masks)
    return tuple(results.values())


def _build(
    definition: CustomStructure,
    structures: Sequence[Structure],
    earlier: dict[str, CustomResult],
    grid: Grid,
    masks: dict[int, Mask],
) -> CustomResult:
    found: dict[str, Mask] = {}
    missing: list[str] = []
    inherited: list[str] = []
    for name in definition.needs:
        other = _earlier(name, definition, earlier)
        if other is not None:
            mask, reason = other.mask, other.reason
            inherited += [f"{name}: {sentence}" for sentence in other.missing_sources]
        else:
            mask, reason = _course_mask(name, structures, grid, masks)
        if mask is None or mask.is_empty:
            missing.append(f"{name}: {reason or 'it has no voxel'}")
        else:
            found[name] = mask
    sources = [found[name] for name in definition.source_structures if name in found]
    boundary = found.get(definition.crop_to) if definition.crop_to is not None else None
    impossible = not sources or (definition.crop_to is not None and boundary is None)
    if missing and (definition.operation != "union" or impossible):
        return CustomResult(definition, None, tuple(missing + inherited), (), f"missing sources ({'; '.join(missing)})")
    margin = definition.margin.margins() if isinstance(definition.margin, DirectedMargin) else definition.margin
    try:
        mask = expand(_combined(definition.operation, sources, grid), margin, grid)
        if definition.wall is not None and not mask.is_empty:
            outer = expand(mask, definition.wall.outward_mm, grid)
            inner = expand(mask, -definition.wall.inward_mm, grid)
            mask = outer if inner.is_empty else _combined("subtract", [outer, inner], grid)
        if boundary is not None and not mask.is_empty:
            mask = _combined("intersection", [mask, boundary], grid)
    except ValueError as error:
        return CustomResult(definition, None, tuple(missing + inherited), (), str(error))
    if mask.is_empty:
        return CustomResult(definition, None, tuple(missing + inherited), (), "the result has no voxel")
    return CustomResult(definition, mask, tuple(missing + inherited), touched_sides(mask, grid))


def _combined(operation: str, masks: Sequence[Mask], grid: Grid) -> Mask:
    """The operation over masks on `grid`, in the box around all of them."""
    boxes = [mask.box_on(grid) for mask in masks]
    low = [min(box[axis].start for box in boxes) for axis in range(3)]
    high = [max(box[axis].stop for box in boxes) for axis in range(3)]
    part = grid.crop(*(slice(start, stop) for start, stop in zip(low, high, strict=True)))
    return Mask.cropped(part, reduce(OPERATIONS[operation], [mask.on(part) for mask in masks]))


def _token(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _earlier(name: str, definition: CustomStructure, earlier: dict[str, CustomResult]) -> CustomResult | None:
    """The entry that a source names, unless it is the entry itself (then a structure of the course is meant)."""
    if _token(name) == _token(definition.name):
        return None
    return next((result for other, result in earlier.items() if _token(other) == _token(name)), None)


def _course_mask(
    name: str, structures: Sequence[Structure], grid: Grid, masks: dict[int, Mask]
) -> tuple[Mask | None, str]:
    """The mask of the structure that `name` means, or the reason why there is none.

    The name as it is comes before the same name in other spelling, and that before the standard name; within each,
    manual structures before automatic ones before those of custom models.
    """
    tests: tuple[Callable[[Structure], bool], ...] = (
        lambda structure: structure.roi_name == name,
        lambda structure: _token(structure.roi_name) == _token(name),
        lambda structure: bool(structure.standard_name) and _token(structure.standard_name) == _token(name),
    )
    for test in tests:
        fitting = [structure for structure in structures if test(structure)]
        same_source = [structure for structure in fitting if structure.source == fitting[0].source]
        if len(same_source) > 1:
            return (
                None,
                f"{len(same_source)} {fitting[0].source} structures could be meant; give one of them another name",
            )
        if fitting:
            number = id(fitting[0])
            if number not in masks:
                masks[number] = fitting[0].mask(grid)
            return masks[number], ""
    return None, "there is no such structure"


def _sorted_by_need(entries: Sequence[CustomStructure], file: Path) -> tuple[CustomStructure, ...]:
    by_token = {_token(entry.name): entry for entry in entries}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for entry in entries:
        own = _token(entry.name)
        needs = [_token(name) for name in entry.needs]
        sorter.add(own, *(need for need in needs if need in by_token and need != own))
    try:
        return tuple(by_token[token] for token in sorter.static_order())
    except CycleError as error:
        circle = " → ".join(by_token[token].name for token in error.args[1])
        raise StageError(f"custom_structures: {file}: entries need each other in a circle: {circle}") from error


def _explain(error: ValidationError, content: Any) -> str:
    problems = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        problems.append(f"{where or 'the file'}: {problem['msg']} (found {problem['input']!r})")
    return "; ".join(problems) + (" (expected a list `custom_structures`)" if not isinstance(content, dict) else "")

"""What a user says of custom structures: a YAML file with a list `custom_structures` (see `CustomStructure`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from rtpipeline.config.strict_yaml import read_yaml
from rtpipeline.imaging.margins import Margins
from rtpipeline.outcome import StageError
from rtpipeline.structures.names import token

Millimetres = Annotated[float, Field(strict=True, ge=-500, le=500, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
BodyRegion = Literal["HEAD_NECK", "THORAX", "ABDOMEN", "PELVIS"]
LONGEST_QUOTATION = 80
_TAGS = ("(a name)", "(a structure of one source)", "(an expression)")
"""What a source can be."""


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


class OfSource(_Strict):
    """A structure of one source: `{structure: heart, source: auto}`."""

    structure: Name
    source: Name


def _kind(value: Any) -> str:
    if isinstance(value, OfSource) or (isinstance(value, dict) and "structure" in value):
        return _TAGS[1]
    return _TAGS[2] if isinstance(value, (dict, Expression)) else _TAGS[0]


class Expression(_Strict):
    """`operation` over `source_structures` in their order, then `margin` (mm; negative shrinks), then `wall`, then only
    what lies in `crop_to`.

    `subtract` takes all further sources away from the first. A source (and `crop_to`) is a name, a structure of one
    source, or another expression.
    """

    operation: Literal["union", "intersection", "subtract", "xor"] = "union"
    source_structures: Annotated[tuple[Source, ...], Field(min_length=1)]
    margin: Millimetres | DirectedMargin = 0.0
    wall: Wall | None = None
    crop_to: Source | None = None

    @property
    def names(self) -> Iterator[str]:
        """Every name that it is made from, also inside of other expressions."""
        for source in (*self.source_structures, *([] if self.crop_to is None else [self.crop_to])):
            if isinstance(source, Expression):
                yield from source.names
            elif isinstance(source, str):
                yield source


Source = Annotated[
    Annotated[Name, Tag(_TAGS[0])] | Annotated[OfSource, Tag(_TAGS[1])] | Annotated[Expression, Tag(_TAGS[2])],
    Discriminator(_kind),
]


class CustomStructure(Expression):
    """One entry: an expression with a name.

    Its sources are names of structures of the course or of other entries, in any order. It is made where the image
    shows `required_body_regions`.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    description: str = ""
    required_body_regions: tuple[BodyRegion, ...] = ()

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if name != name.strip() or "\\" in name or not name.isprintable():
            raise ValueError("a name must not begin or end with a space, or contain a backslash or control characters")
        return name


Expression.model_rebuild()
CustomStructure.model_rebuild()

_OneOrMore = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
]


class _File(_Strict):
    custom_structures: tuple[CustomStructure, ...]
    aliases: dict[str, _OneOrMore] = {}
    required_body_regions: tuple[BodyRegion, ...] = ()


@dataclass(frozen=True)
class CustomStructures:
    """The entries of one file or several.

    Attributes:
        entries: each after those that it is made from.
        aliases: name (see `token`) → other names and patterns that may stand for it, in their order.
    """

    entries: tuple[CustomStructure, ...] = ()
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def load_custom_structures(file: Path) -> CustomStructures:
    """Read and check a file of custom structures.

    Raises:
        StageError: the file cannot be read, an entry has an unknown key or a wrong value, two entries have one name,
            or entries need each other in a circle.
    """
    try:
        content = read_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StageError(f"custom_structures: {file} cannot be read as YAML: {error}") from error
    try:
        parsed = _File.model_validate(content)
    except ValidationError as error:
        raise StageError(f"custom_structures: {file}: {_explain(error, content)}") from error
    regions = parsed.required_body_regions
    entries = [
        entry if entry.required_body_regions else entry.model_copy(update={"required_body_regions": regions})
        for entry in parsed.custom_structures
    ]
    double = sorted({one.name for one in entries if sum(token(one.name) == token(other.name) for other in entries) > 1})
    if double:
        raise StageError(f"custom_structures: {file}: several entries are called {', '.join(double)}; rename them")
    aliases = {token(name): others for name, others in parsed.aliases.items()}
    if len(aliases) < len(parsed.aliases):
        raise StageError(f"custom_structures: {file}: two aliases differ only in their spelling; make them one")
    return CustomStructures(_sorted_by_need(entries, str(file)), aliases)


def joined(parts: Sequence[CustomStructures]) -> CustomStructures:
    """The entries and aliases of several files; of the same name, those of the last one.

    Raises:
        StageError: together they need each other in a circle.
    """
    entries = {token(entry.name): entry for part in parts for entry in part.entries}
    aliases = {name: others for part in parts for name, others in part.aliases.items()}
    return CustomStructures(_sorted_by_need(list(entries.values()), "together with the templates"), aliases)


def expression_text(source: Source) -> str:
    """A source as a person would write it down."""
    if isinstance(source, str):
        return source
    if isinstance(source, OfSource):
        return f"{source.structure} of {source.source}"
    parts = [f"{source.operation} of {', '.join(_nested(one) for one in source.source_structures)}"]
    if isinstance(source.margin, DirectedMargin):
        sides = source.margin.model_dump(exclude_none=True, exclude_defaults=True)
        parts.append(
            "margin " + " ".join(f"{side.removesuffix('_mm')} {margin:g} mm" for side, margin in sides.items())
        )
    elif source.margin:
        parts.append(f"margin {source.margin:g} mm")
    if source.wall is not None:
        parts.append(f"wall {source.wall.outward_mm:g} mm outwards, {source.wall.inward_mm:g} mm inwards")
    if source.crop_to is not None:
        parts.append(f"cropped to {_nested(source.crop_to)}")
    return ", ".join(parts)


def _nested(source: Source) -> str:
    return f"({expression_text(source)})" if isinstance(source, Expression) else expression_text(source)


def _sorted_by_need(entries: Sequence[CustomStructure], where: str) -> tuple[CustomStructure, ...]:
    by_token = {token(entry.name): entry for entry in entries}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for entry in entries:
        own = token(entry.name)
        needs = [token(name) for name in entry.names]
        sorter.add(own, *(need for need in needs if need in by_token and need != own))
    try:
        return tuple(by_token[one] for one in sorter.static_order())
    except CycleError as error:
        circle = " → ".join(by_token[one].name for one in error.args[1])
        raise StageError(f"custom_structures: {where}: entries need each other in a circle: {circle}") from error


def _explain(error: ValidationError, content: Any) -> str:
    problems = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"] if part not in _TAGS)
        found = repr(problem["input"])
        shown = found if len(found) <= LONGEST_QUOTATION else f"{found[:LONGEST_QUOTATION]}…"
        problems.append(f"{where or 'the file'}: {problem['msg']} (found {shown})")
    return "; ".join(problems) + (" (expected a list `custom_structures`)" if not isinstance(content, dict) else "")

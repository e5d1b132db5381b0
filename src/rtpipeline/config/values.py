"""Kinds of values that keys of the configuration hold, with what is understood besides the plain form."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field

from rtpipeline.config.dose_metrics import dose_metric


def _automatic(value: Any) -> Any:
    """`auto` and an empty string mean null (as older configuration files have it)."""
    return None if isinstance(value, str) and value.strip().lower() in ("", "auto") else value


def _no_limit(value: Any) -> Any:
    """0 seconds mean no limit."""
    return None if isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0 else value


def _device(value: Any) -> Any:
    """`cuda` is another word for `gpu`, in any case."""
    if isinstance(value, str):
        token = value.strip().lower()
        return {"cuda": "gpu"}.get(token, token)
    return value


def _not_a_switch(value: Any) -> Any:
    """`true` is not the number 1."""
    if isinstance(value, bool):
        raise ValueError("a number is expected, not true or false")
    return value


def _known_metrics(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        dose_metric(name)
    return names


def _one_or_many(value: Any) -> Any:
    """A single value stands for a list of one."""
    return (value,) if isinstance(value, (str, int, float)) else value


OneOrMany = BeforeValidator(_one_or_many)
Integer = Annotated[int, BeforeValidator(_not_a_switch)]
Number = Annotated[float, BeforeValidator(_not_a_switch)]
Count = Annotated[int, Field(ge=1), BeforeValidator(_not_a_switch)]
CountOrZero = Annotated[int, Field(ge=0), BeforeValidator(_not_a_switch)]
AutomaticCount = Annotated[Count | None, BeforeValidator(_automatic)]
NotNegative = Annotated[float, Field(ge=0), BeforeValidator(_not_a_switch)]
PositiveNumber = Annotated[float, Field(gt=0), BeforeValidator(_not_a_switch)]
Fraction = Annotated[float, Field(ge=0, le=1), BeforeValidator(_not_a_switch)]
Seconds = Annotated[float, Field(gt=0), BeforeValidator(_not_a_switch)]
TimeLimit = Annotated[Seconds | None, BeforeValidator(_no_limit)]
Device = Annotated[Literal["gpu", "cpu", "mps"], BeforeValidator(_device)]
Texts = Annotated[tuple[str, ...], OneOrMany]
SuvVariant = Literal["body_weight", "lean_body_mass_james", "lean_body_mass_janmahasatian", "body_surface_area"]
DoseMetrics = Annotated[Texts, AfterValidator(_known_metrics)]
Templates = Annotated[tuple[Literal["by_region", "pelvis", "thorax", "abdomen", "head_neck", "brain"], ...], OneOrMany]
WorkerCount = Annotated[AutomaticCount, Field(validation_alias=AliasChoices("max_workers", "workers"))]
"""`max_workers`, or its older name `workers`; `max_workers` wins where both are given."""

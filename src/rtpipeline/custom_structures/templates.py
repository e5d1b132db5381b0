"""Packaged custom structures for regions of the body, and what the configuration asks for altogether."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from rtpipeline.config import Configuration
from rtpipeline.custom_structures.grammar import CustomStructures, joined, load_custom_structures

BY_REGION = "by_region"
TEMPLATES = ("pelvis", "thorax", "abdomen", "head_neck", "brain")


@dataclass(frozen=True)
class Configured:
    """The custom structures that the configuration asks for on one image.

    Attributes:
        definitions: of the templates and of the user's file; of the same name, the user's.
        from_templates: names of the entries that come from templates.
        left_out: a sentence for each template and each entry of the user's that is meant for another region.
    """

    definitions: CustomStructures
    from_templates: frozenset[str]
    left_out: tuple[str, ...]


def template(name: str) -> Path:
    """The file of one of `TEMPLATES`."""
    return Path(str(files("rtpipeline.custom_structures") / "templates" / f"custom_structures_{name}.yaml"))


def is_configured(configuration: Configuration) -> bool:
    """Whether custom structures are asked for at all."""
    return configuration.custom_structures is not None or bool(configuration.custom_structure_templates)


def configured_structures(configuration: Configuration, why_not: Callable[[tuple[str, ...]], str]) -> Configured:
    """The templates (`custom_structure_templates`) and the user's file (`custom_structures`) together.

    A template that is named counts for every image, one that comes `by_region` only where the image shows its region;
    and so does an entry of the user's that requires one.

    Args:
        configuration: of the run.
        why_not: why an image does not show some regions for certain; empty where it does.

    Raises:
        StageError: a file cannot be used.
    """
    asked = configuration.custom_structure_templates
    parts, left_out = [], []
    for name in TEMPLATES:
        if name not in asked and BY_REGION not in asked:
            continue
        part = load_custom_structures(template(name))
        reason = "" if name in asked else why_not(part.entries[0].required_body_regions)
        if reason:
            left_out.append(f"the template {name} was left out: {reason}")
        else:
            parts.append(part)
    own = CustomStructures()
    if configuration.custom_structures is not None:
        own = load_custom_structures(configuration.custom_structures)
    reasons = {entry.name: why_not(entry.required_body_regions) for entry in own.entries}
    left_out += [f"{name} was left out: {reason}" for name, reason in reasons.items() if reason]
    own = replace(own, entries=tuple(entry for entry in own.entries if not reasons[entry.name]))
    definitions = joined([*parts, own])
    own_names = {entry.name for entry in own.entries}
    from_templates = frozenset(entry.name for entry in definitions.entries if entry.name not in own_names)
    return Configured(definitions, from_templates, tuple(left_out))

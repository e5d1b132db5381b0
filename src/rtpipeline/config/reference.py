"""The shipped `configs/config.yaml` and the configuration reference, both written from the schema.

`python -m rtpipeline.config.reference FOLDER` writes both below the project's folder; a test holds them in step.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from rtpipeline.config.loading import ENVIRONMENT_PREFIX
from rtpipeline.config.schema import Configuration

SHIPPED_VALUES = {"radiomics.thread_limit": 4}
"""Where the shipped file differs from the defaults."""

YAML_HEADER = """\
# The configuration of rtpipeline: every key with its default.
# A key that is left out has its default; what you do not need to change, you can delete.
# Order of precedence: default < this file < RTPIPELINE_<SECTION>_<KEY> variables < flags.
# Relative paths are relative to the folder that rtpipeline is started in.
"""

MARKDOWN_HEADER = f"""\
# Configuration

A value is taken from the first of these that gives it: a flag typed on the command line (also
`--config KEY=VALUE`, repeatable), a variable (`{ENVIRONMENT_PREFIX}` and the key in capitals with `_` for `.`, for
example `{ENVIRONMENT_PREFIX}SEGMENTATION_DEVICE=cpu`), the YAML file, the default.

The YAML file is `--config FILE`, else the one that the variable `{ENVIRONMENT_PREFIX}CONFIGFILE` names, else
`./config.yaml` where it is there. Relative paths are relative to the folder that rtpipeline is started in. An unknown
key and a value of the wrong type are errors that name the key and its line. `rtpipeline validate` checks a file
without starting anything. The configuration that a run worked with is written to
`_RESULTS/effective_config.yaml`.

`auto` means null wherever null means that a number is worked out. This page is written from the schema in
`src/rtpipeline/config/schema.py`.
"""


def commented_yaml() -> str:
    """The shipped configuration file: every key of the schema with its description and default."""
    return YAML_HEADER + "\n" + "\n".join(_yaml_lines(Configuration, "", "", Configuration())) + "\n"


def markdown() -> str:
    """The configuration reference: one table per section."""
    return MARKDOWN_HEADER + "".join(_markdown_tables(Configuration, "", Configuration()))


def write(folder: Path) -> None:
    """Write both files below `folder`, the project's folder."""
    (folder / "configs" / "config.yaml").write_text(commented_yaml(), encoding="utf-8")
    (folder / "docs" / "reference" / "configuration.md").write_text(markdown(), encoding="utf-8")


def _yaml_lines(model: type[BaseModel], prefix: str, indent: str, values: BaseModel) -> Iterator[str]:
    """Plain keys first, then sections."""
    for name, field in model.model_fields.items():
        if _section(field) is None:
            value = SHIPPED_VALUES.get(f"{prefix}{name}", getattr(values, name))
            yield from _comment(field.description or "", indent)
            yield f"{indent}{name}: {_yaml_value(value)}"
    for name, field in model.model_fields.items():
        section = _section(field)
        if section is not None:
            if not prefix:
                yield ""
            yield from _comment(field.description or section.__doc__ or "", indent)
            yield f"{indent}{name}:"
            yield from _yaml_lines(section, f"{prefix}{name}.", indent + "  ", getattr(values, name))


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _yaml_value(value: Any) -> str:
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, Path):
        value = str(value)
    text = yaml.dump(
        value, Dumper=_WithoutAliases, default_flow_style=True, width=1000, sort_keys=False, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")


class _WithoutAliases(yaml.SafeDumper):
    """Writes equal values out instead of naming the first of them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _markdown_tables(
    model: type[BaseModel], prefix: str, values: BaseModel, description: str | None = None
) -> Iterator[str]:
    fields = model.model_fields.items()
    plain = [(name, field) for name, field in fields if _section(field) is None]
    title = f"`{prefix[:-1]}`" if prefix else "Top level"
    if plain:
        yield f"\n## {title}\n\n{' '.join((description or model.__doc__ or '').split())}\n\n"
        yield "| key | default | values | meaning |\n|---|---|---|---|\n"
        for name, field in plain:
            default = _yaml_value(getattr(values, name))
            meaning = " ".join((field.description or "").split())
            yield f"| `{prefix}{name}` | `{default}` | {_values(field)} | {_cell(meaning)} |\n"
    for name, field in fields:
        section = _section(field)
        if section is not None:
            yield from _markdown_tables(section, f"{prefix}{name}.", getattr(values, name), field.description)


def _section(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _values(field: FieldInfo) -> str:
    """The values a key takes, in words, from the JSON schema of its field."""
    return _cell(_described(TypeAdapter(field.rebuild_annotation()).json_schema()))


def _described(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_described(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema["type"] == "array":
        return f"list of {_described(schema['items'])}"
    if schema["type"] == "object":
        return f"mapping of text to {_described(schema['additionalProperties'])}"
    words = {"integer": "integer", "number": "number", "boolean": "true, false", "string": "text", "null": "null"}
    word = "path" if schema.get("format") == "path" else words[schema["type"]]
    limits = [("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤")]
    return " ".join([word, *(f"{sign} {schema[name]:g}" for name, sign in limits if name in schema)])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "."))

"""Putting the configuration together from its sources, and saying clearly what is wrong with one."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from rtpipeline.config.schema import Configuration
from rtpipeline.config.section import Section
from rtpipeline.config.strict_yaml import limited_depth, read_yaml

_log = logging.getLogger("rtpipeline")

ENVIRONMENT_PREFIX = "RTPIPELINE_"
CONFIGURATION_FILE_VARIABLE = "RTPIPELINE_CONFIGFILE"
_KEYS_PAGE = "docs/reference/configuration.md"
OTHER_VARIABLES = frozenset({CONFIGURATION_FILE_VARIABLE, "RTPIPELINE_TEST_DATA"})
"""Variables with our prefix that are not keys."""

RETIRED_KEYS = {
    "container_mode": "not needed: the environments are found by themselves",
    "container_env_prefix": "not needed: the environments are found by themselves",
    "snakemake_job_threads": "use max_workers",
    "scheduler.crop_ct_threads_per_job": "not needed: cropping takes one thread",
    "segmentation.force": "use the flag --force segmentation",
    "segmentation.temp_dir": "set the variable TMPDIR",
    "custom_models.force": "use the flag --force custom_models",
    "custom_models.nnunet_predict": "not needed: models run inside the environment",
    "custom_models.conda_activate": "not needed: models run inside the environment",
    "custom_models.retain_weights": "not needed: weights are unpacked once and kept",
    "radiomics.max_parallel_courses": "use scheduler.parallel_courses",
    "ct_cropping.keep_original": "not needed: the uncropped files are always kept",
}
"""Keys of older configuration files that have no counterpart, and what to do instead."""


RETIRED_VARIABLES = {
    "RTPIPELINE_RADIOMICS_ENV": "use RTPIPELINE_ENVIRONMENTS_RADIOMICS",
    "RTPIPELINE_RADIOMICS_TASK_TIMEOUT": "use RTPIPELINE_RADIOMICS_TASK_TIMEOUT_S",
    "RTPIPELINE_WORKERS": "use RTPIPELINE_MAX_WORKERS",
    "RTPIPELINE_RADIOMICS_WORKERS": "use RTPIPELINE_SCHEDULER_RADIOMICS_THREADS_PER_JOB",
    "RTPIPELINE_CONDA_EXE": "use RTPIPELINE_RADIOMICS_PYTHON",
    "RTPIPELINE_CLINICAL_ROOT": "use RTPIPELINE_AGGREGATION_CLINICAL",
    "RTPIPELINE_USE_PARALLEL_RADIOMICS": "use RTPIPELINE_RADIOMICS_SEQUENTIAL",
    "RTPIPELINE_DISABLE_PARALLEL_RADIOMICS": "use RTPIPELINE_RADIOMICS_SEQUENTIAL",
    "RTPIPELINE_INDEX_WORKERS": "not needed: headers are read by the worker budget",
    "RTPIPELINE_MEMORY_PER_WORKER_GB": "not needed: jobs are admitted by the memory that is free",
}
"""Variables of older versions, and what to do instead."""


class ConfigurationError(Exception):
    """The configuration cannot be used; the message names the key, its line where there is one, and a remedy."""


def load_configuration(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Configuration:
    """Put the configuration together.

    Args:
        file: a YAML file, or None for the defaults.
        environment: variables; those named `RTPIPELINE_<SECTION>_<KEY>` override the file, others with that prefix
            are errors.
        overrides: values of flags the user typed, by dotted key; they override everything. A value that was typed
            as text goes through `typed_value` first.

    Raises:
        ConfigurationError: the file cannot be read, a key is unknown or given twice, or a value has the wrong type.
    """
    values, lines = _read_yaml(file) if file is not None else ({}, {})
    sources = {key: f"{file}, line {line}" for key, line in lines.items()}
    for variable, key in _variables_of(environment or {}).items():
        _set(values, key, typed_value((environment or {})[variable]))
        sources[key] = f"environment variable {variable}"
    for key, value in (overrides or {}).items():
        _set(values, key, value)
        sources[key] = "command line"
    try:
        configuration = Configuration.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, sources)) from error
    for old, new in _older_names(Configuration, values, ""):
        _log.warning("%s: %s is an older name of %s; it still works", sources.get(old, "configuration"), old, new)
    return configuration


def _older_names(model: type[Section], values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Keys that were given by an older name, and their names; both dotted."""
    names = model.older_names()
    for key, value in values.items():
        if key in names:
            yield f"{prefix}{key}", f"{prefix}{names[key]}"
        section = model.model_fields[names.get(key, key)].annotation
        if isinstance(value, dict) and isinstance(section, type) and issubclass(section, Section):
            yield from _older_names(section, value, f"{prefix}{key}.")


def typed_value(text: str) -> Any:
    """What a text typed by a user (in a variable, or in `--config KEY=VALUE`) means: YAML of texts and nulls.

    Numbers and switches stay text, which the schema converts where it expects them; so an identifier such as
    `000123` never becomes a number on the way.
    """
    try:
        with limited_depth():
            return _without_nulls(yaml.load(text, Loader=yaml.BaseLoader))
    except yaml.YAMLError:
        return text


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items()}
    return None if value is None or value.lower() in ("", "~", "null") else value


def keys(model: type[BaseModel] = Configuration, prefix: str = "") -> Iterator[str]:
    """Every dotted key of the schema, in its order."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def environment_keys() -> dict[str, str]:
    """Environment variable → dotted key, for every key of the schema."""
    return {ENVIRONMENT_PREFIX + key.replace(".", "_").upper(): key for key in keys()}


def _variables_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that name keys, in the order of the schema.

    Raises:
        ConfigurationError: a variable with our prefix names none.
    """
    known = environment_keys()
    for variable in sorted(environment):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in known and variable not in OTHER_VARIABLES:
            if variable in RETIRED_VARIABLES:
                advice = RETIRED_VARIABLES[variable]
                raise ConfigurationError(f"the environment variable {variable} is of an older version; {advice}")
            near = difflib.get_close_matches(variable, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; {_KEYS_PAGE} lists the keys"
            raise ConfigurationError(f"the environment variable {variable} names no key{hint}")
    return {variable: key for variable, key in known.items() if variable in environment}


def _read_yaml(file: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The content of a YAML file, and the line of each of its dotted keys."""
    try:
        text = file.read_text(encoding="utf-8")
        with limited_depth():
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = _lines_of_keys(node, file)
        values = read_yaml(text)
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read ({error.strerror}); correct the path of the file") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{file}: cannot be read as YAML: {error}") from error
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise ConfigurationError(f"{file}: expected keys and values, found {type(values).__name__}")
    return values, lines


def _lines_of_keys(node: yaml.Node | None, file: Path) -> dict[str, int]:
    lines: dict[str, int] = {}
    for key, line in _key_lines(node, ""):
        if key in lines:
            raise ConfigurationError(f"{file}: {key} is given twice, in lines {lines[key]} and {line}; remove one")
        lines[key] = line
    return lines


def _key_lines(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            yield f"{prefix}{key_node.value}", key_node.start_mark.line + 1
            yield from _key_lines(value_node, f"{prefix}{key_node.value}.")


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, last = dotted.split(".")
    for section in sections:
        if values.get(section) is None:
            values[section] = {}
        values = values[section]
        if not isinstance(values, dict):
            raise ConfigurationError(f"{dotted}: {section} is not a section")
    values[last] = value


def _explain(error: ValidationError, sources: Mapping[str, str]) -> str:
    messages = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"] if not isinstance(part, int))
        where = f"{sources[key]}: " if key in sources else ""
        if problem["type"] == "extra_forbidden":
            messages.append(f"{where}unknown key {key}{_advice(key)}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "model_type":
                message = "expected a section with keys of its own"
            messages.append(f"{where}{key}: {message} (found {problem['input']!r})")
    return "\n".join(messages)


def _advice(key: str) -> str:
    """What to write instead of an unknown key: its successor, the same key elsewhere, or the nearest one."""
    if key in RETIRED_KEYS:
        return f" (of an older version); {RETIRED_KEYS[key]}"
    known = list(keys())
    known += sorted({".".join(parts[:depth]) for parts in map(_parts, known) for depth in range(1, len(parts))})
    elsewhere = [candidate for candidate in known if _parts(candidate)[-1] == _parts(key)[-1]]
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6) or elsewhere[:1]
    return f"; did you mean {near[0]}?" if near else f"; {_KEYS_PAGE} lists the keys"


def _parts(dotted: str) -> list[str]:
    return dotted.split(".")

"""Files that the configuration names: whether they are there is said before anything starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rtpipeline.config.loading import ConfigurationError
from rtpipeline.config.schema import Configuration

CLINICAL = "aggregation.clinical"
NAMED_FILES = (
    "organize.overrides",
    "custom_structures",
    "structures.names",
    "radiomics.params_file",
    "radiomics.mr_params_file",
    "radiomics.pet_params_file",
    "radiomics.dose_params_file",
    CLINICAL,
)
"""Keys whose value is a file that is read."""


def missing_files(configuration: Configuration, keys: Sequence[str] = NAMED_FILES) -> Iterator[tuple[str, Path]]:
    """The keys among `keys` that name a file that is not there, with the file."""
    for key in keys:
        file = configuration.value(key)
        if file is not None and not file.is_file():
            yield key, file


def require_named_files(configuration: Configuration, keys: Sequence[str] = NAMED_FILES) -> None:
    """Refuse a configuration that names files which are not there.

    Without this, results that were made with another file would count as still valid: a file that is not there is no
    input that changed.

    Raises:
        ConfigurationError: a file is not there; one line for each.
    """
    lines = [
        f"{key}: there is no file {file}; correct the key (relative paths begin at {Path.cwd()})"
        for key, file in missing_files(configuration, keys)
    ]
    if lines:
        raise ConfigurationError("\n".join(lines))

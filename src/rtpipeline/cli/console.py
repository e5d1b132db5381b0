"""What every command shares: logging, the configuration from flags, and ends that a user understands."""

from __future__ import annotations

import errno
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from rtpipeline.config import Configuration, ConfigurationError, load_configuration, typed_value
from rtpipeline.course import CohortFiles, CourseError
from rtpipeline.outcome import EXIT_FAILED, EXIT_USAGE, StageError
from rtpipeline.scheduling.disk_space import disk_full_reason
from rtpipeline.tables.definitions.analysis import analysis_definition

CONFIGURATION_FILE_VARIABLE = "RTPIPELINE_CONFIGFILE"
DEFAULT_CONFIGURATION_FILE = Path("config.yaml")

_WRONG_PLACES = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})


def configuration_from(
    config: Sequence[str], flags: Mapping[str, Any], environment: Mapping[str, str]
) -> tuple[Configuration, Path | None]:
    """The effective configuration, and the file that it came from.

    Args:
        config: values of `--config`: a file, or `KEY=VALUE` (an `=`, and no such file), repeatable.
        flags: values of flags by dotted key; None where the user did not type the flag.
        environment: the process's variables.

    Raises:
        typer.Exit: with code 2, after saying what is wrong.
    """
    files = [Path(value) for value in config if _names_a_file(value)]
    pairs = [value for value in config if Path(value) not in files]
    if len(files) > 1:
        raise usage_error(f"--config names {len(files)} files; give one, and KEY=VALUE for single keys")
    file = files[0] if files else _default_file(environment)
    overrides: dict[str, Any] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if not key.strip():
            raise usage_error(f"--config {pair}: no key before the equals sign")
        overrides[key.strip()] = typed_value(value.strip())
    overrides.update({key: value for key, value in flags.items() if value is not None})
    try:
        configuration = load_configuration(file, environment, overrides)
        analysis_definition(configuration.aggregation.analysis)  # which needs to know the tables' columns
        return configuration, file
    except ConfigurationError as error:
        raise usage_error(str(error)) from error


def configuration_of_output(
    outdir: Path, config: Sequence[str], environment: Mapping[str, str], flags: Mapping[str, Any] | None = None
) -> Configuration:
    """The configuration for working on the results in `outdir`: of the last run there, unless `--config` names a file.

    Raises:
        typer.Exit: with code 2, where nothing was organized there or the configuration cannot be used.
    """
    cohort = CohortFiles(outdir)
    if not cohort.manifest.is_file():
        raise nothing_organized(cohort)
    last = cohort.effective_configuration
    files = [str(last)] if last.is_file() and not any(map(_names_a_file, config)) else []
    try:
        return configuration_from([*files, *config], {**(flags or {}), "output_dir": outdir}, environment)[0]
    except typer.Exit:
        if files:
            typer.echo(f"{last} is the configuration of the last run; --config FILE names another one", err=True)
        raise


def nothing_organized(cohort: CohortFiles) -> typer.Exit:
    """Say that an output folder has no courses; to be raised."""
    folder = cohort.folder
    return usage_error(f"{folder}: nothing was organized here yet (no {cohort.manifest.relative_to(folder)})")


def _names_a_file(value: str) -> bool:
    """Whether a value of `--config` is a file, and not a key with its value."""
    return "=" not in value or Path(value).is_file()


def _default_file(environment: Mapping[str, str]) -> Path | None:
    if CONFIGURATION_FILE_VARIABLE in environment:
        return Path(environment[CONFIGURATION_FILE_VARIABLE])
    return DEFAULT_CONFIGURATION_FILE if DEFAULT_CONFIGURATION_FILE.is_file() else None


def print_json(content: object) -> None:
    """Print what a command found, for other programs."""
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))


def usage_error(message: str) -> typer.Exit:
    """Say what is wrong with the call, on standard error; to be raised."""
    typer.echo(f"rtpipeline: {message}", err=True)
    return typer.Exit(EXIT_USAGE)


def start_logging(logs: Path | None, *, verbose: bool = False) -> logging.Logger:
    """Log to the console and, where `logs` is given, to `<logs>/rtpipeline.log` (appended).

    Raises:
        StageError: the log file cannot be written.
    """
    logger = logging.getLogger("rtpipeline")
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    logger.addHandler(console)
    if logs is not None:
        try:
            logs.mkdir(parents=True, exist_ok=True)
            file = logging.FileHandler(logs / "rtpipeline.log", encoding="utf-8")
        except OSError as error:
            message = f"{logs}: cannot write the log there ({error.strerror}); choose another --outdir, or --logs"
            raise StageError(message) from error
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(file)
    return logger


def _wrong_place(error: OSError) -> str:
    """What to tell a user about a path that cannot be used as it was asked for; else an empty text."""
    if error.filename is None or error.errno not in _WRONG_PLACES:
        return ""
    return f"{error.filename}: {error.strerror}; name another place, or ask for the right to use this one"


@contextmanager
def explained_errors() -> Iterator[None]:
    """Errors meant for users end the command with their message and code, 2 for a wrong configuration, else 1."""
    try:
        yield
    except ConfigurationError as error:
        raise usage_error(str(error)) from error
    except StageError as error:
        typer.echo(f"rtpipeline: {error.reason}", err=True)
        raise typer.Exit(EXIT_FAILED) from error
    except CourseError as error:
        typer.echo(f"rtpipeline: {error}", err=True)
        raise typer.Exit(EXIT_FAILED) from error
    except OSError as error:
        reason = disk_full_reason(error) or _wrong_place(error)
        if not reason:
            raise
        typer.echo(f"rtpipeline: {reason}", err=True)
        raise typer.Exit(EXIT_FAILED) from error

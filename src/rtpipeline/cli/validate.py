"""`rtpipeline validate`: is this configuration usable, and is there DICOM in this folder? Nothing is started."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rtpipeline.cli.checks import Check, report
from rtpipeline.cli.console import configuration_from
from rtpipeline.cli.doctor import packages_check
from rtpipeline.cli.environment_checks import environment_checks
from rtpipeline.cli.flags import Config, DicomRoot, Json, OutDir
from rtpipeline.config import Configuration
from rtpipeline.config.named_files import NAMED_FILES, missing_files
from rtpipeline.custom_models import usable_models
from rtpipeline.custom_structures import load_custom_structures
from rtpipeline.outcome import StageError

_CUSTOM_STRUCTURES_HELP = "docs/how-to/custom_structures.md"
_CUSTOM_MODELS_HELP = "docs/how-to/custom_models.md"
_FILES_LOOKED_AT = 2000
_DICOM_PREFIX_OFFSET = 128


def command(
    config: Config = None,
    dicom_root: DicomRoot = None,
    outdir: OutDir = None,
    json_output: Json = False,
) -> None:
    """Check a configuration and an input folder; start nothing."""
    flags = {"dicom_root": dicom_root, "output_dir": outdir}
    configuration, file = configuration_from(config or [], flags, os.environ)
    checks = [
        Check("configuration", "ok", str(file) if file else "defaults (no file)"),
        packages_check(),
        input_check(configuration.dicom_root),
        output_check(configuration.output_dir),
        *named_file_checks(configuration),
        *custom_structure_checks(configuration.custom_structures),
        *custom_model_checks(configuration),
        *environment_checks(configuration),
    ]
    report(checks, as_json=json_output)


def input_check(folder: Path | None) -> Check:
    """The DICOM folder: there, readable, and with something that looks like DICOM in it."""
    if folder is None:
        return Check("DICOM root", "note", "none given", "--dicom-root, or dicom_root in the configuration")
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        return Check("DICOM root", "problem", f"{folder} {what}", "name the folder of the export")
    looked_at = 0
    for file in _files_below(folder):
        looked_at += 1
        if _looks_like_dicom(file):
            return Check("DICOM root", "ok", f"{folder}")
        if looked_at == _FILES_LOOKED_AT:
            detail = f"{folder}: none of the first {looked_at} files begins as DICOM files usually do"
            return Check("DICOM root", "note", detail, "look whether it is the right folder")
    if not looked_at:
        return Check("DICOM root", "problem", f"{folder} has no files", "name the folder of the export")
    detail = f"{folder}: none of its {looked_at} files begins as DICOM files usually do"
    return Check("DICOM root", "note", detail, "files without the usual beginning are tried all the same")


def output_check(folder: Path) -> Check:
    """The output folder, or the nearest folder above it: can be written to."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not existing.is_dir():
        return Check("output folder", "problem", f"{existing} is a file", "choose another --outdir")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        detail = f"{existing} cannot be written to ({error.strerror})"
        return Check("output folder", "problem", detail, "choose another --outdir, or ask for the right to write")
    return Check("output folder", "ok", str(folder))


def named_file_checks(configuration: Configuration) -> Iterator[Check]:
    """Files that the configuration names; that of the custom structures is looked at more closely elsewhere."""
    missing = dict(missing_files(configuration))
    for key in NAMED_FILES:
        file = configuration.value(key)
        if file is not None and key != "custom_structures":
            detail, fix = f"{file} is not there", f"correct {key}; relative paths begin at {Path.cwd()}"
            yield Check(key, "problem", detail, fix) if key in missing else Check(key, "ok", str(file))


def custom_structure_checks(file: Path | None) -> Iterator[Check]:
    """The file of custom structures: there, and every entry understood."""
    if file is None:
        return
    try:
        definitions = load_custom_structures(file)
    except StageError as error:
        yield Check("custom_structures", "problem", error.reason, f"correct the file; see {_CUSTOM_STRUCTURES_HELP}")
    else:
        yield Check("custom_structures", "ok", f"{len(definitions.entries)} entries in {file}")


def custom_model_checks(configuration: Configuration) -> Iterator[Check]:
    """Every custom model that a run would use: its file understood, its weights there, its labels those of training."""
    section = configuration.custom_models
    if not section.enabled:
        return
    try:
        models, problems = usable_models(configuration)
    except StageError as error:
        yield Check("custom_models", "problem", error.reason, "correct custom_models.root or custom_models.models")
        return
    for model in models:
        yield Check("custom model", "ok", f"{model.name}: {', '.join(model.labels)}")
    for problem in problems:
        yield Check("custom model", "problem", problem, f"correct it; see {_CUSTOM_MODELS_HELP}")
    if not models and not problems:
        detail = f"{section.root}: no enabled custom_model.yaml"
        yield Check("custom_models", "problem", detail, f"one folder per model; see {_CUSTOM_MODELS_HELP}")


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names))


def _looks_like_dicom(file: Path) -> bool:
    """Whether a file has the prefix of DICOM part 10, section 7.1."""
    try:
        with file.open("rb") as stream:
            stream.seek(_DICOM_PREFIX_OFFSET)
            return stream.read(4) == b"DICM"
    except OSError:
        return False

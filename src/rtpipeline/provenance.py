"""Where a result comes from: program, packages, configuration and input, each as a version or a digest.

A digest is the SHA-256 of content, as hexadecimal text. It never depends on paths, times, hosts or worker counts.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from rtpipeline import __version__
from rtpipeline.config import Configuration
from rtpipeline.tables.parquet import read_parquet

PACKAGES = (
    "TotalSegmentator",
    "highdicom",
    "matplotlib",
    "nibabel",
    "nnunetv2",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "pydicom",
    "rt-utils",
    "scikit-image",
    "scipy",
    "SimpleITK",
    "torch",
    "XlsxWriter",
)
"""Packages whose version can matter for a result."""

NOT_RESULT_RELEVANT = frozenset(
    {
        "dicom_root",
        "output_dir",
        "logs_dir",
        "cores",
        "max_workers",
        "scheduler",
        "environments",
        "organize.pseudonymize",
        "organize.use_hardlinks",
        "segmentation.device",
        "segmentation.require_gpu",
        "segmentation.allow_cpu_fallback",
        "segmentation.max_workers",
        "segmentation.nr_threads_resample",
        "segmentation.nr_threads_save",
        "segmentation.num_proc_preprocessing",
        "segmentation.num_proc_export",
        "segmentation.thread_limit",
        "segmentation.timeout_s",
        "segmentation.weights",
        "custom_models.max_workers",
        "custom_models.timeout_s",
        "radiomics.sequential",
        "radiomics.thread_limit",
        "radiomics.task_timeout_s",
        "radiomics.python",
        "aggregation.threads",
        "aggregation.strict",
    }
)
"""Keys (or whole sections) that say how the work is done and not what comes out.

A key that is not listed here counts as relevant. The device and the weights that were used are recorded with the
stage that used them.
"""

_BLOCK_BYTES = 1 << 20


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            sha.update(block)
    return sha.hexdigest()


def tree_digest(folder: Path) -> str:
    """One digest of the names and contents of all files below `folder`.

    A file is read again only when its size or modification time changed since this process read it.
    """
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return digest({name: _content(folder / name) for name in names})


def digest(value: Any, *, ordered: bool = False) -> str:
    """SHA-256 of a JSON-ready value; the order of keys in a mapping matters only where it is `ordered`.

    Raises:
        TypeError: the value has a part that JSON cannot hold.
        ValueError: it has a number that JSON cannot hold (NaN or infinity).
    """
    text = json.dumps(value, sort_keys=not ordered, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def short_digest(value: Any) -> str:
    """The first 16 digits of `digest`, for a column of a table."""
    return digest(value)[:16]


def result_configuration(configuration: Configuration) -> dict[str, Any]:
    """The part of the configuration that results depend on, JSON-ready, by section.

    A file that the configuration names counts with its content, not with its path; so does the folder of custom
    models, when custom models are switched on. A file that is not there is `missing`.
    """
    values = configuration.model_dump()
    if not configuration.custom_models.enabled:
        values["custom_models"] = {"enabled": False}
    return {name: _relevant(value, name) for name, value in values.items() if name not in NOT_RESULT_RELEVANT}


def configuration_digest(configuration: Configuration) -> str:
    """The digest of `result_configuration`; of several patterns the first that fits counts, so their order does too."""
    return digest(result_configuration(configuration), ordered=True)


def input_digest(index: Path) -> str:
    """One digest of all input files: their SOP Instance UIDs and sizes, wherever they lie.

    Args:
        index: the header index that organizing writes.
    """
    table = read_parquet(index)
    objects = zip(table["sop_instance_uid"].to_pylist(), table["size_bytes"].to_pylist(), strict=True)
    return digest(sorted([uid or "", size or 0] for uid, size in objects))


def provenance(
    configuration: Configuration,
    *,
    index: Path | None = None,
    radiomics_environment: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that says where the results of a run come from, JSON-ready, without any time or host name.

    Args:
        configuration: the effective configuration of the run.
        index: the header index that organizing wrote, when it did.
        radiomics_environment: what the radiomics environment said of itself (Python and package versions), when it
            was used.
    """
    return {
        "rtpipeline": program(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": package_versions(PACKAGES),
        "radiomics_environment": dict(radiomics_environment) if radiomics_environment is not None else None,
        "configuration_digest": configuration_digest(configuration),
        "configuration": result_configuration(configuration),
        "input_digest": input_digest(index) if index is not None and index.is_file() else None,
    }


def stamp(configuration: Configuration) -> dict[str, str]:
    """What every cohort table says of where it comes from: the same for the same program and configuration."""
    return {
        **{f"rtpipeline_{name}": value for name, value in program().items()},
        "configuration_digest": configuration_digest(configuration),
    }


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """The installed version of each package; packages that are not installed are left out."""
    versions = {}
    for name in sorted(names, key=str.lower):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@lru_cache(maxsize=1)
def program() -> dict[str, str]:
    """Version of this program, digest of its source, and the commit when it runs from a checkout.

    A commit is followed by `+changes` when the sources differ from it.
    """
    package = Path(__file__).resolve().parent
    sources = {path.relative_to(package).as_posix(): file_digest(path) for path in sorted(package.rglob("*.py"))}
    found = {"version": __version__, "source_digest": digest(sources)}
    checkout = package.parents[1]
    if package.parent.name == "src" and (checkout / ".git").exists():
        commit = _git(checkout, "rev-parse", "HEAD")
        if commit:
            changed = _git(checkout, "status", "--porcelain", "--", str(package))
            found["commit"] = commit + ("+changes" if changed else "")
    return found


def _git(checkout: Path, *arguments: str) -> str:
    """What git answers, or nothing when git is not installed or refuses."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=False, timeout=30
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _relevant(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        children = {name: f"{key}.{name}" for name in value if f"{key}.{name}" not in NOT_RESULT_RELEVANT}
        return {name: _relevant(value[name], child) for name, child in children.items()}
    if isinstance(value, (tuple, list)):
        return [_relevant(item, key) for item in value]
    return _content(value) if isinstance(value, Path) else value


def _content(path: Path) -> str:
    """What a path in the configuration stands for: the digest of the file or of all files in the folder."""
    if path.is_dir():
        return tree_digest(path)
    if not path.is_file():
        return "missing"
    status = path.stat()
    return _content_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _content_of(path: Path, size: int, mtime_ns: int) -> str:
    """`file_digest`, remembered as long as size and modification time stay."""
    return file_digest(path)

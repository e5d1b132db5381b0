"""Finding the radiomics environment, and seeing that it works. It is never entered: its interpreter is started."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtpipeline import __version__
from rtpipeline.atomic import write_text
from rtpipeline.config import Configuration
from rtpipeline.extraction.identity import source_digest
from rtpipeline.outcome import StageError
from rtpipeline.scheduling.thread_caps import thread_environment

PYRADIOMICS_VERSION = "3.0.1"
"""The version whose values the tables hold."""

PROBE_TIMEOUT_S = 120.0
_CONDA_FOLDERS = ("micromamba", "miniforge3", "mambaforge", "miniconda3", "anaconda3")
_SYSTEM_CONDA_FOLDERS = (Path("/opt/conda"),)
_REMEDY = (
    "`python -m nox -s demo` in the project's folder sets the radiomics environment up; or "
    "`conda env create -f envs/rtpipeline-radiomics.yaml`; or set `radiomics.python` to its interpreter"
)


@dataclass(frozen=True)
class RadiomicsEnvironment:
    """The other environment, as its interpreter describes it.

    Attributes:
        python: its interpreter.
        found_as: how it was found, in words.
        versions: of what computes: `python`, `numpy`, `pyradiomics`, `simpleitk`, `rtpipeline` and others.
        installed: version of every package.
    """

    python: Path
    found_as: str
    versions: Mapping[str, str]
    installed: Mapping[str, str]

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in sorted(self.versions.items()))
        return f"{self.python} ({self.found_as}; {versions})"


def find_radiomics_python(configuration: Configuration, environment: Mapping[str, str]) -> RadiomicsEnvironment:
    """Find the radiomics environment, ask what is in it, and have it extract a known structure.

    The last is done once for an environment, until something in it changes (see `_tested`).

    The order: `radiomics.python`; the conda environment that `environments.radiomics` names; the virtual
    environment beside this one, `<this environment>-radiomics`. The first that exists is used.

    Args:
        configuration: the run's configuration.
        environment: environment variables (`os.environ`).

    Raises:
        StageError: there is none, it does not start, a library is missing in it, the rtpipeline in it is not this one,
            or it computes something else than it must; the message says how to set it up.
    """
    for python, found_as in _candidates(configuration, environment):
        if python.is_file():
            identity = _identity(python, environment)
            checked = _checked(python, found_as, identity)
            _tested(python, identity, environment)
            return checked
        if configuration.radiomics.python is not None:
            raise StageError(f"radiomics.python: there is no interpreter {python}; {_REMEDY}")
    name = configuration.environments.radiomics
    raise StageError(f"no radiomics environment: no conda environment {name!r} and no {_sibling()}; {_REMEDY}")


def _candidates(configuration: Configuration, environment: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    if configuration.radiomics.python is not None:
        yield configuration.radiomics.python.expanduser(), "radiomics.python"
    name = configuration.environments.radiomics
    for folder in conda_folders(name, environment):
        yield folder / "bin" / "python", f"conda environment {name}"
    yield _sibling() / "bin" / "python", "virtual environment beside this one"


def _sibling() -> Path:
    prefix = Path(sys.prefix)
    return prefix.with_name(f"{prefix.name}-radiomics")


def conda_folders(name: str, environment: Mapping[str, str]) -> Iterator[Path]:
    """Where a conda, mamba or micromamba environment of this name would be, without running any of them.

    Args:
        name: of the environment, or its folder.
        environment: environment variables.
    """
    if "/" in name:
        yield Path(name).expanduser()
        return
    home = Path(environment.get("HOME", "~")).expanduser()
    active = environment.get("CONDA_PREFIX")
    if active:
        yield Path(active).parent / name  # a named environment is active
        yield Path(active) / "envs" / name  # the base environment is active
    root = environment.get("MAMBA_ROOT_PREFIX")
    if root:
        yield Path(root) / "envs" / name
    yield from (folder for folder in _listed_by_conda(home) if folder.name == name)
    yield from (home / root_name / "envs" / name for root_name in _CONDA_FOLDERS)
    yield from (folder / "envs" / name for folder in _SYSTEM_CONDA_FOLDERS)


def _listed_by_conda(home: Path) -> list[Path]:
    """The environments that conda and mamba note down for this user."""
    listing = home / ".conda" / "environments.txt"
    if not listing.is_file():
        return []
    return [Path(line.strip()) for line in listing.read_text(encoding="utf-8").splitlines() if line.strip()]


def _identity(python: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """What the other side says of itself."""
    described: dict[str, Any] = json.loads(_output(python, "identity", environment).splitlines()[-1])
    return described


def _tested(python: Path, identity: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Have an environment extract a known structure, unless it did so before and nothing in it has changed since.

    What it then was is noted down in this user's cache: interpreter, versions, source files, installed packages. A
    failure is not.

    Raises:
        StageError: it cannot, or has other results.
    """
    described = json.dumps({"interpreter": str(python.absolute()), **identity}, indent=1, sort_keys=True)
    digest = hashlib.sha256(described.encode("utf-8")).hexdigest()
    passed = _own_cache("radiomics_environments", environment) / f"{digest}.json"
    if passed.exists():
        return
    _output(python, "self_test", environment)
    with contextlib.suppress(OSError):  # without the note the next run does the test again, no more
        write_text(passed, described + "\n")


def _output(python: Path, module: str, environment: Mapping[str, str]) -> str:
    """What a module of `rtpipeline.extraction` prints in the other environment.

    Raises:
        StageError: it cannot be started, or fails.
    """
    variables = {**environment, **child_variables(threads=1)}
    try:
        answer = subprocess.run(
            [str(python), "-m", f"rtpipeline.extraction.{module}"],
            env={name: value for name, value in variables.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StageError(f"the radiomics environment {python} cannot be started: {error}; {_REMEDY}") from error
    if answer.returncode != 0:
        lines = answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"]
        raise StageError(f"the radiomics environment {python} does not work: {lines[-1]}; {_REMEDY}")
    return answer.stdout


def _checked(python: Path, found_as: str, identity: dict[str, Any]) -> RadiomicsEnvironment:
    versions = {name: text for name, text in identity.items() if name != "installed" and not name.endswith("_digest")}
    if versions["pyradiomics"].lstrip("v") != PYRADIOMICS_VERSION:
        raise StageError(
            f"the radiomics environment {python} has PyRadiomics {versions['pyradiomics']}, "
            f"and the tables are defined by {PYRADIOMICS_VERSION}; {_REMEDY}"
        )
    if identity["source_digest"] != source_digest():
        raise StageError(
            f"the rtpipeline {versions['rtpipeline']} in the radiomics environment {python} is not this one "
            f"({__version__}): install this one there too (`{python} -m pip install --no-deps <the project's folder>`)"
        )
    return RadiomicsEnvironment(python, found_as, versions, dict(sorted(identity["installed"].items())))


def child_variables(threads: int) -> dict[str, str | None]:
    """Changes to the environment variables of a process in the radiomics environment; None removes one.

    They cap every numerical library at `threads` threads, keep this environment's libraries out of that one, and say
    where compiled kernels are kept from one process to the next.
    """
    variables: dict[str, str | None] = {**thread_environment(threads)}
    return variables | {
        "NUMBA_CACHE_DIR": str(kernel_cache(os.environ)),
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": None,
        "PYTHONHOME": None,
    }


def kernel_cache(environment: Mapping[str, str]) -> Path:
    """The folder for Numba's compiled kernels: the one that is set, else one of this user's caches.

    Numba refuses to compile where it cannot keep the result, as in a read-only installation.

    Args:
        environment: environment variables.
    """
    if environment.get("NUMBA_CACHE_DIR"):
        return Path(environment["NUMBA_CACHE_DIR"])
    return _own_cache("numba", environment)


def _own_cache(name: str, environment: Mapping[str, str]) -> Path:
    """A folder among this user's caches; where they cannot be written to, one for temporary files."""
    caches = Path(environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "/nonexistent")) / ".cache")
    folder = caches / "rtpipeline" / name
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return folder
    return _private(Path(tempfile.gettempdir()) / f"rtpipeline-{name}-{os.getuid()}")


def _private(folder: Path) -> Path:
    """A folder for code that is run later: this one, unless somebody else could have put something there."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))

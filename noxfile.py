"""Set up rtpipeline and run its commands: `python -m nox -s demo`, `-s tests`, `-s lint`, `-s bench -- NAME`.

Every session first makes the two environments it needs as folders of the repository, `.venv` and `.venv-radiomics`,
and leaves them alone when they are up to date; `-s setup` does no more than that. Python 3.11 is looked for for the
first, 3.10 and then 3.11 for the second; the variables MAIN_PYTHON and RADIOMICS_PYTHON name other interpreters.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).resolve().parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
MARKER = "rtpipeline-setup.sha256"

nox.options.default_venv_backend = "none"
nox.options.sessions = ["tests"]


@dataclass(frozen=True)
class Environment:
    """One of the two installations.

    Attributes:
        folder: where it lies.
        extras: the extras of pyproject.toml that it installs.
        python_versions: the Python versions that its constraints were tried with, best first.
        python_variable: the variable that names an interpreter instead.
        constraints: the versions that are installed.
        compiles: a C compiler and Python's header files are needed.
    """

    folder: Path
    extras: tuple[str, ...]
    python_versions: tuple[str, ...]
    python_variable: str
    constraints: Path
    compiles: bool

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def requirements(self) -> list[str]:
        extras = PROJECT["project"]["optional-dependencies"]
        return [requirement for extra in self.extras for requirement in extras[extra]]


MAIN = Environment(
    folder=ROOT / ".venv",
    extras=("segmentation", "contrast-phase", "workflow", "development"),
    python_versions=("3.11",),
    python_variable="MAIN_PYTHON",
    constraints=ROOT / "envs" / "constraints.txt",
    compiles=False,
)
RADIOMICS = Environment(
    folder=ROOT / ".venv-radiomics",
    extras=("radiomics",),
    python_versions=("3.10", "3.11"),
    python_variable="RADIOMICS_PYTHON",
    constraints=ROOT / "envs" / "constraints-radiomics.txt",
    compiles=True,
)


# ---------------------------------------------------------------------------------------------- sessions


@nox.session
def setup(session: nox.Session) -> None:
    """Make both environments."""
    set_up(session, MAIN, RADIOMICS)
    session.log(f"ready: {MAIN.bin / 'rtpipeline'} --help")


@nox.session
def demo(session: nox.Session) -> None:
    """Run the whole pipeline on a cohort that it generates, into ./rtpipeline-demo."""
    setup(session)
    session.run(str(MAIN.bin / "rtpipeline"), "demo", *session.posargs, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Lint, types and import rules, then the tests; what follows `--` goes to pytest."""
    setup(session)
    check(session)
    session.run(str(MAIN.bin / "python"), "-m", "pytest", *session.posargs, env=test_data(), external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Lint, types and import rules only."""
    set_up(session, MAIN)
    check(session)


@nox.session
def docs(session: nox.Session) -> None:
    """Write the generated files again: configs/config.yaml and the reference of keys, commands and tables."""
    set_up(session, MAIN)
    for module in ("rtpipeline.config.reference", "rtpipeline.cli.reference", "rtpipeline.tables.reference"):
        session.run(str(MAIN.bin / "python"), "-m", module, ".", external=True)


@nox.session
def interpreters(session: nox.Session) -> None:
    """Make the radiomics environment for every Python that it is for, and compare the features that they extract."""
    set_up(session, MAIN)
    environments = [
        replace(
            RADIOMICS,
            folder=ROOT / f".venv-radiomics-{version}",
            python_versions=(version,),
            python_variable=f"{RADIOMICS.python_variable}_{version.replace('.', '_')}",
        )
        for version in RADIOMICS.python_versions
    ]
    set_up(session, *environments)
    pythons = [str(environment.bin / "python") for environment in environments]
    main_python = str(MAIN.bin / "python")
    session.run(main_python, "benchmarks/interpreters.py", *pythons, env=test_data(), external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Run one benchmark, for example `-- organize`."""
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
    if not session.posargs or session.posargs[0] not in names:
        session.error(f"say which benchmark: python -m nox -s bench -- NAME, one of: {', '.join(names) or 'none yet'}")
    setup(session)
    name, *arguments = session.posargs
    session.run(str(MAIN.bin / "python"), f"benchmarks/{name}.py", *arguments, env=test_data(), external=True)


def check(session: nox.Session) -> None:
    session.run(str(MAIN.bin / "ruff"), "check", ".", external=True)
    session.run(str(MAIN.bin / "ruff"), "format", "--check", ".", external=True)
    session.run(str(MAIN.bin / "mypy"), external=True)
    session.run(str(MAIN.bin / "lint-imports"), external=True)


def test_data() -> dict[str, str]:
    """The folder of real test data beside the repository, unless the variable names another."""
    folder = ROOT.parent / "shared" / "data"
    if "RTPIPELINE_TEST_DATA" in os.environ or not folder.is_dir():
        return {}
    return {"RTPIPELINE_TEST_DATA": str(folder)}


# ------------------------------------------------------------------------------------------ environments


def set_up(session: nox.Session, *environments: Environment) -> None:
    """Make each environment, unless it is there and up to date; a half-made one is made again."""
    missing = [environment for environment in environments if not is_up_to_date(environment)]
    for environment, interpreter in [(each, find_python(session, each)) for each in missing]:
        folder = environment.folder
        if Path(sys.prefix) == folder:
            session.error(f"{folder.name} must be made again, and nox runs from it: start nox with another Python")
        session.log(f"making {folder.name} with {interpreter}; this takes some minutes, once")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            session.run(interpreter, "-m", "venv", str(folder), external=True)
            install(session, environment)
        except CommandFailed:
            session.error(
                f"{folder.name} could not be made; the lines above say why, and docs/how-to/install.md what helps. "
                "The next start begins again"
            )
        (folder / MARKER).write_text(digest(environment, version_of(interpreter)))


def is_up_to_date(environment: Environment) -> bool:
    """Whether an environment was made completely, from the same versions and by the Python that the user named."""
    marker = environment.folder / MARKER
    version = version_of(str(environment.bin / "python"))
    named = os.environ.get(environment.python_variable)
    if not marker.is_file() or not version or (named and version_of(named) != version):
        return False
    return marker.read_text() == digest(environment, version)


def install(session: nox.Session, environment: Environment) -> None:
    """Install the packages, all in one pip command so that the constraints hold for every one of them."""
    pip = [str(environment.bin / "python"), "-m", "pip", "install", "--constraint", str(environment.constraints)]
    if not environment.compiles:
        session.run(*pip, "--editable", f".[{','.join(environment.extras)}]", external=True)
        return
    # PyRadiomics does not declare what its build needs, and its build must see the NumPy that it will run with.
    session.run(*pip, "numpy", "setuptools", "wheel", external=True)
    session.run(*pip, "--no-build-isolation", *environment.requirements, external=True)
    session.run(*pip, "--no-deps", "--editable", ".", external=True)


def digest(environment: Environment, python_version: str) -> str:
    """What an environment is made of: when it changes, the environment is made again."""
    project = PROJECT["project"]
    parts = [
        str(ROOT),
        python_version,
        project["version"],
        json.dumps(project["scripts"]),
        *project["dependencies"],
        *environment.requirements,
        environment.constraints.read_text(encoding="utf-8"),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def find_python(session: nox.Session, environment: Environment) -> str:
    """The interpreter that an environment is made with."""
    if environment.compiles and not any(map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))):
        session.error("no C compiler: PyRadiomics is compiled at install. On Debian or Ubuntu: apt install gcc")
    named = os.environ.get(environment.python_variable)
    candidates = [named] if named else list(python_candidates(environment.python_versions))
    for candidate in candidates:
        found = version_of(candidate, headers=environment.compiles)
        if any(found.startswith(f"{version}.") for version in environment.python_versions):
            return candidate
    versions = " or ".join(environment.python_versions)
    what = " with its header files (python3-dev) and" if environment.compiles else " with"
    session.error(
        f"no Python {versions}{what} venv for {environment.folder.name}"
        + (f" at {named}" if named else "; install one, or name it")
        + f" in the variable {environment.python_variable}"
    )


def python_candidates(versions: tuple[str, ...]) -> list[str]:
    """Interpreters that may be of one of these versions, the first version first."""
    found: list[str] = []
    for version in versions:
        own = [f"{sys.base_prefix}/bin/python{version}"] if sys.version.startswith(f"{version}.") else []
        on_path = [path] if (path := shutil.which(f"python{version}")) else []
        pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
        found += [*own, *on_path, *map(str, pyenv)]
    return found


def version_of(interpreter: str, *, headers: bool = False) -> str:
    """The version of an interpreter that really runs and can make environments; else an empty text.

    A pyenv shim, for example, is on the path but may refuse to run; Debian's Python may lack `ensurepip`.
    """
    code = "import ensurepip, platform, sysconfig, venv; from pathlib import Path\n"
    code += "assert Path(sysconfig.get_path('include'), 'Python.h').is_file()\n" if headers else ""
    code += "print(platform.python_version())"
    try:
        finished = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return finished.stdout.strip() if finished.returncode == 0 else ""

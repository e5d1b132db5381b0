"""Finding the radiomics environment: real interpreters in folders laid out as conda, micromamba and venv do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rtpipeline.config import Configuration
from rtpipeline.extraction.identity import source_digest
from rtpipeline.outcome import StageError
from rtpipeline.radiomics_conda import conda_folders, find_radiomics_python, kernel_cache

NAME = "rtpipeline-radiomics"


def configured(**radiomics: object) -> Configuration:
    return Configuration.model_validate({"radiomics": radiomics})


def script(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True)
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def test_conda_environments_are_looked_for_without_running_conda(tmp_path: Path) -> None:
    listing = tmp_path / ".conda" / "environments.txt"
    listing.parent.mkdir()
    listing.write_text(f"/data/envs/other\n/data/envs/{NAME}\n", encoding="utf-8")
    environment = {
        "HOME": str(tmp_path),
        "CONDA_PREFIX": "/conda/envs/rtpipeline",
        "MAMBA_ROOT_PREFIX": "/mamba",
    }

    folders = [str(folder) for folder in conda_folders(NAME, environment)]

    assert folders[:4] == [
        f"/conda/envs/{NAME}",
        f"/conda/envs/rtpipeline/envs/{NAME}",
        f"/mamba/envs/{NAME}",
        f"/data/envs/{NAME}",
    ]
    assert f"{tmp_path}/micromamba/envs/{NAME}" in folders
    assert f"/opt/conda/envs/{NAME}" in folders


def test_an_environment_can_be_named_by_its_folder() -> None:
    assert list(conda_folders("/envs/mine", {})) == [Path("/envs/mine")]


@pytest.mark.radiomics_environment
def test_the_environment_beside_this_one_is_found_and_described() -> None:
    found = find_radiomics_python(Configuration(), os.environ)

    assert found.versions["pyradiomics"] == "3.0.1"
    assert found.versions["numpy"].startswith("1.")
    assert found.installed["numpy"] == found.versions["numpy"]
    assert "installed" not in found.versions
    assert str(found.python) in str(found)


@pytest.mark.radiomics_environment
def test_a_conda_environment_goes_before_the_one_beside_this_one(tmp_path: Path) -> None:
    beside = find_radiomics_python(Configuration(), os.environ).python
    script(tmp_path / "micromamba" / "envs" / NAME / "bin" / "python", f'exec {beside} "$@"')

    found = find_radiomics_python(Configuration(), {**os.environ, "HOME": str(tmp_path)})

    assert found.python == tmp_path / "micromamba" / "envs" / NAME / "bin" / "python"
    assert found.found_as == f"conda environment {NAME}"


@pytest.mark.radiomics_environment
def test_an_installation_with_other_source_files_is_refused(tmp_path: Path) -> None:
    beside = find_radiomics_python(Configuration(), os.environ).python
    other = script(tmp_path / "bin" / "python", f'{beside} "$@" | sed s/{source_digest()}/0123/')

    with pytest.raises(StageError, match="is not this one"):
        find_radiomics_python(configured(python=other), os.environ)


@pytest.fixture
def own_environment(tmp_path: Path) -> Path:
    """The interpreter of an environment with a folder of packages of its own, which also has those of the real one."""
    asked = "import json, rtpipeline, sys, sysconfig; print(json.dumps([sys.prefix, sys._base_executable,"
    asked += "sysconfig.get_path('purelib'), rtpipeline.__file__]))"
    command = [find_radiomics_python(Configuration(), os.environ).python, "-c", asked]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    prefix, base, real, package = map(Path, json.loads(answer.stdout))
    root = tmp_path / "environment"
    packages = root / real.relative_to(prefix)
    packages.mkdir(parents=True)
    lines = f"{package.parent.parent}\nimport site; site.addsitedir({str(real)!r})\n"
    (packages / "real.pth").write_text(lines, encoding="utf-8")
    (root / "pyvenv.cfg").write_text(f"home = {base.parent}\n", encoding="utf-8")
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(base)
    return root / "bin" / "python"


def packages_of(python: Path) -> Path:
    (packages,) = (python.parent.parent / "lib").glob("*/site-packages")
    return packages


@pytest.mark.radiomics_environment
def test_an_environment_is_tested_once_until_something_in_it_changes(own_environment: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "rtpipeline" / "radiomics_environments"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def notes() -> dict[str, int]:
        find_radiomics_python(configured(python=own_environment), environment)
        return {file.name: file.stat().st_mtime_ns for file in cache.iterdir()}

    first = notes()
    assert len(first) == 1
    assert notes() == first
    (packages_of(own_environment) / "new-1.0.dist-info").mkdir()
    changed = notes()
    assert len(changed) == 2
    assert first.items() < changed.items()
    assert notes() == changed


@pytest.mark.radiomics_environment
def test_a_failure_of_the_test_is_said_and_never_remembered(own_environment: Path, tmp_path: Path) -> None:
    """A broken package that the environment does not say of itself, and its repair."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    configuration = configured(python=own_environment)
    broken = packages_of(own_environment) / "numba" / "__init__.py"
    broken.parent.mkdir()
    broken.write_text("raise ImportError('numba was compiled for another NumPy')\n", encoding="utf-8")
    for _ in range(2):  # a failure is not remembered
        with pytest.raises(StageError, match=r"does not work: .*compiled for another NumPy.*nox -s demo"):
            find_radiomics_python(configuration, environment)
    assert not (tmp_path / "cache" / "rtpipeline" / "radiomics_environments").exists()

    broken.unlink()
    broken.parent.rmdir()
    assert find_radiomics_python(configuration, environment).python == own_environment


@pytest.mark.radiomics_environment
def test_an_environment_that_computes_something_else_is_refused() -> None:
    python = find_radiomics_python(Configuration(), os.environ).python
    wrong = (
        "from rtpipeline.extraction import self_test as s; s.EXPECTED['original_firstorder_Mean'] += 1; s.self_test()"
    )

    answer = subprocess.run([python, "-c", wrong], stderr=subprocess.PIPE, text=True, check=False)

    assert answer.returncode == 1
    assert "original_firstorder_Mean of a known structure is 12.5 instead of 13.5" in answer.stderr


def test_an_interpreter_that_is_not_there_is_an_error_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"no interpreter .*/no/python; `python -m nox -s demo`"):
        find_radiomics_python(configured(python=tmp_path / "no" / "python"), os.environ)


def test_an_environment_without_pyradiomics_is_an_error_with_the_remedy() -> None:
    """This environment's own interpreter: it has no PyRadiomics."""
    with pytest.raises(StageError, match=r"does not work: .*radiomics.*nox -s demo"):
        find_radiomics_python(configured(python=sys.executable), os.environ)


def test_an_interpreter_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    broken = script(tmp_path / "bin" / "python", "")
    broken.write_text("#!/no/such/shell\n", encoding="utf-8")

    with pytest.raises(StageError, match="cannot be started"):
        find_radiomics_python(configured(python=broken), os.environ)


def test_no_environment_at_all_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))

    with pytest.raises(StageError, match=rf"no conda environment '{NAME}' and no .*venv-radiomics"):
        find_radiomics_python(Configuration(), {"HOME": str(tmp_path)})


def test_kernels_are_kept_in_a_cache_of_the_user(tmp_path: Path) -> None:
    assert kernel_cache({"NUMBA_CACHE_DIR": "/chosen"}) == Path("/chosen")
    assert kernel_cache({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "rtpipeline" / "numba"
    assert kernel_cache({"HOME": str(tmp_path)}) == tmp_path / ".cache" / "rtpipeline" / "numba"


def test_kernels_are_kept_in_a_temporary_folder_where_there_is_no_home(tmp_path: Path) -> None:
    """As in a container that runs as a user without an entry: HOME names no folder, or a file."""
    not_a_folder = tmp_path / "file"
    not_a_folder.touch()

    assert kernel_cache({"HOME": str(not_a_folder)}).parent == Path(tempfile.gettempdir())


def test_kernels_are_never_taken_from_where_others_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    not_a_folder = tmp_path / "file"
    not_a_folder.touch()
    environment = {"HOME": str(not_a_folder)}
    first = kernel_cache(environment)
    assert first == kernel_cache(environment)
    assert first.stat().st_mode & 0o777 == 0o700
    first.chmod(0o777)
    assert kernel_cache(environment) != first
    first.rmdir()
    first.symlink_to(tmp_path)
    other = kernel_cache(environment)
    assert other != first
    assert other.stat().st_mode & 0o777 == 0o700

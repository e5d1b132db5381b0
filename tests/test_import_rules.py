"""Who may import whom, and what stays unloaded until it is used."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtpipeline.config import Configuration
from rtpipeline.radiomics_conda import find_radiomics_python

PROJECT = Path(__file__).parents[1]
PACKAGE = PROJECT / "src" / "rtpipeline"
SOURCES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "totalsegmentator", "nnunetv2", "SimpleITK", "pydicom", "pandas", "numpy", "pydantic")
RADIOMICS_MODULES = (
    "rtpipeline.extraction",
    "rtpipeline.radiomics_robustness.statistics",
    "rtpipeline.scheduling.worker_process",
    "rtpipeline.scheduling.memory",
    "rtpipeline.scheduling.memory_pressure",
    "rtpipeline.scheduling.thread_caps",
)
ABSENT_THERE = ("pydantic", "pydicom", "typer", "rich", "totalsegmentator", "torch")


def run_python(python: Path | str, code: str) -> str:
    finished = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_import_contracts_are_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    finished = subprocess.run([str(linter)], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout


@pytest.mark.parametrize("module", ["rtpipeline.cli.app", "rtpipeline.cli.doctor"])
def test_starting_loads_nothing_heavy(module: str) -> None:
    loaded = run_python(sys.executable, f"import sys, {module}; print(*sys.modules)").split()
    assert not set(HEAVY) & set(loaded)


@pytest.mark.radiomics_environment
def test_shared_code_imports_in_the_radiomics_environment() -> None:
    radiomics_python = find_radiomics_python(Configuration(), os.environ).python
    code = "\n".join(
        [
            "import importlib, importlib.util, pkgutil, sys",
            f"for name in {RADIOMICS_MODULES!r}:",
            "    module = importlib.import_module(name)",
            "    for found in pkgutil.iter_modules(getattr(module, '__path__', []), name + '.'):",
            "        importlib.import_module(found.name)",
            f"print(*[name for name in {ABSENT_THERE!r} if importlib.util.find_spec(name)])",
        ]
    )
    assert run_python(radiomics_python, code).split() == [], "the test proves nothing where these are installed"


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_no_function_imports_from_our_own_package(file: Path) -> None:
    functions = (
        node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)
    )
    inside = [name for function in functions for node in ast.walk(function) for name in imported_names(node)]
    assert not [name for name in inside if name.split(".")[0] == "rtpipeline"]


def test_only_dicom_and_the_demo_know_pydicom() -> None:
    users = {
        file.relative_to(PACKAGE).parts[0]
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if any(name.split(".")[0] == "pydicom" for name in imported_names(node))
    }
    assert users == {"dicom", "demo"}

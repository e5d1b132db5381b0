"""What no source file may do, and what a file of a stranger cannot do. Paths, archives, cells and pages have their own
tests: tests/organize, tests/inference/test_archives.py, tests/tables/test_excel.py, tests/report.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import rtpipeline
from rtpipeline.config import Configuration, ConfigurationError, load_configuration, typed_value
from rtpipeline.custom_structures import load_custom_structures
from rtpipeline.inference.model_description import CustomModelError, read_model_file
from rtpipeline.outcome import StageError
from rtpipeline.structures.load import name_rules

PACKAGE = Path(rtpipeline.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
RUNS_TEXT = {"eval", "exec", "compile", "os.system", "os.popen", "pickle.load", "pickle.loads", "marshal.loads"}
SAFE_LOADERS = {"yaml.SafeLoader", "yaml.BaseLoader"}


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a file, by the dotted name that is called."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def breaches(file: Path) -> Iterator[str]:
    for name, call in calls(file):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in RUNS_TEXT:
            yield f"line {call.lineno}: {name}"
        if given.get("shell", "False") != "False":
            yield f"line {call.lineno}: a shell gets a string"
        if name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load") and given.get("Loader") not in SAFE_LOADERS:
            yield f"line {call.lineno}: {name} makes any object"
        if name == "tempfile.mktemp":
            yield f"line {call.lineno}: somebody else may make the file first"
        if name.endswith("extractall") and file.name != "archives.py":  # which looks at every entry before
            yield f"line {call.lineno}: {name}"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_no_file_runs_text_or_loads_objects(file: Path) -> None:
    assert list(breaches(file)) == []


@pytest.mark.parametrize(
    "line",
    [
        "subprocess.run(line, shell=True)",
        "os.system(line)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.load(text)",
        "tempfile.mktemp()",
        "archive.extractall(folder)",
    ],
)
def test_the_rules_above_find_breaches(line: str, tmp_path: Path) -> None:
    (tmp_path / "file.py").write_text(line, encoding="utf-8")
    assert len(list(breaches(tmp_path / "file.py"))) == 1


def named(key: str) -> Callable[[Path], object]:
    return lambda file: name_rules(load_configuration(overrides={key: str(file)}))


@pytest.mark.parametrize(
    ("read", "refusal"),
    [
        (lambda file: load_configuration(file), ConfigurationError),
        (load_custom_structures, StageError),
        (read_model_file, CustomModelError),
        (named("structures.names"), StageError),
    ],
    ids=["configuration", "custom structures", "custom model", "names"],
)
def test_a_yaml_file_cannot_run_anything(
    read: Callable[[Path], object], refusal: type[Exception], tmp_path: Path
) -> None:
    mark = tmp_path / "was_run"
    file = tmp_path / "custom_model.yaml"
    file.write_text(f"name: !!python/object/apply:os.mkdir ['{mark}']\n", encoding="utf-8")
    with pytest.raises(refusal):
        read(file)
    assert not mark.exists()


def test_a_typed_value_cannot_run_anything(tmp_path: Path) -> None:
    text = f"!!python/object/apply:os.mkdir ['{tmp_path / 'was_run'}']"
    typed_value(text)
    with pytest.raises(ConfigurationError):
        load_configuration(overrides={"max_workers": typed_value(text)})
    assert not (tmp_path / "was_run").exists()


def test_the_snakefile_hands_no_names_to_a_shell_unquoted() -> None:
    """Its shell lines are made by `Jobs`, which quotes; no rule has a line of its own."""
    text = (PACKAGE / "workflow" / "Snakefile").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines()]
    commands = [lines[number + 1] for number, line in enumerate(lines) if line == "shell:"]
    assert commands
    assert all(command.startswith("JOBS.") for command in commands)


def test_defaults_open_nothing() -> None:
    configuration = Configuration()
    assert configuration.organize.use_hardlinks is False
    assert configuration.metadata.include_identifiers is False

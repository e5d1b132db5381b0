"""Where the configuration of a command comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from dicom_factory import Patient
from rtpipeline.cli.app import app
from rtpipeline.cli.console import configuration_from, configuration_of_output, explained_errors


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the command is started in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(file: Path, workers: int) -> str:
    file.write_text(f"max_workers: {workers}\ncores: 8\n", encoding="utf-8")
    return str(file)


def test_the_file_is_the_named_one_else_that_of_the_variable_else_the_one_here(folder: Path) -> None:
    assert configuration_from([], {}, {})[1] is None
    write(folder / "config.yaml", 1)
    of_variable, named = write(folder / "b", 2), write(folder / "c", 3)
    variables = {"RTPIPELINE_CONFIGFILE": of_variable}
    found = [
        configuration_from([], {}, {}),
        configuration_from([], {}, variables),
        configuration_from([named], {}, variables),
    ]
    assert [configuration.max_workers for configuration, _ in found] == [1, 2, 3]
    assert [str(file) for _, file in found] == ["config.yaml", of_variable, named]


def test_single_keys_override_the_file_and_variables_and_flags_override_all(folder: Path) -> None:
    file = write(folder / "own.yaml", 1)
    variables = {"RTPIPELINE_MAX_WORKERS": "2"}
    assert configuration_from([file], {}, variables)[0].max_workers == 2
    assert configuration_from([file, "max_workers=3"], {}, variables)[0].max_workers == 3
    assert configuration_from([file, "max_workers=3"], {"max_workers": 4}, variables)[0].max_workers == 4
    assert configuration_from([file, "max_workers=3"], {"max_workers": None}, variables)[0].max_workers == 3
    assert configuration_from(["organize.course_filter=[000123, 1e5]"], {}, {})[0].organize.course_filter == (
        "000123",
        "1e5",
    )


def test_a_file_whose_name_has_an_equals_sign_is_a_file(folder: Path) -> None:
    assert configuration_from([write(folder / "max_workers=5", 7)], {}, {})[0].max_workers == 7


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (["a.yaml", "b.yaml"], "--config names 2 files"),
        (["absent.yaml"], "absent.yaml: cannot be read (No such file or directory)"),
        (["segmentation.devise=cpu"], "unknown key segmentation.devise; did you mean segmentation.device?"),
        (["max_workers=many"], "command line: max_workers"),
        (["aggregation.analysis.case_metadata=[plan_labl]"], "did you mean plan_label?"),
    ],
)
def test_what_is_wrong_is_said_and_ends_with_2(
    config: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as end:
        configuration_from(config, {}, {})
    assert end.value.exit_code == 2
    assert words in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_a_finished_output_is_worked_on_with_its_own_configuration(folder: Path) -> None:
    (folder / "out" / "_COURSES").mkdir(parents=True)
    (folder / "out" / "_COURSES" / "manifest.json").write_text('{"courses": []}', encoding="utf-8")
    (folder / "out" / "_RESULTS").mkdir()
    write(folder / "out" / "_RESULTS" / "effective_config.yaml", 5)
    other = write(folder / "other.yaml", 6)
    assert configuration_of_output(folder / "out", [], {}).max_workers == 5
    assert configuration_of_output(folder / "out", ["max_workers=2"], {}).max_workers == 2
    assert configuration_of_output(folder / "out", [other], {}).max_workers == 6


def plan(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["plan", "--dicom-root", "data", "--outdir", "out", "--json", *arguments])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_budgets_as_typed(folder: Path) -> None:
    Patient(folder / "data").make_course()
    unreserved = ("--config", "scheduler.reserved_cores=0")
    all_cores = plan("--cores", "all", *unreserved)["budget"]
    assert plan("--cores", "1", *unreserved)["budget"] == 1
    assert plan("--cores", "all", "--config", "cores=1", *unreserved)["budget"] == all_cores
    assert plan("--config", "max_workers=1", *unreserved)["budget"] == 1
    assert plan("--max-workers", "1000000", *unreserved)["budget"] == all_cores
    assert plan()["budget"] == max(1, all_cores - 1)
    assert [path.name for path in folder.iterdir()] == ["data"]


def test_a_place_that_cannot_be_used_is_named_in_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "file").touch()
    with pytest.raises(typer.Exit) as ended, explained_errors():
        (folder / "file" / "table.csv").write_text("", encoding="utf-8")
    assert ended.value.exit_code == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith(f"rtpipeline: {folder / 'file' / 'table.csv'}: Not a directory; ")


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("=3", "--config =3: no key before the equals sign"),
        ("segmentation=3", "segmentation: expected a section with keys of its own (found '3')"),
        ("nothing.like.it=3", "unknown key nothing; docs/reference/configuration.md lists the keys"),
    ],
)
def test_a_key_that_cannot_be_set_is_named(pair: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        configuration_from([pair], {}, {})
    assert ended.value.exit_code == 2
    assert said in capsys.readouterr().err

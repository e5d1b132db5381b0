"""The commands that look at results: status, explain, verify, aggregate, report."""

from __future__ import annotations

import json
import os

import psutil
import pytest
from typer.testing import CliRunner

from dicom_factory import Patient
from pipeline.conftest import STAGES
from rtpipeline.cli.app import app
from rtpipeline.course import CohortFiles
from rtpipeline.scheduling.locks import locked


def call(*arguments: object):
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "250"})


@pytest.fixture
def course(output):
    return CohortFiles(output).manifest_courses()[0]


def test_verify_finds_nothing_in_fresh_results(output):
    result = call("verify", output)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1].endswith("files compared, no differences")


def test_verify_finds_one_changed_byte_even_where_size_and_time_are_the_same(output, course):
    table = course.files.dvh_metrics
    status = table.stat()
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    os.utime(table, ns=(status.st_atime_ns, status.st_mtime_ns))
    result = call("verify", output, "--json")
    assert result.exit_code == 1
    findings = json.loads(result.stdout)["findings"]
    assert {(one["stage"], one["file"]) for one in findings} == {
        ("dvh", "dvh_metrics.parquet"),
        ("quality_control", "dvh_metrics.parquet"),
    }


def test_verify_misses_a_deleted_file(output, course):
    CohortFiles(output).table("dvh_metrics").unlink()
    course.files.case_metadata.unlink()
    result = call("verify", output)
    assert result.exit_code == 1
    assert f"{course.key} metadata metadata/case_metadata.json: is missing" in result.output
    assert "aggregate _RESULTS/dvh_metrics.parquet: is missing" in result.output


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"inputs": {}, "outputs": {}, "other": 1}'])
def test_a_state_that_cannot_be_read_is_named_and_its_stage_is_to_be_done(content, output, course):
    course.files.state("dvh").write_bytes(content)
    stages = {one["stage"]: one for one in json.loads(call("explain", course.files.folder, "--json").stdout)}
    assert stages["dvh"]["would_run_because"] == ["it was not run before"]
    assert call("status", output).exit_code == 0
    found = call("verify", output)
    assert found.exit_code == 1
    assert f"{course.key} dvh state/dvh.json: cannot be read" in found.output


@pytest.mark.parametrize("command", ["status", "explain", "verify", "stage", "aggregate"])
def test_a_course_that_cannot_be_read_is_named_in_one_sentence(command, output, course):
    course.files.description.write_text('{"patient_id":', encoding="utf-8")
    arguments = {"explain": [course.files.folder], "stage": ["dvh", "--course", course.files.folder]}
    result = call(command, *arguments.get(command, [output]))
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert f"{course.files.description}: not what this version writes" in result.output


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff", b'{"courses": [{}]}'])
@pytest.mark.parametrize("command", ["status", "verify"])
def test_a_manifest_that_cannot_be_read_is_named_in_one_sentence(command, content, output):
    manifest = CohortFiles(output).manifest
    manifest.write_bytes(content)
    result = call(command, output)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert f"{manifest}: damaged (" in result.output


def test_a_configuration_of_another_version_stands_in_the_way_of_what_needs_it_alone(output):
    last = CohortFiles(output).effective_configuration
    last.write_text(last.read_text(encoding="utf-8") + "of_another_version: 3\n", encoding="utf-8")
    assert call("status", output).exit_code == 0
    result = call("verify", output)
    assert result.exit_code == 2
    assert "unknown key of_another_version" in result.output
    assert "--config FILE names another one" in result.output


def test_explain_says_what_changed(output, course):
    result = call("explain", course.key, "--outdir", output)
    assert result.exit_code == 0, result.output
    assert "it ran because it was not run before" in result.output
    assert "now: its result holds" in result.output
    changed = call("explain", course.files.folder, "--config", "metadata.include_identifiers=true", "--json")
    stages = {one["stage"]: one for one in json.loads(changed.stdout)}
    assert stages["metadata"]["would_run_because"] == ["metadata.include_identifiers is true, was false"]
    assert stages["dvh"]["would_run_because"] == []
    assert not stages["radiomics"]["enabled"]


def test_explain_names_the_input_that_changed(output, course):
    course.files.dose.write_bytes(course.files.dose.read_bytes() + b"\0\0")
    stages = {one["stage"]: one for one in json.loads(call("explain", course.files.folder, "--json").stdout)}
    assert "its input RD.dcm changed" in stages["dvh"]["would_run_because"]


@pytest.mark.parametrize("unknown", ["P9/none", "P9"])
def test_explain_of_an_unknown_course_names_the_known_ones(unknown, output, course):
    result = call("explain", unknown, "--outdir", output)
    assert result.exit_code == 2
    assert course.key in result.output


def test_explain_without_a_folder_asks_for_the_output(tmp_path):
    result = call("explain", tmp_path / "none")
    assert result.exit_code == 2
    assert "--outdir" in result.output


@pytest.mark.parametrize(
    "key",
    ["custom_structures", "structures.names", "radiomics.params_file", "organize.overrides", "aggregation.clinical"],
)
@pytest.mark.parametrize("command", ["run", "plan", "stage"])
def test_results_of_another_file_do_not_stand_for_one_that_is_not_there(command, key, output, course):
    folders = ["dvh", "--course", course.files.folder] if command == "stage" else ["--dicom-root", output.parent]
    result = call(command, *folders, "--config", f"{key}=typing.error", "--config", f"output_dir={output}")
    assert result.exit_code == 2
    assert f"{key}: there is no file typing.error" in result.output


def test_status_shows_what_runs(output, course):
    with locked(course.files.lock("dvh")):
        result = call("status", output, "--json")
    assert result.exit_code == 0, result.output
    status = json.loads(result.stdout)
    stages = {one["stage"]: one for one in status["courses"][0]["stages"]}
    assert stages["dvh"]["status"] == "running"
    assert f"process {os.getpid()}" in stages["dvh"]["holder"]
    assert stages["metadata"]["status"] in ("ok", "partial")


def test_time_and_memory_of_every_stage_are_known(output, course):
    stages = {one["stage"]: one for one in json.loads(call("status", output, "--json").stdout)["courses"][0]["stages"]}
    assert 20e6 < stages["dvh"]["peak_memory_bytes"] < psutil.virtual_memory().total
    report = json.loads(CohortFiles(output).run_report.read_text())["courses"][course.key]
    for name in STAGES:
        assert report[name]["peak_memory_bytes"] == stages[name]["peak_memory_bytes"]
        assert report[name]["seconds"] == stages[name]["seconds"] > 0
    assert "most memory that a run held at once: " in call("status", output).output


def test_status_says_how_long_a_run_will_take_once_every_stage_was_seen(output, course):
    cohort = CohortFiles(output)
    course.files.state("metadata").unlink()
    others = [other for other in cohort.manifest_courses() if other.key != course.key]
    for number, other in enumerate(others):
        state = json.loads(other.files.state("metadata").read_text())
        other.files.state("metadata").write_text(json.dumps({**state, "seconds": 10.0 + 2 * number}))
    with locked(cohort.lock), locked(course.files.lock("metadata")):
        known = json.loads(call("status", output, "--json").stdout)
        for other in cohort.manifest_courses():
            other.files.state("dvh").unlink()
        unknown = call("status", output)
    assert known["eta_s"] == pytest.approx(9.0 + len(others), abs=0.05)  # the mean of 10 s, 12 s, …
    assert "shows when every stage ran once (dvh did not yet)" in unknown.output
    assert f"{course.key} metadata running (process {os.getpid()}" in unknown.output
    assert "to go" not in call("status", output).output


def test_aggregate_and_report_do_only_that(output, course):
    cohort = CohortFiles(output)
    tables = {path.name: path.read_bytes() for path in cohort.results.glob("*.parquet")}
    state = course.files.state("dvh").read_bytes()
    cohort.table("dvh_metrics").unlink()
    cohort.report.unlink()
    assert call("aggregate", output).exit_code in (0, 3)
    assert {path.name: path.read_bytes() for path in cohort.results.glob("*.parquet")} == tables
    assert not cohort.report.exists()
    assert call("report", output).exit_code == 0
    assert cohort.report.is_file()
    assert course.files.state("dvh").read_bytes() == state


@pytest.mark.parametrize("command", ["aggregate", "report", "verify", "status", "rois"])
def test_nothing_to_work_on_is_wrong_usage(command, tmp_path):
    result = call(command, tmp_path)
    assert result.exit_code == 2
    assert "nothing was organized here yet" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("command", "flag"), [("stage dvh", "--course"), ("radiomics-robustness", "--course-dir")])
def test_a_stage_of_no_course_is_wrong_usage_and_writes_nothing(command, flag, tmp_path):
    result = call(*command.split(), flag, tmp_path / "patient" / "course")
    assert result.exit_code == 2
    assert "not a course folder" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_stage_says_that_its_result_holds_or_that_it_is_switched_off(output, course):
    configuration = CohortFiles(output).effective_configuration
    stage = ("--course", course.files.folder, "--config", configuration)
    held = call("stage", "dvh", *stage)
    assert held.exit_code == 0
    assert "dvh: nothing to do, its earlier result (ok) holds" in held.output
    off = call("stage", "radiomics", *stage)
    assert off.exit_code == 1
    assert "radiomics is disabled in the configuration" in off.output


@pytest.mark.parametrize("command", ["run", "plan"])
def test_nothing_is_written_into_the_export(command, tmp_path):
    Patient(tmp_path / "data").make_course()
    before = sorted(tmp_path.rglob("*"))
    result = call(command, "--dicom-root", tmp_path / "data", "--outdir", tmp_path / "data" / ".." / "data")
    assert result.exit_code == 2
    assert "which is only read" in result.output
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("there", "what"), [(False, "no such folder"), (True, "a file")])
def test_an_input_that_is_no_folder_is_named_as_what_it_is(there, what, tmp_path):
    if there:
        (tmp_path / "data").touch()
    result = call("run", "--dicom-root", tmp_path / "data", "--outdir", tmp_path / "output")
    assert result.exit_code == 2
    assert f"{tmp_path / 'data'}: {what}; " in result.output


SEED_EXAMPLES = [
    "--seg-workers 4 --max-workers 8 --totalseg-device gpu",
    "--max-workers 2 --seg-workers 1 --seg-proc-threads 4 --radiomics-proc-threads 2 --sequential-radiomics",
    "--totalseg-device cpu --max-workers 8 --seg-workers 2",
]


@pytest.mark.parametrize("flags", SEED_EXAMPLES)
def test_the_documented_shell_lines_start(flags, tmp_path):
    Patient(tmp_path / "data").make_course()
    result = call("run", "--dicom-root", tmp_path / "data", "--outdir", tmp_path / "output", *flags.split(), "-n")
    assert result.exit_code == 0, result.output
    assert "P1/" in result.output

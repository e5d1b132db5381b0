"""What a run would do is known before anything was organized, and nothing is written for it."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from dicom_factory import Patient
from rtpipeline.cli.app import app
from rtpipeline.pipeline.plan import RunPlan
from rtpipeline.pipeline.preview import preview, run_seconds
from rtpipeline.pipeline.run import RunOptions


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of everything below a folder."""
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def previewed(configuration):
    return preview(configuration, RunPlan.of(configuration), lambda done, total: None)


def test_before_anything_was_organized_every_stage_is_to_do(export, tmp_path):
    output = tmp_path / "nothing" / "here"
    before = tree(tmp_path)
    result = CliRunner().invoke(
        app,
        ["run", "-n", "--dicom-root", str(export), "--outdir", str(output), "--totalseg-device", "cpu"],
        env={"COLUMNS": "200"},
    )
    assert result.exit_code == 0, result.output
    assert "[rtpipeline] Parallelization: " in result.output
    assert "P1/" in result.output
    assert "P2/" in result.output
    assert tree(tmp_path) == before


def test_structures_are_counted_as_they_are_selected(settings, output, export, tmp_path):
    Patient(export / "P1", "P1").make_segmentation()
    configuration = settings(**{
        "output_dir": tmp_path / "elsewhere",
        "radiomics.enabled": True,
        "radiomics_robustness.enabled": True,
        "radiomics_robustness.segmentation_perturbation.profile": "standard",
        "structures.radiomics.include": ["PTV*"],
    })  # fmt: skip
    courses = previewed(configuration)
    assert [course.key.split("/")[0] for course in courses] == ["P1", "P2"]
    counts = {one.stage: one.structures for one in courses[0].stages}
    assert counts == {
        "auto_rtstruct": 0,
        "dvh": 2,
        "metadata": None,
        "radiomics": 0,
        "radiomics_robustness": 1,
        "quality_control": None,
    }
    robustness = next(one for one in courses[0].stages if one.stage == "radiomics_robustness")
    assert robustness.estimate.thread_seconds == 81 * 10.0


def test_what_holds_is_done_and_what_follows_from_a_change_is_said(settings, output):
    before = tree(output)
    stages = {one.stage: one for one in previewed(settings())[0].stages}
    assert {one.because for one in stages.values()} == {""}
    stages = {one.stage: one for one in previewed(settings(**{"dvh.minimum_dose_coverage_fraction": 0.5}))[0].stages}
    assert stages["dvh"].because == "dvh.minimum_dose_coverage_fraction is 0.5, was 0.99"
    assert stages["quality_control"].perhaps
    assert not stages["metadata"].because
    assert tree(output) == before


def test_estimates_follow_what_was_measured(settings, output):
    """State files that say that metadata took 100 s on one thread make every further course take as long."""
    for file in output.rglob("state/metadata.json"):
        state = json.loads(file.read_text())
        file.write_text(json.dumps({**state, "seconds": 100.0, "threads": 1}))
    configuration = settings(**{"metadata.include_identifiers": True})
    plan = RunPlan.of(configuration, ("metadata",))
    courses = preview(configuration, plan, lambda done, total: None)
    assert [one.estimate.thread_seconds for course in courses for one in course.stages] == [100.0, 100.0]
    assert run_seconds(courses, plan, configuration) == 200.0 / plan.parallelization.budget


def test_forced_stages_are_to_do(export, output, settings):
    configuration_file = output / "_RESULTS" / "effective_config.yaml"
    arguments = ["--outdir", str(output), "--dicom-root", str(export), "--config", str(configuration_file)]
    result = CliRunner().invoke(app, ["run", "-n", *arguments, "--force", "metadata"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "metadata" in result.output
    assert "2 of 2" in result.output


def test_a_plan_is_json_when_asked(export, tmp_path):
    result = CliRunner().invoke(
        app, ["plan", "--dicom-root", str(export), "--outdir", str(tmp_path / "none"), "--json"], catch_exceptions=False
    )
    plan = json.loads(result.stdout[result.stdout.index("{") :])
    assert len(plan["courses"]) == 2
    assert RunOptions().wants("metadata")
    assert plan["stages"]["metadata"]["threads"] == 1

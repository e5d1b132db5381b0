"""Exactly what changed is done again."""

from __future__ import annotations

import json
import os
import shutil

import pydicom
import pytest
from typer.testing import CliRunner

from dicom_factory import Patient
from pipeline.conftest import COHORT, STAGES, computed
from rtpipeline.cli.app import app
from rtpipeline.course import CohortFiles
from rtpipeline.outcome import EXIT_PARTIAL, StageError
from rtpipeline.pipeline import run as run_module
from rtpipeline.pipeline.run import RunOptions
from rtpipeline.pipeline.single_stage import run_one_stage
from rtpipeline.pipeline.stages import canonical_names
from rtpipeline.scheduling.locks import locked


def test_the_second_run_does_nothing_and_says_so(pipeline):
    result = pipeline()
    assert computed(result) == set()
    assert result.message == "nothing to do: every stage of 2 courses is up to date"


def test_a_new_patient_is_the_only_one_that_is_worked_on(pipeline, export):
    Patient(export / "P3", "P3").make_course()
    assert computed(pipeline()) == {("P3", stage) for stage in STAGES} | COHORT


def test_a_new_file_redoes_what_reads_it_in_its_course_alone(pipeline, export):
    Patient(export / "P2", "P2").make_record("late record")
    done = computed(pipeline())
    assert ("P2", "metadata") in done
    assert stages_of_patient(done, "P1") == set()


def stages_of_patient(done: set[tuple[str, str]], patient: str) -> set[str]:
    return {stage for who, stage in done if who == patient}


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("dvh.minimum_dose_coverage_fraction", 0.5, {"dvh"}),
        ("metadata.include_identifiers", True, {"metadata"}),
        ("radiomics.min_voxels", 1, set()),
        ("max_workers", 1, set()),
    ],
)
def test_an_option_redoes_what_depends_on_it(pipeline, key, value, stages):
    done = computed(pipeline(**{key: value}))
    # Quality control reads the tables of the DVH stage, and is done again when those changed.
    for patient in ("P1", "P2"):
        assert stages <= stages_of_patient(done, patient) <= stages | {"quality_control"}
    assert (("", "aggregate") in done) == (key != "max_workers")


def test_force_redoes_a_stage_and_only_what_reads_changed_outputs(pipeline):
    done = computed(pipeline(RunOptions(forced=frozenset({"dvh"}))))
    assert {stage for patient, stage in done if patient} == {"dvh"}, "the same DVH again changes nothing after it"


def test_a_changed_file_redoes_what_reads_it_in_its_course_alone(pipeline, output):
    (course, _) = CohortFiles(output).manifest_courses()
    dose = pydicom.dcmread(course.files.dose)
    dose.DoseGridScaling = 2 * dose.DoseGridScaling
    dose.save_as(course.files.dose)
    done = computed(pipeline(RunOptions(stages=canonical_names(["dvh,metadata,qc"]))))
    assert done == {(course.description.patient, stage) for stage in ("dvh", "quality_control")}


def test_results_of_an_older_method_are_made_again(pipeline, output):
    """Raising a stage's method version is seen where the state file has a lower one."""
    (course, _) = CohortFiles(output).manifest_courses()
    state = json.loads(course.files.state("dvh").read_text())
    state["method_version"] -= 1
    course.files.state("dvh").write_text(json.dumps(state))
    assert {one for one in computed(pipeline()) if one[0]} == {(course.description.patient, "dvh")}


RUN = ("run", "--no-segmentation", "--no-radiomics", "--no-robustness", "--config", "scheduler.reserved_cores=0")


@pytest.mark.parametrize(
    ("flags", "redone"),
    [
        ((), set()),
        (("--force-redo",), STAGES | {"aggregate", "report"}),
        (("--force", "metadata,qc"), {"metadata", "quality_control", "report"}),
        (("--force", "metadata", "--force", "crop_ct"), {"metadata", "report"}),
        (("--force", "aggregate"), {"aggregate"}),
        (("--force-redo", "--stage", "dvh", "--stage", "metadata"), {"dvh", "metadata"}),
    ],
)
def test_force_as_typed(export, output, flags, redone):
    """`--force-redo` makes every stage again, `--force` those it names; the same input gives the same bytes.

    The report shows when each stage ran, so it is new after any of them.
    """
    courses = CohortFiles(output).manifest_courses()
    states = {
        **{stage: [course.files.state(stage) for course in courses] for stage in STAGES},
        **{stage: [CohortFiles(output).state(stage)] for stage in ("aggregate", "report")},
    }
    times = {stage: [file.stat().st_mtime_ns for file in files] for stage, files in states.items()}
    tables = {path: path.read_bytes() for path in output.rglob("*.parquet") if path.parent.name != "_COURSES"}
    result = CliRunner().invoke(
        app, [*RUN, "--dicom-root", str(export), "--outdir", str(output), *flags], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    for stage, files in states.items():
        again = {file.stat().st_mtime_ns > time for file, time in zip(files, times[stage], strict=True)}
        assert again == {stage in redone}, stage
    assert {path: path.read_bytes() for path in tables} == tables


@pytest.mark.parametrize(("flag", "tried"), [("--retry-failed", True), ("--no-retry-failed", False)])
def test_retry_as_typed(export, output, tmp_path, flag, tried):
    structures = tmp_path / "structures.yaml"
    structures.write_text("custom_structures: 7\n")
    words = [*RUN, "--dicom-root", str(export), "--outdir", str(output), "--custom-structures", str(structures)]
    assert CliRunner().invoke(app, words).exit_code == EXIT_PARTIAL
    states = [course.files.state("auto_rtstruct") for course in CohortFiles(output).manifest_courses()]
    times = [state.stat().st_mtime_ns for state in states]
    assert CliRunner().invoke(app, [*words, flag]).exit_code == EXIT_PARTIAL
    assert [state.stat().st_mtime_ns > time for state, time in zip(states, times, strict=True)] == [tried, tried]


def test_a_damaged_output_is_made_again(pipeline, output):
    (course, _) = CohortFiles(output).manifest_courses()
    table = course.files.dvh_metrics
    intact = table.read_bytes()
    table.write_bytes(intact[:-1])
    done = computed(pipeline())
    assert stages_of_patient(done, course.description.patient) == {"dvh"}
    assert table.read_bytes() == intact


def test_a_skipped_stage_is_really_skipped(pipeline, output):
    shutil.rmtree(output)
    result = pipeline(**{"dvh.enabled": False})
    assert "dvh" not in {stage for _, stage in result.outcomes}
    assert not [path for path in output.rglob("dvh_*") if path.parent.name != "_RESULTS"]


def test_only_the_asked_stages_run(pipeline, output):
    shutil.rmtree(output)
    done = computed(pipeline(RunOptions(stages=canonical_names(["organize", "metadata,qc"]))))
    assert {stage for _, stage in done} == {"metadata", "quality_control"}


def test_stages_parse_repeated_and_with_commas():
    assert canonical_names(["radiomics", "dvh"]) == canonical_names(["dvh,radiomics"]) == ("dvh", "radiomics")


def test_failed_stages_are_tried_again_unless_told_otherwise(pipeline, tmp_path):
    """A structures file that cannot be read fails `auto_rtstruct` in both courses."""
    structures = tmp_path / "structures.yaml"
    structures.write_text("custom_structures: 7\n")
    options = {"custom_structures": structures}
    first = pipeline(**options)
    failing = {("P1", "auto_rtstruct"), ("P2", "auto_rtstruct")}
    assert {(key[0].split("/")[0], key[1]) for key, out in first.outcomes.items() if out.status == "failed"} == failing
    assert computed(pipeline(RunOptions(retry_failed=False), **options)) == set()
    assert {one for one in computed(pipeline(**options)) if one[0]} == failing
    structures.write_text("custom_structures:\n- {name: GTV_5mm, source_structures: [GTV], margin: 5}\n")
    assert failing <= computed(pipeline(**options))


def test_structure_sets_are_made_again_exactly_when_an_input_changed(pipeline, output, tmp_path):
    structures, names = tmp_path / "structures.yaml", tmp_path / "names.yaml"
    structures.write_text("custom_structures:\n- {name: GTV_5mm, source_structures: [GTV], margin: 5}\n")
    names.write_text("GTV: GTVp\n")
    only = RunOptions(stages=canonical_names(["auto_rtstruct"]))
    options = {"custom_structures": structures, "structures.names": names}
    both = {("P1", "auto_rtstruct"), ("P2", "auto_rtstruct")}
    assert computed(pipeline(only, **options)) == both
    course = CohortFiles(output).manifest_courses()[0]
    file, patient = course.files.custom_structure_set, course.description.patient
    first = file.read_bytes()

    def touched(path):
        path.touch()
        os.utime(path, (0, 0))

    for path in (structures, names, course.files.structure_set, file):
        touched(path)
    assert computed(pipeline(only, **options)) == set(), "times do not matter"
    assert computed(pipeline(only, **options, **{"dvh.metrics": ["D95%"], "max_workers": 1})) == set()
    file.write_bytes(first[:-1000])
    assert computed(pipeline(only, **options)) == {(patient, "auto_rtstruct")}
    assert file.read_bytes() == first
    names.write_text("GTV: GTVn\n")
    assert computed(pipeline(only, **options)) == both
    assert computed(pipeline(only, **options, **{"structures.priority": {"*": ["auto", "manual"]}})) == both
    structures.write_text("custom_structures:\n- {name: GTV_6mm, source_structures: [GTV], margin: 6}\n")
    assert computed(pipeline(only, **options)) == both
    assert file.read_bytes() != first


def test_two_runs_never_write_into_one_folder(pipeline, output):
    cohort = CohortFiles(output)
    with locked(cohort.lock), pytest.raises(StageError, match="another run is at work there"):
        pipeline()


def test_one_writer_per_stage_of_a_course(pipeline, settings, output):
    (course, other) = CohortFiles(output).manifest_courses()
    log = run_module.logging.getLogger("rtpipeline")
    with locked(course.files.lock("dvh")):
        with pytest.raises(StageError, match="is at work on it"):
            run_one_stage("dvh", course.files.folder, settings(), logger=log, forced=True)
        assert run_one_stage("dvh", other.files.folder, settings(), logger=log, forced=True).usable
        assert run_one_stage("metadata", course.files.folder, settings(), logger=log, forced=True).usable
    assert run_one_stage("dvh", course.files.folder, settings(), logger=log, forced=True).usable


def test_a_single_stage_keeps_out_of_a_run(pipeline, settings, output):
    cohort = CohortFiles(output)
    course = cohort.manifest_courses()[0]
    log = run_module.logging.getLogger("rtpipeline")
    with locked(cohort.lock), pytest.raises(StageError, match="a run is at work there"):
        run_one_stage("dvh", course.files.folder, settings(), logger=log, forced=True)
    with locked(cohort.lock, shared=True):
        assert run_one_stage("dvh", course.files.folder, settings(), logger=log, forced=True).usable

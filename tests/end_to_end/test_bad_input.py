"""Bad input × exit code × what is still written: the table in docs/reference/bad_input.md."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from end_to_end.runs import FinishedRun, rtpipeline
from rtpipeline.demo.cohort import cohort_objects
from rtpipeline.demo.settings import PARAMETERS
from rtpipeline.outcome import Outcome
from rtpipeline.pipeline.course_stage import stage_states

pytestmark = pytest.mark.end_to_end

QUICK = ("--no-segmentation", "--no-radiomics", "--no-robustness")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """One complete course, under plain names: CT001.dcm …, RTPLAN, RTDOSE, RTSTRUCT and treatment records."""
    folder = tmp_path_factory.mktemp("exported")
    objects = [dataset for dataset in cohort_objects() if dataset.PatientID == "DEMO-001"]
    for number, dataset in enumerate(objects, start=1):
        dataset.save_as(folder / f"{dataset.Modality}{number:03d}.dcm", enforce_file_format=True)
    return folder


@pytest.fixture
def export_without(exported: Path, tmp_path: Path) -> Callable[..., Path]:
    """The export in a folder of its own, without the files whose names begin so."""

    def link(*prefixes: str) -> Path:
        folder = tmp_path / "input"
        folder.mkdir()
        for file in exported.iterdir():
            if not file.name.startswith(prefixes):
                os.link(file, folder / file.name)
        return folder

    return link


@pytest.fixture
def run_on(tmp_path: Path) -> Callable[..., FinishedRun]:
    def run(folder: Path, *flags: object, output: Path = tmp_path / "output") -> FinishedRun:
        settings = ("--config", "scheduler.reserved_cores=0", "--radiomics-params", PARAMETERS / "ct.yaml")
        folders = ("--dicom-root", folder, "--outdir", output, "--logs", tmp_path / "logs")
        finished = rtpipeline("run", *folders, *settings, *flags)
        return FinishedRun(output, finished.stdout, finished.returncode)

    return run


def outcome(run: FinishedRun, stage: str) -> Outcome:
    """How a stage of the only course ended."""
    (course,) = run.cohort.manifest_courses()
    return stage_states(course)[stage].outcome


def unused(run: FinishedRun) -> dict[str, str]:
    return {row["path"]: row["reason"] for row in run.rows("unused_files")}


def test_empty_folder(run_on, tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    run = run_on(tmp_path / "input", *QUICK)
    assert run.exit_code == 1
    assert "the input folder has no files; --dicom-root must name" in run.printed


def test_folder_without_dicom(run_on, tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "notes.txt").write_text("nothing")
    run = run_on(tmp_path / "input", *QUICK)
    assert run.exit_code == 1
    assert "no course was found in 1 files" in run.printed
    assert "unused_files.parquet gives the reason" in run.printed
    assert list(unused(run)) == ["notes.txt"]


def test_text_file_named_dcm(run_on, export_without) -> None:
    folder = export_without()
    (folder / "letter.dcm").write_text("Dear colleague")
    run = run_on(folder, *QUICK)
    assert run.exit_code == 0, run.printed
    assert "DICOM" in unused(run)["letter.dcm"]
    assert run.rows("dvh_metrics")


@pytest.mark.radiomics_environment
def test_truncated_slice(run_on, export_without, exported: Path) -> None:
    slices = sorted(exported.glob("CT*.dcm"))
    damaged = slices[len(slices) // 2]
    folder = export_without(damaged.name)
    (folder / damaged.name).write_bytes(damaged.read_bytes()[:-2000])
    run = run_on(folder, "--no-segmentation")
    assert run.exit_code == 3, run.printed
    assert unused(run)[damaged.name].startswith("damaged")
    (course,) = run.cohort.manifest_courses()
    assert any(damaged.name in warning for warning in course.description.warnings)
    assert outcome(run, "radiomics").status == "failed"
    assert "missing slices" in outcome(run, "radiomics").reason
    assert run.rows("dvh_metrics")
    (gaps,) = (row for row in run.rows("qc_reports") if row["check"] == "ct_slice_gaps")
    assert gaps["status"] == "FAIL"


def test_missing_plan(run_on, export_without) -> None:
    run = run_on(export_without("RTPLAN"), *QUICK)
    assert run.exit_code == 0, run.printed
    (course,) = run.cohort.manifest_courses()
    assert course.description.kind == "structures"
    assert course.description.prescription.total_dose_gy is None
    metrics = {row["metric"] for row in run.rows("dvh_metrics") if row["value"] is not None}
    assert "Dmean" in metrics
    assert not [row for row in run.rows("analysis_table") if row["prescription_gy"] is not None]


def test_missing_dose(run_on, export_without) -> None:
    run = run_on(export_without("RTDOSE"), *QUICK)
    assert run.exit_code == 0, run.printed
    assert outcome(run, "dvh").status == "skipped"
    assert "no RTDOSE in the input belongs to this course" in outcome(run, "dvh").reason
    assert run.rows("case_metadata")
    assert run.rows("qc_reports")


def test_missing_structure_set(run_on, export_without) -> None:
    run = run_on(export_without("RTSTRUCT"), *QUICK)
    assert run.exit_code == 0, run.printed
    assert outcome(run, "dvh").status == "skipped"
    assert "no structure" in outcome(run, "dvh").reason
    assert run.rows("case_metadata")
    assert run.rows("qc_reports")


def test_no_radiomics_environment(run_on, export_without, tmp_path: Path) -> None:
    run = run_on(export_without(), "--no-segmentation", "--config", f"radiomics.python={tmp_path / 'nowhere'}")
    assert run.exit_code == 3, run.printed
    for stage in ("radiomics", "radiomics_robustness"):
        assert outcome(run, stage).status == "failed"
        assert "python -m nox -s" in outcome(run, stage).reason
    assert run.rows("dvh_metrics")


def test_no_weights(run_on, export_without, tmp_path: Path) -> None:
    flags = (
        "--no-radiomics",
        "--no-robustness",
        "--totalseg-device",
        "cpu",
        "--totalseg-weights",
        tmp_path / "nowhere",
    )
    run = run_on(export_without(), *flags)
    assert run.exit_code == 3, run.printed
    assert run.printed.index("new segmentations will fail: weights of task total") < run.printed.index("Organize:")
    assert outcome(run, "segmentation").status == "failed"
    assert "rtpipeline weights" in outcome(run, "segmentation").reason
    assert run.rows("dvh_metrics")


def test_unwritable_output(run_on, export_without) -> None:
    run = run_on(export_without(), *QUICK, output=Path("/proc/rtpipeline"))
    assert run.exit_code == 1
    assert "/proc/rtpipeline: cannot write to the output folder" in run.printed
    assert "choose another --outdir" in run.printed


def test_wrong_configuration(run_on, export_without) -> None:
    run = run_on(export_without(), "--config", "segmentation.devise=cpu")
    assert run.exit_code == 2
    assert "unknown key segmentation.devise; did you mean segmentation.device?" in run.printed
    assert not run.output.exists()

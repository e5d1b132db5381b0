"""The demo cohort through the whole pipeline: every table is there, and its values are right."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import openpyxl
import psutil
import pytest

from end_to_end.runs import RTPIPELINE, result_tables, rtpipeline
from rtpipeline.config import load_configuration
from rtpipeline.pipeline.course_stage import stage_states
from rtpipeline.pipeline.stages import STAGES
from rtpipeline.pipeline.state import holds
from waiting import all_end

pytestmark = [pytest.mark.end_to_end, pytest.mark.radiomics_environment]

COHORT_TABLES = (
    "dvh_metrics",
    "radiomics_ct",
    "radiomics_mr",
    "radiomics_pet",
    "radiomics_robustness_summary",
    "radiomics_robustness_raw_values",
    "case_metadata",
    "qc_reports",
    "fractions",
    "column_dictionary",
    "analysis_table",
    "structure_comparison",
    "unused_files",
)


def test_the_demo_ends_well_and_names_its_results(demo):
    assert demo.exit_code == 0, demo.printed
    assert str(demo.cohort.results) in demo.printed
    assert str(demo.cohort.report) in demo.printed
    assert "segmentation" in demo.printed


@pytest.mark.parametrize("table", COHORT_TABLES)
def test_every_cohort_table_has_rows(demo, table):
    assert demo.rows(table)


@pytest.mark.parametrize(
    "table", [name for name in COHORT_TABLES if name not in ("unused_files", "radiomics_robustness_raw_values")]
)
def test_every_workbook_opens_and_has_rows(demo, table):
    workbook = openpyxl.load_workbook(demo.cohort.table(table, ".xlsx"), read_only=True)
    assert sum(1 for _ in workbook.worksheets[0].iter_rows()) >= 2


def test_the_courses_are_the_ones_that_were_generated(demo):
    kinds = {patient: course.description.kind for patient, course in demo.courses.items()}
    assert kinds == {
        "DEMO-001": "plan",
        "DEMO-002": "plan",
        "DEMO-003": "structures",
        "DEMO-004": "structures",
        "DEMO-005": "structures",
    }


def test_prescriptions_follow_the_plans(demo):
    prescriptions = {patient: course.description.prescription for patient, course in demo.courses.items()}
    assert (prescriptions["DEMO-001"].total_dose_gy, prescriptions["DEMO-001"].fractions) == (60.0, 20)
    assert (prescriptions["DEMO-002"].total_dose_gy, prescriptions["DEMO-002"].fractions) == (66.0, 33)
    assert prescriptions["DEMO-003"].total_dose_gy is None
    assert demo.courses["DEMO-002"].description.dose_decision.label == "plans_summed"


def test_every_planned_fraction_was_delivered_and_counted(demo):
    delivered = {}
    for row in demo.rows("fractions"):
        delivered[row["patient_id"]] = delivered.get(row["patient_id"], 0) + 1
    assert delivered == {"DEMO-001": 20, "DEMO-002": 33}


def test_states_and_sentinels_are_there(demo):
    for course in demo.courses.values():
        for sentinel in (".organized", ".segmentation_done", ".dvh_done", ".radiomics_done", ".qc_done"):
            assert course.path(sentinel).read_text().split(":")[0].strip() in ("ok", "skipped", "partial")
        state = json.loads(course.files.state("segmentation").read_text())
        assert state["status"] == "ok"


def test_the_log_names_courses_and_counts_tasks(demo):
    log = (demo.output / "Logs" / "rtpipeline.log").read_text()
    assert "[rtpipeline] Parallelization: " in log
    assert "Segmentation: 5/5 (100%) elapsed " in log
    assert "Demo^" not in log


def test_what_a_child_process_says_is_in_the_log_once_with_its_course(demo):
    log = (demo.output / "Logs" / "rtpipeline.log").read_text()
    for course in demo.courses.values():
        inferences = json.loads(course.files.state("segmentation").read_text())["details"]["inferences"]
        assert log.count(f"INFO {course.key} segmentation: totalsegmentator: task ") == len(inferences) > 0


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("radiomics.min_voxels", 65, {"radiomics"}),
        ("radiomics_robustness.base_seed", 7, {"radiomics_robustness"}),
        ("metadata.include_identifiers", True, {"metadata"}),
        ("segmentation.force_split", False, {"segmentation"}),
        ("scheduler.dvh_threads_per_job", 1, set()),
        ("segmentation.max_workers", 1, set()),
    ],
)
def test_a_changed_option_concerns_its_own_stage_alone(demo, key, value, stages):
    """What follows from changed results is seen when they are there."""
    configuration = load_configuration(demo.output / "_RESULTS" / "effective_config.yaml", overrides={key: value})
    course = demo.courses["DEMO-001"]
    enabled = [stage for stage in STAGES if stage.enabled(configuration)]
    due = {one.name for one in enabled if not holds(stage_states(course)[one.name], one, course, configuration)}
    assert due == stages


def test_no_identifier_but_the_patient_id_is_in_the_log(demo):
    log = (demo.output / "Logs" / "rtpipeline.log").read_text()
    names = {row["patient_name"] for row in demo.rows("case_metadata") if row.get("patient_name")}
    assert not [name for name in names if name in log]


def test_a_second_run_computes_nothing_and_says_so(demo):
    before = result_tables(demo.output)
    finished = rtpipeline("demo", "--folder", demo.output.parent)
    assert finished.returncode == 0, finished.stdout
    assert "nothing to do" in finished.stdout
    assert "started (" not in finished.stdout
    assert result_tables(demo.output) == before


def test_a_run_killed_three_times_ends_with_the_same_tables(demo, tmp_path):
    """SIGKILL to the whole process group while organizing, segmenting and extracting; then a run to the end."""
    for sign in ("rtpipeline 2", " segmentation: started", " radiomics: started"):
        _run_until(sign, tmp_path)
    finished = rtpipeline("demo", "--folder", tmp_path)
    assert finished.returncode == 0, finished.stdout
    assert result_tables(tmp_path / "output") == result_tables(demo.output)
    assert not [path for path in Path(tmp_path).rglob(".*") if path.is_dir()]


def _run_until(sign: str, folder: Path) -> None:
    """Start the demo, wait for `sign` on its output, then kill the program and all of its children."""
    process = subprocess.Popen(
        [str(RTPIPELINE), "demo", "--folder", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert any(sign in line for line in process.stdout), f"{sign!r} was never printed"
    time.sleep(0.3)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert all_end((child.pid for child in children), within_s=15), "child processes survived their parent"


@pytest.mark.parametrize("sign", ["rtpipeline 2", " segmentation: started"])
def test_ctrl_c_ends_the_run_and_its_children_within_seconds(sign, tmp_path):
    process = subprocess.Popen(
        [str(RTPIPELINE), "demo", "--folder", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert any(sign in line for line in process.stdout)
    time.sleep(0.3)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=20)
    assert process.returncode == 130, printed
    assert "Traceback" not in printed
    assert all_end((child.pid for child in children), within_s=5)

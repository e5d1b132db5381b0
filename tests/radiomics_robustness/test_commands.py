import subprocess
import sys
from pathlib import Path

import pytest

from rtpipeline.demo.settings import PARAMETERS
from rtpipeline.tables.parquet import read_parquet

pytestmark = pytest.mark.radiomics_environment


def rtpipeline(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rtpipeline.cli.app", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_both_commands(demo_course, tmp_path: Path):
    """The examples of the documentation: one course after another, then the cohort."""
    (tmp_path / "config.yaml").write_text(f"radiomics:\n  params_file: {PARAMETERS / 'ct.yaml'}\n")
    courses = [demo_course(patient) for patient in ("DEMO-001", "DEMO-003")]
    for course in courses:
        (course.files.folder / "course.json").write_text(course.description.model_dump_json())
        done = rtpipeline(
            tmp_path,
            *("radiomics-robustness", "--course-dir", course.files.folder, "--config", "config.yaml"),
            *("--output", f"{course.description.patient}.parquet", "--max-workers", 2),
        )
        assert done.returncode == 0, done.stderr
        assert (tmp_path / f"{course.description.patient}.parquet").is_file()
    tables = [course.files.radiomics_robustness for course in courses]
    inputs = ("radiomics-robustness-aggregate", "--inputs", *tables)
    done = rtpipeline(tmp_path, *inputs, "--output", "cohort/robustness.xlsx")
    assert done.returncode == 0, done.stderr
    summary = read_parquet(tmp_path / "cohort" / "robustness.parquet")
    assert set(summary["n_subjects"].to_pylist()) == {2}
    assert (tmp_path / "cohort" / "robustness_raw_values.parquet").is_file()

    missing = tmp_path / "out" / "DEMO-009" / "2024-01"
    done = rtpipeline(tmp_path, *inputs, missing, "--output", "again/robustness.xlsx")
    assert done.returncode == 3
    assert "DEMO-009/2024-01" in done.stderr
    assert (tmp_path / "again" / "robustness.xlsx").is_file()
    done = rtpipeline(tmp_path, *inputs, missing, "--output", "strict/robustness.xlsx", "--strict")
    assert done.returncode == 1
    assert not (tmp_path / "strict" / "robustness.xlsx").exists()


def test_a_folder_that_is_no_course_is_said_so(tmp_path: Path):
    done = rtpipeline(tmp_path, "radiomics-robustness", "--course-dir", tmp_path)
    assert done.returncode == 2
    assert "course.json" in done.stderr

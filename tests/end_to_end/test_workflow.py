"""The packaged Snakefile: the seeds' own command lines, and the same tables as `rtpipeline run`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from end_to_end.runs import result_tables, rtpipeline
from rtpipeline.pipeline.stages import STAGES
from rtpipeline.workflow.jobs import rule_name

pytestmark = [pytest.mark.end_to_end, pytest.mark.radiomics_environment]


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Snakemake on the Snakefile that `workflow path` names."""
    snakefile = rtpipeline("workflow", "path").stdout.strip()
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "-s", snakefile, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, check=False, timeout=1500,
    )  # fmt: skip


def configuration_of(demo) -> Path:
    return demo.output / "_RESULTS" / "effective_config.yaml"


def test_rules_have_the_names_that_people_know():
    names = {rule_name(stage) for stage in STAGES}
    assert names >= {"segmentation_course", "segmentation_custom", "crop_ct_course", "dvh_course", "radiomics_course"}
    assert names >= {"radiomics_robustness_course", "qc_course"}


def test_dry_run_shows_the_jobs_with_their_resources(demo, tmp_path):
    """`snakemake --cores 8 -n`, with a changed option, on results that are there."""
    changed = 'dvh={"minimum_dose_coverage_fraction": 0.5}'
    settings = ("--configfile", str(configuration_of(demo)), "--config", f"output_dir={demo.output}", changed)
    before = {path: path.stat().st_mtime_ns for path in demo.output.rglob("*")}
    shown = snakemake(tmp_path, "--cores", "8", "-n", *settings)
    assert shown.returncode == 0, shown.stdout
    assert "rule dvh_course" in shown.stdout
    assert "rule qc_course" in shown.stdout
    assert "rule segmentation_course" not in shown.stdout
    assert "workers=" in shown.stdout
    assert "seg_workers=" in shown.stdout
    assert {path: path.stat().st_mtime_ns for path in demo.output.rglob("*")} == before


def test_snakemake_makes_the_tables_of_a_run_and_looks_at_the_input_each_time(demo, tmp_path):
    output = tmp_path / "output"
    words = ("workflow", "run", "--cores", "all", "--config", configuration_of(demo), "--outdir", output)
    words = (*words, "--config", f"logs_dir={output / 'Logs'}")
    first = rtpipeline(*words)
    assert first.returncode == 0, first.stdout
    assert result_tables(output) == result_tables(demo.output)
    again = snakemake(tmp_path, "--cores", "all", "--configfile", str(output / "Logs/_workflow/effective_config.yaml"),
                      "--config", "max_workers=8")  # fmt: skip
    assert again.returncode == 0, again.stdout
    assert "3 of 3 steps (100%) done" in again.stdout

"""Worker budgets of 1, 2 and 4: the same bytes in every table, and the workers that the log names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.kill_rounds import SmallCohort
from end_to_end.runs import result_tables

pytestmark = [pytest.mark.end_to_end, pytest.mark.radiomics_environment]

SCRIPT = Path(__file__).with_name("run_with_cpus.py")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[int, Path]:
    """The output folder by budget."""
    folder = tmp_path_factory.mktemp("budgets")
    cohort = SmallCohort.write(folder / "cohort")
    found = {}
    for budget in (1, 2, 4):
        output = folder / f"budget{budget}"
        words = [sys.executable, SCRIPT, budget, "--config", cohort.folder / "config.yaml", "--outdir", output]
        with (folder / f"{budget}.log").open("w") as log:
            finished = subprocess.run([*map(str, words)], stdout=log, stderr=log, check=False)
        assert finished.returncode == 0, (folder / f"{budget}.log").read_text()
        found[budget] = output
    return found


def test_tables_have_the_same_bytes_with_every_budget(runs):
    tables = {budget: result_tables(output) for budget, output in runs.items()}
    assert tables[1] == tables[2] == tables[4]
    assert len(tables[1]) > 40


@pytest.mark.parametrize("budget", [1, 2, 4])
def test_the_log_says_how_many_workers_there_were(runs, budget):
    log = (runs[budget] / "Logs" / "rtpipeline.log").read_text()
    assert f"/{budget} threads" in log
    assert max(int(count) for count in re.findall(r"started \((\d+) threads", log)) <= budget

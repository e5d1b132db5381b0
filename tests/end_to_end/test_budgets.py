"""Worker budgets of 1, 2 and 4: the same bytes, and never more threads at work than the budget."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.kill_rounds import SmallCohort
from end_to_end.process_tree import longest_excess_s
from end_to_end.runs import result_tables

pytestmark = [pytest.mark.end_to_end, pytest.mark.radiomics_environment]

BRIEF_S = 0.2
SCRIPT = Path(__file__).with_name("run_with_cpus.py")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[int, tuple[Path, float, int]]:
    """By budget: output folder, longest excess in seconds, and the largest number of threads at work."""
    folder = tmp_path_factory.mktemp("budgets")
    cohort = SmallCohort.write(folder / "cohort")
    found = {}
    for budget in (1, 2, 4):
        output = folder / f"budget{budget}"
        words = [sys.executable, SCRIPT, budget, "--config", cohort.folder / "config.yaml", "--outdir", output]
        with (folder / f"{budget}.log").open("w") as log:
            process = subprocess.Popen([*map(str, words)], stdout=log, stderr=log, text=True)
            excess = longest_excess_s(process, budget)
        assert process.returncode == 0, (folder / f"{budget}.log").read_text()
        found[budget] = (output, *excess)
    return found


def test_tables_have_the_same_bytes_with_every_budget(runs):
    tables = {budget: result_tables(output) for budget, (output, *_) in runs.items()}
    assert tables[1] == tables[2] == tables[4]
    assert len(tables[1]) > 40


@pytest.mark.parametrize("budget", [1, 2, 4])
def test_threads_at_work_never_exceed_the_budget(runs, budget):
    _, excess_s, peak = runs[budget]
    # Where others use the machine too, a thread that is ready waits its turn, and a brief overlap lasts longer.
    crowded = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert excess_s <= BRIEF_S * crowded, f"{peak} threads at once"


@pytest.mark.parametrize("budget", [1, 2, 4])
def test_the_log_says_how_many_workers_there_were(runs, budget):
    log = (runs[budget][0] / "Logs" / "rtpipeline.log").read_text()
    assert f"/{budget} threads" in log
    assert max(int(count) for count in re.findall(r"started \((\d+) threads", log)) <= budget

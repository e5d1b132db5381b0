"""How long more threads than the budget computed, by hand on a quiet machine: `python tests/chaos/overcommit.py`.

It is a measurement and no test of continuous integration, because where others use the machine too, a thread that is
ready waits its turn and counts all the while.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from kill_rounds import SmallCohort
from process_tree import longest_excess

RUN_WITH_CPUS = Path(__file__).parents[1] / "end_to_end" / "run_with_cpus.py"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        cohort = SmallCohort.write(Path(name) / "cohort")
        for budget in (1, 2, 4):
            words = [sys.executable, RUN_WITH_CPUS, budget, "--config", cohort.folder / "config.yaml"]
            words += ["--outdir", Path(name) / f"budget{budget}"]
            process = subprocess.Popen(
                [*map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
            )
            excess = longest_excess(process, budget)
            print(  # noqa: T201
                f"budget {budget}: more than {budget} threads for {excess.seconds:.2f} s at most, {excess.peak} at the "
                f"peak: {', '.join(excess.threads)}",
                flush=True,
            )


if __name__ == "__main__":
    main()

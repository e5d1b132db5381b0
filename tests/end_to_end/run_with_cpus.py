"""`rtpipeline run` as if the machine had so many CPUs: `run_with_cpus.py CPUS ARGUMENTS OF RUN`."""

from __future__ import annotations

import sys

from rtpipeline.cli.app import main
from rtpipeline.scheduling import budget

if __name__ == "__main__":
    cpus = int(sys.argv[1])
    budget.usable_cpus = lambda: cpus
    main(["run", *sys.argv[2:]])

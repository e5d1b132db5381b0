"""Memory that really runs out: the pool ends with everything done, by fewer workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("pool_under_limit.py")


def test_tasks_that_do_not_fit_side_by_side_are_all_done_by_fewer_workers():
    # One arena: otherwise every thread of the allocator reserves address space of its own, which the limit counts.
    finished = subprocess.run(
        [sys.executable, str(SCRIPT)],
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
        env={**os.environ, "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    result = json.loads(finished.stdout)
    assert result["statuses"] == ["ok"] * 12
    assert result["peak"] in (2, 3)
    assert "Memory pressure in" in finished.stderr
    assert "workers 4 -> 2" in finished.stderr
    assert "workers 2 -> 3" in finished.stderr

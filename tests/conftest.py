"""What tests share: where the real test data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Where a runner asks for colours, words of the help would be cut into pieces; Typer looks at these when it is imported.
for variable in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "TTY_COMPATIBLE", "TERMINAL_WIDTH"):
    os.environ.pop(variable, None)

# The same examples in every run, and no limit of time for any. `--hypothesis-profile=default` draws others at random.
settings.load_profile("ci")

TEST_DATA_VARIABLE = "RTPIPELINE_TEST_DATA"


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real DICOM data; tests that need it are skipped, with a word, where it is not there."""
    if TEST_DATA_VARIABLE not in os.environ:
        pytest.skip(f"no real data here: {TEST_DATA_VARIABLE} names no folder")
    return Path(os.environ[TEST_DATA_VARIABLE])

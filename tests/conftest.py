"""What tests share: where the real test data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TEST_DATA_VARIABLE = "RTPIPELINE_TEST_DATA"


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real DICOM data; tests that need it are skipped, with a word, where it is not there."""
    if TEST_DATA_VARIABLE not in os.environ:
        pytest.skip(f"no real data here: {TEST_DATA_VARIABLE} names no folder")
    return Path(os.environ[TEST_DATA_VARIABLE])

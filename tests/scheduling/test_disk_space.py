"""Which file a full disk is said for."""

from __future__ import annotations

import errno
import os

import pytest

from rtpipeline.scheduling.disk_space import disk_full_reason

FULL = (errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("error", "file"),
    [
        (OSError(*FULL, "/out/table.parquet"), "/out/table.parquet"),
        (OSError(*FULL, "/export/slice.dcm", None, "/out/slice.dcm"), "/out/slice.dcm"),  # as shutil.copyfile says it
    ],
)
def test_the_file_that_is_written_is_named(error: OSError, file: str) -> None:
    assert f"No space left on device for {file}: free some space" in disk_full_reason(error)


def test_what_caused_an_error_counts_and_other_errors_do_not() -> None:
    outer = ValueError("a table could not be written")
    outer.__cause__ = OSError(*FULL)
    assert disk_full_reason(outer).startswith("No space left on device: free some space")
    assert disk_full_reason(OSError(errno.EACCES, "Permission denied", "/out")) == ""

"""Who may read the results is decided by the user's umask."""

from __future__ import annotations

import os
import shutil
import stat

import pytest


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o027, 0o640), (0o002, 0o664)])
def test_outputs_follow_the_umask(pipeline, output, umask, mode):
    shutil.rmtree(output)
    before = os.umask(umask)
    try:
        pipeline(**{"dvh.enabled": False, "qc.enabled": False})
    finally:
        os.umask(before)
    files = [path for path in output.rglob("*") if path.is_file()]
    modes = {stat.S_IMODE(path.stat().st_mode): path for path in files}
    assert set(modes) == {mode}, modes
    folders = {stat.S_IMODE(path.stat().st_mode) for path in output.rglob("*") if path.is_dir()}
    assert folders == {0o777 & ~umask}

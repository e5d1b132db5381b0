import os
import stat
from pathlib import Path

import pytest

from rtpipeline.atomic import write_text


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    write_text(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(file, "half of it \udce4")
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_folders_are_made_and_permissions_follow_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        write_text(tmp_path / "new" / "f.txt", "Ünï")
    finally:
        os.umask(previous)
    assert (tmp_path / "new" / "f.txt").read_text(encoding="utf-8") == "Ünï"
    assert stat.S_IMODE((tmp_path / "new" / "f.txt").stat().st_mode) == 0o640

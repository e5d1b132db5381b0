"""Archives of weights: unpacked once, whole or not at all, and never outside their folder."""

from __future__ import annotations

import hashlib
import multiprocessing
import signal
import stat
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from rtpipeline.inference.archives import ArchiveError, unpacked


def _archive(file: Path, members: list[tuple[str, bytes]], mode: int = 0) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members:
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            with pytest.warns(UserWarning, match="Duplicate") if name in archive.namelist() else nullcontext():
                archive.writestr(member, content)
    return file


def test_members_lie_in_a_folder_named_by_the_digest(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", [("model/", b""), ("model/plans.json", b"{}"), ("x", b"1")])
    folder = unpacked(archive, cache=tmp_path / "cache")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert folder == tmp_path / "cache" / digest
    assert (folder / "model" / "plans.json").read_bytes() == b"{}"
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [digest, f"{digest}.lock"]


def test_the_digest_is_checked_and_stands_for_a_deleted_archive(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", [("x", b"1")])
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(ArchiveError, match=f"has SHA-256 {digest}, not {'0' * 64}"):
        unpacked(archive, "0" * 64, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    folder = unpacked(archive, digest.upper(), tmp_path / "cache")
    archive.unlink()
    assert unpacked(archive, digest, tmp_path / "cache") == folder
    with pytest.raises(ArchiveError, match="is not there"):
        unpacked(archive, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("members", "mode", "words"),
    [
        ([("x", b""), ("../y", b"")], 0, "leads outside"),
        ([("/etc/y", b"")], 0, "leads outside"),
        ([("a/../../y", b"")], 0, "leads outside"),
        ([("..\\y", b"")], 0, "leads outside"),
        ([("C:/y", b"")], 0, "leads outside"),
        ([("link", b"/etc/passwd")], stat.S_IFLNK | 0o777, "neither a file nor a folder"),
        ([("x", b"1"), ("x", b"2")], 0, "is there twice"),
        ([("x", b"1"), ("X", b"2")], 0, "is there twice"),
        ([("x", b"1"), ("x/y", b"2")], 0, "is a file and a folder"),
        ([("x/y", b"1"), ("x", b"2")], 0, "is a file and a folder"),
    ],
)
def test_dangerous_members_are_refused_before_anything_is_written(
    tmp_path: Path, members: list[tuple[str, bytes]], mode: int, words: str
) -> None:
    archive = _archive(tmp_path / "a.zip", members, mode)
    with pytest.raises(ArchiveError, match=words):
        unpacked(archive, cache=tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_damaged_archive_leaves_nothing(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", [("x", b"1" * 1000), ("y", b"2" * 1000)])
    content = bytearray(archive.read_bytes())
    content[1100] ^= 255  # within the second member: its checksum is wrong
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match="cannot be unpacked"):
        unpacked(archive, cache=tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_what_a_killed_process_left_is_not_taken_for_weights(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", [("x", b"1")])
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (tmp_path / "cache" / f".{digest[:16]}-abc").mkdir(parents=True)
    folder = unpacked(archive, cache=tmp_path / "cache")
    assert (folder / "x").read_bytes() == b"1"
    assert archive.is_file()
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [digest, f"{digest}.lock"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_no_damage_is_taken_for_weights_or_for_a_defect(tmp_path: Path, method: int) -> None:
    """Every tenth byte is turned over in turn: what was packed comes out whole, or nothing does."""
    archive = tmp_path / "a.zip"
    packed = np.random.default_rng(4).bytes(150) + b"0123456789" * 30
    with zipfile.ZipFile(archive, "w", method) as content:
        content.writestr("model/x", packed)
    whole = archive.read_bytes()
    refused = 0
    for place in range(0, len(whole), 10):
        damaged = bytearray(whole)
        damaged[place] ^= 255
        archive.write_bytes(damaged)
        cache = tmp_path / str(place)
        try:
            folder = unpacked(archive, cache=cache)
        except ArchiveError:
            refused += 1
            assert [path.suffix for path in cache.iterdir()] == [".lock"]
        else:
            assert [path.read_bytes() for path in folder.rglob("*") if path.is_file()] == [packed]
    assert refused > 10


KILLED = """
import os, signal, sys
from pathlib import Path
from rtpipeline.inference.archives import unpacked

def kill(event, arguments):
    if event == "open" and str(arguments[0]).endswith("/f99"):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
unpacked(Path(sys.argv[1]), cache=Path(sys.argv[2]))
"""


def test_a_process_killed_while_it_unpacks_leaves_no_weights(tmp_path: Path) -> None:
    count = 200
    archive = _archive(tmp_path / "a.zip", [(f"f{number}", b"x") for number in range(count)])
    cache = tmp_path / "cache"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(archive), str(cache)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = (path for path in cache.iterdir() if path.is_dir())
    assert left.name.startswith(".")
    assert len(list(left.iterdir())) == 99
    folder = unpacked(archive, cache=cache)
    assert len(list(folder.iterdir())) == count
    assert not left.exists()


def test_several_processes_unpack_it_once(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", [(f"f{number}", b"x" * 10_000) for number in range(200)])
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        folders = pool.starmap(unpacked, [(archive, "", tmp_path / "cache")] * 6)
    assert len(set(folders)) == 1
    assert len(list(folders[0].iterdir())) == 200

"""Weights that come as a zip archive, unpacked once per machine."""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath

from filelock import FileLock
from platformdirs import user_cache_path

from rtpipeline.provenance import file_digest

_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, ValueError, OverflowError)
"""What `zipfile` and the decompressors raise when they meet bytes that are not what was packed."""


class ArchiveError(Exception):
    """An archive cannot be used; the message says why."""


def cache_folder() -> Path:
    """Where unpacked weights lie, one folder per archive, named by its SHA-256; the same for all runs of a user."""
    return user_cache_path("rtpipeline") / "custom_models"


def unpacked(archive: Path, expected_sha256: str = "", cache: Path | None = None) -> Path:
    """The folder with the content of a zip archive.

    It is unpacked where it is not there yet: into a folder of another name that is renamed when it is complete, and
    by one process at a time. An archive that was deleted after it was unpacked is still found by its SHA-256.

    Args:
        archive: the zip file.
        expected_sha256: its SHA-256 in hexadecimal digits, or empty.
        cache: where to unpack; None for `cache_folder()`.

    Raises:
        ArchiveError: it is not a zip archive, not the expected one, or has a member that would be written outside the
            folder, is a link, or collides with another.
    """
    cache = cache or cache_folder()
    expected = expected_sha256.lower()
    if not archive.is_file() and not (expected and (cache / expected).is_dir()):
        raise ArchiveError(f"{archive} is not there")
    digest = _digest(archive) if archive.is_file() else expected
    if expected and digest != expected:
        raise ArchiveError(f"{archive} has SHA-256 {digest}, not {expected}; fetch it again")
    target = cache / digest
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{digest}.lock"):
        if not target.is_dir():
            _unpack(archive, target)
    return target


def check_members(archive: zipfile.ZipFile) -> None:
    """Refuse an archive before anything of it is written.

    Raises:
        ArchiveError: a member's path is absolute or leads outside, is a link or device, is there twice (in whatever
            case), or is a file where another member needs a folder.
    """
    files: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    for member in archive.infolist():
        name = member.filename
        path, windows = PurePosixPath(name), PureWindowsPath(name)
        if path.is_absolute() or windows.drive or windows.root or ".." in windows.parts or not name.strip("/"):
            raise ArchiveError(f"member {name!r} leads outside the archive's folder")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(f"member {name!r} is neither a file nor a folder")
        folded = PurePosixPath(name.replace("\\", "/").casefold())
        if not member.is_dir():
            if folded in files:
                raise ArchiveError(f"member {name!r} is there twice")
            files.add(folded)
        folders.update(folded.parents)
        if member.is_dir():
            folders.add(folded)
    if collision := sorted(files & folders):
        raise ArchiveError(f"{collision[0]} is a file and a folder")


def _unpack(archive: Path, target: Path) -> None:
    """Unpack while nobody else does; what a killed process left of the same archive goes away."""
    for left in target.parent.glob(f".{target.name[:16]}-*"):
        shutil.rmtree(left)
    working = Path(tempfile.mkdtemp(prefix=f".{target.name[:16]}-", dir=target.parent))
    try:
        with zipfile.ZipFile(archive) as content:
            check_members(content)
            content.extractall(working)
        working.replace(target)
    except (*_DAMAGE, OSError, RuntimeError) as error:
        raise ArchiveError(f"{archive} cannot be unpacked: {error}") from error
    except ArchiveError as error:
        raise ArchiveError(f"{archive}: {error}") from error
    finally:
        if working.exists():
            shutil.rmtree(working)


def _digest(archive: Path) -> str:
    status = archive.stat()
    return _digest_of(os.fspath(archive), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest_of(path: str, size: int, mtime_ns: int) -> str:
    """Read again only when size or time of change differ."""
    return file_digest(Path(path))

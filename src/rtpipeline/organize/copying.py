"""Copies of files that share their blocks with the original where the file system can do that."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from pathlib import Path

_FICLONE = 0x40049409
"""The ioctl request of Linux that makes one file share the blocks of another (linux/fs.h)."""
_CANNOT_SHARE = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.ETXTBSY}
)


def copy_file(source: Path, target: Path, *, hard_link: bool) -> None:
    """Copy a file, with its modification time; the copy can be written whatever the original's permissions are.

    Args:
        source: the input's file; never changed.
        target: must not exist; its folder must.
        hard_link: make it another name of the same file where the file system allows it.

    Raises:
        OSError: the file cannot be read or written.
    """
    if hard_link and _linked(source, target):
        return
    status = source.stat()
    if not _shared_blocks(source, target):
        shutil.copyfile(source, target)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _linked(source: Path, target: Path) -> bool:
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _CANNOT_SHARE | {errno.EMLINK}:
            raise
        return False
    return True


_NOT_SHARING: set[tuple[int, int]] = set()
"""Pairs of file systems between which blocks were found not to be shared, so that it is not tried for every file."""


def _shared_blocks(source: Path, target: Path) -> bool:
    devices = (source.stat().st_dev, target.parent.stat().st_dev)
    if devices in _NOT_SHARING:
        return False
    with source.open("rb") as original, target.open("wb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
        except OSError as error:
            if error.errno not in _CANNOT_SHARE:
                raise
            _NOT_SHARING.add(devices)
            return False
    return True

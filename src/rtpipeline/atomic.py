"""Files that are either the old one or the new one, never half of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write in the same folder, and put it in the place of `path` when the block ends well.

    The file lies alone in a folder named `.<name>.partial`, so that a writer may keep further temporary files beside
    it. What a killed writer left there is cleared by the next one. A file has one writer at a time.

    Args:
        path: the file to be made or replaced; its folder is created.
    """
    folder = path.with_name(f".{path.name}.partial")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    try:
        temporary = folder / path.name
        yield temporary
        synchronise(temporary)
        temporary.replace(path)
        synchronise(path.parent)
    finally:
        shutil.rmtree(folder)


def synchronise(path: Path) -> None:
    """Have the content of a file, or the names in a folder, on the disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by a UTF-8 text file."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

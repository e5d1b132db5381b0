"""One file for each SOP Instance UID."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rtpipeline.organize.index import IndexedFile

DUPLICATE = "duplicate"


@dataclass(frozen=True)
class Unused:
    """A file that no course takes, and why."""

    file: IndexedFile
    kind: str
    reason: str


@dataclass(frozen=True)
class Distinct:
    """The files that are whole and distinct, those that are not needed, and what a user should know."""

    files: tuple[IndexedFile, ...]
    unused: tuple[Unused, ...]
    warnings: tuple[str, ...]


def distinct_files(files: Sequence[IndexedFile]) -> Distinct:
    """Keep one whole file of each SOP Instance UID.

    Of files with the same content the first path is kept. Of files with the same UID and different content the one
    with the newest InstanceCreationDate and -Time is kept, then the largest, then the one with the smallest digest;
    file names do not decide between contents.
    """
    by_uid: dict[str, list[IndexedFile]] = defaultdict(list)
    for file in files:
        if file.header is not None and not file.problem_kind:
            by_uid[file.header.sop_instance_uid].append(file)
    kept: list[IndexedFile] = []
    unused: list[Unused] = []
    several = 0
    for same in by_uid.values():
        contents: dict[str, list[IndexedFile]] = defaultdict(list)
        for file in sorted(same, key=lambda file: file.path):
            contents[file.digest].append(file)
        ordered = sorted(sorted(contents), key=lambda digest: _rank(contents[digest][0]), reverse=True)
        chosen = contents[ordered[0]][0]
        kept.append(chosen)
        for file in contents[ordered[0]][1:]:
            unused.append(Unused(file, DUPLICATE, f"the same object and content as {chosen.shown_path}"))
        for digest in ordered[1:]:
            for file in contents[digest]:
                reason = f"another content under the SOP Instance UID of {chosen.shown_path}, which is newer or larger"
                unused.append(Unused(file, DUPLICATE, reason))
        several += len(ordered) > 1
    warning = (
        f"{several} SOP Instance UIDs have different contents in several files; the newest of each is used, the others "
        "are listed in unused_files"
    )
    return Distinct(tuple(kept), tuple(unused), (warning,) if several else ())


def _rank(file: IndexedFile) -> tuple[str, int]:
    return (file.header.created if file.header is not None else "", file.size)

"""The index: every file of the input looked at once; an unchanged file is never read again."""

from __future__ import annotations

import os
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from rtpipeline.dicom.headers import HEADER_VERSION, Header, NotDicomError, content_digest, read_header
from rtpipeline.dicom.radiotherapy_references import REFERENCES_OF
from rtpipeline.dicom.values import quietly
from rtpipeline.outcome import StageError
from rtpipeline.tables.definitions.organize import INDEX
from rtpipeline.tables.parquet import empty, read_parquet, sort, to_arrow, write_arrow

NOT_DICOM = "not_dicom"
UNREADABLE = "unreadable"
DAMAGED = "damaged"
LINK = "link"

_BATCH = 32
"""Files that a thread reads at a time: handing out one by one takes as long as reading."""

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """One file of the input.

    Attributes:
        path: relative to the input folder, with `/`, as the file system gives it.
        size: in bytes.
        mtime_ns: time of its last change.
        header: None if the file is no readable DICOM object.
        problem_kind: why the file cannot be used; empty if it can.
        problem: the same as a sentence.
        digest: of its content; only of files that share their SOP Instance UID with others.
    """

    path: str
    size: int
    mtime_ns: int
    header: Header | None = None
    problem_kind: str = ""
    problem: str = ""
    digest: str = ""

    @property
    def shown_path(self) -> str:
        """`path` as text that can be written anywhere; bytes that are no UTF-8 are escaped."""
        return _shown(self.path)


@dataclass(frozen=True)
class Index:
    """All files of the input, sorted by path.

    Attributes:
        files: every file below the input folder.
        files_read: how many of them were opened now.
    """

    files: tuple[IndexedFile, ...]
    files_read: int


def build_index(
    root: Path,
    stored: Path,
    *,
    excluded: Path,
    threads: int,
    report_progress: Callable[[int, int], None],
    cancelled: threading.Event,
    store: bool = True,
) -> Index:
    """Look at every file below `root`, reading only headers that the `stored` index does not have, and store it.

    Args:
        root: the input folder.
        stored: where the index is kept between runs (Parquet).
        excluded: the output folder, which is not input even if it lies below `root`.
        threads: how many files are read at once.
        report_progress: called with (files done, files in all).
        cancelled: ends the work with a `StageError`.
        store: write the index; False writes nothing.

    Raises:
        StageError: the input folder cannot be listed, or the work was cancelled.
    """
    found = sorted(_walk(root.resolve(), excluded.resolve()), key=lambda file: file.path)
    known = _load(stored)
    files = [_from_stored(file, known.get(file.shown_path)) for file in found]
    missing = [number for number, file in enumerate(files) if file is None]
    done = len(files) - len(missing)
    with quietly(), ThreadPoolExecutor(max(threads, 1), thread_name_prefix="index") as pool:
        batches = [missing[start : start + _BATCH] for start in range(0, len(missing), _BATCH)]
        read = pool.map(lambda batch: [_read(root, found[number], cancelled) for number in batch], batches)
        for number, file in zip(missing, chain.from_iterable(read), strict=True):
            files[number] = file
            done += 1
            report_progress(done, len(files))
    complete = _with_digests(root, [file for file in files if file is not None])
    if store and (missing or set(known) != {file.shown_path for file in complete}):
        _store(stored, complete)
    return Index(complete, len(missing))


def _walk(folder: Path, excluded: Path) -> Iterator[IndexedFile]:
    """Every file below `folder`, without following links; unread ones have neither header nor problem."""
    pending = [(os.fspath(folder), "")]
    while pending:
        directory, prefix = pending.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    path = f"{prefix}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        if Path(entry.path) != excluded:
                            pending.append((entry.path, f"{path}/"))
                    else:
                        yield _seen(entry, path, folder)
        except OSError as error:
            if not prefix:
                raise StageError(
                    f"{directory}: cannot list the input folder ({error.strerror}); mend its permissions"
                ) from error
            yield _unreadable(IndexedFile(prefix, 0, 0), "a folder that cannot be listed, whatever is in it", error)


def _seen(entry: os.DirEntry[str], path: str, root: Path) -> IndexedFile:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        return _unreadable(IndexedFile(path, 0, 0), "cannot be read", error)
    if entry.is_symlink():
        return IndexedFile(
            path, 0, status.st_mtime_ns, problem_kind=LINK, problem=_why_not_followed(Path(entry.path), root)
        )
    if not stat.S_ISREG(status.st_mode):
        return IndexedFile(path, 0, status.st_mtime_ns, problem_kind=NOT_DICOM, problem="not a regular file")
    return IndexedFile(path, status.st_size, status.st_mtime_ns)


def _why_not_followed(link: Path, root: Path) -> str:
    if not os.access(link, os.F_OK):
        return "a symbolic link to what is not there, or may not be read"
    if Path(os.path.realpath(link)).is_relative_to(root):
        return "a symbolic link to something else in the input, which is taken from there"
    return "a symbolic link that leaves the input folder is not followed; copy what it names into the folder"


def _unreadable(file: IndexedFile, what: str, error: OSError) -> IndexedFile:
    reason = f"{what}: {error.strerror or error}"
    return IndexedFile(file.path, file.size, file.mtime_ns, None, UNREADABLE, reason)


def _read(root: Path, file: IndexedFile, cancelled: threading.Event) -> IndexedFile:
    if cancelled.is_set():
        raise StageError("organize was interrupted; the next run starts it again")
    try:
        header = read_header(root / file.path)
    except NotDicomError as error:
        return IndexedFile(file.path, file.size, file.mtime_ns, None, NOT_DICOM, str(error))
    except OSError as error:
        return _unreadable(file, "cannot be read", error)
    kind = DAMAGED if header.damage else ""
    return IndexedFile(file.path, file.size, file.mtime_ns, header, kind, header.damage)


def _with_digests(root: Path, files: list[IndexedFile]) -> tuple[IndexedFile, ...]:
    """Give a content digest to the whole files that share their SOP Instance UID with others."""
    uses = Counter(file.header.sop_instance_uid for file in files if file.header is not None and not file.problem)
    return tuple(
        _digested(root, file)
        if file.header is not None and not file.problem and not file.digest and uses[file.header.sop_instance_uid] > 1
        else file
        for file in files
    )


def _digested(root: Path, file: IndexedFile) -> IndexedFile:
    try:
        return replace(file, digest=content_digest(root / file.path))
    except OSError as error:
        return _unreadable(file, "its header can be read, its content cannot", error)


def _from_stored(file: IndexedFile, row: Mapping[str, Any] | None) -> IndexedFile | None:
    """The file as the stored index has it; None if it must be read."""
    if file.problem_kind:
        return file
    if row is None or (row["size_bytes"], row["mtime_ns"]) != (file.size, file.mtime_ns):
        return None
    if row["header_version"] != HEADER_VERSION or row["problem_kind"] == UNREADABLE:
        return None
    header = _header(row) if row["sop_instance_uid"] else None
    return IndexedFile(
        file.path, file.size, file.mtime_ns, header, row["problem_kind"], row["problem"], row["digest"] or ""
    )


def _store(stored: Path, files: Sequence[IndexedFile]) -> None:
    """Write the index, with the rows of few files at a time in memory."""
    parts = [
        to_arrow(INDEX, map(_row, files[start : start + _ROWS_AT_ONCE]))
        for start in range(0, len(files), _ROWS_AT_ONCE)
    ]
    write_arrow(stored, sort(pa.concat_tables(parts or [empty(INDEX)]), INDEX))


def _load(stored: Path) -> dict[str, dict[str, Any]]:
    """Rows of the stored index by path; none if there is no index, or one that cannot be read any more."""
    try:
        table = read_parquet(stored)
    except (FileNotFoundError, pa.ArrowInvalid):
        return {}
    if table.column_names != [column.name for column in INDEX.columns]:
        return {}
    return {row["path"]: row for part in table.to_batches(_ROWS_AT_ONCE) for row in part.to_pylist()}


_NUMBER_LISTS = ("orientation", "pixel_spacing_mm")


def _row(file: IndexedFile) -> dict[str, object]:
    row: dict[str, object] = {
        "path": file.shown_path,
        "size_bytes": file.size,
        "mtime_ns": file.mtime_ns,
        "header_version": HEADER_VERSION,
        "problem_kind": file.problem_kind,
        "problem": file.problem,
        "digest": file.digest,
    }
    if file.header is None:
        return row
    header = file.header
    row |= {name: getattr(header, name) for name in Header.__dataclass_fields__}
    row |= {name: "\\".join(map(repr, getattr(header, name))) for name in _NUMBER_LISTS}
    row["references"] = header.references.model_dump_json() if header.references is not None else None
    return row


def _header(row: Mapping[str, Any]) -> Header:
    values = {name: row[name] for name in Header.__dataclass_fields__}
    for name in _NUMBER_LISTS:
        values[name] = tuple(map(float, row[name].split("\\"))) if row[name] else ()
    if row["references"] is not None:
        values["references"] = REFERENCES_OF[row["modality"]].model_validate_json(row["references"])
    return Header(**values)


def _shown(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")

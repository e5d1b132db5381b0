"""One file for each object; what has an object's SOP Instance UID and another content is kept apart from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rtpipeline.dicom.headers import IMAGE_MODALITIES, Header
from rtpipeline.organize.index import IndexedFile

DUPLICATE = "duplicate"
OTHER_CONTENTS = "DICOM/OTHER_CONTENT"


@dataclass(frozen=True)
class Unused:
    """A file that no course takes, and why."""

    file: IndexedFile
    kind: str
    reason: str


@dataclass(frozen=True)
class Distinct:
    """What is left when every object is there once.

    Attributes:
        files: one whole file of each object.
        unused: copies, and files with the SOP Instance UID of an object and another content, each with the reason.
        other_contents: of the latter one file of each content, by the path of the file that is used.
        warnings: what a user should know.
    """

    files: tuple[IndexedFile, ...]
    unused: tuple[Unused, ...]
    other_contents: Mapping[str, tuple[IndexedFile, ...]]
    warnings: tuple[str, ...]


def distinct_files(files: Sequence[IndexedFile]) -> Distinct:
    """Keep one whole file of each object.

    Objects are told apart by patient and SOP Instance UID, images by their series too: exporters that give images of
    two patients or series the same UIDs must not make one lose its images to the other. Of files with the same
    content the first path is kept. Of files with different content the one with the newest InstanceCreationDate and
    -Time is kept, then the largest, then the one with the smallest digest; file names do not decide between contents.
    """
    objects: dict[tuple[str, str, str], list[IndexedFile]] = defaultdict(list)
    for file in files:
        if file.header is not None and not file.problem_kind:
            objects[_identity(file.header)].append(file)
    kept: list[IndexedFile] = []
    unused: list[Unused] = []
    other_contents: dict[str, tuple[IndexedFile, ...]] = {}
    for same in objects.values():
        contents: dict[str, list[IndexedFile]] = defaultdict(list)
        for file in sorted(same, key=lambda file: file.path):
            contents[file.digest].append(file)
        chosen, *others = sorted(
            (contents[digest] for digest in sorted(contents)), key=lambda copies: _rank(copies[0]), reverse=True
        )
        kept.append(chosen[0])
        if others:
            other_contents[chosen[0].path] = tuple(copies[0] for copies in others)
        for file in chosen[1:]:
            unused.append(Unused(file, DUPLICATE, f"the same object and content as {chosen[0].shown_path}"))
        for copies in others:
            reason = f"another content under the SOP Instance UID of {chosen[0].shown_path}, which is newer or larger"
            unused += [Unused(file, DUPLICATE, reason) for file in copies]
    return Distinct(tuple(kept), tuple(unused), other_contents, _warnings(objects.keys(), len(other_contents)))


def _identity(header: Header) -> tuple[str, str, str]:
    series = header.series_instance_uid if header.modality in IMAGE_MODALITIES else ""
    return (header.patient_id, series, header.sop_instance_uid)


def _warnings(objects: Collection[tuple[str, str, str]], several: int) -> tuple[str, ...]:
    warnings = []
    if several:
        warnings.append(
            f"{several} SOP Instance UIDs have different contents in several files; the newest of each is used, the "
            f"others are kept apart in the folder {OTHER_CONTENTS} of their course"
        )
    shared = len(objects) - len({uid for _, _, uid in objects})
    if shared:
        warnings.append(f"{shared} SOP Instance UIDs are used again by another patient or series; both are kept")
    return tuple(warnings)


def _rank(file: IndexedFile) -> tuple[str, int]:
    return (file.header.created if file.header is not None else "", file.size)

"""Image series: the files of one stack of planes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rtpipeline.dicom.headers import IMAGE_MODALITIES, Header
from rtpipeline.organize.index import IndexedFile

MINIMUM_SLICES = 3
KEPT_WITHOUT_LOCALIZERS = 10
"""Localizers inside a series are left out only if at least this many other images remain."""


@dataclass(frozen=True)
class LeftOut:
    """An image that belongs to a series, but not to its stack."""

    file: IndexedFile
    reason: str


class SeriesClass(NamedTuple):
    """What kind of image a series is.

    Attributes:
        kind: for example `planning_ct`, `cone_beam_ct`, `anatomical_mr`; `unknown` where nothing tells.
        used: whether courses may have it.
        reason: why it is of this kind, as half a sentence.
    """

    kind: str
    used: bool
    reason: str


UNCLASSIFIED = SeriesClass("unknown", False, "not classified yet")


@dataclass(frozen=True)
class Series:
    """The stack of one image series.

    Attributes:
        uid: SeriesInstanceUID.
        frame: FrameOfReferenceUID, or a stand-in that only this series has.
        files: the images in the order of their planes.
        left_out: whole images of the series that are not of its stack.
        damaged: images of the series that cannot be used.
        series_class: what kind of image it is.
    """

    uid: str
    modality: str
    study_uid: str
    frame: str
    files: tuple[IndexedFile, ...]
    left_out: tuple[LeftOut, ...] = ()
    damaged: tuple[IndexedFile, ...] = ()
    series_class: SeriesClass = UNCLASSIFIED

    @property
    def header(self) -> Header:
        """The header of the first image."""
        return header_of(self.files[0])

    @property
    def slices(self) -> int:
        """Number of images, counting frames."""
        return sum(header_of(file).frames for file in self.files)

    @property
    def date(self) -> str:
        """The earliest date of its images, or empty."""
        return min((date for file in self.files if (date := header_of(file).date)), default="")

    @property
    def label(self) -> str:
        """A short text for messages."""
        return f"{self.modality} series {self.uid} ({self.slices} slices)"


def header_of(file: IndexedFile) -> Header:
    """The header of a file that has one."""
    assert file.header is not None
    return file.header


def image_series(files: Iterable[IndexedFile], damaged: Iterable[IndexedFile]) -> list[Series]:
    """Put images together to series, sorted by SeriesInstanceUID; series of which nothing is whole are absent."""
    groups: dict[str, list[IndexedFile]] = defaultdict(list)
    for file in files:
        if header_of(file).modality in IMAGE_MODALITIES and header_of(file).series_instance_uid:
            groups[header_of(file).series_instance_uid].append(file)
    cut: dict[str, list[IndexedFile]] = defaultdict(list)
    for file in damaged:
        if file.header is not None:
            cut[file.header.series_instance_uid].append(file)
    return [_series(uid, groups[uid], cut[uid]) for uid in sorted(groups)]


def _series(uid: str, files: list[IndexedFile], damaged: list[IndexedFile]) -> Series:
    left_out: list[LeftOut] = []
    localizers = [file for file in files if is_localizer(header_of(file))]
    if localizers and len(files) - len(localizers) >= KEPT_WITHOUT_LOCALIZERS:
        left_out += [LeftOut(file, "a localizer inside an image series") for file in localizers]
        files = [file for file in files if not is_localizer(header_of(file))]
    stack, rest = _largest(files, _geometry)
    left_out += [LeftOut(file, "not of the size and direction of its series's stack") for file in rest]
    if _has_repeated_positions(stack):
        stack, rest = _largest(stack, lambda header: header.phase)
        left_out += [LeftOut(file, "another phase, echo or acquisition than the one that is used") for file in rest]
    stack = sorted(stack, key=_plane_order)
    if _has_repeated_positions(stack):
        stack, rest = _first_of_each_position(stack)
        left_out += [LeftOut(file, "another image of its series at the same position is used") for file in rest]
    header = header_of(stack[0])
    return Series(
        uid=uid,
        modality=header.modality,
        study_uid=header.study_instance_uid,
        frame=header.frame_of_reference_uid or f"series {uid}",
        files=tuple(stack),
        left_out=tuple(left_out),
        damaged=tuple(sorted(damaged, key=lambda file: file.path)),
    )


def _geometry(header: Header) -> Hashable:
    return (
        header.modality,
        header.frame_of_reference_uid,
        header.rows,
        header.columns,
        tuple(round(value, 2) + 0.0 for value in header.orientation),
        tuple(round(value, 3) for value in header.pixel_spacing_mm),
    )


def _largest(
    files: Sequence[IndexedFile], key: Callable[[Header], Hashable]
) -> tuple[list[IndexedFile], list[IndexedFile]]:
    """The largest group of files with equal `key` (of equal ones the lowest key), and the rest."""
    groups: dict[Hashable, list[IndexedFile]] = defaultdict(list)
    for file in files:
        groups[key(header_of(file))].append(file)
    chosen = min(groups, key=lambda one: (-len(groups[one]), repr(one)))
    return groups[chosen], [file for one, group in groups.items() if one != chosen for file in group]


def _position(header: Header) -> float | None:
    return None if header.plane_position_mm is None else round(header.plane_position_mm, 2)


def _has_repeated_positions(files: Sequence[IndexedFile]) -> bool:
    positions = [_position(header_of(file)) for file in files]
    known = [position for position in positions if position is not None]
    return len(set(known)) < len(known)


def _plane_order(file: IndexedFile) -> tuple[float, int, str]:
    header = header_of(file)
    position = float("inf") if header.plane_position_mm is None else header.plane_position_mm
    number = 2**62 if header.instance_number is None else header.instance_number
    return (position, number, header.sop_instance_uid)


def _first_of_each_position(files: Sequence[IndexedFile]) -> tuple[list[IndexedFile], list[IndexedFile]]:
    seen: set[float | None] = set()
    kept: list[IndexedFile] = []
    rest: list[IndexedFile] = []
    for file in files:
        position = _position(header_of(file))
        (rest if position is not None and position in seen else kept).append(file)
        seen.add(position)
    return kept, rest


def is_localizer(header: Header) -> bool:
    """Whether ImageType says that this is a scout view."""
    values = header.image_type.split("\\")
    return "LOCALIZER" in values and not {"AXIAL", "HELICAL"} & set(values)

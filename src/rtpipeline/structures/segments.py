"""Structures of the export's DICOM segmentations (SEG): their voxels as they are, never through contours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from rtpipeline.course import CT_KEY, Course, CourseDescription, SegmentationObject
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.segmentation_object import Segment, read_segmentation_object, require_volume
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.outcome import StageError
from rtpipeline.structures.links import Link, NotCarriedError, link_to_planning_ct
from rtpipeline.structures.name_mapping import NameRule
from rtpipeline.structures.names import standard_name
from rtpipeline.structures.structure import LabelledVoxels, Structure

GIVEN_SOURCE = "seg"
"""Source of segments of the export: `seg:<ContentLabel or SeriesDescription>`."""
RESAMPLED = "the voxels of its segmentation are not those of the image: carried there by nearest neighbour"

_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")
_DIGEST_LENGTH = 8


@dataclass(frozen=True, eq=False)
class SegmentationFile:
    """A SEG, read once for all of its segments."""

    path: Path

    @cached_property
    def segments(self) -> dict[int, Segment]:
        """The segments by their number.

        Raises:
            StageError: the file cannot be read.
        """
        try:
            return {segment.number: segment for segment in read_segmentation_object(self.path)}
        except DicomError as error:
            raise StageError(f"{error}; or leave its source out of structures.*.sources") from error


@dataclass(frozen=True, eq=False)
class SegmentVoxels(LabelledVoxels):
    """One segment of a SEG, which may overlap with others; its label is its number.

    Attributes:
        file: the SEG.
        number: SegmentNumber.
        link: how its voxels are carried to where they count; None where they lie there.
    """

    file: SegmentationFile
    number: int
    link: Link | None = None

    @cached_property
    def _own(self) -> Mask:
        """The segment in the part of the SEG's own grid that it lies in, carried to where it counts."""
        mask = self.file.segments[self.number].mask
        return mask if self.link is None else Mask(mask.grid.moved(self.link.matrix), mask.values)

    @cached_property
    def volume(self) -> Volume:
        """The segment's number (planes, rows, columns) on its own voxels."""
        return Volume(self._own.grid, self._own.values.astype(np.uint16) * np.uint16(self.number))

    def mask(self, label: int, grid: Grid) -> Mask:
        """The segment on `grid`: its own voxels where they are voxels of `grid`, else by nearest neighbour."""
        box = self._box_on(grid)
        return super().mask(label, grid) if box is None else Mask(grid.crop(*box), self._own.values)

    def notes_on(self, grid: Grid) -> tuple[str, ...]:
        """Whether its voxels are not those of `grid`."""
        return () if self._box_on(grid) is not None else (RESAMPLED,)

    def _box_on(self, grid: Grid) -> tuple[slice, slice, slice] | None:
        """Where its own voxels lie on `grid`; None where they are no voxels of it."""
        if not grid.is_uniform:
            return None
        try:
            return self._own.box_on(grid)
        except ValueError:
            return None


def given_structures(course: Course, image_key: str, rules: Sequence[NameRule] = ()) -> tuple[Structure, ...]:
    """The segments of every SEG of the export that lies in the coordinates of an image, by source and number.

    Segments of a SEG that has no voxels in space are there without voxels, and with the reason (`refusal`).

    Args:
        course: has the segmentations.
        image_key: `CT` for all with the planning CT's frame of reference, or with one that a rigid registration links
            to it; else for those made on that very series.
        rules: the user's mapping of names.
    """
    structures: list[Structure] = []
    for source, one in _named(course.description):
        link = None
        if not _lies_on(one, course.description, image_key):
            link = _link(course, one) if image_key == CT_KEY else None
            if link is None:
                continue
        file = SegmentationFile(course.path(one.file))
        refusal = _refusal(file.path)
        structures += [
            Structure(
                source,
                segment.number,
                segment.label,
                standard_name(segment.label, rules),
                contours=() if refusal else None,
                labels=None if refusal else SegmentVoxels(file.path, file, segment.number, link),
                notes=() if link is None else (f"carried onto the planning CT: {link.how}",),
                refusal=refusal,
            )
            for segment in one.segments
        ]
    return tuple(structures)


def segmentations_on(description: CourseDescription, image_key: str) -> Iterator[tuple[str, SegmentationObject]]:
    """The SEGs that lie on an image without being carried there, each with its source, sorted by source."""
    return ((source, one) for source, one in _named(description) if _lies_on(one, description, image_key))


def _named(description: CourseDescription) -> list[tuple[str, SegmentationObject]]:
    """Every SEG of a course with its source, sorted by source.

    A source is named after the ContentLabel, or the SeriesDescription where there is none. Where several SEGs of a
    course would have one name, each goes on with the digits that its file is named after.
    """
    plain = [_plain_name(one) for one in description.segmentations]
    uses = Counter(name.lower() for name in plain)
    named = [
        (f"{GIVEN_SOURCE}:{name if uses[name.lower()] == 1 else f'{name}_{_digits(one)}'}", one)
        for name, one in zip(plain, description.segmentations, strict=True)
    ]
    return sorted(named, key=lambda entry: entry[0])


def _link(course: Course, one: SegmentationObject) -> Link | None:
    """How a SEG of other coordinates is carried onto the planning CT; None where it is not a structure of it."""
    try:
        return link_to_planning_ct(course, one.frame_of_reference_uid)
    except NotCarriedError:
        return None


def _plain_name(one: SegmentationObject) -> str:
    names = (_UNSAFE.sub("_", text).strip("_.") for text in (one.label, one.series_description))
    return next((name for name in names if name), "unnamed")


def _digits(one: SegmentationObject) -> str:
    return PurePosixPath(one.file).stem.rsplit("_", 1)[-1][:_DIGEST_LENGTH]


def _lies_on(one: SegmentationObject, description: CourseDescription, image_key: str) -> bool:
    """Whether its coordinates are the planning CT's, or those of another image that it was made on."""
    image = next((image for image in description.images if image.key == image_key), None)
    frame = description.frame_of_reference_uid if image is None else image.frame_of_reference_uid
    made_on_it = one.image_key == image_key
    if not frame or not one.frame_of_reference_uid:
        return made_on_it
    return frame == one.frame_of_reference_uid and (made_on_it or image_key == CT_KEY)


def _refusal(path: Path) -> str:
    try:
        require_volume(path)
    except DicomError as error:
        return str(error)
    return ""

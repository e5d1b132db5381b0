"""How points of other images become points of the planning CT: by the frame of reference or a rigid registration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtpipeline.course import Course
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.registration import read_registration, rigid_transform
from rtpipeline.imaging.grid import FloatArray

SAME_FRAME = "both have the same frame of reference"


class NotCarriedError(Exception):
    """What was segmented on another image cannot be carried onto the planning CT; the message says why."""


@dataclass(frozen=True)
class Link:
    """How points of another image become points of the planning CT.

    Attributes:
        matrix: (4, 4), rigid, for column vectors (x, y, z, 1) in mm, patient coordinates.
        how: half a sentence: by which object.
    """

    matrix: FloatArray
    how: str


def link_to_planning_ct(course: Course, frame_of_reference_uid: str) -> Link:
    """How another image is carried onto the planning CT.

    Args:
        course: has the planning CT and the registrations.
        frame_of_reference_uid: of the other image.

    Raises:
        NotCarriedError: there is no planning CT, nothing links both, or what does is contradictory or not rigid.
    """
    planning_ct = course.description.planning_ct
    if planning_ct is None:
        raise NotCarriedError("the course has no planning CT")
    own, wanted = frame_of_reference_uid, planning_ct.frame_of_reference_uid
    if not own or not wanted:
        raise NotCarriedError(f"the {'image' if wanted else 'planning CT'} names no frame of reference")
    if own == wanted:
        return Link(np.eye(4), SAME_FRAME)
    try:
        files = course.description.registration_files
        registrations = [read_registration(course.path(file)) for file in files]
        matrix = rigid_transform(registrations, own, wanted)
    except DicomError as error:
        raise NotCarriedError(str(error)) from error
    if matrix is None:
        deformable = ", and deformations are not followed" if any(one.deformable for one in registrations) else ""
        raise NotCarriedError(f"no rigid registration has the frames of reference of both{deformable}")
    names = sorted(
        Path(file).name
        for file, one in zip(files, registrations, strict=True)
        if rigid_transform([one], own, wanted) is not None
    )
    return Link(matrix, f"registration {', '.join(names)}")

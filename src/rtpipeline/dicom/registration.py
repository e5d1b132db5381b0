"""What a Spatial Registration says: which frame of reference is carried into which, and how (DICOM PS3.3 C.20.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import DeformableSpatialRegistrationStorage, SpatialRegistrationStorage

from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.reading import read_dataset
from rtpipeline.dicom.values import as_numbers, as_text, as_uid, items, quietly
from rtpipeline.imaging.grid import FloatArray

ROTATION_TOLERANCE = 1e-4
SHIFT_TOLERANCE_MM = 0.1
"""Matrices that differ by less carry a point of the patient to the same place, within about 0.1 mm."""


@dataclass(frozen=True)
class Transform:
    """One matrix of a registration.

    Attributes:
        from_frame_uid: frame of reference of the points that it is applied to.
        to_frame_uid: frame of reference of the points that come out.
        kind: FrameOfReferenceTransformationMatrixType: RIGID, RIGID_SCALE or AFFINE.
        matrix: the 4 × 4 matrix by rows, for column vectors (x, y, z, 1) in mm, patient coordinates.
        item: which item of the registration it is part of; the matrices of one are applied one after another.
    """

    from_frame_uid: str
    to_frame_uid: str
    kind: str
    matrix: tuple[float, ...]
    item: int


@dataclass(frozen=True)
class RegistrationContent:
    """What a registration says.

    Attributes:
        sop_instance_uid: SOPInstanceUID.
        deformable: whether it also has a deformation field, which is not read.
        transforms: its matrices, in the order of the file.
    """

    sop_instance_uid: str
    deformable: bool
    transforms: tuple[Transform, ...]


def read_registration(path: Path) -> RegistrationContent:
    """Read a Spatial or Deformable Spatial Registration; matrices that are no sixteen numbers are left out.

    Raises:
        DicomError: the file cannot be read, or is something else.
    """
    classes = (SpatialRegistrationStorage, DeformableSpatialRegistrationStorage)
    dataset = read_dataset(path, kind="a Spatial Registration", classes=classes)
    with quietly():
        to_frame = as_uid(dataset, "FrameOfReferenceUID")
        return RegistrationContent(
            sop_instance_uid=as_uid(dataset, "SOPInstanceUID"),
            deformable=as_uid(dataset, "SOPClassUID") == DeformableSpatialRegistrationStorage,
            transforms=tuple(
                transform
                for source, number, matrix in _matrices(dataset)
                if (transform := _transform(source, to_frame, number, matrix)) is not None
            ),
        )


def rigid_transform(
    registrations: Iterable[RegistrationContent], from_frame_uid: str, to_frame_uid: str
) -> FloatArray | None:
    """The rigid transform of points of one frame of reference into another one, in either direction of registering.

    With M(f) the matrix that carries frame f into a registration's own frame, it is inv(M(to)) M(from); a
    registration's own frame has the identity. Deformable registrations are left out.

    Returns:
        (4, 4) for column vectors (x, y, z, 1) in mm; None where no registration has both frames.

    Raises:
        DicomError: a registration contradicts itself or another one, or what it says is not rigid.
    """
    found: FloatArray | None = None
    for registration in registrations:
        if registration.deformable or not registration.transforms:
            continue
        frames = _into_own_frame(registration)
        if from_frame_uid not in frames or to_frame_uid not in frames:
            continue
        matrix = np.linalg.inv(frames[to_frame_uid]) @ frames[from_frame_uid]
        if found is not None and not _same(matrix, found):
            raise DicomError("its registrations contradict each other")
        found = matrix if found is None else found
    return found


def _into_own_frame(registration: RegistrationContent) -> Mapping[str, FloatArray]:
    """Frame → matrix into the registration's own frame.

    Raises:
        DicomError: two items say different things of one frame, or one is not rigid.
    """
    frames: dict[str, FloatArray] = {registration.transforms[0].to_frame_uid: np.eye(4)}
    for item in dict.fromkeys(transform.item for transform in registration.transforms):
        parts = [transform for transform in registration.transforms if transform.item == item]
        matrix = np.eye(4)
        for part in parts:
            matrix = np.array(part.matrix).reshape(4, 4) @ matrix
        rotation = matrix[:3, :3]
        rigid = np.allclose(rotation.T @ rotation, np.eye(3), atol=ROTATION_TOLERANCE) and np.linalg.det(rotation) > 0
        if not rigid or not np.allclose(matrix[3], (0, 0, 0, 1)):
            raise DicomError("its registration scales, shears or mirrors, and is not followed")
        frame = parts[0].from_frame_uid
        if frame and not _same(matrix, frames.setdefault(frame, matrix)):
            raise DicomError("its registration contradicts itself")
    return frames


def _same(one: FloatArray, other: FloatArray) -> bool:
    return np.allclose(one[:3, :3], other[:3, :3], atol=ROTATION_TOLERANCE) and np.allclose(
        one[:3, 3], other[:3, 3], atol=SHIFT_TOLERANCE_MM
    )


def _matrices(dataset: Dataset) -> list[tuple[str, int, Dataset]]:
    """Source frame, number of the item, and matrix: rigid (C.20.2), and deformable before the field (C.20.3)."""
    rigid = [
        (as_uid(registration, "FrameOfReferenceUID"), number, matrix)
        for number, registration in enumerate(items(dataset, "RegistrationSequence"))
        for of_registration in items(registration, "MatrixRegistrationSequence")
        for matrix in items(of_registration, "MatrixSequence")
    ]
    before_field = [
        (as_uid(registration, "SourceFrameOfReferenceUID"), number, matrix)
        for number, registration in enumerate(items(dataset, "DeformableRegistrationSequence"))
        for matrix in items(registration, "PreDeformationMatrixRegistrationSequence")
    ]
    return rigid + before_field


def _transform(source: str, to_frame: str, number: int, item: Dataset) -> Transform | None:
    matrix = as_numbers(item, "FrameOfReferenceTransformationMatrix")
    if len(matrix) != 16:
        return None
    kind = as_text(item, "FrameOfReferenceTransformationMatrixType").upper()
    return Transform(source, to_frame, kind, matrix, number)

"""What a Spatial Registration says: which frame of reference is carried into which, and how (DICOM PS3.3 C.20.2)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from rtpipeline.dicom.reading import read_dataset
from rtpipeline.dicom.values import as_numbers, as_text, as_uid, items, quietly

SPATIAL_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.1"
DEFORMABLE_SPATIAL_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.3"


@dataclass(frozen=True)
class Transform:
    """One matrix of a registration.

    Attributes:
        from_frame_uid: frame of reference of the points that it is applied to.
        to_frame_uid: frame of reference of the points that come out.
        kind: FrameOfReferenceTransformationMatrixType: RIGID, RIGID_SCALE or AFFINE.
        matrix: the 4 × 4 matrix by rows, for column vectors (x, y, z, 1) in mm, patient coordinates.
    """

    from_frame_uid: str
    to_frame_uid: str
    kind: str
    matrix: tuple[float, ...]


@dataclass(frozen=True)
class RegistrationContent:
    """What a registration says.

    Attributes:
        sop_instance_uid: SOPInstanceUID.
        deformable: whether it also has a deformation field, which is not read.
        transforms: its matrices, in the order of the file; several of one frame are applied one after another.
    """

    sop_instance_uid: str
    deformable: bool
    transforms: tuple[Transform, ...]


def read_registration(path: Path) -> RegistrationContent:
    """Read a Spatial or Deformable Spatial Registration; matrices that are no sixteen numbers are left out.

    Raises:
        DicomError: the file cannot be read, or is something else.
    """
    classes = (SPATIAL_REGISTRATION, DEFORMABLE_SPATIAL_REGISTRATION)
    dataset = read_dataset(path, kind="a Spatial Registration", classes=classes)
    with quietly():
        to_frame = as_uid(dataset, "FrameOfReferenceUID")
        return RegistrationContent(
            sop_instance_uid=as_uid(dataset, "SOPInstanceUID"),
            deformable=as_uid(dataset, "SOPClassUID") == DEFORMABLE_SPATIAL_REGISTRATION,
            transforms=tuple(
                transform
                for source, matrix in _matrices(dataset)
                if (transform := _transform(source, to_frame, matrix)) is not None
            ),
        )


def _matrices(dataset: Dataset) -> list[tuple[str, Dataset]]:
    """Source frame and matrix item, of rigid (C.20.2) and of deformable registrations (C.20.3, before the field)."""
    rigid = [
        (as_uid(registration, "FrameOfReferenceUID"), matrix)
        for registration in items(dataset, "RegistrationSequence")
        for of_registration in items(registration, "MatrixRegistrationSequence")
        for matrix in items(of_registration, "MatrixSequence")
    ]
    before_field = [
        (as_uid(registration, "SourceFrameOfReferenceUID"), matrix)
        for registration in items(dataset, "DeformableRegistrationSequence")
        for matrix in items(registration, "PreDeformationMatrixRegistrationSequence")
    ]
    return rigid + before_field


def _transform(source: str, to_frame: str, item: Dataset) -> Transform | None:
    matrix = as_numbers(item, "FrameOfReferenceTransformationMatrix")
    if len(matrix) != 16:
        return None
    kind = as_text(item, "FrameOfReferenceTransformationMatrixType").upper()
    return Transform(source, to_frame, kind, matrix)

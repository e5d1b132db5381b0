"""RT Structure Sets ↔ contours."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset
from pydicom.uid import RTStructureSetStorage

from rtpipeline.dicom.atomic import save
from rtpipeline.dicom.decimal_strings import COORDINATE_DECIMALS, coordinate_bytes, coordinates
from rtpipeline.dicom.encoding import encoded_element, encoded_item
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.identifiers import derived_uid, reference_item
from rtpipeline.dicom.image_series import SeriesGeometry, read_geometry
from rtpipeline.dicom.reading import read_dataset
from rtpipeline.dicom.values import MALFORMED_VALUE_ERRORS
from rtpipeline.imaging.grid import UNIFORMITY_TOLERANCE_MM, FloatArray

CONTOUR_IMAGE_SEQUENCE = 0x30060016
CONTOUR_SEQUENCE = 0x30060040
CONTOUR_GEOMETRIC_TYPE = 0x30060042
NUMBER_OF_CONTOUR_POINTS = 0x30060046
CONTOUR_DATA = 0x30060050
REFERENCED_SOP_CLASS_UID = 0x00081150
REFERENCED_SOP_INSTANCE_UID = 0x00081155
CLOSED_TYPES = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
STUDY_COMPONENT_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"
"""SOP Class that RT Structure Sets name their study with (retired, and still what readers expect)."""

COPIED_FROM_IMAGE = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)


@dataclass(frozen=True, eq=False)
class Roi:
    """One region of interest of a structure set.

    Attributes:
        number: ROINumber.
        name: ROIName as drawn.
        interpreted_type: RTROIInterpretedType (`PTV`, `ORGAN`, …), empty where there is none.
        algorithm: ROIGenerationAlgorithm, empty where there is none.
        contours: (n, 3) closed planar contours in world mm.
        ignored_contours: a sentence for each kind of contour that is not in `contours`.
        frame_of_reference_uid: the frame of reference it was drawn in.
        description: ROIDescription, empty where there is none.
    """

    number: int
    name: str
    interpreted_type: str
    algorithm: str
    contours: tuple[FloatArray, ...]
    ignored_contours: tuple[str, ...]
    frame_of_reference_uid: str = ""
    description: str = ""


@dataclass(frozen=True, eq=False)
class StructureSetContent:
    """What a structure set holds, without its patient."""

    sop_instance_uid: str
    frame_of_reference_uid: str
    referenced_series_uids: tuple[str, ...]
    rois: tuple[Roi, ...]


@dataclass(frozen=True, eq=False)
class RoiToWrite:
    """One region of interest to write.

    Attributes:
        name: ROIName; at most 64 characters.
        contours: (n, 3) closed planar contours in world mm, on the planes of the image series.
        interpreted_type: RTROIInterpretedType, or empty.
        algorithm: ROIGenerationAlgorithm: `AUTOMATIC`, `SEMIAUTOMATIC` or `MANUAL`.
        description: ROIDescription, or empty.
    """

    name: str
    contours: Sequence[FloatArray]
    interpreted_type: str = ""
    algorithm: str = "AUTOMATIC"
    description: str = ""


def read_structure_set(path: Path) -> StructureSetContent:
    """Read an RT Structure Set; ROIs in the order of StructureSetROISequence, also those without contours.

    Contours that are not closed and planar, have fewer than three points or are damaged are left out, with a word
    in `Roi.ignored_contours`.

    Raises:
        DicomError: the file cannot be read or is not an RT Structure Set.
    """
    dataset = _read(path)
    try:
        return _content(dataset)
    except MALFORMED_VALUE_ERRORS as error:
        raise DicomError(f"{path} is a damaged RT Structure Set ({error}); export it again") from error


def read_roi_names(path: Path) -> tuple[Roi, ...]:
    """Number, name and type of every ROI of an RT Structure Set; its contours are not read.

    Raises:
        DicomError: the file cannot be read.
    """
    dataset = read_dataset(path, keywords=["StructureSetROISequence", "RTROIObservationsSequence"])
    try:
        types = {
            int(item.ReferencedROINumber): str(item.get("RTROIInterpretedType") or "")
            for item in dataset.get("RTROIObservationsSequence", ())
        }
        return tuple(
            Roi(int(item.ROINumber), str(item.get("ROIName") or ""), types.get(int(item.ROINumber), ""), "", (), ())
            for item in dataset.get("StructureSetROISequence", ())
        )
    except MALFORMED_VALUE_ERRORS as error:
        raise DicomError(f"{path}: the names of its structures cannot be read ({error}); export it again") from error


def write_structure_set(
    path: Path, image_folder: Path, rois: Sequence[RoiToWrite], *, label: str, base: Path | None = None
) -> tuple[int, ...]:
    """Write an RT Structure Set drawn on the image series in `image_folder`.

    The same input gives the same bytes: UIDs are derived from the content, dates are those of the images.

    Args:
        path: the file to write; it appears only when it is complete.
        image_folder: a folder with one image series.
        rois: what to write, in this order.
        label: StructureSetLabel, at most 16 characters.
        base: a structure set whose ROIs are all kept as they are, with their contours and observations; the new
            ones follow with numbers above its largest.

    Returns:
        The ROINumber of each of `rois`.

    Raises:
        DicomError: the image series or the base cannot be used, a name is too long, or a contour has fewer than
            three points.
    """
    geometry = read_geometry(image_folder)
    if not geometry.header.get("FrameOfReferenceUID"):
        raise DicomError(f"{image_folder}: the images have no FrameOfReferenceUID, so nothing can refer to them")
    for roi in rois:
        if not 0 < len(roi.name) <= 64 or "\\" in roi.name:
            raise DicomError(f"{path}: {roi.name!r} cannot be an ROIName (1 to 64 characters, no backslash)")
        if any(contour.ndim != 2 or contour.shape[0] < 3 or contour.shape[1] != 3 for contour in roi.contours):
            raise DicomError(f"{path}: a contour of {roi.name} has fewer than three points")
    dataset = _new(geometry, label) if base is None else _based_on(base, label, geometry)
    taken = [int(item.ROINumber) for item in dataset.StructureSetROISequence]
    taken += [int(item.ReferencedROINumber) for item in dataset.ROIContourSequence]
    first = max(taken, default=0) + 1
    observation = max((int(item.ObservationNumber) for item in dataset.RTROIObservationsSequence), default=0) + 1
    digest = hashlib.sha256(str(dataset.SOPInstanceUID).encode())
    for position, roi in enumerate(rois):
        _append(dataset, geometry, roi, first + position, observation + position)
        digest.update(f"{roi.name}\x1f{roi.interpreted_type}\x1f".encode())
        for contour in roi.contours:
            digest.update(np.round(contour, COORDINATE_DECIMALS).tobytes())
    dataset.SOPInstanceUID = derived_uid("RTSTRUCT", label, digest.hexdigest())
    dataset.SeriesInstanceUID = derived_uid("RTSTRUCT series", label, digest.hexdigest())
    save(path, dataset)
    return tuple(range(first, first + len(rois)))


def contour_points(contour: pydicom.Dataset) -> FloatArray:
    """Points (n, 3) in world mm of an item of ContourSequence that has ContourData.

    Raises:
        ValueError: they are no points in space.
    """
    # The raw bytes: turning each number into pydicom's own type takes twenty times as long.
    value = contour.get_item(CONTOUR_DATA).value
    return coordinates(value) if isinstance(value, bytes) else np.array(value, float).reshape(-1, 3)


def keep_encoded(contour: pydicom.Dataset) -> None:
    """Have ContourData written as the bytes that were read: implicit VR writes no type, so none need be converted."""
    value = contour.get_item(CONTOUR_DATA).value
    if isinstance(value, bytes):
        contour[CONTOUR_DATA] = DataElement(CONTOUR_DATA, "OB", value + b" " * (len(value) % 2))


def stable_colour(name: str) -> tuple[int, int, int]:
    """A bright colour (red, green, blue; 0 to 255) that depends on the name alone, without regard to case."""
    digest = hashlib.sha256(name.strip().lower().encode("utf-8")).digest()
    hue, saturation, value = digest[0] / 256 + digest[1] / 65536, 0.55 + digest[2] / 640, 0.8 + digest[3] / 1280
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _read(path: Path) -> FileDataset:
    return read_dataset(path, kind="an RT Structure Set", classes=[RTStructureSetStorage])


def _content(dataset: pydicom.Dataset) -> StructureSetContent:
    drawn: dict[int, list[pydicom.Dataset]] = {}
    for item in dataset.get("ROIContourSequence") or ():
        drawn.setdefault(int(item.ReferencedROINumber), []).append(item)
    types: dict[int, str] = {}
    for item in dataset.get("RTROIObservationsSequence") or ():
        types.setdefault(int(item.ReferencedROINumber), str(item.get("RTROIInterpretedType") or ""))
    rois = []
    for item in dataset.get("StructureSetROISequence") or ():
        number = int(item.ROINumber)
        # Damaged files give one number to several ROIs; their contours follow in the same order.
        waiting = drawn.get(number, [])
        contours, ignored = _contours(waiting.pop(0) if waiting else pydicom.Dataset())
        rois.append(
            Roi(
                number=number,
                name=str(item.get("ROIName") or ""),
                interpreted_type=types.get(number, ""),
                algorithm=str(item.get("ROIGenerationAlgorithm") or ""),
                contours=contours,
                ignored_contours=ignored,
                frame_of_reference_uid=str(item.get("ReferencedFrameOfReferenceUID") or ""),
                description=str(item.get("ROIDescription") or ""),
            )
        )
    frames, series = _references(dataset)
    frames += [roi.frame_of_reference_uid for roi in rois if roi.frame_of_reference_uid]
    frames += [str(dataset.FrameOfReferenceUID)] if dataset.get("FrameOfReferenceUID") else []
    return StructureSetContent(str(dataset.SOPInstanceUID), frames[0] if frames else "", tuple(series), tuple(rois))


def _contours(item: pydicom.Dataset) -> tuple[tuple[FloatArray, ...], tuple[str, ...]]:
    """The closed contours of one ROI, and what was left out."""
    contours: list[FloatArray] = []
    ignored: dict[str, int] = {}
    for contour in item.get("ContourSequence") or ():
        reason, points = _contour(contour)
        if points is None:
            ignored[reason] = ignored.get(reason, 0) + 1
        else:
            contours.append(points)
    return tuple(contours), tuple(f"{count} contours left out: {reason}" for reason, count in sorted(ignored.items()))


def _contour(contour: pydicom.Dataset) -> tuple[str, FloatArray | None]:
    """The points of a closed contour; else the reason why there are none."""
    kind = str(contour.get("ContourGeometricType") or "")
    if kind not in CLOSED_TYPES:
        return f"their type is {kind or 'missing'}, not CLOSED_PLANAR", None
    if CONTOUR_DATA not in contour:
        return "they have no points", None
    try:
        points = contour_points(contour)
    except ValueError:
        return "their coordinates are damaged", None
    return ("", points) if len(points) >= 3 else ("they have fewer than three points", None)


def _references(dataset: pydicom.Dataset) -> tuple[list[str], list[str]]:
    """Frames of reference and image series that a structure set names."""
    frames, series = [], []
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        if frame.get("FrameOfReferenceUID"):
            frames.append(str(frame.FrameOfReferenceUID))
        for study in frame.get("RTReferencedStudySequence") or ():
            for item in study.get("RTReferencedSeriesSequence") or ():
                if item.get("SeriesInstanceUID"):
                    series.append(str(item.SeriesInstanceUID))
    return frames, list(dict.fromkeys(series))


def _new(geometry: SeriesGeometry, label: str) -> pydicom.Dataset:
    """A structure set without ROIs on an image series."""
    header = geometry.header
    dataset = pydicom.Dataset()
    for keyword in COPIED_FROM_IMAGE:
        if keyword in header:
            dataset[keyword] = header[keyword]
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"):
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    for keyword in ("StudyID", "AccessionNumber", "ReferringPhysicianName"):
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    # Readers of Latin text only would show other names wrongly.
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = RTStructureSetStorage
    dataset.SOPInstanceUID = derived_uid(str(header.SeriesInstanceUID), label)
    dataset.Modality = "RTSTRUCT"
    dataset.Manufacturer = "rtpipeline"
    dataset.SeriesNumber = None
    dataset.InstanceNumber = 1
    dataset.OperatorsName = ""
    dataset.FrameOfReferenceUID = header.FrameOfReferenceUID
    dataset.PositionReferenceIndicator = header.get("PositionReferenceIndicator") or ""
    dataset.StructureSetDate = _image_date(header, "Date")
    dataset.StructureSetTime = _image_date(header, "Time")
    dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(geometry)]
    dataset.StructureSetROISequence = []
    dataset.ROIContourSequence = []
    dataset.RTROIObservationsSequence = []
    _put_label(dataset, label)
    return dataset


def _based_on(base: Path, label: str, geometry: SeriesGeometry) -> pydicom.Dataset:
    """The structure set `base` as it is, ready for more ROIs."""
    dataset = _read(base)
    for keyword in ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence"):
        if keyword not in dataset:
            setattr(dataset, keyword, [])
    for item in dataset.ROIContourSequence:
        for contour in item.get("ContourSequence") or ():
            if CONTOUR_DATA in contour:
                keep_encoded(contour)
    # After the contours are bytes: decoding texts parses everything else on its way.
    dataset.decode()
    frames, _ = _references(dataset)
    if str(geometry.header.FrameOfReferenceUID) not in frames:
        known = list(dataset.get("ReferencedFrameOfReferenceSequence") or ())
        dataset.ReferencedFrameOfReferenceSequence = [*known, _frame_of_reference(geometry)]
    dataset.SpecificCharacterSet = "ISO_IR 192"
    _put_label(dataset, label)
    return dataset


def _put_label(dataset: pydicom.Dataset, label: str) -> None:
    dataset.StructureSetLabel = label
    dataset.StructureSetName = label


def _image_date(header: pydicom.Dataset, part: str) -> str:
    """The image's own date or time: of acquisition, content, series or study, whichever is there first."""
    kinds = ("Acquisition", "Content", "Series", "Study")
    return next((str(header.get(kind + part)) for kind in kinds if header.get(kind + "Date")), "")


def _frame_of_reference(geometry: SeriesGeometry) -> pydicom.Dataset:
    """Item of ReferencedFrameOfReferenceSequence: study, series and all images."""
    series = pydicom.Dataset()
    series.SeriesInstanceUID = geometry.header.SeriesInstanceUID
    classes = {plane.sop_instance_uid: plane.sop_class_uid for plane in geometry.planes}
    series.ContourImageSequence = [reference_item(sop_class, uid) for uid, sop_class in classes.items()]
    study = pydicom.Dataset()
    study.ReferencedSOPClassUID = STUDY_COMPONENT_MANAGEMENT
    study.ReferencedSOPInstanceUID = geometry.header.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = pydicom.Dataset()
    frame.FrameOfReferenceUID = geometry.header.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _append(
    dataset: pydicom.Dataset, geometry: SeriesGeometry, roi: RoiToWrite, number: int, observation_number: int
) -> None:
    """Add one ROI to the three sequences that describe it."""
    structure = pydicom.Dataset()
    structure.ROINumber = number
    structure.ReferencedFrameOfReferenceUID = geometry.header.FrameOfReferenceUID
    structure.ROIName = roi.name
    if roi.description:
        structure.ROIDescription = roi.description
    structure.ROIGenerationAlgorithm = roi.algorithm
    dataset.StructureSetROISequence.append(structure)
    drawn = pydicom.Dataset()
    drawn.ROIDisplayColor = list(stable_colour(roi.name))
    if roi.contours:
        items = b"".join([encoded_item(_encoded_contour(geometry, contour)) for contour in roi.contours])
        drawn[CONTOUR_SEQUENCE] = DataElement(CONTOUR_SEQUENCE, "OB", items)
    drawn.ReferencedROINumber = number
    dataset.ROIContourSequence.append(drawn)
    observation = pydicom.Dataset()
    observation.ObservationNumber = observation_number
    observation.ReferencedROINumber = number
    observation.RTROIInterpretedType = roi.interpreted_type
    observation.ROIInterpreter = ""
    dataset.RTROIObservationsSequence.append(observation)


def _encoded_contour(geometry: SeriesGeometry, contour: FloatArray) -> bytes:
    """Item of ContourSequence, with the image that the contour lies on (none where it lies between images).

    Encoded here, because building and writing pydicom's objects takes longer than everything else together.
    """
    grid = geometry.grid
    normal = grid.direction[:, 2]
    offset = float(np.mean(contour @ normal) - grid.origin_mm @ normal)
    nearest = int(np.abs(grid.plane_offsets_mm - offset).argmin())
    plane = geometry.planes[nearest]
    image = b""
    if abs(grid.plane_offsets_mm[nearest] - offset) < UNIFORMITY_TOLERANCE_MM:
        # Positions are often rounded; the contour belongs into the plane where the image says that it is.
        contour = contour + ((plane.position_mm - contour[0]) @ normal) * normal
        image = encoded_element(CONTOUR_IMAGE_SEQUENCE, _encoded_reference(plane.sop_instance_uid, plane.sop_class_uid))
    return (
        image
        + encoded_element(CONTOUR_GEOMETRIC_TYPE, b"CLOSED_PLANAR")
        + encoded_element(NUMBER_OF_CONTOUR_POINTS, str(len(contour)).encode())
        + encoded_element(CONTOUR_DATA, coordinate_bytes(contour))
    )


@lru_cache(maxsize=4096)
def _encoded_reference(uid: str, sop_class: str) -> bytes:
    """Item that refers to an image, as `reference_item`."""
    return encoded_item(
        encoded_element(REFERENCED_SOP_CLASS_UID, sop_class.encode(), b"\0")
        + encoded_element(REFERENCED_SOP_INSTANCE_UID, uid.encode(), b"\0")
    )

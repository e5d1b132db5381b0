"""The header of any DICOM file, read once, without pixels, contours or beams."""

from __future__ import annotations

import hashlib
import io
import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.radiotherapy_references import (
    HEADER_KEYWORDS,
    DoseReferences,
    References,
    StructureSetReferences,
    contour_image_uids,
    read_references,
)
from rtpipeline.dicom.rtrecord import RECORD_CLASSES
from rtpipeline.dicom.values import (
    MALFORMED_VALUE_ERRORS,
    as_date,
    as_integer,
    as_numbers,
    as_text,
    as_uid,
    items,
)

HEADER_VERSION = 4
"""Counts up when `read_header` reads more or otherwise, so that stored headers are read again."""

IMAGE_MODALITIES = ("CT", "MR", "PT")

_KEYWORDS = (
    *("SOPClassUID", "SOPInstanceUID", "Modality", "PatientID", "StudyInstanceUID", "SeriesInstanceUID"),
    *("FrameOfReferenceUID", "ImageType", "SeriesDescription", "Manufacturer", "ManufacturerModelName"),
    *("InstanceNumber", "ScanningSequence", "CorrectedImage"),
    *("AcquisitionNumber", "TemporalPositionIdentifier", "TriggerTime", "EchoNumbers"),
    *("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate", "InstanceCreationTime"),
    *("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "SamplesPerPixel"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *HEADER_KEYWORDS,
)
_TAGS: list[BaseTag | int] = [tag for keyword in _KEYWORDS if (tag := tag_for_keyword(keyword)) is not None]
_CONTOUR_TAGS: list[BaseTag | int] = [0x30060039]
_FIRST_PIXEL_TAG = 0x7FE00008
_UNDEFINED_LENGTH = 0xFFFFFFFF
_SEQUENCE_DELIMITER = b"\xfe\xff\xdd\xe0"
_DELIMITER_SEARCH_BYTES = 65536
_PREAMBLE_BYTES = 128
_PARSE_ERRORS = (*MALFORMED_VALUE_ERRORS, zlib.error)


class NotDicomError(DicomError):
    """The file is no DICOM object."""


@dataclass(frozen=True, slots=True)
class Header:
    """What organizing needs to know of one DICOM file.

    Attributes:
        image_type: the values of ImageType, joined by a backslash.
        date: of the series, acquisition, content or study, in this order, `YYYY-MM-DD` or empty.
        created: InstanceCreationDate and -Time as written, for telling an older export from a newer one.
        scanning_sequence: of an MR image: SE, GR, IR, EP, joined by a backslash.
        corrected_image: corrections of a PET image, for example ATTN, joined by a backslash.
        phase: acquisition number, temporal position, trigger time and echo, joined; tells apart the images that
            one series holds at one position.
        orientation: the six direction cosines, rounded to 4 decimals; empty if not given.
        plane_position_mm: distance of the (lowest) plane from the patient origin along the image normal; None if not
            given for every frame.
        pixel_spacing_mm: as in the file: between rows, between columns; empty if not given.
        frames: number of frames (1 for a single-frame image, 0 where there are no pixels).
        planes: number of different positions that the frames have; 0 where they are not given.
        damage: why the file cannot be used although its header can be read; empty when it is whole.
        references: what a radiotherapy object refers to; None for images.
    """

    sop_class_uid: str
    sop_instance_uid: str
    modality: str
    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str = ""
    image_type: str = ""
    series_description: str = ""
    manufacturer: str = ""
    manufacturer_model: str = ""
    scanning_sequence: str = ""
    corrected_image: str = ""
    instance_number: int | None = None
    phase: str = ""
    date: str = ""
    created: str = ""
    rows: int = 0
    columns: int = 0
    frames: int = 0
    planes: int = 0
    orientation: tuple[float, ...] = ()
    plane_position_mm: float | None = None
    pixel_spacing_mm: tuple[float, ...] = ()
    damage: str = ""
    references: References | None = None


def read_header(path: Path) -> Header:
    """Read the header of a DICOM file, of any name and transfer syntax, with or without preamble, opening it once.

    Damage that cuts the file short is found from lengths alone: declared against present bytes, and for
    uncompressed pixels also against Rows × Columns × BitsAllocated × frames (PS3.5 8.2).

    Raises:
        NotDicomError: the file is no DICOM object that can be used, or its header cannot be read.
        OSError: the file cannot be opened.
    """
    size = path.stat().st_size
    with _CheckedFile(path, size) as file:
        _require_dicom(file)
        dataset, pixels = _parse(file, _TAGS)
        damage = _damage(file, dataset, pixels)
        modality = _modality(dataset)
        references = read_references(modality, dataset)
        if isinstance(references, StructureSetReferences) and not references.series_uids and not damage:
            file.seek(0)
            contours, _ = _parse(file, _CONTOUR_TAGS)
            references = references.model_copy(update={"image_uids": contour_image_uids(contours)})
    if isinstance(references, DoseReferences):
        references = references.model_copy(update={"has_grid": pixels is not None})
    return _header(dataset, modality, references, damage, has_pixels=pixels is not None)


def content_digest(path: Path) -> str:
    """SHA-256 of a DICOM file from its first dataset element on, so that the exporter's file header does not count.

    Raises:
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    start = 0
    if content[_PREAMBLE_BYTES : _PREAMBLE_BYTES + 4] == b"DICM":
        start = _PREAMBLE_BYTES + 4
        # (0002,0000) FileMetaInformationGroupLength UL 4, then its value (PS3.10 7.1)
        if content[start : start + 8] == b"\x02\x00\x00\x00UL\x04\x00":
            start += 12 + struct.unpack("<L", content[start + 8 : start + 12])[0]
    return hashlib.sha256(content[start:]).hexdigest()


class _CheckedFile(io.BufferedReader):
    """A file that remembers whether more was asked of it than it holds."""

    def __init__(self, path: Path, size: int) -> None:
        super().__init__(io.FileIO(path))
        self.size = size
        self._ends_met = 0
        self._cut_values = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As every file; a length beyond the end of the file is not allocated."""
        if size is None or size < 0:
            return super().read()
        data = super().read(size if size <= 65536 else min(size, max(self.size - self.tell(), 0)))
        if len(data) < size:
            if size == 8 and not data:
                self._ends_met += 1  # where the next element would begin: the end of a whole file, once
            else:
                self._cut_values += 1
        return data

    @property
    def is_cut(self) -> bool:
        """Whether an element reaches beyond the end of the file."""
        return self._cut_values > 0 or self._ends_met > 1 or self.tell() > self.size


@dataclass(frozen=True)
class _PixelElement:
    """Where the pixel data lies: bytes from the start of the file, and its declared length."""

    start: int
    length: int


def _require_dicom(file: _CheckedFile) -> None:
    """Refuse what cannot be DICOM before a parser makes sense of nonsense."""
    start = file.read(min(_PREAMBLE_BYTES + 4, file.size))
    file.seek(0)
    if not start:
        raise NotDicomError("the file is empty")
    if start[_PREAMBLE_BYTES:] == b"DICM":
        return
    group = start[:2]
    if group not in (b"\x02\x00", b"\x08\x00", b"\x00\x08"):
        raise NotDicomError("not a DICOM file")


def _parse(file: _CheckedFile, tags: list[BaseTag | int]) -> tuple[FileDataset, _PixelElement | None]:
    pixels: list[_PixelElement] = []

    def at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        if tag < _FIRST_PIXEL_TAG:
            return False
        if tag <= 0x7FE00010:
            pixels.append(_PixelElement(file.tell(), length))
        return True

    try:
        dataset = read_partial(cast(BinaryIO, file), stop_when=at_pixels, force=True, specific_tags=tags)
    except _PARSE_ERRORS as error:
        raise NotDicomError(f"the DICOM header cannot be read ({type(error).__name__}: {error})") from error
    return dataset, (pixels[0] if pixels else None)


def _damage(file: _CheckedFile, dataset: FileDataset, pixels: _PixelElement | None) -> str:
    if pixels is None:
        if file.is_cut:
            return "damaged: the file ends in the middle of an element"
        if _modality(dataset) in (*IMAGE_MODALITIES, "SEG") and as_integer(dataset, "Rows"):
            return "damaged: an image without pixel data"
        return ""
    syntax = UID(as_text(dataset.file_meta, "TransferSyntaxUID"))
    deflated = syntax == DeflatedExplicitVRLittleEndian
    if pixels.length == _UNDEFINED_LENGTH:
        file.seek(max(pixels.start, file.size - _DELIMITER_SEARCH_BYTES))
        if not deflated and _SEQUENCE_DELIMITER not in file.read(-1):
            return "damaged: the compressed pixel data has no end"
        return ""
    present = pixels.length if deflated else min(pixels.length, file.size - pixels.start)
    if present < pixels.length:
        return f"damaged: {present} of {pixels.length} bytes of pixel data"
    expected = _expected_pixel_bytes(dataset)
    if expected is not None and pixels.length < expected:
        return f"damaged: {pixels.length} bytes of pixel data where its header asks for {expected}"
    return ""


def _expected_pixel_bytes(dataset: Dataset) -> int | None:
    rows, columns, bits = (as_integer(dataset, keyword) for keyword in ("Rows", "Columns", "BitsAllocated"))
    if not rows or not columns or not bits:
        return None
    samples = as_integer(dataset, "SamplesPerPixel") or 1
    return rows * columns * samples * _frames(dataset) * bits // 8


def _modality(dataset: Dataset) -> str:
    if as_uid(dataset, "SOPClassUID") in RECORD_CLASSES:
        return "RTRECORD"
    return as_text(dataset, "Modality").upper()


def _header(
    dataset: FileDataset, modality: str, references: References | None, damage: str, *, has_pixels: bool
) -> Header:
    sop_class = as_uid(dataset, "SOPClassUID") or as_uid(dataset.file_meta, "MediaStorageSOPClassUID")
    if sop_class == MediaStorageDirectoryStorage:
        raise NotDicomError("a DICOMDIR: a table of contents, no object")
    if not sop_class or not as_uid(dataset, "SOPInstanceUID"):
        raise NotDicomError("not a DICOM object (it has no SOP class or no SOP instance UID)")
    planes = _planes(dataset, modality)
    return Header(
        sop_class_uid=_shared(sop_class),
        sop_instance_uid=as_uid(dataset, "SOPInstanceUID"),
        modality=_shared(modality),
        patient_id=_shared(as_text(dataset, "PatientID")),
        study_instance_uid=_shared(as_uid(dataset, "StudyInstanceUID")),
        series_instance_uid=_shared(as_uid(dataset, "SeriesInstanceUID")),
        frame_of_reference_uid=_shared(as_uid(dataset, "FrameOfReferenceUID")),
        image_type=_shared(as_text(dataset, "ImageType").upper()),
        series_description=_shared(as_text(dataset, "SeriesDescription")),
        manufacturer=_shared(as_text(dataset, "Manufacturer")),
        manufacturer_model=_shared(as_text(dataset, "ManufacturerModelName")),
        scanning_sequence=_shared(as_text(dataset, "ScanningSequence").upper()),
        corrected_image=_shared(as_text(dataset, "CorrectedImage").upper()),
        instance_number=as_integer(dataset, "InstanceNumber"),
        phase=_shared(_phase(dataset)),
        date=_shared(_first_date(dataset, "SeriesDate", "AcquisitionDate", "ContentDate", "StudyDate")),
        created=as_text(dataset, "InstanceCreationDate") + as_text(dataset, "InstanceCreationTime"),
        rows=as_integer(dataset, "Rows") or 0,
        columns=as_integer(dataset, "Columns") or 0,
        frames=_frames(dataset) if has_pixels else 0,
        planes=len(set(planes.positions_mm)),
        orientation=tuple(round(value, 4) for value in planes.orientation),
        plane_position_mm=min(planes.positions_mm, default=None),
        pixel_spacing_mm=planes.pixel_spacing_mm,
        damage=damage,
        references=references,
    )


def _frames(dataset: Dataset) -> int:
    return max(as_integer(dataset, "NumberOfFrames") or 1, 1)


def _phase(dataset: Dataset) -> str:
    keywords = ("AcquisitionNumber", "TemporalPositionIdentifier", "TriggerTime", "EchoNumbers")
    return "|".join(as_text(dataset, keyword) for keyword in keywords)


def _first_date(dataset: Dataset, *keywords: str) -> str:
    return next((date for keyword in keywords if (date := as_date(dataset, keyword))), "")


@dataclass(frozen=True)
class _Planes:
    """Where the frames of an image lie; positions are empty unless every frame has one."""

    orientation: tuple[float, ...] = ()
    pixel_spacing_mm: tuple[float, ...] = ()
    positions_mm: tuple[float, ...] = ()


def _planes(dataset: Dataset, modality: str) -> _Planes:
    """Geometry from the image plane attributes, or from the functional groups of an enhanced image (PS3.3 C.7.6.16)."""
    if modality not in IMAGE_MODALITIES or "PerFrameFunctionalGroupsSequence" not in dataset:
        orientation = as_numbers(dataset, "ImageOrientationPatient")
        orientation = orientation if len(orientation) == 6 else ()
        position = _plane_position_mm(dataset, orientation) if _frames(dataset) == 1 else None
        spacing = as_numbers(dataset, "PixelSpacing")
        return _Planes(orientation, spacing, () if position is None else (position,))
    shared = next(iter(items(dataset, "SharedFunctionalGroupsSequence")), Dataset())
    frames = items(dataset, "PerFrameFunctionalGroupsSequence")

    def group(frame: Dataset, keyword: str) -> Dataset:
        return next(iter([*items(frame, keyword), *items(shared, keyword)]), Dataset())

    orientations = {as_numbers(group(one, "PlaneOrientationSequence"), "ImageOrientationPatient") for one in frames}
    spacings = {as_numbers(group(one, "PixelMeasuresSequence"), "PixelSpacing") for one in frames}
    orientation = orientations.pop() if len(orientations) == 1 else ()
    if len(orientation) != 6 or len(frames) != _frames(dataset):
        return _Planes()
    found = [_plane_position_mm(group(one, "PlanePositionSequence"), orientation) for one in frames]
    positions = tuple(position for position in found if position is not None)
    return _Planes(
        orientation, spacings.pop() if len(spacings) == 1 else (), positions if len(positions) == len(found) else ()
    )


def _plane_position_mm(dataset: Dataset, orientation: tuple[float, ...]) -> float | None:
    position = as_numbers(dataset, "ImagePositionPatient")
    if len(position) != 3 or len(orientation) != 6:
        return None
    (a, b, c), (d, e, f), (x, y, z) = orientation[:3], orientation[3:], position
    return round((b * f - c * e) * x + (c * d - a * f) * y + (a * e - b * d) * z, 4)


def _shared(text: str) -> str:
    """One copy in memory of a text that many headers have."""
    return sys.intern(text)

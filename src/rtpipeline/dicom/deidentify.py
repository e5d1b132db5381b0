"""Copies of DICOM objects without identifiers, by the Basic Application Level Confidentiality Profile (PS3.15 E.2).

Options: Clean Descriptors (E.3.5), Retain Longitudinal Temporal Information with
Modified Dates (E.3.6), Retain Patient Characteristics (E.3.7), and of Retain Safe Private (E.3.10) what SUV needs.
Pixels are not looked at: text that is burned into them stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from rtpipeline.dicom.confidentiality import (
    BINARY,
    CODED,
    CODES_KEPT,
    DESCRIPTORS,
    EMPTIED,
    METHOD_CODES,
    NUMERIC_TEXT,
    PRIVATE_KEPT,
    REMOVED,
    REMOVED_GROUPS,
    TEXTS,
)
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.reading import complete_transfer_syntax
from rtpipeline.dicom.values import MALFORMED_VALUE_ERRORS, as_date, as_text, as_uid, quietly
from rtpipeline.pseudonyms import Translation

DEIDENTIFY_VERSION = 2
"""Counts up when the same object gives another copy."""

_IDENTIFYING = (
    *("PatientID", "PatientBirthName", "AccessionNumber", "InstitutionName", "InstitutionAddress", "StationName"),
    *("OtherPatientIDs", "DeviceSerialNumber", "PatientAddress", "PatientTelephoneNumbers", "MedicalRecordLocator"),
    *("IssuerOfPatientID", "InstitutionalDepartmentName", "StudyID"),
)
_NUMBERED = ("StationName", "StudyID")
"""Without a digit these are words such as `planning`, which identify nobody."""


def copy_without_identifiers(source: Path, target: Path, translation: Translation) -> None:
    """Write a copy of a DICOM object that says the same of the treatment and nothing of the person.

    Args:
        source: a DICOM file; only read.
        target: is made or replaced.
        translation: pseudonyms of its patient.

    Raises:
        DicomError: the file cannot be read, or cannot be written as DICOM.
        OSError: the copy cannot be written.
    """
    try:
        dataset = pydicom.dcmread(source, force=True)
        with quietly():
            complete_transfer_syntax(dataset)
            _clean_object(dataset, translation)
            dataset.save_as(target, enforce_file_format=True)
    except MALFORMED_VALUE_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DicomError(f"a file cannot be copied without identifiers ({type(error).__name__})") from error


def identifiers_of(path: Path) -> dict[str, str]:
    """What names the patient, other people and the institution in a DICOM file, by attribute.

    Raises:
        DicomError: the file cannot be read.
    """
    found: dict[str, str] = {}
    try:
        with quietly():
            dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            for keyword in _IDENTIFYING:
                text = as_text(dataset, keyword)
                if text and (keyword not in _NUMBERED or any(map(str.isdigit, text))):
                    found[keyword] = text
            for element in dataset:
                if element.VR == "PN" and (text := as_text(dataset, element.keyword)):
                    found[element.keyword] = text
            if birth := as_date(dataset, "PatientBirthDate"):
                found["PatientBirthDate"] = birth
    except MALFORMED_VALUE_ERRORS as error:
        raise DicomError(f"the identifiers of a file cannot be read ({type(error).__name__})") from error
    return found


def texts_of(path: Path) -> Iterator[tuple[str, str]]:
    """Every value of a DICOM file that is text, names and dates among them, with the keyword or tag of its attribute.

    Numbers and times, which hold nothing but digits, are left out.

    Raises:
        DicomError: the file cannot be read.
    """
    try:
        with quietly():
            dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            yield from _texts_in(dataset.file_meta)
            yield from _texts_in(dataset)
    except MALFORMED_VALUE_ERRORS as error:
        raise DicomError(f"{path} cannot be read as DICOM: {error}") from error


def _texts_in(dataset: Dataset) -> Iterator[tuple[str, str]]:
    for tag in list(dataset.keys()):
        representation = _representation(dataset, tag)
        if representation in BINARY or representation in ("DS", "IS", "TM", "DT"):
            continue
        value = dataset[tag].value
        if isinstance(value, DicomSequence):
            for item in value:
                yield from _texts_in(item)
        elif value:
            text = value.decode("latin-1") if isinstance(value, bytes) else _joined(value)
            yield keyword_for_tag(tag) or str(tag), text


def _clean_object(dataset: FileDataset, translation: Translation) -> None:
    age = _age(dataset)
    name = translation.patient
    meta = dataset.file_meta
    _clean(dataset, translation)
    dataset.PatientID = name
    dataset.PatientName = name
    if age:
        dataset.PatientAge = age
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "rtpipeline: PS3.15 Basic Profile, keyed pseudonyms"
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"
    codes = []
    for value, meaning in METHOD_CODES:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
        codes.append(code)
    dataset.DeidentificationMethodCodeSequence = DicomSequence(codes)
    syntax = as_text(meta, "TransferSyntaxUID")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = UID(as_uid(dataset, "SOPClassUID"))
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(as_uid(dataset, "SOPInstanceUID"))
    dataset.file_meta.TransferSyntaxUID = UID(syntax or _guessed_syntax(dataset))
    dataset.preamble = b"\0" * 128


def _guessed_syntax(dataset: FileDataset) -> str:
    """The syntax that a file without file meta information was read with (PS3.5 10)."""
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _age(dataset: Dataset) -> str:
    """PatientAge from the birth date, which does not stay, and the date of the object; empty if either is missing."""
    birth = as_date(dataset, "PatientBirthDate")
    keywords = ("RTPlanDate", "StructureSetDate", "AcquisitionDate", "SeriesDate", "ContentDate", "StudyDate")
    on = next((date for keyword in keywords if (date := as_date(dataset, keyword))), "")
    if not birth or not on or on < birth:
        return ""
    years = int(on[:4]) - int(birth[:4]) - (on[5:] < birth[5:])
    return f"{years:03d}Y" if years < 1000 else ""


def _clean(dataset: Dataset, translation: Translation) -> None:
    """Take out of a dataset, and of the items of its sequences, what identifies."""
    for tag in list(dataset.keys()):
        if tag.is_private:
            _clean_private(dataset, tag, translation)
            continue
        keyword = keyword_for_tag(tag)
        representation = _representation(dataset, tag)
        if tag.group in REMOVED_GROUPS or keyword in REMOVED or not keyword:
            del dataset[tag]
        elif keyword in EMPTIED:
            dataset[tag] = DataElement(tag, dictionary_VR(tag), "")
        elif representation == "SQ":
            _clean_sequence(dataset, tag, keyword, translation)
        elif representation in NUMERIC_TEXT:
            if not _is_numeric(dataset, tag, NUMERIC_TEXT[representation]):
                del dataset[tag]
        elif representation not in BINARY:
            _replace(dataset, tag, _replacement(keyword, representation, translation))
    _drop_unused_creators(dataset)


def _replacement(keyword: str, representation: str, translation: Translation) -> Callable[[str], str] | None:
    """What makes a new value of an old one; None where the attribute goes."""
    if representation == "UI":
        names_a_class = keyword.endswith("SOPClassUID") or "TransferSyntax" in keyword
        return (lambda uid: uid) if names_a_class else translation.key.uid
    if representation == "DA":
        return translation.date
    if representation == "DT":
        return lambda moment: (date + moment[8:]) if (date := translation.date(moment[:8])) else ""
    if keyword in CODED:
        kind = CODED[keyword]
        return lambda text: f"{kind}_{translation.key.code(kind, text, 8)}" if text else ""
    if representation == "CS" or (representation in TEXTS and keyword in DESCRIPTORS):
        return translation.text
    return None


def _replace(dataset: Dataset, tag: BaseTag, new: Callable[[str], str] | None) -> None:
    if new is None:
        del dataset[tag]
        return
    try:
        element = dataset[tag]
        values = element.value if isinstance(element.value, (MultiValue, list)) else [element.value]
        changed = [new(str(value)) if value not in (None, "") else "" for value in values]
        if changed != ["" if value is None else str(value) for value in values]:
            dataset[tag] = DataElement(tag, element.VR, changed if len(changed) > 1 else changed[0])
    except MALFORMED_VALUE_ERRORS:
        del dataset[tag]  # what cannot be read cannot be cleaned


def _clean_sequence(dataset: Dataset, tag: BaseTag, keyword: str, translation: Translation) -> None:
    try:
        items = list(dataset[tag].value or [])
    except MALFORMED_VALUE_ERRORS:
        del dataset[tag]
        return
    coded = any(name in item for item in items for name in ("CodeValue", "LongCodeValue", "URNCodeValue"))
    if coded and keyword not in CODES_KEPT:
        del dataset[tag]
        return
    for item in items:
        _clean(item, translation)
    if items and not any(len(item) for item in items):
        del dataset[tag]


def _clean_private(dataset: Dataset, tag: BaseTag, translation: Translation) -> None:
    if tag.is_private_creator:
        return  # goes last: it says whose the others are
    creator = _text_at(dataset, BaseTag((tag.group << 16) | (tag.element >> 8)))
    if (creator, tag.group, tag.element & 0xFF) not in PRIVATE_KEPT:
        del dataset[tag]


def _text_at(dataset: Dataset, tag: BaseTag) -> str:
    """The text of an element; empty where it is missing or cannot be read."""
    try:
        return str(dataset[tag].value or "").strip() if tag in dataset else ""
    except MALFORMED_VALUE_ERRORS:
        return ""


def _drop_unused_creators(dataset: Dataset) -> None:
    private = [tag for tag in list(dataset.keys()) if tag.is_private]
    used = {(tag.group, tag.element >> 8) for tag in private if not tag.is_private_creator}
    for tag in private:
        if tag.is_private_creator and (tag.group, tag.element) not in used:
            del dataset[tag]


def _is_numeric(dataset: Dataset, tag: BaseTag, characters: bytes) -> bool:
    """Whether a number that is written as text is really one, without converting it."""
    element = dataset.get_item(tag)
    content = element.value if isinstance(element, RawDataElement) else _joined(dataset[tag].value).encode()
    return not (content or b"").translate(None, characters + b" \0")


def _representation(dataset: Dataset, tag: BaseTag) -> str:
    """The value representation of an element, without converting its value."""
    element = dataset.get_item(tag)
    written = element.VR if isinstance(element, (RawDataElement, DataElement)) else None
    if written not in (None, "UN"):
        return str(written)
    return dictionary_VR(tag) if dictionary_has_tag(tag) else "UN"


def _joined(value: object) -> str:
    return "\\".join(map(str, value)) if isinstance(value, (MultiValue, list, tuple)) else str(value)

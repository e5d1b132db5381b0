"""Attributes of the files of a PET series that have to be the same, or plausible, in all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydicom.dataset import Dataset

from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.values import MALFORMED_VALUE_ERRORS, as_number, as_text, items

GE_PRIVATE = (0x0009, "GEMS_PETD_01")
PHILIPS_PRIVATE = (0x7053, "Philips PET Private Group")


def same_text(datasets: Iterable[Dataset], keyword: str) -> str:
    """The text of an attribute; empty when it is missing in all.

    Raises:
        DicomError: it differs between the datasets.
    """
    texts = {as_text(dataset, keyword) for dataset in datasets}
    if len(texts) > 1:
        raise DicomError(f"PET: {keyword} differs between the files of the series")
    return texts.pop()


def plausible_number(datasets: Sequence[Dataset], keyword: str, limits: tuple[float, float], unit: str) -> float:
    """A number that is the same in all datasets.

    Raises:
        DicomError: it differs, is missing, or is outside of `limits`.
    """
    same_text(datasets, keyword)
    number = as_number(datasets[0], keyword)
    if number is None or not limits[0] <= number <= limits[1]:
        raise DicomError(f"PET: {keyword} is missing or not plausible in {unit} (found {number})")
    return number


def tracer(header: Dataset) -> Dataset:
    """The one radiopharmaceutical of a header.

    Raises:
        DicomError: there is none, or more than one.
    """
    tracers = items(header, "RadiopharmaceuticalInformationSequence")
    if len(tracers) != 1:
        raise DicomError(f"PET: {len(tracers)} radiopharmaceuticals in the header; exactly one is needed")
    return tracers[0]


def private_text(header: Dataset, block: tuple[int, str], element: int) -> str:
    """The text of a private element by its block's creator, whatever its VR (UN where it is unknown).

    Empty where it is missing or malformed.
    """
    group, creator = block
    try:
        value = header.private_block(group, creator)[element].value
    except MALFORMED_VALUE_ERRORS:
        return ""
    text = value.decode("ascii", errors="replace") if isinstance(value, bytes) else str(value or "")
    return text.strip(" \0")

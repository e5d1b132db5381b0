"""Reading a DICOM file of any transfer syntax, with or without preamble: its content, or a sentence why not."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.values import MALFORMED_VALUE_ERRORS, as_uid


def read_dataset(
    path: Path,
    *,
    kind: str = "",
    classes: Collection[str] = (),
    with_pixels: bool = True,
    keywords: Collection[str] | None = None,
) -> FileDataset:
    """Read a DICOM file.

    Args:
        path: the file.
        kind: what it has to be, as words with their article (`an RT Plan`), for the error.
        classes: SOP Class UIDs of that kind; any, if none is given.
        with_pixels: False stops where the pixels begin.
        keywords: the only attributes to read; all, if None.

    Raises:
        DicomError: the file cannot be read, or is of another kind.
    """
    try:
        dataset = pydicom.dcmread(
            path,
            force=True,
            stop_before_pixels=not with_pixels,
            specific_tags=None if keywords is None else list(keywords),
        )
    except MALFORMED_VALUE_ERRORS as error:
        raise DicomError(f"{path} cannot be read as DICOM ({error}); export it again") from error
    complete_transfer_syntax(dataset)
    if classes and as_uid(dataset, "SOPClassUID") not in classes:
        raise DicomError(f"{path} is not {kind}; put one in its place or take it away")
    return dataset


def complete_transfer_syntax(dataset: FileDataset) -> None:
    """Give a dataset whose file names no transfer syntax the one that its elements are written in (PS3.5, A.1 to A.3).

    Compressed pixels, which are of undefined length, can be of many; a dataset with them is left as it is.
    """
    if as_uid(dataset.file_meta, "TransferSyntaxUID"):
        return
    if "PixelData" in dataset and dataset["PixelData"].is_undefined_length:
        return
    implicit, little_endian = dataset.original_encoding
    explicit = ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def stored_values(path: Path, dataset: FileDataset) -> NDArray:
    """The pixels of a file as they are stored: (rows, columns), or (frames, rows, columns).

    Raises:
        DicomError: they cannot be decoded.
    """
    try:
        return dataset.pixel_array
    except (*MALFORMED_VALUE_ERRORS, RuntimeError) as error:
        raise DicomError(f"{path}: its pixels cannot be read ({error}); export it again, uncompressed") from error

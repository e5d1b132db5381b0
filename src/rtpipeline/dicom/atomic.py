"""Writing a DICOM file so that it is there completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian

from rtpipeline.atomic import replacing


def save(path: Path, dataset: pydicom.Dataset) -> None:
    """Write `dataset` to `path` in implicit VR little endian, replacing what is there only when it is complete.

    Implicit VR, because a value of more than 64 kB (a long contour) loses its type in explicit VR.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.file_meta = meta
    with replacing(path) as temporary:
        pydicom.dcmwrite(temporary, dataset, implicit_vr=True, little_endian=True, enforce_file_format=True)

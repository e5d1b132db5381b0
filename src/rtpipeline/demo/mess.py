"""Spreading a cohort's files through folders as messily as a hospital's export does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage, generate_uid

FOLDERS = (
    "DISC1/00000001/A7F3",
    "DISC1/00000001/A7F4",
    "DISC2/X",
    "export 2024-06/new folder (2)",
    "export 2024-06/to_sort/PACS",
    "old/backup/backup",
)
SUFFIXES = (".dcm", "", ".DCM", ".ima", ".img", ".1", "")
DUPLICATES_EVERY = 23


def scatter(folder: Path, objects: Sequence[Dataset]) -> list[Path]:
    """Write `objects` below `folder` under names that say nothing, some of them twice; the same names in every run.

    Returns:
        The files, in the order of `objects`, without the duplicates.
    """
    random = np.random.default_rng(20240617)
    paths = []
    for number, dataset in enumerate(objects):
        place = folder / FOLDERS[int(random.integers(len(FOLDERS)))]
        name = f"{int(random.integers(16**8)):08X}{SUFFIXES[int(random.integers(len(SUFFIXES)))]}"
        path = place / name
        _write(path, dataset)
        paths.append(path)
        if number % DUPLICATES_EVERY == 0:
            _write(folder / "DISC2" / "copy" / f"I{number:07d}", dataset)
    return paths


def add_rubbish(folder: Path, scout: Sequence[Dataset]) -> None:
    """Add what is no use to anybody: a text file named `.dcm`, a truncated image, a DICOMDIR, a PDF, an empty file.

    Args:
        folder: where the cohort is.
        scout: the images of a localiser; the last one is cut off in the middle of its pixels.
    """
    (folder / "notes.dcm").write_text("This is not DICOM, whatever its name says.\n", encoding="ascii")
    (folder / "DISC1" / "report.pdf").write_bytes(b"%PDF-1.4\n%demo\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n")
    (folder / "DISC2" / "Thumbs.db").write_bytes(b"")
    (folder / "DISC1" / "README.TXT").write_text("Exported by the demonstration.\n", encoding="ascii")
    _write(folder / "DISC1" / "DICOMDIR", _empty_directory())
    for number, image in enumerate(scout):
        path = folder / "DISC1" / "SCOUT" / f"SC{number:03d}"
        _write(path, image)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - len(scout[-1].PixelData) // 2])


def _write(path: Path, dataset: Dataset) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, dataset, enforce_file_format=True)


def _empty_directory() -> Dataset:
    """A DICOMDIR without records, as burning software leaves behind."""
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["rtpipeline-demo", "DICOMDIR"])
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.FileSetID = "DEMO"
    directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    directory.FileSetConsistencyFlag = 0
    directory.DirectoryRecordSequence = []
    return directory

"""Headers that are damaged or malicious: no crash, nothing outside the output, every file accounted for.

What must hold, whatever the headers say: organizing ends; it writes nothing outside the output folder; every file is in
a course or in the list of unused files; and organizing again reads and changes nothing.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from dicom_factory import Patient
from organized import Organize, Organized
from rtpipeline.dicom.values import MALFORMED_VALUE_ERRORS

MALICIOUS = (
    "../../x",
    "=cmd()",
    "a\0b",
    "x" * 10_000,
    "",
    " ",
    "\\",
    "1\\2\\3",
    "\u202e",
    "/abs",
    "nan",
    "-1",
    "9" * 400,
)


def everything_is_accounted_for(made: Organized, root: Path) -> None:
    contents = {path.read_bytes() for course in made.result.courses for path in course.files.folder.rglob("*.dcm")}
    unused = set(made.unused)
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        assert path.is_dir() or name in unused or path.read_bytes() in contents, name


@pytest.mark.parametrize("seed", range(4))
def test_mutated_bytes(tmp_path: Path, export: Path, organized: Organize, seed: int) -> None:
    random = np.random.default_rng(seed)
    patient = Patient(export)
    patient.make_course()
    patient.make_record("rt")
    patient.make_registration("reg", fixed="frame", moving="other")
    originals = sorted(export.rglob("*.dcm"))
    for number in range(150):
        content = bytearray(originals[number % len(originals)].read_bytes())
        for _ in range(int(random.integers(1, 6))):
            content[int(random.integers(128, len(content)))] = int(random.integers(256))
        if random.random() < 0.3:
            del content[int(random.integers(132, len(content))) :]
        target = export / "mutated" / f"{number:03d}"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "out")}
    made = organized()
    assert before == {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "out")}
    everything_is_accounted_for(made, export)
    again = organized()
    assert (again.result.files_read, again.result.changed) == (0, False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", ["make_series", "make_structure_set", "make_plan", "make_dose", "make_record"])
def test_malicious_values(tmp_path: Path, export: Path, organized: Organize, make: str) -> None:
    Patient(export).make_course()
    for number, value in enumerate(MALICIOUS):
        made = getattr(Patient(export / f"{number}"), make)(*(["rt"] if make == "make_record" else []))
        path = made[0] if isinstance(made, list) else made
        dataset = pydicom.dcmread(path)
        for element in list(dataset):
            if element.VR in ("LO", "SH", "UI", "DA", "TM", "CS", "DS", "IS") and element.keyword != "SOPClassUID":
                changed = pydicom.dcmread(path)
                raw = changed.get_item(element.tag)
                data = value.encode("utf-8")
                data += b" " * (len(data) % 2)
                changed._dict[element.tag] = raw._replace(value=data, length=len(data))
                changed.save_as(path.with_name(f"{path.stem}_{element.keyword}.dcm"), enforce_file_format=False)
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "out")}
    result = organized()
    assert before == {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "out")}
    everything_is_accounted_for(result, export)


REAL_FILES = (
    *("LUNG1-001/RTPLAN.dcm", "LUNG1-001/RTDOSE.dcm", "LUNG1-001/RTSTRUCT.dcm", "LUNG1-001/CT/1-001.dcm"),
    *("LUNG1-001/CT/1-002.dcm", "LUNG1-001/CT/1-003.dcm", "LUNG1-001/CT/1-004.dcm"),
    *("breast-tps/rtplan.dcm", "breast-tps/rtdose.dcm", "breast-tps/rtss.dcm", "breast-tps/ct.0.dcm"),
    *("IBSI-1/dicom/mask/DCM_RS_00060.dcm", "IBSI-1/dicom/image/DCM_IMG_00000.dcm"),
    *("STS/STS_025/MR_T1/mask/RS.dcm", "STS/STS_025/MR_T1/image/000000.dcm", "STS/STS_025/PET/image/000000.dcm"),
)
VALUE_REPRESENTATIONS = ("UI", "LO", "DA", "TM", "DS", "IS", "US", "FD", "SQ", "OB", "PN", "AT", "ZZ")
COHORTS, FILES_A_COHORT = 8, 250


def small_header(path: Path) -> bytes:
    """A real file with its whole header, two by two pixels, one contour and one control point."""
    dataset = pydicom.dcmread(path)
    for keyword, wanted in (("ROIContourSequence", 1), ("DVHSequence", 1), ("GridFrameOffsetVector", 2)):
        if keyword in dataset:
            setattr(dataset, keyword, list(dataset[keyword].value)[:wanted])
    for roi in dataset.get("ROIContourSequence", ()):
        roi.ContourSequence = list(roi.get("ContourSequence", ()))[:1]
    for beam in dataset.get("BeamSequence", ()):
        beam.ControlPointSequence = list(beam.get("ControlPointSequence", ()))[:1]
    if "PixelData" in dataset:
        dataset.Rows = dataset.Columns = 2
        frames = 2 if "NumberOfFrames" in dataset else 1
        if frames == 2:
            dataset.NumberOfFrames = frames
        dataset.PixelData = bytes(4 * frames * dataset.BitsAllocated // 8)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=False)
    return buffer.getvalue()


def places(dataset: Dataset) -> list[tuple[Dataset, BaseTag]]:
    """Every element of a dataset and of its sequences, with the dataset that holds it."""
    found: list[tuple[Dataset, BaseTag]] = []
    for element in dataset:
        found.append((dataset, element.tag))
        if element.VR == "SQ":
            for item in element.value or ():
                found += places(item)
    return found


def mutate(content: bytes, random: np.random.Generator) -> bytes:
    """One to four elements missing, empty, of another representation, huge, malicious, or random bytes."""
    dataset = pydicom.dcmread(BytesIO(content))
    candidates = [(holder, tag) for holder, tag in places(dataset) if tag != 0x7FE00010]
    for _ in range(int(random.integers(1, 5))):
        holder, tag = candidates[int(random.integers(len(candidates)))]
        if tag not in holder:
            continue
        kind = int(random.integers(6))
        if kind == 0:
            del holder[tag]
            continue
        text = MALICIOUS[int(random.integers(len(MALICIOUS)))].encode("utf-8")
        value = (b"", text, b"X" * 10_000, random.bytes(int(random.integers(1, 40))), text)[kind - 1]
        representation = str(holder.get_item(tag).VR) if kind in (1, 2) else "LO"
        if kind == 5:
            representation = VALUE_REPRESENTATIONS[int(random.integers(len(VALUE_REPRESENTATIONS)))]
        value += b" " * (len(value) % 2)
        holder._dict[tag] = RawDataElement(tag, representation, len(value), value, 0, False, True)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=False)
    return buffer.getvalue()


@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cohort", range(COHORTS))
def test_mutated_headers_of_real_files(
    tmp_path: Path, export: Path, test_data: Path, organized: Organize, cohort: int
) -> None:
    random = np.random.default_rng(cohort)
    bases = [small_header(test_data / name) for name in REAL_FILES]
    for number in range(FILES_A_COHORT):
        target = export / str(number % 7) / f"{number}"
        target.parent.mkdir(exist_ok=True)
        mutated = None
        while mutated is None:
            try:
                mutated = mutate(bases[int(random.integers(len(bases)))], random)
            except MALFORMED_VALUE_ERRORS:
                continue  # pydicom cannot write this one; another is drawn
        target.write_bytes(mutated)
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "out")}
    made = organized()
    assert made.result.files_total == FILES_A_COHORT
    assert before == {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "out")}
    everything_is_accounted_for(made, export)
    assert made.result.courses, "some of the files can be used"
    again = organized()
    assert (again.result.files_read, again.result.changed) == (0, False)
    assert again.snapshot() == made.snapshot()

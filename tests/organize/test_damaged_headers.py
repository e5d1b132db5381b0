"""Headers that are damaged or malicious: no crash, nothing outside the output, every file accounted for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_factory import Patient
from organized import Organize, Organized

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

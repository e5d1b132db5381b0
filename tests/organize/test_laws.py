"""Laws of organizing, tried on inputs drawn at random.

What must hold: the order of folders, names of files and folders, splitting folders and copying files never change
courses, their names, or any file of the output but the list of unused files; used and unused files together are all.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dicom_factory import Patient
from organized import Organized
from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles
from rtpipeline.organize import organize
from rtpipeline.tables.parquet import read_parquet

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: every example organizes a cohort."""
FOLDERS = ("", "a", "b/c", "DICOM", "1.2.3", ".hidden", "Ünïcode und mehr")
NAMES = ("IM{}", "{}.dcm", "{}.IMA", "RT{}.dcm", "CT.{}.zip", "{} copy", "{}.txt")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort in which much has to be decided: ties, phases, re-plans, registrations, conflicts, orphans."""
    root = tmp_path_factory.mktemp("originals")
    one = Patient(root / "1", "ONE")
    one.make_course("1", date="20240110")
    one.make_course("2", date="20240120")
    one.make_series("mr", modality="MR", frame="mr frame", study="mr", place="mr")
    one.make_registration("reg", fixed="frame1", moving="mr frame")
    one.make_record("rt", plan="plan1")
    two = Patient(root / "2", "TWO")
    for name in ("a", "b"):
        two.make_series(f"ct {name}", place=name)
    two.make_structure_set(series=())
    for name in ("x", "y"):
        two.make_plan(name, label=name)
        two.make_dose(f"dose of {name}", plans=(name,))
    two.make_structure_set("conflict", StructureSetLabel="A", place="c1")
    two.make_structure_set("conflict", StructureSetLabel="B", place="c2")
    two.make_dose("orphan", plans=(), frame="nowhere", study="nowhere")
    for number in (1, 2):
        Patient(root / "3", "").make_series(f"nameless {number}", slices=3, study=f"{number}", frame=f"{number}")
    (root / "notes").write_text("no DICOM")
    return root


@pytest.fixture(scope="module")
def expected(originals: Path, tmp_path_factory: pytest.TempPathFactory) -> Organized:
    return organized_into(originals, tmp_path_factory.mktemp("expected"))


def organized_into(root: Path, out: Path) -> Organized:
    cohort = CohortFiles(out)
    result = organize(
        root,
        cohort,
        Configuration(),
        threads=2,
        logger=logging.getLogger("test"),
        report_progress=lambda done, total: None,
        cancelled=threading.Event(),
    )
    return Organized(result, cohort)


def results(made: Organized) -> dict[str, bytes]:
    files = made.snapshot()
    del files["_RESULTS/unused_files.parquet"]
    return files


def unused_objects(made: Organized) -> set[tuple[str, str]]:
    rows = read_parquet(made.cohort.table("unused_files")).to_pylist()
    return {(row["kind"], row["sop_instance_uid"]) for row in rows if row["kind"] != "duplicate"}


@settings(max_examples=10, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_where_files_lie_and_how_often_changes_nothing(
    originals: Path, expected: Organized, data: st.DataObject
) -> None:
    files = sorted(path for path in originals.rglob("*") if path.is_file())
    order = data.draw(st.permutations(range(len(files))))
    places = data.draw(
        st.lists(st.tuples(st.sampled_from(FOLDERS), st.sampled_from(NAMES)), min_size=len(files), max_size=len(files))
    )
    copies = data.draw(st.lists(st.sampled_from(range(len(files))), max_size=15))
    work = Path(tempfile.mkdtemp())
    try:
        for number, source in enumerate([*order, *copies]):
            folder, name = places[number % len(files)]
            target = work / "in" / folder / name.format(number)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files[source], target)
        made = organized_into(work / "in", work / "out")
        assert results(made) == results(expected)
        assert unused_objects(made) == unused_objects(expected)
        everything_is_used_or_unused(work / "in", made)
    finally:
        shutil.rmtree(work)


def everything_is_used_or_unused(root: Path, made: Organized) -> None:
    """No file is neither; only a copy of a used file may be both."""
    contents = {path.read_bytes() for course in made.result.courses for path in course.files.folder.rglob("*.dcm")}
    unused = made.unused
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_file():
            used = path.read_bytes() in contents
            assert used or name in unused, name
            assert not used or unused.get(name, ("duplicate",))[0] == "duplicate", name
    assert made.result.files_total == sum(path.is_file() for path in root.rglob("*"))


def test_the_cohort_holds_what_it_is_to_try(expected: Organized) -> None:
    labels = Counter(course.description.dose_decision.label for course in expected.result.courses)
    assert labels == {"single_dose": 2, "ambiguous": 1, "no_dose": 2}
    assert any(course.path("DICOM/OTHER_CONTENT").is_dir() for course in expected.result.courses)
    assert {kind for kind, _ in unused_objects(expected)} == {"not_dicom", "not_chosen", "unlinked"}


@settings(max_examples=8, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_came_bit_by_bit_is_what_came_at_once(originals: Path, expected: Organized, data: st.DataObject) -> None:
    """Organizing after every delivery ends where organizing once does, byte for byte.

    Plans and CT come first: a course keeps the name it had when it was first seen, with the month known then.
    """
    files = sorted(path for path in originals.rglob("*") if path.is_file())
    first = [path for path in files if path.name.startswith(("ct", "plan", "x", "y", "nameless"))]
    late = data.draw(st.sets(st.sampled_from([path for path in files if path not in first])))
    work = Path(tempfile.mkdtemp())
    try:
        for delivery in ([path for path in files if path not in late], sorted(late)):
            for path in delivery:
                target = work / "in" / path.relative_to(originals)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
            made = organized_into(work / "in", work / "out")
        assert set(made.courses) == set(expected.courses)
        names = (*expected.courses, "_")
        assert {path: content for path, content in results(made).items() if path.startswith(names)} == results(expected)
    finally:
        shutil.rmtree(work)

"""Course folders: names, completeness, and what a second run does.

What must hold:
- a PatientID cannot lead out of the output folder, and two patients never share a folder;
- adding a plan, dose, record or course never renames a course;
- an interrupted copy is redone; a freshly made folder is not "done"; a corrected input removes stale slices; a summed
  course stays summed, and a resumed run ends byte for byte where an uninterrupted one does;
- a course that is no longer in the input is left alone and named; links are never followed for deleting;
- files are copied unless hard links are asked for, and appear whole or not at all;
- a file that cannot be copied takes only its own course away; images that the input lost stay, unless forced;
- paths in `course.json` and in the manifest cannot lead out of their folder;
- images are numbered by their planes: missing or repeated instance numbers make no names collide.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dicom_factory import Patient
from organized import Organize
from rtpipeline.config import Configuration
from rtpipeline.course import Course, CourseError
from rtpipeline.organize.names import course_folder, patient_folder
from rtpipeline.outcome import StageError

RUN = """
import json, logging, sys, threading
from pathlib import Path
from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles
from rtpipeline.organize import organize
configuration = Configuration.model_validate({"organize": json.loads(sys.argv[3])})
organize(Path(sys.argv[1]), CohortFiles(Path(sys.argv[2])), configuration, threads=1,
         logger=logging.getLogger(), report_progress=lambda *a: None, cancelled=threading.Event())
"""

KILLED = """
import signal, sys
seconds = [float(sys.argv[4])]
def kill_soon(event, arguments):
    if seconds and event.startswith(("open", "os.")) and "/.staging-organize/DICOM/" in str(arguments):
        signal.setitimer(signal.ITIMER_PROF, seconds.pop())
sys.addaudithook(kill_soon)
"""


def is_killed(export: Path, out: Path, seconds: float, **settings: object) -> bool:
    """Organize in a process that dies when it has computed for so long since it began to write a course's files.

    It is the process's own time, so that a busy machine does not let it end before. Nothing handles this signal, which
    ends a process as SIGKILL does.
    """
    words = [sys.executable, "-c", KILLED + RUN, str(export), str(out), json.dumps(settings), str(seconds)]
    return subprocess.run(words, check=False).returncode == -signal.SIGPROF


@pytest.mark.filterwarnings("ignore:The value length")
@pytest.mark.parametrize(
    "identifier", ["../evil", "/etc/passwd", "..", ".hidden", "_COURSES", "a/b\\c", "CON", "x" * 300]
)
def test_patient_folder_stays_inside_and_is_safe(export: Path, organized: Organize, identifier: str) -> None:
    Patient(export, identifier).make_series()
    made = organized()
    folder = made.only.files.folder
    assert folder.parent.parent == made.cohort.folder
    assert folder.resolve().is_relative_to(made.cohort.folder.resolve())
    assert len(folder.parent.name) <= 64
    assert not folder.parent.name.startswith((".", "_"))
    assert made.only.description.patient_id == identifier


@given(st.text(min_size=1, max_size=80))
def test_patient_folder_is_always_one_safe_name(identifier: str) -> None:
    name = patient_folder(identifier)
    assert name == Path(name).name
    assert name not in ("", ".", "..")
    assert 1 <= len(name) <= 64
    assert not name.startswith((".", "_"))
    assert name.isascii()
    assert name.isprintable()


@given(st.lists(st.text(min_size=1, max_size=70), min_size=2, max_size=8, unique=True))
def test_two_patients_never_share_a_folder(identifiers: list[str]) -> None:
    assert len({patient_folder(one) for one in identifiers}) == len(identifiers)


def test_safe_identifiers_are_kept() -> None:
    assert patient_folder("LUNG1-001") == "LUNG1-001"
    assert patient_folder("000123") == "000123"
    assert course_folder("2024-03-01", "P", "frame", "study").startswith("2024-03_")
    assert course_folder("", "P", "frame", "study").startswith("0000-00_")


def test_adding_to_a_course_never_renames_it(patient: Patient, organized: Organize) -> None:
    patient.make_series(date="20240105")
    images = organized().only.key
    patient.make_structure_set()
    assert organized().only.key == images
    patient.make_plan(date="20240210")
    planned = organized().only.key
    assert planned == images
    patient.make_plan("earlier", date="20240101", prescriptions_gy=(10,), label="boost")
    patient.make_dose()
    patient.make_record("rt")
    assert organized().only.key == planned


def test_adding_a_course_never_renames_another(patient: Patient, organized: Organize) -> None:
    patient.make_course("b", date="20240120")
    before = organized().snapshot()
    key = organized().only.key
    patient.make_course("a", date="20240102")
    made = organized()
    assert len(made.courses) == 2
    after = made.snapshot()
    assert {name: content for name, content in before.items() if name.startswith(key)} == {
        name: content for name, content in after.items() if name.startswith(key)
    }


def test_organizing_again_touches_nothing(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    folder = organized().only.files.folder

    def marks() -> dict[Path, tuple[int, int, int]]:
        return {
            path: ((status := path.stat()).st_ino, status.st_mtime_ns, status.st_ctime_ns) for path in folder.rglob("*")
        }

    before = marks()
    assert organized().result.changed is False
    assert marks() == before


def remove_slice(course: Course) -> None:
    course.path("DICOM/CT/CT_0002.dcm").unlink()


def shorten_slice(course: Course) -> None:
    path = course.path("DICOM/CT/CT_0002.dcm")
    path.write_bytes(path.read_bytes()[:-5])


def add_stranger(course: Course) -> None:
    course.path("DICOM/CT/stranger.dcm").write_bytes(b"not from here")


def remove_state(course: Course) -> None:
    course.files.state("organize").unlink()


def damage_state(course: Course) -> None:
    course.files.state("organize").write_bytes(b"\xff\xfe{}")


def empty_state(course: Course) -> None:
    course.files.state("organize").write_text("{}")


def change_description(course: Course) -> None:
    course.files.description.write_text("{}")


def remove_dose(course: Course) -> None:
    course.files.dose.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        remove_slice,
        shorten_slice,
        add_stranger,
        remove_state,
        change_description,
        remove_dose,
        damage_state,
        empty_state,
    ],
)
def test_incomplete_course_is_completed(patient: Patient, organized: Organize, damage: object) -> None:
    patient.make_course()
    patient.make_plan("boost", prescriptions_gy=(16,), date="20240301")
    patient.make_dose("boost dose", plans=("boost",), dose_gy=16)
    whole = organized()
    before = whole.snapshot()
    damage(whole.only)  # type: ignore[operator]
    again = organized()
    assert again.result.changed
    assert again.snapshot() == before
    assert again.only.description.dose_decision.label == "plans_summed"


def test_results_of_other_stages_are_kept(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    course = organized().only
    for name in ("dvh_metrics.parquet", "DICOM/CT_cropped/CT_0001.dcm", "state/dvh.json"):
        course.path(name).parent.mkdir(parents=True, exist_ok=True)
        course.path(name).write_bytes(b"result")
    patient.make_record("rt")
    course = organized().only
    for name in ("dvh_metrics.parquet", "DICOM/CT_cropped/CT_0001.dcm", "state/dvh.json"):
        assert course.path(name).read_bytes() == b"result"


def test_slice_added_and_taken_away(patient: Patient, organized: Organize) -> None:
    slices = patient.make_series(slices=5)
    hidden = slices[1].with_suffix(".hidden")
    hidden.write_bytes(slices[1].read_bytes())
    before = organized().snapshot()
    hidden.unlink()
    content = slices[1].read_bytes()
    slices[1].unlink()
    assert organized().only.description.images[0].instance_count == 4
    slices[1].write_bytes(content)
    hidden.write_bytes(content)
    assert organized().snapshot() == before


def test_replaced_export_replaces_the_copy(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    organized()
    patient.make_structure_set(StructureSetLabel="second export")
    course = organized().only
    assert course.description.structure_sets[0].label == "second export"
    assert course.files.structure_set.read_bytes() == (patient.folder / "rs.dcm").read_bytes()


def test_copies_are_own_files_and_links_are_only_made_when_asked(patient: Patient, organized: Organize) -> None:
    slices = patient.make_series()
    slices[0].chmod(0o444)
    copy = organized().only.path("DICOM/CT/CT_0001.dcm")
    assert copy.stat().st_ino != slices[0].stat().st_ino
    assert os.access(copy, os.W_OK)
    assert copy.stat().st_mtime_ns == slices[0].stat().st_mtime_ns
    linked = organized(out="linked", use_hardlinks=True).only.path("DICOM/CT/CT_0001.dcm")
    assert linked.stat().st_ino == slices[0].stat().st_ino


def test_hard_links_are_off_unless_asked_for() -> None:
    assert not Configuration().organize.use_hardlinks
    assert not Configuration.model_validate(yaml.safe_load("organize: {course_filter: [A]}")).organize.use_hardlinks


@pytest.fixture
def other_file_system(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    shutil.rmtree(folder)


def test_hard_links_between_file_systems_are_copies(
    tmp_path: Path, other_file_system: Path, organized: Organize
) -> None:
    slices = Patient(other_file_system).make_series()
    assert other_file_system.stat().st_dev != tmp_path.stat().st_dev
    with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
        (tmp_path / "link").hardlink_to(slices[0])
    made = organized(other_file_system, use_hardlinks=True)
    copies = sorted(made.only.path("DICOM/CT").iterdir())
    assert [path.read_bytes() for path in copies] == [path.read_bytes() for path in slices]
    assert {path.stat().st_nlink for path in copies} == {1}


@pytest.mark.parametrize("hard_links", [False, True])
def test_killed_while_it_replaces_every_file_is_the_old_or_the_new_one(
    tmp_path: Path, export: Path, organized: Organize, hard_links: bool
) -> None:
    """The input is replaced by another export with the same UIDs; killed anywhere, no file is cut, empty or gone."""
    out = tmp_path / "out"
    configuration = {"use_hardlinks": hard_links}

    def deliver(version: int) -> dict[str, bytes]:
        for path in export.iterdir():
            path.unlink()  # the old input file may have another name in a course
        Patient(export).make_series(slices=40, RescaleSlope=version)
        return {path.name: path.read_bytes() for path in export.iterdir()}

    def copies() -> list[bytes]:
        return [path.read_bytes() for path in sorted(out.glob("*/*/DICOM/CT/*.dcm"))]

    old = deliver(1)
    organized(**configuration)
    before, caught = copies(), 0
    for number in range(1, 6):
        new = deliver(number + 1)
        caught += is_killed(export, out, 0.003 * number, **configuration)
        after = copies()
        assert len(after) == len(before) == 40
        allowed = {*old.values(), *new.values(), *before}
        assert set(after) <= allowed
        assert {path.name: path.read_bytes() for path in export.iterdir()} == new
        old, before = new, after
    assert caught > 0
    organized(**configuration)
    assert copies() == sorted(new.values(), key=copies().index)


@pytest.mark.parametrize("force", [False, True])
def test_images_that_the_input_lost_stay_unless_forced(patient: Patient, organized: Organize, force: bool) -> None:
    patient.make_course()
    first = organized()
    kept = first.snapshot()
    for path in patient.folder.glob("ct*.dcm"):
        path.unlink()
    patient.make_record("rt")
    made = organized(force=force)
    if force:
        assert made.only.description.images == ()
        assert not made.only.path("DICOM/CT").exists()
        assert len(made.only.description.treatment_record_files) == 1
        return
    assert {name: text for name, text in made.snapshot().items() if "unused" not in name} == {
        name: text for name, text in kept.items() if "unused" not in name
    }
    assert made.only == first.only
    assert [made.only.key in warning and "--force organize" in warning for warning in made.result.warnings] == [True]
    assert made.unused == {
        "rt.dcm": (
            "not_chosen",
            f"its course {made.only.key} was left as it was, because its images are no longer in the input",
        )
    }
    assert made.cohort.manifest_courses() == [made.only]
    assert not organized().result.changed


def test_images_that_are_there_and_not_chosen_any_more_go(patient: Patient, organized: Organize) -> None:
    """A structure set is exported again, and names a series that is not in the input; the old CT still is."""
    patient.make_course()
    assert organized().only.description.planning_ct is not None
    patient.make_structure_set(series=("another",))
    made = organized()
    assert made.only.description.images == ()
    assert made.result.warnings == ()
    assert len(made.unused) == 4


def test_images_that_come_back_go_on(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    organized()
    slices = {path: path.read_bytes() for path in patient.folder.glob("ct*.dcm")}
    for path in slices:
        path.unlink()
    organized()
    for path, content in slices.items():
        path.write_bytes(content)
    patient.make_record("rt")
    made = organized()
    assert made.only.description.images[0].instance_count == 4
    assert len(made.only.description.treatment_record_files) == 1
    assert (made.result.warnings, made.unused) == ((), {})


def test_nothing_is_deleted_through_a_link(tmp_path: Path, patient: Patient, organized: Organize) -> None:
    slices = patient.make_series(slices=5)
    course = organized().only
    elsewhere = tmp_path / "elsewhere"
    course.path("DICOM/CT").rename(elsewhere)
    (elsewhere / "CT_9999.dcm").write_bytes(b"of somebody else")
    course.path("DICOM/CT").symlink_to(elsewhere, target_is_directory=True)
    outside = tmp_path / "structures"
    outside.mkdir()
    (outside / "kept.dcm").write_bytes(b"of somebody else")
    course.path("DICOM/RTSTRUCT").symlink_to(outside, target_is_directory=True)
    slices[4].unlink()
    assert organized().only.description.images[0].instance_count == 4
    assert (elsewhere / "CT_9999.dcm").read_bytes() == b"of somebody else"
    assert (outside / "kept.dcm").read_bytes() == b"of somebody else"


def test_an_empty_course_folder_is_not_done(tmp_path: Path, patient: Patient, organized: Organize) -> None:
    patient.make_course()
    whole = organized(out="whole")
    for name in ("DICOM/CT", "DICOM/RTPLAN", "state"):
        (tmp_path / "out" / whole.only.key / name).mkdir(parents=True)
    made = organized()
    assert made.result.changed
    assert made.snapshot() == whole.snapshot()


def test_a_file_that_goes_while_it_is_needed_takes_only_its_course(export: Path, organized: Organize) -> None:
    for name in ("A", "B"):
        Patient(export / name, name).make_course()
    gone = export / "A" / "ct_002.dcm"

    def all_headers_are_read(done: int, total: int) -> None:
        if done == total:
            gone.unlink()

    made = organized(report_progress=all_headers_are_read)
    assert [course.description.patient for course in made.result.courses] == ["B"]
    assert [course.description.patient for course in made.cohort.manifest_courses()] == ["B"]
    ((key, reason),) = made.result.failures.items()
    assert key.startswith("A/")
    assert "A/ct_002.dcm: cannot be read (No such file or directory)" in reason
    assert {path: kind for path, (kind, _) in made.unused.items()} == {
        f"A/{path.name}": "failed" for path in [*(export / "A").iterdir(), gone]
    }
    assert not list(made.cohort.folder.glob("A/*/.staging*"))
    again = organized()
    assert (again.result.failures, again.unused) == ({}, {})
    assert again.courses[key].description.images[0].instance_count == 3


@pytest.mark.parametrize("path", ["../../outside", "/etc/passwd", "DICOM/../../x", "", "\0"])
def test_paths_of_a_description_stay_in_the_course(patient: Patient, organized: Organize, path: str) -> None:
    patient.make_course()
    patient.make_record("rt")
    course = organized().only
    text = json.loads(course.files.description.read_text())
    for holder, name in (
        (text["images"][0], "folder"),
        (text["plans"][0], "file"),
        (text["doses"][0], "file"),
        (text["structure_sets"][0], "file"),
    ):
        right, holder[name] = holder[name], path
        course.files.description.write_text(json.dumps(text))
        with pytest.raises(CourseError, match="leads out of the course folder"):
            Course.load(course.files.folder)
        holder[name] = right
    text["treatment_record_files"] = [path]
    course.files.description.write_text(json.dumps(text))
    with pytest.raises(CourseError, match="leads out of the course folder"):
        Course.load(course.files.folder)


def test_a_damaged_manifest_is_named(patient: Patient, organized: Organize) -> None:
    patient.make_series()
    manifest = organized().cohort.manifest
    for content in (b"", b"{}", b'{"courses": [1]}', b"\xff"):
        manifest.write_bytes(content)
        with pytest.raises(StageError, match=r"manifest\.json: damaged .*; delete it, and run again"):
            organized()


def test_paths_of_a_manifest_stay_in_the_output(patient: Patient, organized: Organize) -> None:
    patient.make_series()
    made = organized()
    manifest = json.loads(made.cohort.manifest.read_text())
    manifest["courses"][0]["path"] = f"../{made.cohort.folder.name}/{made.only.key}"
    made.cohort.manifest.write_text(json.dumps(manifest))
    with pytest.raises(CourseError, match=r"manifest\.json: .*leads out"):
        made.cohort.manifest_courses()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"version": 1, "patient": 3}'])
def test_a_description_that_cannot_be_used_is_named_and_made_again(
    patient: Patient, organized: Organize, content: bytes
) -> None:
    patient.make_course()
    made = organized()
    before = made.snapshot()
    made.only.files.description.write_bytes(content)
    with pytest.raises(CourseError, match=r"course\.json: not what this version writes .*--force organize"):
        made.cohort.manifest_courses()
    assert organized().snapshot() == before
    shutil.rmtree(made.only.files.folder)
    with pytest.raises(CourseError, match="the manifest names it, and it is not there; run again"):
        made.cohort.manifest_courses()
    assert organized().snapshot() == before


def test_course_that_is_no_longer_in_the_input_is_said(export: Path, organized: Organize) -> None:
    Patient(export / "a", "A").make_series()
    gone = Patient(export / "b", "B").make_series()
    course = next(course for course in organized().result.courses if course.description.patient == "B")
    for path in gone:
        path.unlink()
    made = organized()
    assert made.only.description.patient == "A"
    assert [course.key in warning for warning in made.result.warnings] == [True]
    assert course.files.description.is_file()


def test_manifest(export: Path, organized: Organize) -> None:
    Patient(export / "a", "A").make_series(slices=8)
    Patient(export / "b", "B").make_series(slices=4)
    made = organized()
    manifest = json.loads(made.cohort.manifest.read_text())
    assert [(entry["patient"], entry["slice_count"], entry["kind"]) for entry in manifest["courses"]] == [
        ("B", 4, "images"),
        ("A", 8, "images"),
    ]
    assert [course.key for course in made.cohort.manifest_courses()] == [course.key for course in made.result.courses]


def test_killed_at_any_moment_the_next_run_completes_it(tmp_path: Path, export: Path, organized: Organize) -> None:
    for name in ("a", "b"):
        patient = Patient(export / name, name)
        patient.make_series(slices=120)
        patient.make_structure_set()
        patient.make_plan()
        patient.make_dose()
    whole = organized(out="whole").snapshot()
    caught = 0
    for number in range(6):
        out = tmp_path / f"killed{number}"
        caught += is_killed(export, out, 0.001 + 0.004 * number)
        assert organized(out=out.name).snapshot() == whole
    assert caught > 0

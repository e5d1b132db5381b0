"""Whatever lies in the input: nothing is lost silently, nothing is read twice."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_factory import Patient
from organized import Organize, Organized
from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.headers import read_header
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtdose import read_dose
from rtpipeline.dicom.values import quietly
from rtpipeline.organize import organize
from rtpipeline.outcome import StageError


def used_paths(made: Organized, root: Path) -> set[str]:
    """Input files whose content is in some course."""
    contents = {path.read_bytes() for course in made.result.courses for path in course.files.folder.rglob("*.dcm")}
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and path.read_bytes() in contents
    }


def test_empty_folder(organized: Organize) -> None:
    made = organized()
    assert (made.result.courses, made.result.files_total, made.unused) == ((), 0, {})
    assert made.cohort.manifest_courses() == []


def test_nothing_but_rubbish(export: Path, organized: Organize) -> None:
    (export / "text.dcm").write_text("not DICOM")
    (export / "empty").write_bytes(b"")
    (export / "zeros").write_bytes(bytes(5000))
    (export / "like.dcm").write_bytes(bytes(128) + b"DICM" + b"\x08\x00\x05\x00rubbish" * 9)
    (export / "group.dcm").write_bytes(b"\x08\x00\x16\x00\xff\xff\xff\x7f" + b"x" * 40)
    made = organized()
    assert made.result.courses == ()
    assert {path: kind for path, (kind, _) in made.unused.items()} == dict.fromkeys(
        ("text.dcm", "empty", "zeros", "like.dcm", "group.dcm"), "not_dicom"
    )


@pytest.mark.parametrize("name", ["plain", "IM.000.ima", "ünïcode and space.DCM", "1.2.840.1"])
def test_any_file_name(patient: Patient, organized: Organize, name: str) -> None:
    for path in patient.make_series(slices=3):
        path.rename(path.with_name(f"{path.stem} {name}"))
    assert organized().only.description.images[0].instance_count == 3


def test_file_name_that_is_no_text(patient: Patient, organized: Organize) -> None:
    for path in patient.make_series(slices=3):
        path.rename(os.fsdecode(os.fsencode(path) + b"\xff\xfe"))
    (patient.folder / os.fsdecode(b"\xe9.txt")).write_text("no DICOM")
    made = organized()
    assert made.only.description.images[0].instance_count == 3
    assert list(made.unused) == ["\\xe9.txt"]
    assert organized().result.files_read == 0


@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, True), (False, False)])
@pytest.mark.parametrize("pseudonyms", [True, False])
def test_without_preamble_and_transfer_syntax(
    tmp_path: Path, patient: Patient, organized: Organize, implicit: bool, little: bool, pseudonyms: bool
) -> None:
    patient.make_course()
    for path in patient.folder.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        bare = pydicom.Dataset()
        bare.update(dataset)
        if "PixelData" in bare and not little:
            bare.PixelData = dataset.pixel_array.byteswap().tobytes()
        pydicom.dcmwrite(path, bare, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
        assert path.read_bytes()[128:132] != b"DICM"
    course = organized(**{"pseudonymize": tmp_path / "key"} if pseudonyms else {}).only
    assert load_image(course.path("DICOM/CT")).values[:, 0, 0].tolist() == [-1024, -1023, -1022, -1021]
    assert read_dose(course.files.dose).values == pytest.approx(60)


def test_used_and_unused_are_all(export: Path, organized: Organize) -> None:
    patient = Patient(export)
    patient.make_course()
    Patient(export / "more").make_series()
    patient.make_series("scout", slices=1, frame="x", study="x")
    patient.make_dose("orphan", plans=(), frame="y", study="y")
    (export / "notes.txt").write_text("no DICOM")
    made = organized()
    everything = {path.relative_to(export).as_posix() for path in export.rglob("*") if path.is_file()}
    duplicates = {path for path, (kind, _) in made.unused.items() if kind == "duplicate"}
    assert duplicates == {f"more/ct_{number:03d}.dcm" for number in range(4)}
    assert used_paths(made, export) - duplicates | set(made.unused) == everything
    assert made.result.files_total == len(everything)


def test_duplicates_are_not_doubled(export: Path, organized: Organize) -> None:
    Patient(export).make_course()
    once = organized().snapshot()
    Patient(export / "copy").make_course()
    again = organized(out="other")
    del once["_RESULTS/unused_files.parquet"]
    twice = again.snapshot()
    del twice["_RESULTS/unused_files.parquet"]
    assert once == twice
    assert {kind for kind, _ in again.unused.values()} == {"duplicate"}


def test_duplicate_of_another_exporter_is_a_duplicate(patient: Patient, organized: Organize) -> None:
    patient.make_series()
    copy = patient.folder / "copy.dcm"
    dataset = pydicom.dcmread(patient.folder / "ct_000.dcm")
    dataset.file_meta.ImplementationVersionName = "OTHER"
    dataset.save_as(copy)
    assert copy.read_bytes() != (patient.folder / "ct_000.dcm").read_bytes()
    assert [reason.split(" as ")[0] for _, reason in organized().unused.values()] == ["the same object and content"]


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_same_uid_with_other_content_is_reported_and_the_newer_used(
    patient: Patient, organized: Organize, names: tuple[str, str]
) -> None:
    old, new = names
    patient.make_series(place="ct")
    patient.make_structure_set(place=old, InstanceCreationDate="20240101", StructureSetLabel="old")
    patient.make_structure_set(place=new, InstanceCreationDate="20240102", StructureSetLabel="new")
    made = organized()
    course = made.only
    assert course.description.structure_sets[0].label == "new"
    assert course.files.structure_set.read_bytes() == (patient.folder / new / "rs.dcm").read_bytes()
    apart = list(course.path("DICOM/OTHER_CONTENT").iterdir())
    assert [path.read_bytes() for path in apart] == [(patient.folder / old / "rs.dcm").read_bytes()]
    assert made.unused == {}
    assert any("other contents" in warning for warning in course.description.warnings)
    assert len(made.result.warnings) == 1


def test_other_contents_of_what_no_course_takes_are_listed(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    patient.make_dose("orphan", plans=(), frame="y", study="y", place="a")
    patient.make_dose("orphan", plans=(), frame="y", study="y", place="b", dose_gy=1)
    made = organized()
    assert sorted(kind for kind, _ in made.unused.values()) == ["duplicate", "unlinked"]


def test_images_of_two_patients_with_the_same_uids_are_both_kept(export: Path, organized: Organize) -> None:
    Patient(export / "a", "A").make_series()
    Patient(export / "b", "A").make_series(PatientID="B", RescaleSlope=2)
    made = organized()
    assert [course.description.images[0].instance_count for course in made.result.courses] == [4, 4]
    assert made.unused == {}
    assert any("used again by another patient" in warning for warning in made.result.warnings)


def test_series_with_the_same_image_uids_are_both_kept(patient: Patient, organized: Organize) -> None:
    patient.make_series(place="a")
    patient.make_series(place="b", SeriesInstanceUID=patient.uid("other"), FrameOfReferenceUID=patient.uid("other"))
    made = organized()
    assert [course.description.images[0].instance_count for course in made.result.courses] == [4, 4]


@pytest.mark.parametrize("cut", [10, 30, 400])
def test_truncated_slice_is_named_and_the_others_are_used(patient: Patient, organized: Organize, cut: int) -> None:
    slices = patient.make_series(slices=6)
    slices[2].write_bytes(slices[2].read_bytes()[:-cut])
    made = organized()
    assert made.only.description.images[0].instance_count == 5
    assert list(made.unused) == ["ct_002.dcm"]
    if cut < 400:
        assert made.unused["ct_002.dcm"][0] == "damaged"
        assert any("ct_002.dcm" in warning for warning in made.only.description.warnings)


def test_truncated_structure_set_and_plan_are_not_used(patient: Patient, organized: Organize) -> None:
    patient.make_series()
    for path in (patient.make_structure_set(), patient.make_plan()):
        path.write_bytes(path.read_bytes()[:-7])
    made = organized()
    assert made.only.description.kind == "images"
    assert set(made.unused) == {"rs.dcm", "plan.dcm"}


def test_every_cut_of_a_structure_set_is_noticed(patient: Patient) -> None:
    path = patient.make_structure_set(images=("ct 0",))
    for implicit, undefined in ((True, False), (True, True), (False, False), (False, True)):
        dataset = pydicom.dcmread(path)
        for sequence in (dataset.ROIContourSequence, dataset.ReferencedFrameOfReferenceSequence):
            sequence.is_undefined_length = undefined
        whole = path.with_name("whole.dcm")
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        pydicom.dcmwrite(whole, dataset, implicit_vr=implicit, little_endian=True)
        content = whole.read_bytes()
        assert read_header(whole).damage == ""
        noticed = 0
        last_sequence = content.rfind(b"\x06\x30\x80\x00")
        for length in range(last_sequence + 1, len(content)):
            whole.write_bytes(content[:length])
            try:
                with quietly():
                    noticed += bool(read_header(whole).damage)
            except DicomError:
                noticed += 1
        assert noticed == len(content) - last_sequence - 1


def test_links_are_not_followed(tmp_path: Path, patient: Patient, organized: Organize) -> None:
    patient.make_series()
    outside = Patient(tmp_path / "outside", "OTHER")
    outside.make_series()
    (patient.folder / "out").symlink_to(outside.folder, target_is_directory=True)
    (patient.folder / "loop").symlink_to(patient.folder, target_is_directory=True)
    (patient.folder / "same.dcm").symlink_to(patient.folder / "ct_000.dcm")
    (patient.folder / "itself").symlink_to(patient.folder / "itself")
    (patient.folder / "gone").symlink_to(patient.folder / "no such file")
    made = organized()
    assert made.only.description.patient == "P1"
    assert {kind for kind, _ in made.unused.values()} == {"link"}
    assert {path: reason.split(" link ")[1][:12] for path, (_, reason) in made.unused.items()} == {
        "out": "that leaves ",
        "loop": "to something",
        "same.dcm": "to something",
        "itself": "to what is n",
        "gone": "to what is n",
    }


def test_output_inside_the_input_is_no_input(export: Path, organized: Organize) -> None:
    Patient(export).make_course()
    first = organized(out="export/results")
    again = organized(out="export/results")
    assert again.result.files_total == first.result.files_total == 7
    assert not again.result.changed


def test_a_file_is_read_once_and_an_unchanged_one_never_again(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    assert organized().result.files_read == 7
    again = organized()
    assert (again.result.files_read, again.result.changed) == (0, False)
    patient.make_record("new")
    assert organized().result.files_read == 1
    (patient.folder / "new.dcm").unlink()
    gone = organized()
    assert gone.result.files_read == 0
    assert gone.only.description.treatment_record_files == ()


def test_index_that_cannot_be_used_is_made_again(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    made = organized()
    made.cohort.index.write_bytes(b"damaged")
    assert organized().result.files_read == 7


def test_cancelled(tmp_path: Path, patient: Patient) -> None:
    patient.make_course()
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(StageError, match="interrupted"):
        organize(
            patient.folder,
            CohortFiles(tmp_path / "out"),
            Configuration(),
            threads=1,
            logger=logging.getLogger("test"),
            report_progress=lambda done, total: None,
            cancelled=cancelled,
        )


def test_progress_counts_to_the_end(tmp_path: Path, patient: Patient) -> None:
    patient.make_course()
    seen: list[tuple[int, int]] = []
    organize(
        patient.folder,
        CohortFiles(tmp_path / "out"),
        Configuration(),
        threads=2,
        logger=logging.getLogger("test"),
        report_progress=lambda done, total: seen.append((done, total)),
        cancelled=threading.Event(),
    )
    assert seen == [(number, 7) for number in range(1, 8)]


def test_other_modalities_are_listed(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    patient.make_plan("report", Modality="SR", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11")
    assert organized().unused == {"report.dcm": ("unsupported", "modality SR has no part in a course")}


def test_treatment_record_is_known_by_its_class_whatever_the_modality(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    patient.make_record("a", Modality="RTPLAN")
    assert len(organized().only.description.treatment_record_files) == 1

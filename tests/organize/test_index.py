"""Every kind of DICOM file is looked at once, with nothing decoded.

What must hold:
- any name or extension, with or without preamble, in any transfer syntax, with a DICOMDIR or without;
- enhanced multi-frame CT, MR and PET are image series like others, however few files they are;
- the first file of a folder and the names of folders say nothing; a series is its SeriesInstanceUID;
- a file is opened once on the first run, not at all while it is unchanged, and one added slice costs one open;
- the number of threads changes nothing, and one thread does what many do.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.fileset import FileSet
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_factory import Patient
from organized import Organize
from rtpipeline.dicom.headers import read_header
from rtpipeline.dicom.image_series import load_image
from rtpipeline.organize.index import Index, build_index

NATIVE = (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
COMPRESSED = (RLELossless, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)


def rewrite(path: Path, syntax: UID) -> None:
    """The same object in another transfer syntax; compressed pixels are no image of that syntax, only as long."""
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax in NATIVE:
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        fresh = pydicom.Dataset()
        fresh.update({element.tag: element for element in dataset})
        fresh.file_meta = dataset.file_meta
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        pydicom.dcmwrite(path, fresh, implicit_vr=implicit, little_endian=little)
    else:
        dataset.PixelData = encapsulate([bytes(range(32))])
        dataset["PixelData"].is_undefined_length = True
        dataset["PixelData"].VR = "OB"
        dataset.save_as(path)


@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED, MPEG2MPML], ids=lambda syntax: syntax.name)
def test_any_transfer_syntax(patient: Patient, organized: Organize, syntax: UID) -> None:
    before = [read_header(path) for path in patient.make_series()]
    paths = sorted(patient.folder.iterdir())
    for path in paths:
        rewrite(path, syntax)
    assert [read_header(path) for path in paths] == before
    assert organized().only.description.images[0].instance_count == 4


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_enhanced_multi_frame_image(patient: Patient, organized: Organize, modality: str) -> None:
    patient.make_enhanced_image(modality=modality, description="T1 vibe", positions_mm=(9, 0, 3, 6))
    made = organized()
    (image,) = made.only.description.images
    assert (image.modality, image.instance_count) == (modality, 1)
    assert made.unused == {}
    volume = load_image(made.only.path(image.folder))
    assert volume.grid.shape == (4, 4, 4)
    assert (volume.values[:, 0, 0] + 1024).tolist() == [1, 2, 3, 0]
    header = read_header(patient.folder / "ct.dcm")
    assert (header.frames, header.planes, header.plane_position_mm) == (4, 4, 0.0)
    assert header.orientation == (1, 0, 0, 0, 1, 0)
    assert header.pixel_spacing_mm == (2, 2)


def test_enhanced_ct_with_structures_plan_and_dose(patient: Patient, organized: Organize) -> None:
    patient.make_enhanced_image()
    patient.make_structure_set(series=("series of ct",))
    patient.make_plan()
    patient.make_dose()
    text = organized().only.description
    assert (text.kind, text.dose_decision.label, text.links) == ("plan", "single_dose", ())
    assert text.planning_ct is not None
    assert organized().cohort.manifest_courses()[0].description == text


def test_several_frames_at_one_position_are_not_guessed_at(patient: Patient, organized: Organize) -> None:
    patient.make_enhanced_image(positions_mm=(0, 3, 6, 0, 3, 6))
    assert [reason for _, reason in organized().unused.values()] == [
        "a multi-frame image with several frames at one position (phases or echoes)"
    ]


def test_multi_frame_image_without_positions_is_listed(patient: Patient, organized: Organize) -> None:
    path = patient.make_enhanced_image()
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(path)
    assert [reason for _, reason in organized().unused.values()] == ["images without a position in the patient"]


def test_dicomdir_is_a_table_of_contents(tmp_path: Path, patient: Patient, organized: Organize) -> None:
    patient.make_course()
    files = FileSet()
    for path in sorted(patient.folder.rglob("*.dcm")):
        dataset = pydicom.dcmread(path)
        dataset.StudyTime, dataset.StudyID, dataset.SeriesNumber = "120000", "1", 1
        dataset.InstanceNumber, dataset.AccessionNumber = 1, ""
        dataset.StructureSetTime = dataset.get("StructureSetTime", "120000")
        files.add(dataset)
    disc = tmp_path / "disc"
    files.write(disc)
    assert (disc / "DICOMDIR").is_file()
    made = organized(disc)
    assert made.only.description.dose_decision.label == "single_dose"
    assert made.unused == {"DICOMDIR": ("not_dicom", "a DICOMDIR: a table of contents, no object")}


def test_a_series_is_its_uid_whatever_folder_it_lies_in(patient: Patient, organized: Organize) -> None:
    first = patient.make_plan("0 is no image", structure_set=None, place="scan")
    for name, place in (("a", "scan"), ("b", "scan"), ("a2", "other")):
        uid = patient.uid(name[0])
        patient.make_series(
            name, frame=name[0], place=place, SeriesInstanceUID=uid, InstanceNumber=None if name == "b" else 1
        )
        if name == "a2":
            for number, path in enumerate(sorted((patient.folder / place).iterdir())):
                dataset = pydicom.dcmread(path)
                dataset.ImagePositionPatient = [0, 0, 12 + 3 * number]
                dataset.save_as(path)
    counts = {
        image.series_instance_uid: image.instance_count
        for course in organized().result.courses
        for image in course.description.images
    }
    assert min(first.parent.iterdir()) == first
    assert counts == {patient.uid("a"): 8, patient.uid("b"): 4}


def opens(root: Path, work: Callable[[], object]) -> list[str]:
    """Names of the files below `root` that are opened while `work` runs, once for each time."""
    opened: list[str] = []
    counting = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if counting and event == "open" and str(arguments[0]).startswith(f"{root}/"):
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)
    work()
    counting = False
    return opened


def indexed(root: Path, stored: Path, threads: int = 2) -> Index:
    return build_index(
        root,
        stored,
        excluded=stored.parent,
        threads=threads,
        report_progress=lambda done, total: None,
        cancelled=threading.Event(),
    )


def test_opens_are_one_none_and_one(tmp_path: Path, patient: Patient) -> None:
    patient.make_course()
    patient.make_structure_set("rs2", series=(), images=("ct 0",))
    patient.make_enhanced_image("enhanced")
    (patient.folder / "text").write_text("no DICOM")
    stored = tmp_path / "out" / "index.parquet"
    files = [str(path) for path in patient.folder.rglob("*")]
    assert sorted(opens(patient.folder, lambda: indexed(patient.folder, stored))) == sorted(files)
    assert opens(patient.folder, lambda: indexed(patient.folder, stored)) == []
    added = patient.make_series("more", slices=1)
    assert opens(patient.folder, lambda: indexed(patient.folder, stored)) == [str(added[0])]
    added[0].unlink()
    assert opens(patient.folder, lambda: indexed(patient.folder, stored)) == []


def test_an_unchanged_input_is_not_opened_by_organizing_again(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    organized()
    assert opens(patient.folder, organized) == []


@pytest.mark.parametrize("threads", [1, 7])
def test_threads_change_nothing(tmp_path: Path, patient: Patient, threads: int) -> None:
    patient.make_course()
    (patient.folder / "text").write_text("no DICOM")
    one = indexed(patient.folder, tmp_path / "one" / "index.parquet", threads=1)
    many = indexed(patient.folder, tmp_path / "many" / "index.parquet", threads=threads)
    assert one == many
    assert (tmp_path / "one" / "index.parquet").read_bytes() == (tmp_path / "many" / "index.parquet").read_bytes()


def test_what_is_stored_is_what_was_read(tmp_path: Path, patient: Patient) -> None:
    patient.make_course()
    patient.make_record("rt")
    patient.make_registration("reg", fixed="frame", moving="other")
    patient.make_enhanced_image("enhanced")
    stored = tmp_path / "out" / "index.parquet"
    assert indexed(patient.folder, stored).files == indexed(patient.folder, stored).files

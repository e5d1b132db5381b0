"""Structures of DICOM segmentations: voxels as they are, on any grid."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.seg import Segmentation, SegmentationTypeValues
from numpy.typing import NDArray
from pydicom.sr.codedict import codes

import structure_courses as synthetic
from dicom_files import rigid, write_registration, write_series
from rtpipeline.config import Configuration
from rtpipeline.course import Course, NamedSegment, SegmentationObject
from rtpipeline.dicom.segmentation_object import write_segmentation_object
from rtpipeline.dvh.histogram import SampledDose
from rtpipeline.dvh.structure_dvh import structure_dvh
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.structures import Structure, course_structures, image_structures

FILE = "DICOM/SEG/SEG_0123456789abcdef.dcm"


def with_segmentations(course: Course, *given: SegmentationObject) -> Course:
    return Course(course.files, course.description.model_copy(update={"segmentations": given}))


def described(*labels: str, file: str = FILE, label: str = "My lesions!", image_key: str = "CT") -> SegmentationObject:
    named = tuple(NamedSegment(number=number, label=text) for number, text in enumerate(labels, start=1))
    return SegmentationObject(file=file, sop_instance_uid="1.2", label=label, image_key=image_key, segments=named)


def write_overlapping(path: Path, images: Path, masks: list[NDArray[np.bool_]], **options: object) -> None:
    """A SEG whose segments may overlap, by highdicom itself."""
    sources = sorted((pydicom.dcmread(file) for file in images.iterdir()), key=lambda one: one.ImagePositionPatient[2])
    for source in sources:
        for keyword in ("AccessionNumber", "PatientBirthDate", "PatientSex", "StudyID", "ReferringPhysicianName"):
            if keyword not in source:
                setattr(source, keyword, "")
    descriptions = [
        highdicom.seg.SegmentDescription(
            number,
            f"part {number}",
            codes.SCT.Tissue,
            codes.SCT.Tissue,
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(1, len(masks) + 1)
    ]
    Segmentation(
        sources,
        np.stack(masks, axis=-1).astype(np.uint8),
        SegmentationTypeValues.BINARY,
        descriptions,
        highdicom.UID(),
        1,
        highdicom.UID(),
        1,
        "test",
        "test",
        "1",
        "1",
        **options,
    ).save_as(path)


@pytest.fixture
def course(tmp_path: Path) -> Course:
    course = synthetic.make_course(tmp_path / "course")
    course.path(FILE).parent.mkdir(parents=True)
    return course


def given(course: Course) -> dict[str, Structure]:
    return {one.roi_name: one for one in course_structures(course, Configuration()) if one.source.startswith("seg:")}


def test_segments_are_structures_with_their_own_voxels(course: Course) -> None:
    labels = synthetic.labels(synthetic.HEART, synthetic.GTV)
    names = {1: "heart", 2: "GTV", 3: "nothing"}
    write_segmentation_object(course.path(FILE), course.path("DICOM/CT"), labels, names, algorithm="t", version="1")
    found = given(with_segmentations(course, described("heart", "GTV", "nothing")))
    assert [(s.source, s.roi_number, s.standard_name) for s in found.values()] == [
        ("seg:My_lesions", 1, "Heart"),
        ("seg:My_lesions", 2, "GTV"),
        ("seg:My_lesions", 3, ""),
    ]
    for name, values in (("heart", synthetic.HEART), ("GTV", synthetic.GTV), ("nothing", np.zeros_like(synthetic.GTV))):
        mask, notes = found[name].mask_with_notes(synthetic.GRID)
        assert np.array_equal(mask.on(synthetic.GRID), values), name
        assert notes == ()
    assert found["GTV"].is_target
    assert found["nothing"].labels is not None
    assert found["nothing"].labels.box(3) is None


def test_overlapping_segments_are_both_whole(course: Course) -> None:
    inner = synthetic.box((22, 25), (10, 14), (5, 9))
    write_overlapping(course.path(FILE), course.path("DICOM/CT"), [synthetic.HEART, inner])
    found = given(with_segmentations(course, described("part 1", "part 2")))
    assert np.array_equal(found["part 1"].mask(synthetic.GRID).on(synthetic.GRID), synthetic.HEART)
    assert np.array_equal(found["part 2"].mask(synthetic.GRID).on(synthetic.GRID), inner)


def test_another_grid_is_carried_by_nearest_neighbour_and_said(course: Course, tmp_path: Path) -> None:
    """Voxels of half the size and shifted: each CT voxel asks the small voxel that its centre lies in."""
    fine = Grid.uniform(synthetic.GRID.origin_mm - (0.25, 0.25, 0.625), (0.5, 0.5, 1.25), (80, 72, 40))
    write_series(tmp_path / "fine", fine, np.zeros(fine.shape, np.int16))
    values = np.repeat(np.repeat(np.repeat(synthetic.HEART, 2, 0), 2, 1), 2, 2)
    labels = Volume(fine, values.astype(np.uint8))
    write_segmentation_object(course.path(FILE), tmp_path / "fine", labels, {1: "heart"}, algorithm="t", version="1")
    heart = given(with_segmentations(course, described("heart")))["heart"]
    mask, notes = heart.mask_with_notes(synthetic.GRID)
    assert np.array_equal(mask.on(synthetic.GRID), synthetic.HEART)
    assert len(notes) == 1
    assert "nearest neighbour" in notes[0]
    assert heart.labels is not None
    assert heart.labels.volume.grid.spacing_mm == pytest.approx((0.5, 0.5, 1.25))


def test_part_of_it_beyond_the_image_is_left_out_there(course: Course, tmp_path: Path) -> None:
    """The same lattice, but ten planes further up: only what lies on the image counts on it."""
    spacing = synthetic.GRID.spacing_mm
    higher = Grid.uniform(synthetic.GRID.origin_mm + np.array([0.0, 0.0, 10 * spacing[2]]), spacing, (40, 36, 20))
    write_series(tmp_path / "higher", higher, np.zeros(higher.shape, np.int16))
    labels = Volume(higher, synthetic.box((2, 5), (3, 9), (5, 15)).astype(np.uint8))
    write_segmentation_object(course.path(FILE), tmp_path / "higher", labels, {1: "a"}, algorithm="t", version="1")
    mask = given(with_segmentations(course, described("a")))["a"].mask(synthetic.GRID)
    assert np.array_equal(mask.on(synthetic.GRID), synthetic.box((2, 5), (3, 9), (15, 20)))


def test_without_voxels_in_space_it_is_refused_with_the_reason(course: Course) -> None:
    """Two planes that are no multiple of a spacing apart make no volume; fractional segments are no structures."""
    write_overlapping(course.path(FILE), course.path("DICOM/CT"), [synthetic.HEART])
    dataset = pydicom.dcmread(course.path(FILE))
    position = dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0].ImagePositionPatient
    position[2] = float(position[2]) + 0.9
    dataset.save_as(course.path(FILE))
    heart = given(with_segmentations(course, described("part 1")))["part 1"]
    assert "no common grid" in heart.refusal
    assert heart.mask(synthetic.GRID).is_empty
    dose = SampledDose(Volume(synthetic.GRID, np.ones(synthetic.GRID.shape)))
    result = structure_dvh(heart, dose, image_plane_spacing_mm=2.5, minimum_coverage_fraction=0.9)
    assert (result.status, result.reason, result.curve) == ("failed", heart.refusal, None)
    dataset.SegmentationType = "FRACTIONAL"
    dataset.save_as(course.path(FILE))
    assert "fractional" in given(with_segmentations(course, described("part 1")))["part 1"].refusal


def test_which_image_it_lies_on(course: Course) -> None:
    labels = synthetic.labels(synthetic.HEART)
    write_segmentation_object(course.path(FILE), course.path("DICOM/CT"), labels, {1: "a"}, algorithm="t", version="1")
    ct = course.description.images[0].model_copy(update={"frame_of_reference_uid": "1.5"})
    mr = ct.model_copy(update={"key": "MR_1", "modality": "MR"})
    on_mr = described("a", image_key="MR_1")

    def sources(frame: str) -> tuple[int, int]:
        one = on_mr.model_copy(update={"frame_of_reference_uid": frame})
        description = course.description.model_copy(update={"images": (ct, mr), "segmentations": (one,)})
        both = Course(course.files, description)
        return len(given(both)), len(image_structures(both, mr, Configuration()))

    assert sources("1.5") == (1, 1)  # in the frame of the CT, it is a structure of both
    assert sources("1.6") == (0, 0)
    assert sources("") == (0, 1)


@pytest.mark.parametrize("turn_deg", [0.0, 90.0])
def test_a_registration_carries_segments_of_another_image_onto_the_planning_ct(course: Course, turn_deg: float) -> None:
    """The MR's voxels are the CT's, seen in coordinates that the registration moves onto them."""
    transform = rigid((0.0, 0.0, 1.0), turn_deg, (30.0, -12.0, 7.5))
    mr_grid = synthetic.GRID.moved(np.linalg.inv(transform))
    write_series(course.path("DICOM/MR_1"), mr_grid, np.zeros(mr_grid.shape, np.int16))
    labels = Volume(mr_grid, synthetic.HEART.astype(np.uint8))
    write_segmentation_object(
        course.path(FILE), course.path("DICOM/MR_1"), labels, {1: "a"}, algorithm="t", version="1"
    )
    write_registration(course.path("DICOM/REG/r.dcm"), "1.5", [("1.5", [np.eye(4)]), ("1.6", [transform])])
    ct = course.description.images[0].model_copy(update={"frame_of_reference_uid": "1.5"})
    one = described("a", image_key="MR_1").model_copy(update={"frame_of_reference_uid": "1.6"})
    changed = {"images": (ct,), "segmentations": (one,)}
    linked = {**changed, "registration_files": ("DICOM/REG/r.dcm",)}
    assert given(Course(course.files, course.description.model_copy(update=changed))) == {}
    carried = given(Course(course.files, course.description.model_copy(update=linked)))["a"]
    mask, notes = carried.mask_with_notes(synthetic.GRID)
    assert np.array_equal(mask.on(synthetic.GRID), synthetic.HEART)
    assert notes[0] == "carried onto the planning CT: registration r.dcm"
    dose = SampledDose(Volume(synthetic.GRID, np.full(synthetic.GRID.shape, 2.0)))
    result = structure_dvh(carried, dose, image_plane_spacing_mm=2.5, minimum_coverage_fraction=0.9)
    assert result.curve is not None
    assert result.curve.volume_total_cm3 == pytest.approx(np.count_nonzero(synthetic.HEART) * 2.5 / 1000)
    assert (result.status, result.curve.coverage_fraction) == ("ok", pytest.approx(1.0))
    assert result.warnings == notes[:1]


def test_segmentations_of_one_name_are_told_apart(course: Course) -> None:
    labels = synthetic.labels(synthetic.HEART)
    other = FILE.replace("0123", "fedc")
    for file in (FILE, other):
        path = course.path(file)
        write_segmentation_object(path, course.path("DICOM/CT"), labels, {1: "a"}, algorithm="t", version="1")
    both = with_segmentations(course, described("a"), described("a", file=other, label="MY_lesions"))
    assert [one.source for one in course_structures(both, Configuration())] == [
        "seg:MY_lesions_fedc4567",
        "seg:My_lesions_01234567",
    ]

"""Segmentations and custom structures → RT Structure Sets."""

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

import structure_courses as synthetic
from rtpipeline import auto_rtstruct
from rtpipeline.config import Configuration, load_configuration
from rtpipeline.course import Course, CourseFiles
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.dicom.segmentation_object import read_segmentation_object
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.outcome import StageError
from rtpipeline.structures import course_structures

CUSTOM = """custom_structures:
- {name: ring, operation: subtract, source_structures: [GTV plus, GTV 1]}
- {name: GTV plus, source_structures: [GTV 1], margin: 5}
- {name: missing, source_structures: [Liver, Spleen]}
- {name: lung, source_structures: [lung_left]}
- {name: lungs, source_structures: [lung_left, lung_right]}
"""


@pytest.fixture
def course(tmp_path: Path) -> Course:
    return synthetic.make_course(tmp_path / "course")


def segment(course: Course) -> None:
    synthetic.write_segmentation(
        course.files.segmentation("CT", "total"),
        synthetic.labels(synthetic.HEART, synthetic.LUNG_LEFT),
        {1: "heart", 2: "lung_left", 3: "liver"},
    )


def configuration(folder: Path) -> Configuration:
    (folder / "custom.yaml").write_text(CUSTOM)
    return load_configuration(overrides={"custom_structures": str(folder / "custom.yaml")})


def test_automatic_structures_come_back_exactly(course: Course, tmp_path: Path) -> None:
    segment(course)
    resources = synthetic.make_resources(tmp_path)
    outcome = auto_rtstruct.run(course, Configuration(), resources)
    assert outcome.status == "ok"
    content = read_structure_set(CourseFiles(resources.staging).automatic_structure_set)
    masks = {roi.name: rasterise(roi.contours, synthetic.GRID).on(synthetic.GRID) for roi in content.rois}
    assert list(masks) == ["heart", "lung_left"]
    assert np.array_equal(masks["heart"], synthetic.HEART)
    assert np.array_equal(masks["lung_left"], synthetic.LUNG_LEFT)
    assert not CourseFiles(resources.staging).custom_structure_set.exists()


def test_a_dicom_segmentation_on_request(course: Course, tmp_path: Path) -> None:
    segment(course)
    body = synthetic.labels(synthetic.HEART | synthetic.LUNG_LEFT)
    synthetic.write_segmentation(course.files.segmentation("CT", "body"), body, {1: "body"})
    resources = synthetic.make_resources(tmp_path)
    wanted = load_configuration(overrides={"segmentation.export_dicom_seg": True})
    assert auto_rtstruct.run(course, wanted, resources).status == "ok"
    staging = CourseFiles(resources.staging)
    segments = read_segmentation_object(staging.segmentation_object())
    assert [segment.label for segment in segments] == ["heart", "lung_left"]
    assert np.array_equal(segments[0].mask.on(synthetic.GRID), synthetic.HEART)
    (other,) = read_segmentation_object(staging.segmentation_object("body"))
    assert np.array_equal(other.mask.on(synthetic.GRID), synthetic.HEART | synthetic.LUNG_LEFT)


def test_smooth_contours_on_request_enclose_the_same_voxels(course: Course, tmp_path: Path) -> None:
    segment(course)
    resources = synthetic.make_resources(tmp_path)
    wanted = load_configuration(overrides={"segmentation.smooth_contours": True})
    assert auto_rtstruct.run(course, wanted, resources).status == "ok"
    heart, _ = read_structure_set(CourseFiles(resources.staging).automatic_structure_set).rois
    assert np.array_equal(rasterise(heart.contours, synthetic.GRID).on(synthetic.GRID), synthetic.HEART)
    assert len(heart.contours[0]) > 4
    assert not CourseFiles(resources.staging).segmentation_object().exists()


def test_a_custom_model_gets_a_structure_set_of_its_own(course: Course, tmp_path: Path) -> None:
    synthetic.write_segmentation(
        course.files.custom_model_segmentation("nodes"), synthetic.labels(synthetic.GTV), {1: "node"}
    )
    resources = synthetic.make_resources(tmp_path)
    assert auto_rtstruct.run(course, Configuration(), resources).status == "ok"
    (roi,) = read_structure_set(CourseFiles(resources.staging).custom_model_structure_set("nodes")).rois
    assert np.array_equal(rasterise(roi.contours, synthetic.GRID).on(synthetic.GRID), synthetic.GTV)
    assert not CourseFiles(resources.staging).automatic_structure_set.exists()


def test_custom_structures_follow_the_manual_ones(course: Course, tmp_path: Path) -> None:
    segment(course)
    synthetic.write_manual(course, GTV_1=synthetic.GTV)
    resources = synthetic.make_resources(tmp_path)
    settings = configuration(tmp_path)
    outcome = auto_rtstruct.run(course, settings, resources)
    assert outcome.status == "partial"
    assert "missing was skipped: missing sources (Liver: there is no such structure" in outcome.reason
    staged = CourseFiles(resources.staging)
    before, after = pydicom.dcmread(course.files.structure_set), pydicom.dcmread(staged.custom_structure_set)
    assert after.ROIContourSequence[0] == before.ROIContourSequence[0]
    assert [item.ROIName for item in after.StructureSetROISequence] == ["GTV 1", "GTV plus", "lung", "lungs", "ring"]
    warnings = json.loads(staged.custom_structure_warnings.read_text())
    assert [(entry["structure"], entry["status"]) for entry in warnings["entries"]] == [
        ("missing", "skipped"),
        ("lung", "ok"),
        ("lungs", "partial"),
    ]
    shutil.copy(staged.custom_structure_set, course.files.custom_structure_set)
    custom = [s for s in course_structures(course, settings) if s.source == "custom"]
    assert [(s.roi_number, s.roi_name) for s in custom] == [(2, "GTV plus"), (3, "lung"), (4, "lungs"), (5, "ring")]
    assert [s.roi_name for s in custom if s.partial] == ["lungs"]
    plus, lung, _, ring = (s.mask(synthetic.GRID).on(synthetic.GRID) for s in custom)
    assert np.array_equal(ring, plus & ~synthetic.GTV)
    assert np.array_equal(lung, synthetic.LUNG_LEFT)


def test_without_manual_structures_the_automatic_ones_are_the_base(course: Course, tmp_path: Path) -> None:
    segment(course)
    resources = synthetic.make_resources(tmp_path)
    auto_rtstruct.run(course, configuration(tmp_path), resources)
    content = read_structure_set(CourseFiles(resources.staging).custom_structure_set)
    assert [roi.name for roi in content.rois] == ["heart", "lung_left", "lung", "lungs"]


def test_two_runs_write_the_same_bytes(course: Course, tmp_path: Path) -> None:
    segment(course)
    synthetic.write_manual(course, GTV_1=synthetic.GTV)
    contents = []
    for name in ("one", "two"):
        resources = synthetic.make_resources(tmp_path / name)
        auto_rtstruct.run(course, configuration(tmp_path), resources)
        files = sorted(file for file in resources.staging.rglob("*") if file.is_file())
        contents.append([(file.relative_to(resources.staging), file.read_bytes()) for file in files])
    assert contents[0] == contents[1]
    assert len(contents[0]) == 3


def test_nothing_to_do(course: Course, tmp_path: Path) -> None:
    synthetic.write_manual(course, GTV_1=synthetic.GTV)
    outcome = auto_rtstruct.run(course, Configuration(), synthetic.make_resources(tmp_path))
    assert outcome.status == "skipped"
    assert "no segmentation" in outcome.reason


def test_a_segmentation_of_another_image_is_refused(course: Course, tmp_path: Path) -> None:
    shifted = Grid.uniform(synthetic.GRID.origin_mm + 1.0, synthetic.GRID.spacing_mm, (40, 36, 20))
    volume = Volume(shifted, synthetic.HEART.astype(np.uint8))
    synthetic.write_segmentation(course.files.segmentation("CT", "total"), volume, {1: "heart"})
    with pytest.raises(StageError, match=r"CT--total\.nii\.gz does not lie on the voxels of the planning CT"):
        auto_rtstruct.run(course, Configuration(), synthetic.make_resources(tmp_path))


def test_a_damaged_ct_is_named(course: Course, tmp_path: Path) -> None:
    segment(course)
    (course.path("DICOM/CT") / "0003.dcm").write_text("no image")
    with pytest.raises(StageError, match=r"0003\.dcm"):
        auto_rtstruct.run(course, Configuration(), synthetic.make_resources(tmp_path))

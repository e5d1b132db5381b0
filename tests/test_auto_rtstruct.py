"""Segmentations and custom structures → RT Structure Sets."""

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

import structure_courses as synthetic
from dicom_files import ROW_AND_COLUMN_DIRECTIONS, grid_of
from rtpipeline import auto_rtstruct
from rtpipeline.config import Configuration, load_configuration
from rtpipeline.course import Course, CourseFiles, NamedSegment, SegmentationObject
from rtpipeline.dicom.rtstruct import CONTOUR_DATA, read_structure_set
from rtpipeline.dicom.segmentation_object import read_segmentation_object, write_segmentation_object
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.inference.body_regions import body_regions
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


@pytest.mark.parametrize("position", sorted(ROW_AND_COLUMN_DIRECTIONS))
def test_no_voxel_is_wrong_in_any_patient_position(tmp_path: Path, position: str) -> None:
    """Off-centre boxes with a hole, an island and single voxels, read back from what the stage wrote."""
    grid = grid_of(position, size=(24, 20, 12))
    labels = np.zeros(grid.shape, np.uint8)
    labels[1:7, 2:9, 12:22] = 1
    labels[2:5, 4:6, 15:18] = 0
    labels[9, 15, 3] = labels[10, 16, 4] = 1
    labels[8:12, 1:5, 0:6] = 2
    course = synthetic.make_course(tmp_path / "course", grid)
    synthetic.write_segmentation(
        course.files.segmentation("CT", "total"), Volume(grid, labels), {1: "heart", 2: "lung_left"}
    )
    (tmp_path / "custom.yaml").write_text("custom_structures: [{name: Both, source_structures: [heart, lung_left]}]")
    settings = load_configuration(overrides={"custom_structures": str(tmp_path / "custom.yaml")})
    resources = synthetic.make_resources(tmp_path)
    assert auto_rtstruct.run(course, settings, resources).status == "ok"
    for file in ("automatic_structure_set", "custom_structure_set"):
        path = getattr(CourseFiles(resources.staging), file)
        masks = {roi.name: rasterise(roi.contours, grid).on(grid) for roi in read_structure_set(path).rois}
        np.testing.assert_array_equal(masks["heart"], labels == 1)
        np.testing.assert_array_equal(masks["lung_left"], labels == 2)
        np.testing.assert_array_equal(masks.get("Both", labels > 0), labels > 0)
        dataset = pydicom.dcmread(path)
        numbers = [item.ROINumber for item in dataset.StructureSetROISequence]
        assert numbers == list(range(1, len(masks) + 1))
        for sequence in (dataset.ROIContourSequence, dataset.RTROIObservationsSequence):
            assert [item.ReferencedROINumber for item in sequence] == numbers


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
    names = [item.ROIName for item in after.StructureSetROISequence]
    assert names == ["GTV 1", "heart", "lung_left", "GTV plus", "lung", "lungs", "ring"]
    assert after.StructureSetROISequence[4].ROIDescription == (
        "rtpipeline custom structure: union of lung_left [auto lung_left] | touches the edge of the image (inferior); "
        "lung_left touches the edge of the image (inferior)"
    )
    warnings = json.loads(staged.custom_structure_warnings.read_text())
    assert [(entry["structure"], entry["status"]) for entry in warnings["entries"]] == [
        ("missing", "skipped"),
        ("lung", "ok"),
        ("lungs", "partial"),
    ]
    shutil.copy(staged.custom_structure_set, course.files.custom_structure_set)
    custom = [s for s in course_structures(course, settings) if s.source == "custom"]
    assert [(s.roi_number, s.roi_name) for s in custom] == [(4, "GTV plus"), (5, "lung"), (6, "lungs"), (7, "ring")]
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


def test_manual_contours_are_carried_over_byte_by_byte(course: Course, tmp_path: Path) -> None:
    """Whatever their spelling of numbers, and with every attribute that the drawing system wrote."""
    synthetic.write_manual(course, GTV_1=synthetic.GTV, Herz=synthetic.HEART)
    drawn = pydicom.dcmread(course.files.structure_set)
    contour = drawn.ROIContourSequence[0].ContourSequence[0]
    contour.ContourData = ["-4.50", "6.0E0", "+1.5e+1", "5.", "6", "15", "5", "9.123456789012", "15"]
    contour.NumberOfContourPoints = 3
    drawn.ROIContourSequence[0].add_new(0x30810010, "LO", "SOMEBODY")
    drawn.RTROIObservationsSequence[0].ROIObservationLabel = "the first"
    drawn.save_as(course.files.structure_set)
    resources = synthetic.make_resources(tmp_path)
    auto_rtstruct.run(course, configuration(tmp_path), resources)
    after = pydicom.dcmread(CourseFiles(resources.staging).custom_structure_set)
    before = pydicom.dcmread(course.files.structure_set)
    for number in range(2):
        assert after.StructureSetROISequence[number] == before.StructureSetROISequence[number]
        assert after.RTROIObservationsSequence[number] == before.RTROIObservationsSequence[number]
    before, after = (
        pydicom.dcmread(file)
        for file in (course.files.structure_set, CourseFiles(resources.staging).custom_structure_set)
    )
    compared = 0
    for one, other in zip(before.ROIContourSequence, after.ROIContourSequence, strict=False):
        assert one.get(0x30810010) == other.get(0x30810010)
        for contour, copy in zip(one.ContourSequence, other.ContourSequence, strict=True):
            assert contour.get_item(CONTOUR_DATA).value == copy.get_item(CONTOUR_DATA).value
            compared += 1
    assert compared == sum(len(one.ContourSequence) for one in before.ROIContourSequence) > 10


def test_other_sources_add_what_the_table_of_priorities_says(course: Course, tmp_path: Path) -> None:
    segment(course)
    synthetic.write_manual(
        course, GTV_1=synthetic.GTV, Herz=synthetic.HEART, Lung_L=np.zeros(synthetic.GRID.shape, bool)
    )
    nodes = synthetic.labels(synthetic.GTV, synthetic.HEART)
    synthetic.write_segmentation(course.files.custom_model_segmentation("nodes"), nodes, {1: "node", 2: "Heart"})

    def content(**options: object) -> dict[str, str]:
        resources = synthetic.make_resources(tmp_path)
        settings = load_configuration(overrides={"custom_structures": str(tmp_path / "custom.yaml"), **options})
        auto_rtstruct.run(course, settings, resources)
        rois = read_structure_set(CourseFiles(resources.staging).custom_structure_set).rois
        assert len({roi.number for roi in rois}) == len(rois)
        return {roi.name: roi.description for roi in rois}

    configuration(tmp_path)
    drawn, own = ["GTV 1", "Herz", "Lung L"], ["GTV plus", "lung", "lungs", "ring"]
    default = content()
    assert list(default) == [*drawn, "lung_left", "nodes_node", *own]
    assert default["lung_left"] == "source auto"
    assert default["nodes_node"] == "source custom_model:nodes"
    priority = {"Heart": ["custom_model:*", "manual"], "lung*": ["auto"], "*": ["manual"]}
    assert list(content(**{"structures.priority": priority})) == [
        *drawn,
        "nodes_Heart",
        "lung_left",
        "nodes_node",
        *own,
    ]
    course.files.structure_set.unlink()
    without_manual = content(**{"structures.priority": priority})
    assert list(without_manual) == ["heart", "lung_left", "nodes_Heart", "nodes_node", "lung", "lungs"]


def test_custom_structures_can_be_made_of_segmentations_of_the_export(course: Course, tmp_path: Path) -> None:
    """By its name, where no other source has it, and by its source, where the manual one would come first."""
    synthetic.write_manual(course, heart=synthetic.GTV)
    file = "DICOM/SEG/SEG_0123456789abcdef.dcm"
    course.path(file).parent.mkdir(parents=True)
    labels = synthetic.labels(synthetic.HEART, synthetic.LUNG_LEFT & ~synthetic.HEART)
    write_segmentation_object(
        course.path(file), course.path("DICOM/CT"), labels, {1: "heart", 2: "lesion"}, algorithm="t", version="1"
    )
    segments = tuple(NamedSegment(number=number, label=name) for number, name in ((1, "heart"), (2, "lesion")))
    one = SegmentationObject(file=file, sop_instance_uid="1.2", label="mine", image_key="CT", segments=segments)
    given = Course(course.files, course.description.model_copy(update={"segmentations": (one,)}))
    (tmp_path / "custom.yaml").write_text(
        """custom_structures:
- {name: of segments, source_structures: [lesion, {structure: heart, source: "seg:*"}]}
- {name: of drawn, source_structures: [heart]}
"""
    )
    resources = synthetic.make_resources(tmp_path)
    chosen = load_configuration(overrides={"custom_structures": str(tmp_path / "custom.yaml")})
    assert auto_rtstruct.run(given, chosen, resources).status == "ok"
    content = read_structure_set(CourseFiles(resources.staging).custom_structure_set)
    masks = {roi.name: rasterise(roi.contours, synthetic.GRID).on(synthetic.GRID) for roi in content.rois}
    assert list(masks) == ["heart", "of segments", "of drawn"]
    assert np.array_equal(masks["of segments"], synthetic.HEART | synthetic.LUNG_LEFT)
    assert np.array_equal(masks["of drawn"], synthetic.GTV)
    assert "[seg:mine lesion, seg:mine heart]" in content.rois[1].description


def test_templates_come_for_the_regions_that_the_ct_shows(course: Course, tmp_path: Path) -> None:
    """What a template lacks makes nothing partial, but is written down."""
    segment(course)
    settings = load_configuration(overrides={"custom_structure_templates": "by_region"})
    unknown = synthetic.make_resources(tmp_path)
    outcome = auto_rtstruct.run(course, settings, unknown)
    assert outcome.status == "ok"
    assert len(outcome.details["not_for_this_ct"]) == 5
    assert not CourseFiles(unknown.staging).custom_structure_set.exists()
    shown = body_regions({"heart": 300.0, **{f"vertebrae_T{number}": 20.0 for number in range(1, 8)}})
    course.files.body_regions.parent.mkdir()
    course.files.body_regions.write_text(json.dumps({"regions": shown}))
    resources = synthetic.make_resources(tmp_path)
    outcome = auto_rtstruct.run(course, settings, resources)
    assert outcome.status == "ok", outcome.reason
    staged = CourseFiles(resources.staging)
    names = [roi.name for roi in read_structure_set(staged.custom_structure_set).rois]
    assert names == ["heart", "lung_left", "Heart_PRV05"]
    warnings = json.loads(staged.custom_structure_warnings.read_text())
    assert [sentence.split(":")[0] for sentence in warnings["left_out"]] == [
        f"the template {name} was left out" for name in ("pelvis", "abdomen", "head_neck", "brain")
    ]
    assert {entry["structure"]: entry["status"] for entry in warnings["entries"]}["SpinalCord_PRV05"] == "skipped"


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

"""Structures of a course, from every source."""

from pathlib import Path

import numpy as np
import pytest

import structure_courses as synthetic
from dicom_files import grid_of, write_series
from rtpipeline.config import Configuration, SelectionSection, load_configuration
from rtpipeline.course import Course, ImageSeries, StructureSet
from rtpipeline.dicom.rtstruct import RoiToWrite, write_structure_set
from rtpipeline.imaging.grid import Grid
from rtpipeline.outcome import StageError
from rtpipeline.structures import as_columns, course_structures, image_structures, selected
from rtpipeline.tables.schema import STRUCTURE_COLUMNS


@pytest.fixture
def course(tmp_path: Path) -> Course:
    course = synthetic.make_course(tmp_path / "course")
    synthetic.write_manual(course, GTV_1=synthetic.GTV, Nothing=np.zeros(synthetic.GRID.shape, bool))
    synthetic.write_segmentation(
        course.files.segmentation("CT", "total"),
        synthetic.labels(synthetic.HEART, synthetic.LUNG_LEFT),
        {1: "heart", 2: "lung_left", 3: "liver"},
    )
    synthetic.write_segmentation(
        course.files.segmentation("CT", "heart_parts"), synthetic.labels(synthetic.HEART), {1: "heart"}
    )
    synthetic.write_segmentation(
        course.files.custom_model_segmentation("nodes"), synthetic.labels(synthetic.GTV), {1: "node"}
    )
    return course


def test_every_source_is_there_in_its_order(course: Course) -> None:
    structures = course_structures(course, Configuration())
    assert [(s.source, s.roi_number, s.roi_name, s.standard_name) for s in structures] == [
        ("manual", 1, "GTV 1", "GTV1"),
        ("manual", 2, "Nothing", ""),
        ("auto", 1, "heart", "Heart"),
        ("auto", 2, "lung_left", "Lung_L"),
        ("auto", 1, "heart--heart_parts", "Heart"),
        ("custom_model:nodes", 1, "node", ""),
    ]
    assert list(as_columns(structures[0])) == [column.name for column in STRUCTURE_COLUMNS]


def test_masks_are_those_that_were_drawn_and_segmented(course: Course) -> None:
    masks = {s.roi_name: s.mask(synthetic.GRID).on(synthetic.GRID) for s in course_structures(course, Configuration())}
    expected = {
        "GTV 1": synthetic.GTV,
        "Nothing": np.zeros(synthetic.GRID.shape, bool),
        "heart": synthetic.HEART,
        "lung_left": synthetic.LUNG_LEFT,
        "heart--heart_parts": synthetic.HEART,
        "node": synthetic.GTV,
    }
    assert set(masks) == set(expected)
    for name, values in expected.items():
        assert np.array_equal(masks[name], values), name


def test_a_segmentation_comes_to_another_grid_by_nearest_neighbour(course: Course) -> None:
    heart = next(s for s in course_structures(course, Configuration()) if s.roi_name == "heart")
    fine = Grid.uniform(synthetic.GRID.origin_mm - (0.25, 0.25, 0.625), (0.5, 0.5, 1.25), (80, 72, 40))
    mask = heart.mask(fine)
    assert mask.volume_cm3 == pytest.approx(heart.mask(synthetic.GRID).volume_cm3)
    assert mask.centroid_mm == pytest.approx(heart.mask(synthetic.GRID).centroid_mm)


def test_structures_of_an_mr_series(course: Course, tmp_path: Path) -> None:
    grid = grid_of("coronal", size=(40, 36, 20))
    folder = course.path("DICOM/MR/MR_1")
    write_series(folder, grid, np.zeros(grid.shape, np.int16), series="mr")
    square = grid.index_to_world(np.array([[5.5, 5.5, 4], [9.5, 5.5, 4], [9.5, 9.5, 4], [5.5, 9.5, 4]]))
    write_structure_set(course.path("DICOM/MR.dcm"), folder, [RoiToWrite("GTV", [square])], label="mr")
    image = ImageSeries(
        key="MR_1",
        modality="MR",
        folder="DICOM/MR/MR_1",
        series_instance_uid="1",
        study_instance_uid="1",
        instance_count=20,
    )
    sets = (StructureSet(file="DICOM/MR.dcm", sop_instance_uid="1", image_key="MR_1"),)
    description = course.description.model_copy(update={"structure_sets": sets})
    on_mr = image_structures(Course(course.files, description), image, Configuration())
    assert [(s.source, s.roi_name) for s in on_mr] == [("manual", "GTV")]
    assert on_mr[0].mask(grid).voxel_count == 16
    planning_ct = course.description.planning_ct
    assert planning_ct is not None
    assert len(image_structures(course, planning_ct, Configuration())) == 6


def test_a_course_without_structures(tmp_path: Path) -> None:
    assert course_structures(synthetic.make_course(tmp_path), Configuration()) == ()


def test_damaged_files_say_what_to_do(course: Course) -> None:
    label_map = course.files.label_map(course.files.segmentation("CT", "total"))
    label_map.write_text("{}")
    with pytest.raises(StageError, match="run the segmentation again"):
        course_structures(course, Configuration())
    label_map.unlink()
    course.files.structure_set.write_bytes(b"no DICOM")
    with pytest.raises(StageError, match=r"RS\.dcm"):
        course_structures(course, Configuration())


def test_the_users_names_are_used(course: Course, tmp_path: Path) -> None:
    file = tmp_path / "names.yaml"
    file.write_text("node: LN_Ax\n")
    configuration = load_configuration(overrides={"structures.names": str(file)})
    assert [s.standard_name for s in course_structures(course, configuration)][-1] == "LN_Ax"


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        ({}, ["GTV 1", "Nothing", "heart", "lung_left", "heart--heart_parts", "node"]),
        ({"sources": ["manual"]}, ["GTV 1", "Nothing"]),
        ({"sources": ["custom_model:*"]}, ["node"]),
        ({"include": ["gtv*"]}, ["GTV 1"]),
        ({"include": ["Lung_?"]}, ["lung_left"]),
        ({"include": ["*"], "exclude": ["HEART*", "nothing"]}, ["GTV 1", "lung_left", "node"]),
        ({"include": []}, []),
    ],
)
def test_selection(course: Course, selection: dict[str, list[str]], names: list[str]) -> None:
    chosen = selected(course_structures(course, Configuration()), SelectionSection.model_validate(selection))
    assert [structure.roi_name for structure in chosen] == names

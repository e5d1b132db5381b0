"""Labels of an MR series on the voxels of the planning CT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_files import direction_of, grid_of, rigid, write_registration, write_series
from rtpipeline.config import Configuration
from rtpipeline.course import Course, CourseDescription, CourseFiles, DoseDecision, ImageSeries
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.nifti import read_nifti, write_nifti
from rtpipeline.inference.carrying import carry
from rtpipeline.provenance import file_digest
from rtpipeline.structures import course_structures, image_structures
from rtpipeline.structures.links import NotCarriedError, link_to_planning_ct

CT_FRAME, MR_FRAME = "1.2.840.1", "1.2.840.2"
MR_KEY = "MR_1a2b3c4d"
BOX = (slice(3, 8), slice(2, 9), slice(4, 11))
"""Voxels (z, y, x) of the MR that are the structure."""
SHIFT = rigid((0.0, 0.0, 1.0), 0.0, (4.0, -7.5, 11.0))
TURN = rigid((0.3, -0.2, 1.0), 25.0, (-10.0, 20.0, 5.0))


def _mr_grid(direction: str = "HFS") -> Grid:
    return Grid.uniform((-20.0, 15.0, -30.0), (1.7, 2.3, 4.0), (16, 14, 12), direction_of(direction))


def _around(grid: Grid, transform: np.ndarray, position: str) -> Grid:
    """A CT grid in some patient position whose middle is where `transform` carries the middle of `grid`."""
    middle = grid.moved(transform).index_to_world((np.array([grid.columns, grid.rows, grid.planes]) - 1) / 2)
    size, spacing = (40, 37, 44), (1.1, 1.3, 1.6)
    steps = (np.array(size) - 1) / 2 * np.array(spacing)
    return grid_of(position, size, spacing, tuple(middle - direction_of(position) @ steps))


def _course(
    folder: Path, ct: Grid, mr: Grid, *, mr_frame: str = MR_FRAME, registrations: tuple[str, ...] = ()
) -> Course:
    write_series(folder / "DICOM/CT", ct, np.zeros(ct.shape, np.int16))
    images = tuple(
        ImageSeries(
            key=key,
            modality=key[:2],  # type: ignore[arg-type]
            folder=f"DICOM/{key}",
            series_instance_uid=f"1.9.{number}",
            study_instance_uid="1.9",
            frame_of_reference_uid=frame,
            instance_count=1,
        )
        for number, (key, frame) in enumerate((("CT", CT_FRAME), (MR_KEY, mr_frame)))
    )
    description = CourseDescription(
        patient="P1",
        course="C1",
        patient_id="P1",
        kind="images",
        images=images,
        registration_files=registrations,
        dose_decision=DoseDecision(label="no_dose"),
    )
    course = Course(CourseFiles(folder), description)
    labels = np.zeros(mr.shape, np.uint8)
    labels[BOX] = 5
    labels[0, 0, 0] = 7
    file = course.files.segmentation(MR_KEY, "total_mr")
    write_nifti(file, Volume(mr, labels))
    label_map = {"task": "total_mr", "labels": {"5": "liver", "6": "spleen", "7": "heart"}}
    label_map["voxel_counts"] = {"5": int(np.count_nonzero(labels == 5)), "6": 0, "7": 1}
    CourseFiles.label_map(file).write_text(json.dumps({**label_map, "segmentation_digest": file_digest(file)}))
    return course


def _carried(course: Course) -> tuple[Volume, dict[str, Any]]:
    mr = course.description.images[1]
    carry(course, mr, "total_mr", link_to_planning_ct(course, mr.frame_of_reference_uid), course.files)
    file = course.files.carried_segmentation(MR_KEY, "total_mr")
    return read_nifti(file), json.loads(CourseFiles.label_map(file).read_text())


@pytest.mark.parametrize("transform", [SHIFT, TURN], ids=["shifted", "turned"])
@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP", "oblique"])
@pytest.mark.parametrize("direction", ["HFS", "sagittal"])
def test_a_box_lands_where_the_registration_says(
    tmp_path: Path, transform: np.ndarray, position: str, direction: str
) -> None:
    mr = _mr_grid(direction)
    ct = _around(mr, transform, position)
    course = _course(tmp_path, ct, mr, registrations=("DICOM/REG/r.dcm",))
    write_registration(tmp_path / "DICOM/REG/r.dcm", CT_FRAME, [(CT_FRAME, [np.eye(4)]), (MR_FRAME, [transform])])
    carried, label_map = _carried(course)
    assert carried.grid.same_as(ct)
    index = np.stack(np.meshgrid(*(np.arange(size, dtype=float) for size in ct.shape), indexing="ij")[::-1], axis=-1)
    back = np.linalg.inv(transform)
    in_mr = mr.world_to_index(ct.index_to_world(index) @ back[:3, :3].T + back[:3, 3])
    faces = [(part.start - 0.5, part.stop - 0.5) for part in reversed(BOX)]
    deep = np.min(
        [np.minimum(in_mr[..., axis] - low, high - in_mr[..., axis]) for axis, (low, high) in enumerate(faces)], axis=0
    )
    assert (np.abs(deep) < 1e-4).mean() < 0.01  # what lies on a face may be in or out
    np.testing.assert_array_equal((carried.values == 5)[np.abs(deep) > 1e-4], (deep > 0)[np.abs(deep) > 1e-4])
    middle = mr.moved(transform).index_to_world(np.array([(low + high) / 2 for low, high in faces]))
    found = ct.index_to_world(np.argwhere(carried.values == 5)[:, ::-1].astype(float)).mean(axis=0)
    assert (np.abs((found - middle) @ ct.direction) < np.array(ct.spacing_mm) / 2).all()
    assert label_map["carried_by"] == "registration r.dcm"
    assert label_map["voxel_counts"]["5"] == np.count_nonzero(carried.values == 5)


def test_one_frame_of_reference_needs_no_registration(tmp_path: Path) -> None:
    mr = _mr_grid()
    course = _course(tmp_path, mr, mr, mr_frame=CT_FRAME)
    carried, label_map = _carried(course)
    np.testing.assert_array_equal(carried.values, read_nifti(course.files.segmentation(MR_KEY, "total_mr")).values)
    assert label_map["carried_by"] == "both have the same frame of reference"
    assert label_map["transform"] == np.eye(4).tolist()
    assert label_map["remarks"] == {
        "7": ["it reaches the edge of the MR series (anterior, inferior, right) and may go on there"]
    }


def test_what_lies_beyond_the_ct_is_said(tmp_path: Path) -> None:
    mr = _mr_grid()
    course = _course(tmp_path, mr.crop(slice(5, 12), slice(0, 14), slice(0, 16)), mr, mr_frame=CT_FRAME)
    _, label_map = _carried(course)
    assert label_map["remarks"]["5"] == ["60.0 % of it lies on the planning CT"]  # planes 5 to 7 of 3 to 7
    assert label_map["remarks"]["7"][1:] == ["0.0 % of it lies on the planning CT"]
    (liver,) = course_structures(course, Configuration())
    assert liver.notes == ("60.0 % of it lies on the planning CT",)
    assert label_map["voxel_counts"] == {"5": 3 * 7 * 7, "6": 0, "7": 0}


@pytest.mark.parametrize(
    ("mr_frame", "registered", "words"),
    [
        ("", [], "the image names no frame of reference"),
        (MR_FRAME, [], "no rigid registration has the frames of reference of both"),
        (MR_FRAME, [(CT_FRAME, [(MR_FRAME, [SHIFT])]), (CT_FRAME, [(MR_FRAME, [TURN])])], "contradict each other"),
        (MR_FRAME, [(CT_FRAME, [(MR_FRAME, [np.diag([2.0, 2, 2, 1])])])], "scales, shears or mirrors"),
    ],
)
def test_why_it_is_not_carried(tmp_path: Path, mr_frame: str, registered: list[Any], words: str) -> None:
    files = tuple(f"{number}.dcm" for number in range(len(registered)))
    for file, (frame, sources) in zip(files, registered, strict=True):
        write_registration(tmp_path / file, frame, sources)
    course = _course(tmp_path, _mr_grid(), _mr_grid(), mr_frame=mr_frame, registrations=files)
    with pytest.raises(NotCarriedError, match=words):
        link_to_planning_ct(course, mr_frame)


def test_carried_structures_are_a_source_of_their_own_and_named_for_their_image(tmp_path: Path) -> None:
    mr = _mr_grid()
    course = _course(tmp_path, mr, mr, mr_frame=CT_FRAME)
    _carried(course)
    structures = course_structures(course, Configuration())
    assert [(one.source, one.roi_name, one.standard_name) for one in structures] == [
        (f"auto_mr:{MR_KEY}", f"liver--{MR_KEY}", "Liver"),
        (f"auto_mr:{MR_KEY}", f"heart--{MR_KEY}", "Heart"),
    ]
    assert structures[0].mask(mr).voxel_count == 5 * 7 * 7
    on_mr = image_structures(course, course.description.images[1], Configuration())
    assert [(one.source, one.roi_name) for one in on_mr] == [("auto", "liver"), ("auto", "heart")]

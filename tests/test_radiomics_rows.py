"""Which row a result belongs to: structures of one name, of several series, of several sources, of an earlier run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import structure_courses as synthetic
from dicom_files import write_series
from rtpipeline import radiomics
from rtpipeline.config import Configuration
from rtpipeline.course import Course, CourseFiles, ImageSeries, StructureSet
from rtpipeline.dicom.rtstruct import RoiToWrite, write_structure_set
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.polygons import outline
from rtpipeline.pipeline.course_stage import RunContext, run_course_stage
from rtpipeline.pipeline.stages import stage_named
from rtpipeline.scheduling.adaptive_pool import Grant
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.resources import Resources
from rtpipeline.structures.load import CUSTOM_DESCRIPTION, MISSING_MARK, REMARK_MARK
from rtpipeline.tables.parquet import read_parquet

pytestmark = pytest.mark.radiomics_environment

PARAMETERS = """
imageType: {Original: {}}
featureClass: {firstorder: [Mean], shape: [VoxelVolume]}
setting: {minimumROISize: 100}
"""
VALUES = np.arange(np.prod(synthetic.GRID.shape)).reshape(synthetic.GRID.shape) // 8
"""HU, different in every structure."""
TINY = synthetic.box((30, 33), (28, 31), (6, 10))


@pytest.fixture(scope="module")
def children() -> Iterator[ChildProcesses]:
    processes = ChildProcesses()
    yield processes
    processes.close()


@pytest.fixture
def course(tmp_path: Path) -> Course:
    made = synthetic.make_course(tmp_path / "course")
    write_series(made.path("DICOM/CT"), synthetic.GRID, VALUES, intercept=0.0)
    return made


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    file = tmp_path / "parameters.yaml"
    file.write_text(PARAMETERS, encoding="utf-8")
    files = {"params_file": file, "mr_params_file": file}
    everything = {"include": ("*",), "sources": ("*",)}
    return Configuration.model_validate(
        {"radiomics": {**files, "min_voxels": 1}, "structures": {"radiomics": everything}}
    )


def resources_for(folder: Path, children: ChildProcesses) -> Resources:
    return replace(synthetic.make_resources(folder), threads=2, children=children)


def write_rois(course: Course, file: str, folder: str, *rois: tuple[str, NDArray[np.bool_]]) -> None:
    written = [RoiToWrite(name, outline(Mask.cropped(synthetic.GRID, values))) for name, values in rois]
    write_structure_set(course.path(file), course.path(folder), written, label="drawn")


def features(values: NDArray[np.bool_]) -> dict[str, float]:
    """By their definitions."""
    volume_mm3 = float(np.count_nonzero(values) * synthetic.GRID.voxel_volume_cm3 * 1000)
    return {"original_firstorder_Mean": float(VALUES[values].mean()), "original_shape_VoxelVolume": volume_mm3}


def test_structures_of_one_name_keep_their_own_values_and_the_small_one_is_absent(
    course: Course, configuration: Configuration, tmp_path: Path, children: ChildProcesses
) -> None:
    masks = {1: synthetic.GTV, 2: TINY, 3: synthetic.HEART}
    write_rois(course, "RS.dcm", "DICOM/CT", *(("Node", values) for values in masks.values()))
    resources = resources_for(tmp_path, children)

    assert radiomics.run(course, configuration, resources).status == "ok"

    files = CourseFiles(resources.staging)
    found = {row["roi_number"]: row for row in read_parquet(files.radiomics_ct).to_pylist()}
    assert set(found) == {1, 3}
    for number, row in found.items():
        expected = features(masks[number])
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    ledger = read_parquet(files.radiomics_ledger).to_pylist()
    assert [(row["roi_number"], row["roi_name"], row["status"]) for row in ledger] == [
        (1, "Node", "ok"),
        (2, "Node", "skipped"),
        (3, "Node", "ok"),
    ]


def test_an_error_takes_away_its_structure_and_makes_the_course_partial(
    course: Course, configuration: Configuration, tmp_path: Path, children: ChildProcesses
) -> None:
    """No two voxels of the smaller structure are eight voxels apart."""
    assert configuration.radiomics.params_file is not None
    configuration.radiomics.params_file.write_text(
        "featureClass: {firstorder: [Mean], glcm: [Contrast]}\nsetting: {distances: [8]}", encoding="utf-8"
    )
    write_rois(course, "RS.dcm", "DICOM/CT", ("GTV", synthetic.GTV), ("Heart", synthetic.HEART))
    resources = resources_for(tmp_path, children)

    outcome = radiomics.run(course, configuration, resources)

    ledger = read_parquet(CourseFiles(resources.staging).radiomics_ledger).to_pylist()
    assert outcome.status == "partial"
    assert "GTV on CT: RuntimeError" in outcome.reason
    assert [(row["roi_name"], row["status"]) for row in ledger] == [("GTV", "failed"), ("Heart", "ok")]
    assert "RuntimeError" in ledger[0]["reason"]


def test_a_run_that_goes_on_has_the_rows_of_the_first_too(
    course: Course, configuration: Configuration, tmp_path: Path, children: ChildProcesses
) -> None:
    """As after a kill: of what was finished, one is kept, and one is lost."""
    write_rois(course, "RS.dcm", "DICOM/CT", ("GTV", synthetic.GTV), ("Heart", synthetic.HEART))
    contents = []
    for name in ("first", "second"):
        resources = replace(resources_for(tmp_path / name, children), kept=tmp_path / "kept")
        assert radiomics.run(course, configuration, resources).status == "ok"
        files = CourseFiles(resources.staging)
        tables = (files.radiomics_ct, files.radiomics_diagnostics, files.radiomics_ledger)
        contents.append([table.read_bytes() for table in tables])
        (file,) = (tmp_path / "kept").iterdir()
        lines = file.read_bytes().splitlines(keepends=True)
        assert len(lines) == 2
        file.write_bytes(lines[1])

    assert contents[0] == contents[1]
    assert read_parquet(files.radiomics_ct).column("roi_name").to_pylist() == ["GTV", "Heart"]


def test_a_finished_course_needs_no_environment(
    course: Course, configuration: Configuration, tmp_path: Path, children: ChildProcesses
) -> None:
    write_rois(course, "RS.dcm", "DICOM/CT", ("GTV", synthetic.GTV))
    gone = configuration.model_copy(
        update={"radiomics": configuration.radiomics.model_copy(update={"python": tmp_path / "no" / "python"})}
    )
    outcomes = [
        run_course_stage(stage_named("radiomics"), course, context, Grant(1, "cpu"))
        for context in (
            RunContext(configuration=configuration, children=children, logs=tmp_path),
            RunContext(configuration=gone, children=ChildProcesses(), logs=tmp_path),
        )
    ]

    assert [(outcome.status, outcome.computed) for outcome in outcomes] == [("ok", True), ("ok", False)]


def test_one_name_in_two_mr_series_is_two_rows(
    course: Course, configuration: Configuration, tmp_path: Path, children: ChildProcesses
) -> None:
    images, sets = [], []
    for number in (1, 2):
        key, folder = f"MR_{number}", f"DICOM/MR_{number}"
        write_series(course.path(folder), synthetic.GRID, VALUES, intercept=100.0 * number, series=key)
        write_rois(course, f"DICOM/{key}.dcm", folder, ("GTV", synthetic.GTV))
        images.append(
            ImageSeries(
                key=key,
                modality="MR",
                folder=folder,
                series_instance_uid=f"1.{number}",
                study_instance_uid="1",
                instance_count=synthetic.GRID.planes,
            )
        )
        sets.append(StructureSet(file=f"DICOM/{key}.dcm", sop_instance_uid=f"2.{number}", image_key=key))
    description = course.description.model_copy(update={"images": tuple(images), "structure_sets": tuple(sets)})
    resources = resources_for(tmp_path, children)

    assert radiomics.run(Course(course.files, description), configuration, resources).status == "ok"

    rows = read_parquet(CourseFiles(resources.staging).radiomics_mr).to_pylist()
    mean = features(synthetic.GTV)["original_firstorder_Mean"]
    assert [(row["image_key"], row["series_instance_uid"], row["roi_name"]) for row in rows] == [
        ("MR_1", "1.1", "GTV"),
        ("MR_2", "1.2", "GTV"),
    ]
    assert [row["original_firstorder_Mean"] for row in rows] == pytest.approx([mean + 100, mean + 200], rel=1e-6)


def test_every_source_has_its_rows_and_what_was_cropped_has_none(
    course: Course, configuration: Configuration, tmp_path: Path, children: ChildProcesses
) -> None:
    """The list of structures to skip holds for drawn and automatic ones, which are there without drawn ones too."""
    write_rois(course, "RS.dcm", "DICOM/CT", ("GTV", synthetic.GTV), ("Lung left", synthetic.LUNG_LEFT))
    automatic = synthetic.labels(synthetic.HEART, synthetic.LUNG_LEFT)
    names = {1: "heart", 2: "lung_left"}
    synthetic.write_segmentation(course.files.segmentation("CT", "total"), automatic, names)
    for file in ("RS_cropped.dcm", "RS_auto_cropped.dcm"):
        write_rois(course, file, "DICOM/CT", ("Cut", synthetic.GTV))
    skipping = configuration.radiomics.model_copy(update={"skip_rois": ("LUNG-LEFT",)})
    configuration = configuration.model_copy(update={"radiomics": skipping})
    drawn = {("manual", "GTV", "ok"), ("manual", "Lung left", "skipped")}
    found = {("auto", "heart", "ok"), ("auto", "lung_left", "skipped")}

    for expected in (drawn | found, found):
        resources = resources_for(tmp_path, children)
        assert radiomics.run(course, configuration, resources).status == "ok"
        ledger = read_parquet(CourseFiles(resources.staging).radiomics_ledger).to_pylist()
        assert {(row["segmentation_source"], row["roi_name"], row["status"]) for row in ledger} == expected
        assert len(ledger) == len(expected)
        assert {row["series_instance_uid"] for row in ledger} == {"1.2.3"}
        course.files.structure_set.unlink(missing_ok=True)


def test_structures_that_may_be_less_than_the_organ_are_marked(
    course: Course, configuration: Configuration, tmp_path: Path, children: ChildProcesses
) -> None:
    """The lung lies on the lowest plane; a box in the corner ends left, behind and above; a union lacks a part."""
    corner = synthetic.box((36, 40), (30, 36), (10, 20))
    write_rois(course, "RS.dcm", "DICOM/CT", ("GTV", synthetic.GTV), ("Corner", corner))
    automatic = synthetic.labels(synthetic.HEART, synthetic.LUNG_LEFT)
    synthetic.write_segmentation(course.files.segmentation("CT", "total"), automatic, {1: "heart", 2: "lung_left"})
    outlines = outline(Mask.cropped(synthetic.GRID, synthetic.HEART))
    union = RoiToWrite("Organs", outlines, description=f"{CUSTOM_DESCRIPTION}{REMARK_MARK}{MISSING_MARK}liver")
    write_structure_set(course.files.custom_structure_set, course.path("DICOM/CT"), [union], label="custom")
    resources = resources_for(tmp_path, children)

    assert radiomics.run(course, configuration, resources).status == "ok"

    rows = read_parquet(CourseFiles(resources.staging).radiomics_ct).to_pylist()
    flags = ("structure_touches_edge", "edge_sides", "structure_partial")
    assert {row["roi_name"]: tuple(row[name] for name in flags) for row in rows} == {
        "GTV": (False, None, False),
        "Corner": (True, "left, posterior, superior", False),
        "heart": (False, None, False),
        "lung_left": (True, "inferior", False),
        "Organs": (False, None, True),
    }

"""The DVH stage on the synthetic cohort: what it does when something is missing or does not belong together."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtpipeline import auto_rtstruct, dvh
from rtpipeline.course import Course, CourseFiles, Prescription
from rtpipeline.demo.cohort import write_demo_cohort
from rtpipeline.dicom.image_series import read_geometry
from rtpipeline.imaging.grid import Volume
from rtpipeline.imaging.nifti import write_nifti
from rtpipeline.outcome import StageError
from rtpipeline.tables.parquet import read_parquet
from stage_runs import organized_courses, run_stage


@pytest.fixture(scope="module")
def courses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Course]:
    export = tmp_path_factory.mktemp("export")
    write_demo_cohort(export)
    return organized_courses(export, tmp_path_factory.mktemp("out"))


def rows(path: Path) -> list[dict[str, Any]]:
    return read_parquet(path).to_pylist()


def test_a_course_without_dose_is_skipped_with_the_reason(courses: dict[str, Course], tmp_path: Path) -> None:
    outcome = run_stage(dvh.run, courses["DEMO-003"], staging=tmp_path)
    assert outcome.status == "skipped"
    assert "no_dose" in outcome.reason
    assert list(tmp_path.iterdir()) == []


def test_without_a_prescription_relative_metrics_are_missing(courses: dict[str, Course], tmp_path: Path) -> None:
    course = courses["DEMO-001"]
    plans = tuple(plan.model_copy(update={"prescriptions": ()}) for plan in course.description.plans)
    removed = {"prescription": Prescription(), "plans": plans}
    unprescribed = replace(course, description=course.description.model_copy(update=removed))
    assert run_stage(dvh.run, unprescribed, staging=tmp_path).status == "ok"
    found = rows(CourseFiles(tmp_path).dvh_metrics)
    assert not any("Rx" in row["metric"] or row["unit"] == "% of prescription" for row in found)
    assert any(row["metric"] == "D95" and row["value"] for row in found)


def test_selection_decides_which_structures(courses: dict[str, Course], tmp_path: Path) -> None:
    selection = {"dvh": {"include": ["?TV*"], "exclude": ["GTV"]}}
    assert run_stage(dvh.run, courses["DEMO-001"], staging=tmp_path, structures=selection).status == "ok"
    assert {row["roi_name"] for row in rows(CourseFiles(tmp_path).dvh_status)} == {"PTV"}
    nothing = {"dvh": {"include": ["no such name"]}}
    assert run_stage(dvh.run, courses["DEMO-001"], staging=tmp_path, structures=nothing).status == "skipped"


def test_another_frame_of_reference_fails_with_the_reason(courses: dict[str, Course], tmp_path: Path) -> None:
    course = courses["DEMO-001"]
    doses = tuple(dose.model_copy(update={"frame_of_reference_uid": "1.2.3"}) for dose in course.description.doses)
    elsewhere = replace(course, description=course.description.model_copy(update={"doses": doses}))
    outcome = run_stage(dvh.run, elsewhere, staging=tmp_path)
    assert outcome.status == "failed"
    assert "frame of reference" in outcome.reason
    assert {row["status"] for row in rows(CourseFiles(tmp_path).dvh_status)} == {"failed"}
    assert rows(CourseFiles(tmp_path).dvh_metrics) == []


def test_a_damaged_dose_is_an_error_that_names_the_file(courses: dict[str, Course], tmp_path: Path) -> None:
    course = courses["DEMO-001"]
    folder = tmp_path / "course"
    folder.mkdir()
    (folder / "RS.dcm").write_bytes(course.files.structure_set.read_bytes())
    (folder / "RD.dcm").write_bytes(course.files.dose.read_bytes()[:5000])
    with pytest.raises(StageError, match=r"RD\.dcm"):
        run_stage(dvh.run, Course(CourseFiles(folder), course.description), staging=tmp_path / "staging")


def test_segmented_structures_are_measured_by_their_voxels(courses: dict[str, Course], tmp_path: Path) -> None:
    """A segmentation of half the dose's maximum has exactly the voxels' volume, and doses around and above it."""
    course = courses["DEMO-001"]
    from rtpipeline.dicom.image_series import load_image
    from rtpipeline.dicom.rtdose import read_dose
    from rtpipeline.imaging.resampling import resample

    image = load_image(course.path(course.description.images[0].folder))
    dose = read_dose(course.files.dose)
    half = resample(dose, image.grid, interpolation="linear", outside=0.0).values > dose.values.max() / 2
    folder = tmp_path / "course"
    files = CourseFiles(folder)
    segmentation = files.segmentation("CT", "total")
    segmentation.parent.mkdir(parents=True)
    write_nifti(segmentation, Volume(image.grid, half.astype(np.uint8)))
    count = int(half.sum())
    text = f'{{"task": "total", "labels": {{"1": "spleen"}}, "voxel_counts": {{"1": {count}}}}}'
    files.label_map(segmentation).write_text(text)
    files.dose.write_bytes(course.files.dose.read_bytes())
    description = course.description.model_copy(update={"images": ()})
    outcome = run_stage(dvh.run, Course(files, description), staging=folder)
    assert outcome.status == "ok"
    found = {row["column"]: row["value"] for row in rows(files.dvh_metrics)}
    assert found["Volume (cm³)"] == pytest.approx(count * image.grid.voxel_volume_cm3)
    assert found["DmaxGy"] == pytest.approx(dose.values.max(), rel=0.02)
    assert found["D95Gy"] > 0.4 * dose.values.max()
    assert [row["geometry"] for row in rows(files.dvh_status)] == ["voxels"]


def test_a_segmentation_of_the_export_has_the_rows_of_the_same_voxels_as_auto(tmp_path: Path) -> None:
    """`SEG_auto.dcm`, put into the export, comes back as a source of its own with the values of the source auto."""
    export = tmp_path / "export"
    write_demo_cohort(export)
    course = organized_courses(export, tmp_path / "out")["DEMO-001"]
    grid = read_geometry(course.path("DICOM/CT")).grid
    values = np.zeros(grid.shape, np.uint8)
    middle = [size // 2 for size in grid.shape]
    values[tuple(slice(size - 4, size + 3) for size in middle)] = 1
    values[tuple(slice(size - 1, size + 9) for size in middle)] = 2
    segmentation = course.files.segmentation("CT", "total")
    segmentation.parent.mkdir()
    write_nifti(segmentation, Volume(grid, values))
    course.files.label_map(segmentation).write_text('{"labels": {"1": "spleen", "2": "liver"}}')
    assert run_stage(auto_rtstruct.run, course, segmentation={"export_dicom_seg": True}).status == "ok"
    shutil.copy(course.files.segmentation_object(), export / "returned.dcm")
    course = organized_courses(export, tmp_path / "out")["DEMO-001"]
    assert [one.image_key for one in course.description.segmentations] == ["CT"]
    assert run_stage(dvh.run, course).status == "ok"

    found: dict[str, dict[tuple[str, str, str], Any]] = {"auto": {}, "seg:SEG_AUTO": {}}
    for row in rows(course.files.dvh_metrics):
        if row["segmentation_source"] in found:
            key = (row["roi_name"], row["metric"], row["unit"])
            found[row["segmentation_source"]][key] = row["value"]
    auto, returned = found.values()
    assert {name for name, _, _ in auto} == {"spleen", "liver"}
    assert auto.keys() == returned.keys()
    assert len(auto) > 50
    for key, value in auto.items():
        assert returned[key] == (None if value is None else pytest.approx(value, rel=1e-9, abs=1e-9)), key
    geometry = {
        row["geometry"] for row in rows(course.files.dvh_status) if row["segmentation_source"] == "seg:SEG_AUTO"
    }
    assert geometry == {"voxels"}


def test_structures_are_cut_to_the_cropped_ct_where_asked(courses: dict[str, Course], tmp_path: Path) -> None:
    from rtpipeline.dicom.image_series import load_image

    course = courses["DEMO-001"]
    image = load_image(course.path("DICOM/CT"))
    files = CourseFiles(tmp_path / "course")
    middle = image.grid.planes // 2
    lower = image.grid.crop(slice(0, middle), slice(0, image.grid.rows), slice(0, image.grid.columns))
    files.cropped_ct.parent.mkdir(parents=True)
    write_nifti(files.cropped_ct, Volume(lower, image.values[:middle]))
    files.dose.write_bytes(course.files.dose.read_bytes())
    files.structure_set.write_bytes(course.files.structure_set.read_bytes())
    cut = Course(files, course.description.model_copy(update={"images": ()}))
    volumes = []
    for enabled, use_cropped in ((False, True), (True, False), (True, True)):
        section = {"enabled": enabled, "use_cropped_for_dvh": use_cropped}
        run_stage(dvh.run, cut, staging=tmp_path / "out", ct_cropping=section)
        out = CourseFiles(tmp_path / "out")
        found = {row["roi_name"]: row for row in rows(out.dvh_status)}
        volumes.append(found["BODY"]["volume_cm3"])
        assert {row["image_cropped"] for row in (*rows(out.dvh_metrics), *found.values())} == {enabled and use_cropped}
    assert volumes[0] == volumes[1]
    assert volumes[2] == pytest.approx(volumes[1] * middle / image.grid.planes, rel=0.02)
    assert "beyond the cropped CT" in found["BODY"]["warnings"]
    files.cropped_ct.unlink()  # the landmarks were not found
    run_stage(dvh.run, cut, staging=tmp_path / "out", ct_cropping=section)
    assert {row["image_cropped"] for row in rows(out.dvh_metrics)} == {False}


def test_structures_at_the_edge_of_the_ct_are_marked_with_the_sides(courses: dict[str, Course], tmp_path: Path) -> None:
    assert run_stage(dvh.run, courses["DEMO-001"], staging=tmp_path).status == "ok"
    for table in (CourseFiles(tmp_path).dvh_status, CourseFiles(tmp_path).dvh_metrics):
        found = {row["roi_name"]: (row["structure_touches_edge"], row["edge_sides"]) for row in rows(table)}
        assert found["Spinal Cord"] == (True, "inferior, superior")
        assert found["PTV"] == (False, None)

"""The radiomics stage on real images and structures, with a small parameter file to be quick."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pydicom
import pytest
import yaml

from rtpipeline import radiomics
from rtpipeline.config import Configuration
from rtpipeline.course import Course, CourseDescription, CourseFiles, DoseDecision, ImageSeries, StructureSet
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtdose import read_dose
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.nifti import read_nifti
from rtpipeline.outcome import StageError
from rtpipeline.radiomics_conda import child_variables, find_radiomics_python
from rtpipeline.radiomics_images import covered_fraction
from rtpipeline.radiomics_parallel import packaged_parameters
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.resources import Resources
from rtpipeline.structures import Structure
from rtpipeline.tables.parquet import read_parquet

pytestmark = [pytest.mark.real_data, pytest.mark.radiomics_environment]

PLAIN_PYRADIOMICS = Path(__file__).parent / "extraction" / "plain_pyradiomics.py"
QUICK = """
imageType: {Original: {}}
featureClass: {shape: [MeshVolume, Sphericity], firstorder: [], glcm: [JointEntropy]}
setting: {resampledPixelSpacing: [2, 2, 2], binWidth: 25, minimumROISize: 64}
"""


@pytest.fixture(scope="module")
def children() -> Iterator[ChildProcesses]:
    processes = ChildProcesses()
    yield processes
    processes.close()


def resources_for(folder: Path, children: ChildProcesses, threads: int = 2) -> Resources:
    return Resources(
        threads=threads,
        device="cpu",
        staging=folder / "staging",
        scratch=folder / "scratch",
        logs=folder / "logs",
        children=children,
        logger=logging.getLogger("test"),
    )


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    file = tmp_path / "quick.yaml"
    file.write_text(QUICK, encoding="utf-8")
    return file


def configured(quick: Path, include: tuple[str, ...] = ("*",), **radiomics_keys: object) -> Configuration:
    files = {"params_file": quick, "mr_params_file": quick, "pet_params_file": quick}
    return Configuration.model_validate(
        {"radiomics": {**files, **radiomics_keys}, "structures": {"radiomics": {"include": include}}}
    )


def make_course(folder: Path, images: dict[str, tuple[str, Path]], structure_sets: dict[str, Path]) -> Course:
    """A course folder as organizing leaves it: links to images (by key: modality, folder) and structure sets."""
    files = CourseFiles(folder)
    series = []
    for key, (modality, source) in images.items():
        target = files.dicom / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
        series.append(
            ImageSeries(
                key=key,
                modality=modality,
                folder=f"DICOM/{key}",
                series_instance_uid=f"1.2.{len(series)}",
                study_instance_uid="1.1",
                instance_count=1,
            )
        )
    sets = []
    for key, source in structure_sets.items():
        name = "RS.dcm" if key == "CT" else f"RS_{key}.dcm"
        (folder / name).symlink_to(source)
        sets.append(StructureSet(file=name, sop_instance_uid=f"1.3.{len(sets)}", image_key=key))
    description = CourseDescription(
        patient="P",
        course="C",
        patient_id="0007",
        kind="structures",
        images=tuple(series),
        structure_sets=tuple(sets),
        dose_decision=DoseDecision(label="no_dose"),
    )
    return Course(files, description)


@pytest.fixture
def lung(test_data: Path, tmp_path: Path) -> Course:
    source = test_data / "LUNG1-001"
    return make_course(tmp_path / "course", {"CT": ("CT", source / "CT")}, {"CT": source / "RTSTRUCT.dcm"})


@pytest.fixture
def sarcoma(test_data: Path, tmp_path: Path) -> Course:
    source = test_data / "STS" / "STS_042"
    images = {"CT": ("CT", "CT"), "MR_1": ("MR", "MR_T1"), "PT_1": ("PT", "PET")}
    return make_course(
        tmp_path / "course",
        {key: (modality, source / name / "image") for key, (modality, name) in images.items()},
        {key: next((source / name / "mask").iterdir()) for key, (_, name) in images.items()},
    )


def plain(course: Course, roi_name: str, parameters: Path, folder: Path) -> dict[str, float]:
    """Features of a structure of the planning CT by plain PyRadiomics on the whole image."""
    volume = load_image(course.path("DICOM/CT"))
    roi = next(roi for roi in read_structure_set(course.files.structure_set).rois if roi.name == roi_name)
    np.save(folder / "plain_image.npy", volume.values)
    np.save(folder / "plain_mask.npy", rasterise(roi.contours, volume.grid).on(volume.grid))
    request = {
        "image": str(folder / "plain_image.npy"),
        "mask": str(folder / "plain_mask.npy"),
        "origin": volume.grid.origin_mm.tolist(),
        "spacing": list(volume.grid.spacing_mm),
        "direction": volume.grid.direction.ravel().tolist(),
        "parameters": str(parameters),
    }
    variables = {**os.environ, **child_variables(threads=1)}
    answer = subprocess.run(
        [str(find_radiomics_python(Configuration(), os.environ).python), str(PLAIN_PYRADIOMICS)],
        input=json.dumps(request),
        env={name: value for name, value in variables.items() if value is not None},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    values: dict[str, float] = json.loads(answer.stdout)["features"]
    return values


def rows(table: pa.Table) -> dict[str, dict[str, object]]:
    """Rows by ROI name."""
    return {str(row["roi_name"]): row for row in table.to_pylist()}


def test_features_of_the_planning_ct_are_those_of_plain_pyradiomics(
    lung: Course, quick: Path, tmp_path: Path, children: ChildProcesses
) -> None:
    resources = resources_for(tmp_path, children)

    outcome = radiomics.run(lung, configured(quick, include=("GTV*", "*Cord")), resources)

    assert outcome.status == "ok", outcome.reason
    table = read_parquet(CourseFiles(resources.staging).radiomics_ct)
    assert table.num_rows == 2
    assert CourseFiles.workbook(CourseFiles(resources.staging).radiomics_ct).exists()
    for roi_name in ("GTV-1", "Spinal-Cord"):
        expected = plain(lung, roi_name, quick, tmp_path)
        assert len(expected) == 2 + 18 + 1
        # Sums in another order differ in the last bits.
        assert {name: rows(table)[roi_name][name] for name in expected} == pytest.approx(expected, rel=1e-10)
    gtv = rows(table)["GTV-1"]
    assert gtv["patient_id"] == "0007"
    assert gtv["segmentation_source"] == "manual"
    assert gtv["volume_cm3"] == pytest.approx(156, abs=1)
    assert gtv["structure_touches_edge"] is False
    assert (gtv["pyradiomics_version"], gtv["intensity"]) == ("3.0.1", "HU")
    diagnostics = read_parquet(CourseFiles(resources.staging).radiomics_diagnostics)
    of_gtv = rows(diagnostics)["GTV-1"]
    assert diagnostics.num_rows == 2
    assert of_gtv["Mask-original_VoxelNum"] == gtv["voxel_count"]
    assert of_gtv["Image-original_Size_z"] == 134
    assert json.loads(str(of_gtv["setting"]))["binWidth"] == 25


def test_the_ledger_has_every_structure_with_the_reason(
    lung: Course, quick: Path, tmp_path: Path, children: ChildProcesses
) -> None:
    resources = resources_for(tmp_path, children)
    configuration = configured(quick, include=("GTV*", "Lung*", "*Cord"), skip_rois=("lung_left",), max_voxels=100_000)

    outcome = radiomics.run(lung, configuration, resources)

    ledger = rows(read_parquet(CourseFiles(resources.staging).radiomics_ledger))
    assert outcome.status == "ok", outcome.reason
    assert {name: row["status"] for name, row in ledger.items()} == {
        "GTV-1": "ok",
        "Spinal-Cord": "ok",
        "Lung-Left": "skipped",
        "Lung-Right": "skipped",
    }
    assert "skip_rois" in str(ledger["Lung-Left"]["reason"])
    assert "max_voxels (100000)" in str(ledger["Lung-Right"]["reason"])
    assert ledger["GTV-1"]["undefined_feature_count"] == 0


def test_tables_are_the_same_bytes_whatever_the_number_of_workers(
    lung: Course, quick: Path, tmp_path: Path, children: ChildProcesses
) -> None:
    configuration = configured(quick, include=("GTV*", "*Cord"))
    contents = []
    for threads in (1, 2):
        resources = resources_for(tmp_path / str(threads), children, threads)
        radiomics.run(lung, configuration, resources)
        files = CourseFiles(resources.staging)
        tables = (files.radiomics_ct, files.workbook(files.radiomics_ct), files.radiomics_ledger)
        contents.append([table.read_bytes() for table in tables])
    assert contents[0] == contents[1]


def test_ct_mr_and_pet_have_their_own_tables(
    sarcoma: Course, quick: Path, tmp_path: Path, children: ChildProcesses
) -> None:
    resources = resources_for(tmp_path, children)

    outcome = radiomics.run(sarcoma, configured(quick), resources)

    files = CourseFiles(resources.staging)
    assert outcome.status == "ok", outcome.reason
    (ct,) = read_parquet(files.radiomics_ct).to_pylist()
    (mr,) = read_parquet(files.radiomics_mr).to_pylist()
    (pet,) = read_parquet(files.radiomics_pet).to_pylist()
    assert [row["image_key"] for row in (ct, mr, pet)] == ["CT", "MR_1", "PT_1"]
    assert pet["intensity"] == "SUV by body weight in g/ml: stored as SUV by body weight (Units GML)"
    assert mr["intensity"] == "arbitrary units"
    # The same tumour, drawn on three images.
    assert mr["volume_cm3"] == pytest.approx(ct["volume_cm3"], rel=0.05)
    assert pet["volume_cm3"] == pytest.approx(ct["volume_cm3"], rel=0.05)
    assert 0 < pet["original_firstorder_Maximum"] < 50


def test_each_variant_of_suv_has_its_own_rows_and_image(
    sarcoma: Course, quick: Path, tmp_path: Path, children: ChildProcesses
) -> None:
    resources = resources_for(tmp_path, children)
    variants = ("body_weight", "lean_body_mass_janmahasatian")

    outcome = radiomics.run(sarcoma, configured(quick, suv_variants=variants), resources)

    files = CourseFiles(resources.staging)
    assert outcome.status == "ok", outcome.reason
    by_weight, lean = sorted(read_parquet(files.radiomics_pet).to_pylist(), key=lambda row: row["suv_variant"])
    # 41.86940 kg lean body mass of 71 kg (tests/dicom/test_suv.py has the calculation).
    ratio = lean["original_firstorder_Mean"] / by_weight["original_firstorder_Mean"]
    assert ratio == pytest.approx(0.5897099, rel=1e-5)
    stored = load_image(sarcoma.path("DICOM/PT_1"))
    written = read_nifti(files.suv_image("PT_1_SUV_lean_body_mass_janmahasatian"))
    assert written.values.max() == pytest.approx(0.5897099 * stored.values.max(), rel=1e-5)
    assert written.grid.same_as(stored.grid)
    provenance = json.loads(files.suv_provenance("PT_1_SUV_lean_body_mass_janmahasatian").read_text())
    assert provenance["inputs"]["weight_kg"] == 71
    assert provenance["inputs"]["lean_body_mass_janmahasatian_kg"] == pytest.approx(41.86940, rel=1e-6)


def test_features_of_mr_do_not_depend_on_the_scale_of_its_signal(
    sarcoma: Course, tmp_path: Path, children: ChildProcesses
) -> None:
    """The packaged MR parameters bring every series to mean 0 and standard deviation 100, in its own geometry."""
    parameters = yaml.safe_load(packaged_parameters("MR").read_text())
    parameters["imageType"] = {"Original": {}}
    parameters["featureClass"] = {"firstorder": ["Mean", "Entropy"], "glcm": ["JointEntropy", "Contrast"]}
    file = tmp_path / "mr.yaml"
    file.write_text(yaml.safe_dump(parameters))
    source = sarcoma.path("DICOM/MR_1").resolve()
    rows = []
    for slope, intercept in ((1.0, 0.0), (2.5, 40.0)):
        sarcoma.path("DICOM/MR_1").unlink() if slope == 1 else None
        sarcoma.path("DICOM/MR_1").mkdir(exist_ok=True)
        for dataset in map(pydicom.dcmread, sorted(source.iterdir())):
            dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
            dataset.save_as(sarcoma.path("DICOM/MR_1") / f"{dataset.SOPInstanceUID}.dcm")
        resources = resources_for(tmp_path / str(slope), children)
        only_mr = replace(
            sarcoma, description=sarcoma.description.model_copy(update={"images": sarcoma.description.images[1:2]})
        )
        assert radiomics.run(only_mr, configured(file), resources).status == "ok"
        rows += read_parquet(CourseFiles(resources.staging).radiomics_mr).to_pylist()

    names = [name for name in rows[0] if name.startswith("original_")]
    assert len(names) == 4
    assert rows[1]["original_firstorder_Mean"] != pytest.approx(load_image(source).values.mean(), rel=0.5)
    for name in names:
        assert rows[1][name] == pytest.approx(rows[0][name], rel=1e-4), name


def with_dose(course: Course, dose: Path) -> Course:
    course.files.dose.symlink_to(dose)
    return course


def test_features_of_the_dose_and_structures_that_it_does_not_cover(
    lung: Course, test_data: Path, tmp_path: Path, children: ChildProcesses
) -> None:
    course = with_dose(lung, test_data / "LUNG1-001" / "RTDOSE.dcm")
    resources = resources_for(tmp_path, children)
    ct_only = tmp_path / "ct.yaml"
    ct_only.write_text(QUICK, encoding="utf-8")
    configuration = Configuration.model_validate(
        {
            "radiomics": {"params_file": ct_only, "dose": True},
            "structures": {"radiomics": {"include": ("GTV*", "Lung-Left")}},
        }
    )

    outcome = radiomics.run(course, configuration, resources)

    files = CourseFiles(resources.staging)
    assert outcome.status == "ok", outcome.reason
    (gtv,) = read_parquet(files.radiomics_dose).to_pylist()
    dose = read_dose(course.files.dose)
    roi = next(roi for roi in read_structure_set(course.files.structure_set).rois if roi.name == "GTV-1")
    mask = rasterise(roi.contours, dose.grid).on(dose.grid)
    assert (gtv["roi_name"], gtv["modality"], gtv["intensity"]) == ("GTV-1", "RTDOSE", "Gy")
    assert gtv["dose_coverage_fraction"] == 1.0
    assert gtv["voxel_count"] == np.count_nonzero(mask)
    # The parameters resample to 3 mm, which is this dose's own grid: voxels are as they are.
    assert dose.grid.spacing_mm == pytest.approx((3, 3, 3))
    assert gtv["original_firstorder_Mean"] == pytest.approx(dose.values[mask].mean(), rel=1e-6)
    assert gtv["original_firstorder_Maximum"] == pytest.approx(dose.values[mask].max(), rel=1e-6)
    ledger = {
        row["roi_name"]: row for row in read_parquet(files.radiomics_ledger).to_pylist() if row["image_key"] == "DOSE"
    }
    assert ledger["Lung-Left"]["status"] == "skipped"
    assert "of it, less than the 99 %" in ledger["Lung-Left"]["reason"]


def test_without_a_dose_the_ledger_says_so(lung: Course, quick: Path, tmp_path: Path, children: ChildProcesses) -> None:
    resources = resources_for(tmp_path, children)

    outcome = radiomics.run(lung, configured(quick, include=("GTV*",), dose=True), resources)

    ledger = read_parquet(CourseFiles(resources.staging).radiomics_ledger).to_pylist()
    gtv = {row["image_key"]: row for row in ledger if row["roi_name"] == "GTV-1"}
    assert outcome.status == "ok"
    assert gtv["CT"]["status"] == "ok"
    assert (gtv["DOSE"]["status"], gtv["DOSE"]["reason"]) == ("skipped", "the course has no dose (no_dose)")


def test_nothing_but_a_missing_dose_is_skipped_with_its_reason(
    lung: Course, quick: Path, tmp_path: Path, children: ChildProcesses
) -> None:
    without_images = replace(lung, description=lung.description.model_copy(update={"images": ()}))
    outcome = radiomics.run(
        without_images, configured(quick, include=("GTV*",), dose=True), resources_for(tmp_path, children)
    )
    assert outcome.status == "skipped"
    assert "the course has no dose" in outcome.reason


@pytest.mark.parametrize(
    ("shift_voxels", "covered"), [((0, 0, 0), 1.0), ((5, 0, 0), 0.5), ((0, -3, 5), 0.35), ((20, 0, 0), 0.0)]
)
def test_coverage_of_a_box_is_the_part_of_its_voxels_on_the_grid(
    shift_voxels: tuple[int, int, int], covered: float
) -> None:
    grid = Grid.uniform((0, 0, 0), (2, 2, 3), (10, 10, 10))
    x, y, z = (step * size for step, size in zip(shift_voxels, (2, 2, 3), strict=True))
    square = np.array([[-1, -1], [19, -1], [19, 19], [-1, 19]]) + np.array([x, y])
    contours = tuple(np.column_stack([square, np.full(4, 3.0 * plane + z)]) for plane in range(10))

    assert covered_fraction(Structure("manual", 1, "BOX", "", contours=contours), grid) == pytest.approx(covered)


def test_a_structure_that_is_too_small_once_resampled_is_skipped_and_the_course_complete(
    lung: Course, quick: Path, tmp_path: Path, children: ChildProcesses
) -> None:
    quick.write_text(QUICK.replace("minimumROISize: 64", "minimumROISize: 10000"), encoding="utf-8")
    resources = resources_for(tmp_path, children)

    outcome = radiomics.run(lung, configured(quick, include=("GTV*", "*Cord")), resources)

    ledger = rows(read_parquet(CourseFiles(resources.staging).radiomics_ledger))
    assert outcome.status == "ok", outcome.reason
    assert ledger["Spinal-Cord"]["status"] == "skipped"
    assert "voxels of 2 x 2 x 2 mm, and minimumROISize of the parameters asks for more than 10000" in str(
        ledger["Spinal-Cord"]["reason"]
    )
    assert read_parquet(CourseFiles(resources.staging).radiomics_ct).column("roi_name").to_pylist() == ["GTV-1"]


def test_a_course_without_a_selected_structure_is_skipped_without_starting_anything(
    lung: Course, quick: Path, tmp_path: Path
) -> None:
    children = ChildProcesses()
    nowhere = tmp_path / "no" / "python"

    outcome = radiomics.run(
        lung, configured(quick, include=("PTV*",), python=nowhere), resources_for(tmp_path, children)
    )

    assert outcome.status == "skipped"
    assert "structures.radiomics" in outcome.reason


def test_without_the_environment_the_stage_fails_and_says_what_to_do(lung: Course, quick: Path, tmp_path: Path) -> None:
    configuration = configured(quick, python=tmp_path / "no" / "python")

    with pytest.raises(StageError, match="python -m nox -s demo"):
        radiomics.run(lung, configuration, resources_for(tmp_path, ChildProcesses()))


def test_an_unknown_feature_class_is_named(lung: Course, quick: Path, tmp_path: Path, children: ChildProcesses) -> None:
    quick.write_text("featureClass: {fristorder: []}", encoding="utf-8")

    with pytest.raises(StageError, match="fristorder is not recognized"):
        radiomics.run(lung, configured(quick), resources_for(tmp_path, children))


def test_a_series_with_missing_slices_is_skipped_with_the_reason(
    lung: Course, quick: Path, tmp_path: Path, children: ChildProcesses
) -> None:
    source = lung.path("DICOM/CT").resolve()
    lung.path("DICOM/CT").unlink()
    lung.path("DICOM/CT").mkdir()
    for file in sorted(source.iterdir()):
        if file.name != "1-060.dcm":
            (lung.path("DICOM/CT") / file.name).symlink_to(file)

    outcome = radiomics.run(lung, configured(quick, include=("GTV*",)), resources_for(tmp_path, children))

    assert outcome.status == "failed"
    assert "CT: the planes of the image are not equally spaced" in outcome.reason


def test_a_pet_that_cannot_be_made_suv_takes_away_only_itself(
    sarcoma: Course, quick: Path, tmp_path: Path, children: ChildProcesses
) -> None:
    source = sarcoma.path("DICOM/PT_1").resolve()
    sarcoma.path("DICOM/PT_1").unlink()
    sarcoma.path("DICOM/PT_1").mkdir()
    for file in sorted(source.iterdir()):
        dataset = pydicom.dcmread(file)
        dataset.Units = "CNTS"
        dataset.save_as(sarcoma.path("DICOM/PT_1") / file.name)
    resources = resources_for(tmp_path, children)

    outcome = radiomics.run(sarcoma, configured(quick), resources)

    files = CourseFiles(resources.staging)
    ledger = {row["image_key"]: row for row in read_parquet(files.radiomics_ledger).to_pylist()}
    assert outcome.status == "partial"
    assert "PT_1_SUV_body_weight: PET: Units CNTS" in outcome.reason
    assert {key: row["status"] for key, row in ledger.items()} == {"CT": "ok", "MR_1": "ok", "PT_1": "skipped"}
    assert "Units CNTS" in ledger["PT_1"]["reason"]
    assert files.radiomics_mr.exists()
    assert not files.radiomics_pet.exists()

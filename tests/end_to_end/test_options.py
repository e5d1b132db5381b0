"""What is off by default, turned on together for one demo course: each does its work."""

import json
import math

import numpy as np
import pytest
import yaml

from end_to_end.runs import FinishedRun, rtpipeline
from polygon_area import polygon_area_mm2
from rtpipeline.demo.cohort import write_demo_cohort
from rtpipeline.demo.phantom_codes import ORGAN_HU
from rtpipeline.demo.settings import PARAMETERS
from rtpipeline.demo.tiny_weights import write_tiny_nnunet_model
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtstruct import Roi, read_structure_set
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.nifti import read_nifti
from rtpipeline.tables.parquet import read_parquet

pytestmark = [pytest.mark.end_to_end, pytest.mark.radiomics_environment]

MODEL_LABELS = {"heart": ORGAN_HU["heart"], "liver": ORGAN_HU["liver"]}


@pytest.fixture(scope="module")
def everything_on(tmp_path_factory, tiny_weights) -> FinishedRun:
    folder = tmp_path_factory.mktemp("options")
    write_demo_cohort(folder / "dicom")
    network = {"id": 901, "alias": "toy", "source_directory": "model", "label_order": list(MODEL_LABELS)}
    model = {"name": "toy", "nnunet": {"interface": "nnunetv2_modelfolder", "networks": [network]}}
    write_tiny_nnunet_model(folder / "models" / "toy" / "model", MODEL_LABELS)
    (folder / "models" / "toy" / "custom_model.yaml").write_text(yaml.safe_dump(model))
    structures = [
        {"name": "HeartLiver", "operation": "union", "source_structures": ["Heart", "Liver"]},
        {
            "name": "Outside",
            "operation": "subtract",
            "source_structures": ["HeartLiver", {"source_structures": ["GTV*"], "margin": 5}],
        },
        {"name": "GTV_5mm", "source_structures": ["GTV"], "margin": 5},
    ]
    (folder / "structures.yaml").write_text(yaml.safe_dump({"custom_structures": structures}))
    configuration = {
        "scheduler": {"reserved_cores": 0},
        "segmentation": {"device": "cpu", "fast": True, "weights": str(tiny_weights)},
        "custom_models": {"enabled": True, "root": str(folder / "models")},
        "custom_structures": str(folder / "structures.yaml"),
        "custom_structure_templates": ["by_region", "abdomen"],
        "ct_cropping": {
            "enabled": True,
            "region": "abdomen",
            "use_cropped_for_dvh": True,
            "use_cropped_for_radiomics": True,
        },
        "structures": {"robustness": {"include": ["GTV"], "sources": ["manual"]}},
        "radiomics": {"params_file": str(PARAMETERS / "ct.yaml")},
        "radiomics_robustness": {
            "segmentation_perturbation": {
                "noise_levels": [0, 10],
                "max_translation_mm": 4,
                "n_random_contour_realizations": 1,
            }
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration))
    finished = rtpipeline(
        "run", "--dicom-root", folder / "dicom", "--outdir", folder / "output",
        "--config", folder / "config.yaml", "--course-filter", "DEMO-001",
    )  # fmt: skip
    return FinishedRun(folder / "output", finished.stdout, finished.returncode)


@pytest.fixture(scope="module")
def course(everything_on):
    assert everything_on.exit_code == 0, everything_on.printed
    (course,) = everything_on.courses.values()
    return course


@pytest.fixture(scope="module")
def grid(course):
    return load_image(course.path("DICOM/CT")).grid


def rois(path) -> dict[str, Roi]:
    return {roi.name: roi for roi in read_structure_set(path).rois}


def mask_of(roi: Roi, grid) -> Mask:
    return rasterise(roi.contours, grid)


def test_a_custom_model_becomes_masks_and_a_structure_set(course, grid):
    segmentation = course.files.custom_model_segmentation("toy")
    labels = json.loads(course.files.label_map(segmentation).read_text())["labels"]
    assert labels == {"1": "heart", "2": "liver"}
    found = read_nifti(segmentation)
    for number, name in labels.items():
        drawn = mask_of(rois(course.files.custom_model_structure_set("toy"))[name], grid)
        np.testing.assert_array_equal(drawn.on(grid), found.values == int(number))
        assert drawn.voxel_count > 100


def test_a_union_holds_both_structures_and_nothing_else(course, grid):
    manual, custom = rois(course.files.structure_set), rois(course.files.custom_structure_set)
    union = mask_of(manual["Heart"], grid).on(grid) | mask_of(manual["Liver"], grid).on(grid)
    np.testing.assert_array_equal(mask_of(custom["HeartLiver"], grid).on(grid), union)


def test_expressions_within_expressions_and_what_templates_add(course, grid):
    """What a template lacks makes no course partial."""
    custom = rois(course.files.custom_structure_set)
    both, grown, outside = (mask_of(custom[name], grid).on(grid) for name in ("HeartLiver", "GTV_5mm", "Outside"))
    np.testing.assert_array_equal(outside, both & ~grown)
    cord = mask_of(custom["SpinalCord_PRV05"], grid).volume_cm3
    assert cord > mask_of(rois(course.files.automatic_structure_set)["spinal_cord"], grid).volume_cm3
    assert "without vertebrae_L2: there is no such structure" in custom["LumbarSpine"].description
    assert "Liver_without_Gallbladder" not in custom


def test_a_margin_of_5_mm_grows_the_tumour_by_5_mm(course, grid):
    """The drawn tumour is a sphere in 3 mm steps; the margin makes the sphere of its volume 5 mm larger in radius."""
    grown = mask_of(rois(course.files.custom_structure_set)["GTV_5mm"], grid)
    drawn = mask_of(rois(course.files.structure_set)["GTV"], grid)
    radius_cm = (drawn.volume_cm3 * 3 / (4 * math.pi)) ** (1 / 3)
    assert radius_cm == pytest.approx(1.5, abs=0.05)
    assert grown.volume_cm3 == pytest.approx(4 / 3 * math.pi * (radius_cm + 0.5) ** 3, rel=0.03)
    np.testing.assert_allclose(grown.centroid_mm, drawn.centroid_mm, atol=0.3)


def test_manual_contours_are_carried_over_untouched(course):
    manual, custom = rois(course.files.structure_set), rois(course.files.custom_structure_set)
    for name, roi in manual.items():
        assert len(roi.contours) == len(custom[name].contours)
        for before, after in zip(roi.contours, custom[name].contours, strict=True):
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("source", ["structure_set", "automatic_structure_set", "custom_structure_set", "model"])
def test_cropping_moves_no_structure(course, grid, source):
    original = course.files.custom_model_structure_set("toy") if source == "model" else getattr(course.files, source)
    cut = json.loads(course.files.cropping.read_text())
    cropped_grid = read_nifti(course.files.cropped_ct).grid
    assert cropped_grid.planes < grid.planes, cut
    low, high = (cropped_grid.index_to_world(np.array([0.0, 0.0, plane]))[2] for plane in (0, cropped_grid.planes - 1))
    before, after = rois(original), rois(course.files.cropped(original))
    compared = 0
    for name, roi in before.items():
        heights = [float(z) for contour in roi.contours for z in contour[:, 2]]
        if not heights or min(heights) < low or max(heights) > high:
            continue
        compared += 1
        moved = mask_of(after[name], cropped_grid).centroid_mm - mask_of(roi, grid).centroid_mm
        assert float(np.abs(moved).max()) < 0.01, name
    assert compared


def test_dose_and_radiomics_are_those_of_the_cropped_ct(course):
    """The same field of view for every source: percentages refer to what of a structure lies in the cropped CT."""
    cropped = read_nifti(course.files.cropped_ct).grid
    volumes = {
        (row["segmentation_source"], row["roi_name"]): row["value"]
        for row in read_parquet(course.files.dvh_metrics).to_pylist()
        if row["metric"] == "Volume"
    }
    cord = rois(course.files.structure_set)["Spinal Cord"]
    lowest, highest = cropped.origin_mm[2] - 0.1, cropped.origin_mm[2] + cropped.plane_offsets_mm[-1] + 0.1
    inside = [contour for contour in cord.contours if lowest <= contour[0, 2] <= highest]
    assert 0 < len(inside) < len(cord.contours)
    slabs_cm3 = sum(polygon_area_mm2(contour) for contour in inside) * cropped.plane_spacing_mm / 1000.0
    assert volumes["manual", "Spinal Cord"] == pytest.approx(slabs_cm3, rel=0.01)
    rows = read_parquet(course.files.radiomics_ct).to_pylist()
    assert rows
    assert {row["image_cropped"] for row in rows} == {True}


def test_nothing_is_done_again_in_a_second_run(everything_on, course):
    files = {path: path.stat().st_mtime_ns for path in sorted((course.files.folder / "state").glob("*.json"))}
    config = everything_on.output.parent / "config.yaml"
    again = rtpipeline(
        "run", "--dicom-root", everything_on.output.parent / "dicom", "--outdir", everything_on.output,
        "--config", config, "--course-filter", "DEMO-001",
    )  # fmt: skip
    assert again.returncode == 0, again.stdout
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_all_four_axes_of_perturbation_are_in_the_table(course):
    rows = read_parquet(course.files.radiomics_robustness).to_pylist()
    states = {row["perturbation_id"] for row in rows}
    assert len(states) == 2 * 3 * 2 * 3
    for axis in ("_n10", "_t0_0_4", "_c1", "_v+15"):
        assert any(axis in state for state in states), (axis, sorted(states))

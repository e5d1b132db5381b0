"""A real lung course through the whole pipeline, its tables checked against independent calculations."""

import json
import os
import subprocess
from importlib import resources

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from matplotlib.path import Path as Polygon

from polygon_area import polygon_area_mm2
from rtpipeline.config import Configuration
from rtpipeline.radiomics_conda import find_radiomics_python

pytestmark = [pytest.mark.end_to_end, pytest.mark.real_data, pytest.mark.radiomics_environment]

SLICE_SPACING_MM = 3.0

DIRECT_EXTRACTION = """
import json, sys
import SimpleITK as sitk
from radiomics.featureextractor import RadiomicsFeatureExtractor
image = sitk.Cast(sitk.ReadImage(sys.argv[1]), sitk.sitkFloat32)
features = RadiomicsFeatureExtractor(sys.argv[3]).execute(image, sitk.ReadImage(sys.argv[2]))
print(json.dumps({name: float(value) for name, value in features.items() if not name.startswith("diagnostics")}))
"""


@pytest.fixture(scope="module")
def drawn(test_data) -> dict[str, list[np.ndarray]]:
    """The contours of every ROI as they are in the file: name → arrays (n, 3) in mm."""
    dataset = pydicom.dcmread(test_data / "LUNG1-001" / "RTSTRUCT.dcm")
    names = {roi.ROINumber: roi.ROIName for roi in dataset.StructureSetROISequence}
    return {
        names[roi.ReferencedROINumber]: [
            np.asarray(contour.ContourData, float).reshape(-1, 3) for contour in roi.ContourSequence
        ]
        for roi in dataset.ROIContourSequence
    }


@pytest.fixture(scope="module")
def ct(test_data) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(test_data / "LUNG1-001" / "CT")))
    return reader.Execute()


def voxels_inside(contours: list[np.ndarray], ct: sitk.Image) -> np.ndarray:
    """Mask (z, y, x) of the voxel centres inside the contours, even-odd, by matplotlib."""
    columns, rows, planes = ct.GetSize()
    centres = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    mask = np.zeros((planes, rows, columns), bool)
    for contour in contours:
        index = np.array([ct.TransformPhysicalPointToContinuousIndex(point.tolist()) for point in contour])
        inside = Polygon(index[:, :2]).contains_points(centres).reshape(rows, columns)
        mask[round(index[0, 2])] ^= inside
    return mask


def manual_rows(run, table: str, roi: str) -> list[dict]:
    return [row for row in run.rows(table) if row["segmentation_source"] == "manual" and row["roi_name"] == roi]


def test_the_run_ends_well(lung):
    assert lung.exit_code == 0, lung.printed


def test_the_course_has_its_plan_and_prescription(lung):
    (course,) = lung.courses.values()
    description = course.description
    assert (description.patient_id, description.kind, description.start_date) == ("LUNG1-001", "plan", "2008-09-18")
    assert description.planning_ct.instance_count == 134
    assert [plan.label for plan in description.plans] == ["LungIMRT"]
    assert (description.prescription.total_dose_gy, description.prescription.fractions) == (60.0, 30)
    assert description.dose_decision.label == "single_dose"


@pytest.mark.parametrize("roi", ["GTV-1", "Spinal-Cord", "Lung-Left", "Lung-Right"])
def test_volumes_are_those_of_the_drawn_polygons(lung, drawn, roi):
    expected_cm3 = sum(map(polygon_area_mm2, drawn[roi])) * SLICE_SPACING_MM / 1000
    (volume,) = [
        row["value"]
        for row in manual_rows(lung, "dvh_metrics", roi)
        if row["unit"] == "cm3" and row["metric"] == "Volume"
    ]
    assert volume == pytest.approx(expected_cm3, rel=0.002)


def test_mean_dose_agrees_with_an_independent_calculation(lung, drawn, ct, test_data):
    dose = pydicom.dcmread(test_data / "LUNG1-001" / "RTDOSE.dcm")
    image = sitk.GetImageFromArray(dose.pixel_array * float(dose.DoseGridScaling))
    image.SetOrigin([float(value) for value in dose.ImagePositionPatient])
    image.SetSpacing([*(float(value) for value in dose.PixelSpacing[::-1]), float(dose.GridFrameOffsetVector[1])])
    on_ct = sitk.GetArrayFromImage(sitk.Resample(image, ct, sitk.Transform(), sitk.sitkLinear, 0.0))
    expected_gy = float(on_ct[voxels_inside(drawn["GTV-1"], ct)].mean())
    (mean_gy,) = [row["value"] for row in manual_rows(lung, "dvh_metrics", "GTV-1") if row["column"] == "DmeanGy"]
    assert mean_gy == pytest.approx(expected_gy, abs=0.1)


def test_metrics_of_structures_outside_the_dose_grid_are_withheld_with_the_reason(lung):
    rows = {row["column"]: row for row in manual_rows(lung, "dvh_metrics", "Spinal-Cord")}
    assert rows["DmeanGy"]["value"] is None
    assert "does not cover" in rows["DmeanGy"]["status"]
    assert rows["Volume (cm³)"]["value"] > 0


def test_radiomics_equal_a_direct_call_of_pyradiomics(lung, drawn, ct, tmp_path):
    mask = sitk.GetImageFromArray(voxels_inside(drawn["GTV-1"], ct).astype(np.uint8))
    mask.CopyInformation(ct)
    sitk.WriteImage(ct, tmp_path / "ct.nrrd")
    sitk.WriteImage(mask, tmp_path / "mask.nrrd")
    (tmp_path / "direct.py").write_text(DIRECT_EXTRACTION)
    environment = find_radiomics_python(Configuration(), os.environ)
    parameters = resources.files("rtpipeline.extraction") / "parameters" / "ct.yaml"
    finished = subprocess.run(
        [environment.python, tmp_path / "direct.py", tmp_path / "ct.nrrd", tmp_path / "mask.nrrd", str(parameters)],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    expected = json.loads(finished.stdout.splitlines()[-1])
    (row,) = manual_rows(lung, "radiomics_ct", "GTV-1")
    assert len(expected) == 1223
    differing = {
        name: (row[name], value)
        for name, value in expected.items()
        if row[name] != pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True)
    }
    assert not differing


def test_every_table_can_be_read_and_names_its_patient_as_text(lung):
    for table in ("dvh_metrics", "radiomics_ct", "case_metadata", "qc_reports", "analysis_table"):
        assert {row["patient_id"] for row in lung.rows(table)} == {"LUNG1-001"}

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.errors import InvalidDicomError

from rtpipeline.demo.anatomy import CT_GRID
from rtpipeline.demo.cohort import anatomy_of, write_demo_cohort
from rtpipeline.demo.phantom_codes import ORGAN_HU


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    write_demo_cohort(folder)
    return folder


@pytest.fixture(scope="module")
def objects(cohort: Path) -> dict[str, pydicom.Dataset]:
    """Every readable object by its SOPInstanceUID."""
    found = {}
    for path in sorted(cohort.rglob("*")):
        if path.is_file():
            try:
                dataset = pydicom.dcmread(path)
            except (InvalidDicomError, EOFError):
                continue
            if "PatientID" in dataset:
                found[dataset.SOPInstanceUID] = dataset
    return found


def _one(objects, patient: str, modality: str):
    return [o for o in objects.values() if o.PatientID == patient and o.Modality == modality]


def test_two_runs_write_the_same_bytes(cohort: Path, tmp_path: Path):
    write_demo_cohort(tmp_path)
    first = {p.relative_to(cohort): p.read_bytes() for p in cohort.rglob("*") if p.is_file()}
    second = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert first == second


def test_patients_and_objects(objects):
    counts = Counter((o.PatientID, o.Modality) for o in objects.values())
    assert counts[("DEMO-001", "RTRECORD")] == 20
    assert counts[("DEMO-002", "RTPLAN")] == counts[("DEMO-002", "RTDOSE")] == 2
    assert counts[("DEMO-002", "RTRECORD")] == 33
    assert counts[("DEMO-003", "RTPLAN")] == 0
    assert counts[("DEMO-003", "CT")] == CT_GRID.planes
    assert counts[("DEMO-004", "RTSTRUCT")] == 2
    assert counts[("DEMO-004", "MR")] == 26
    assert counts[("DEMO-005", "PT")] == 44


def test_files_are_as_messy_as_an_export(cohort: Path, objects):
    files = [path for path in cohort.rglob("*") if path.is_file()]
    suffixes = {path.suffix for path in files}
    assert {"", ".dcm", ".DCM", ".ima"} <= suffixes
    assert len(files) > len(objects) + 10, "there are no duplicates"
    with pytest.raises(InvalidDicomError):
        pydicom.dcmread(cohort / "notes.dcm")
    truncated = pydicom.dcmread(sorted((cohort / "DISC1" / "SCOUT").iterdir())[-1])
    assert len(truncated.PixelData) < truncated.Rows * truncated.Columns * 2
    folders = defaultdict(set)
    for path in files:
        if path.parent.name == "A7F3":
            folders[path.parent].add(pydicom.dcmread(path, stop_before_pixels=True).PatientID)
    assert max(len(patients) for patients in folders.values()) > 1, "patients are not mixed"


def test_two_fractions_on_one_day(objects):
    records = _one(objects, "DEMO-001", "RTRECORD")
    days = Counter(record.TreatmentDate for record in records)
    assert sorted(days.values()) == [1] * 18 + [2]
    numbers = {record.TreatmentSessionBeamSequence[0].CurrentFractionNumber for record in records}
    assert numbers == set(range(1, 21))


def test_references_lead_from_dose_to_ct(objects):
    for dose in (o for o in objects.values() if o.Modality == "RTDOSE"):
        plan = objects[dose.ReferencedRTPlanSequence[0].ReferencedSOPInstanceUID]
        structures = objects[plan.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID]
        study = structures.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
        for reference in study.RTReferencedSeriesSequence[0].ContourImageSequence:
            image = objects[reference.ReferencedSOPInstanceUID]
            assert image.Modality == "CT"
            assert image.FrameOfReferenceUID == dose.FrameOfReferenceUID


def test_simpleitk_reads_the_ct_with_its_hu(objects, tmp_path: Path):
    for number, image in enumerate(_one(objects, "DEMO-003", "CT")):
        image.save_as(tmp_path / f"{number}.dcm")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    assert image.GetSpacing() == pytest.approx((3.0, 3.0, 3.0))
    assert image.GetOrigin() == pytest.approx(tuple(CT_GRID.origin_mm))
    expected = anatomy_of("DEMO-003").ct().values
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), expected)


@pytest.mark.parametrize("patient", ["DEMO-001", "DEMO-005"])
def test_drawn_volume_is_the_ellipsoids(objects, patient: str):
    """Polygon area times spacing, against 4/3 pi r_x r_y r_z: contours every 3 mm of a 30 mm tumour."""
    structures = next(o for o in _one(objects, patient, "RTSTRUCT") if o.StructureSetLabel == "Physician")
    number = next(r.ROINumber for r in structures.StructureSetROISequence if r.ROIName == "GTV")
    contours = next(c for c in structures.ROIContourSequence if c.ReferencedROINumber == number)
    area = 0.0
    for contour in contours.ContourSequence:
        x, y, _ = np.asarray(contour.ContourData, float).reshape(-1, 3).T
        area += 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    expected = 4.0 / 3.0 * np.pi * np.prod(anatomy_of(patient).tumour.radii_mm)
    assert area * 3.0 == pytest.approx(expected, rel=0.02)


def test_one_dose_covers_the_patient_and_the_others_do_not(objects):
    def corners(dose):
        first = np.asarray(dose.ImagePositionPatient, float)
        size = np.array([dose.Columns, dose.Rows, dose.NumberOfFrames], float)
        return first, first + (size - 1) * 4.0

    low, high = corners(_one(objects, "DEMO-001", "RTDOSE")[0])
    assert np.all(low < [-86, -68, -90])
    assert np.all(high > [86, 68, 90])
    for dose in _one(objects, "DEMO-002", "RTDOSE"):
        low, high = corners(dose)
        target = anatomy_of("DEMO-002").planning_target
        assert np.all(low < np.array(target.centre_mm) - target.radii_mm)
        assert np.all(high > np.array(target.centre_mm) + target.radii_mm)
        assert low[2] > -86


def test_organ_codes_survive_the_noise():
    values = anatomy_of("DEMO-001").ct().values
    organ = anatomy_of("DEMO-001").organs["liver"]
    plane, row, column = np.indices(CT_GRID.shape, dtype=float)
    points = CT_GRID.index_to_world(np.stack([column, row, plane], axis=-1))
    assert np.all(np.abs(values[organ.contains(points)] - ORGAN_HU["liver"]) < 40.0)


def test_dose_in_the_target_is_the_prescription(objects):
    dose = _one(objects, "DEMO-001", "RTDOSE")[0]
    values = dose.pixel_array * float(dose.DoseGridScaling)
    z, y, x = np.indices(values.shape, dtype=float)
    points = np.stack([x, y, z], axis=-1) * 4.0 + np.asarray(dose.ImagePositionPatient, float)
    inside = values[anatomy_of("DEMO-001").planning_target.contains(points)]
    assert inside.min() > 0.95 * 60.0
    assert inside.max() < 1.07 * 60.0

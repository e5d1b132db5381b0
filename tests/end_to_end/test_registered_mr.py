"""An MR series that is registered with the planning CT: its structures on the CT, from the export to the RTSTRUCT."""

import numpy as np
import pydicom
import pytest
import yaml

from dicom_files import rigid, write_registration
from end_to_end.runs import rtpipeline
from rtpipeline.course import CohortFiles
from rtpipeline.demo.anatomy import CT_GRID, MR_GRID, Anatomy
from rtpipeline.demo.cohort import planes_mm
from rtpipeline.demo.dicom_objects import Study, image_series
from rtpipeline.demo.radiotherapy_objects import DrawnRoi, structure_set
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Volume

pytestmark = pytest.mark.end_to_end  # starts TotalSegmentator

FROM_MR_TO_CT = rigid((0.1, 0.2, 1.0), 14.0, (35.0, -22.0, 18.0))


def _write_export(folder):
    """A CT with a structure set, an MR of another frame of reference, and a registration of both."""
    anatomy = Anatomy.draw(seed=11, tumour_radius_mm=14.0)
    ct_study, mr_study = Study("MR-001", "planning", "20240301"), Study("MR-001", "mr", "20240229", frame="mr")
    ct = image_series(ct_study, "CT", "Planning CT 3.0 B30f", anatomy.ct())
    drawn = structure_set(ct_study, "Physician", ct, [DrawnRoi("GTV", "GTV", anatomy.tumour)], planes_mm(CT_GRID))
    moved = Volume(MR_GRID.moved(np.linalg.inv(FROM_MR_TO_CT)), anatomy.mr().values)
    mr = image_series(mr_study, "MR", "T1 TSE tra", moved)
    folder.mkdir()
    for number, dataset in enumerate([*ct, drawn, *mr]):
        dataset.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
    frames = ((ct_study.frame_uid, [np.eye(4)]), (mr_study.frame_uid, [FROM_MR_TO_CT]))
    registration = pydicom.dcmread(write_registration(folder / "registration.dcm", ct_study.frame_uid, frames))
    for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID"):
        setattr(registration, name, ct[0][name].value)
    registration.save_as(folder / "registration.dcm", enforce_file_format=True)
    return anatomy


def test_structures_of_the_mr_lie_on_the_ct_where_they_are(tmp_path, tiny_weights):
    anatomy = _write_export(tmp_path / "dicom")
    config = tmp_path / "config.yaml"
    section = {"device": "cpu", "fast": True, "weights": str(tiny_weights)}
    section["postprocessing"] = {"keep_largest_component": ["*"]}  # the tiny network errs where voxels hold two tissues
    config.write_text(yaml.safe_dump({"segmentation": section}))
    stages = [word for stage in ("organize", "segmentation", "auto_rtstruct") for word in ("--stage", stage)]
    folders = ["--dicom-root", tmp_path / "dicom", "--outdir", tmp_path / "out"]
    finished = rtpipeline("run", *folders, "--config", config, *stages)
    assert finished.returncode == 0, finished.stdout
    (course,) = CohortFiles(tmp_path / "out").manifest_courses()
    (mr,) = [image for image in course.description.images if image.modality == "MR"]
    rois = {roi.name: roi for roi in read_structure_set(course.files.automatic_structure_set).rois}
    centres = np.stack(np.meshgrid(*(np.arange(size, dtype=float) for size in CT_GRID.shape), indexing="ij")[::-1], -1)
    centres_mm = CT_GRID.index_to_world(centres)
    in_mr = MR_GRID.world_to_index(centres_mm)
    seen = ((in_mr >= -0.5) & (in_mr <= np.array([MR_GRID.columns, MR_GRID.rows, MR_GRID.planes]) - 0.5)).all(axis=-1)
    for organ in ("liver", "heart"):
        roi = rois[f"{organ}--{mr.key}"]
        assert f"segmented on {mr.key}, carried onto the planning CT: registration" in roi.description
        mask, truth = rasterise(roi.contours, CT_GRID).on(CT_GRID), anatomy.organs[organ].contains(centres_mm) & seen
        overlap = 2 * np.count_nonzero(mask & truth) / (np.count_nonzero(mask) + np.count_nonzero(truth))
        assert overlap > 0.8
        off_mm = centres_mm[mask].mean(axis=0) - centres_mm[truth].mean(axis=0)
        assert (np.abs(off_mm) < np.array(MR_GRID.spacing_mm) / 2).all(), (organ, off_mm)

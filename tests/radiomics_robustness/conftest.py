import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmwrite

from rtpipeline.course import Course, CourseDescription, CourseFiles, DoseDecision, ImageSeries
from rtpipeline.demo.cohort import cohort_objects
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.resources import Resources


def write_course(folder: Path, patient: str) -> Course:
    """The course folder that organizing makes of a demo patient's planning CT and structure set."""
    objects = [dataset for dataset in cohort_objects() if dataset.PatientID == patient]
    files = CourseFiles(folder / patient / "2024-03")
    ct = [dataset for dataset in objects if dataset.Modality == "CT"]
    (files.dicom / "CT").mkdir(parents=True)
    for number, image in enumerate(ct):
        dcmwrite(files.dicom / "CT" / f"{number:04d}.dcm", image, enforce_file_format=True)
    structures = next(dataset for dataset in objects if dataset.get("StructureSetLabel") == "Physician")
    dcmwrite(files.structure_set, structures, enforce_file_format=True)
    series = ImageSeries(
        key="CT",
        modality="CT",
        folder="DICOM/CT",
        series_instance_uid=ct[0].SeriesInstanceUID,
        study_instance_uid=ct[0].StudyInstanceUID,
        instance_count=len(ct),
    )
    description = CourseDescription(
        patient=patient,
        course="2024-03",
        patient_id=patient,
        kind="structures",
        images=(series,),
        dose_decision=DoseDecision(label="no_dose"),
    )
    return Course(files, description)


@pytest.fixture
def demo_course(tmp_path: Path) -> Callable[[str], Course]:
    return lambda patient: write_course(tmp_path / "out", patient)


@pytest.fixture
def resources(tmp_path: Path) -> Iterator[Resources]:
    children = ChildProcesses()
    folders = {name: tmp_path / name for name in ("staging", "scratch", "logs")}
    for folder in folders.values():
        folder.mkdir()
    yield Resources(threads=2, device="cpu", children=children, logger=logging.getLogger("test"), **folders)
    children.close()

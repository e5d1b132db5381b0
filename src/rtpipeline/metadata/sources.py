"""Everything that the metadata of a course is read from, each file once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rtpipeline.course import Course
from rtpipeline.dicom.acquisition import Acquisition, Patient, acquisition_of, patient_of, read_patient
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import SeriesGeometry, read_geometry
from rtpipeline.dicom.registration import RegistrationContent, read_registration
from rtpipeline.dicom.rtdose import dose_grid_scaling, read_dose
from rtpipeline.dicom.rtplan import PlanContent, read_plan
from rtpipeline.dicom.rtrecord import TreatmentRecord, read_treatment_record
from rtpipeline.dicom.rtstruct import StructureSetContent, read_structure_set
from rtpipeline.imaging.grid import Volume

Content = TypeVar("Content")
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class CourseContent:
    """What the files of a course say.

    Attributes:
        patients: of the plans and of the planning CT, in this order.
        plans: every readable plan of the course, by its SOPInstanceUID.
        records: every readable treatment record.
        registrations: every readable spatial registration.
        structure_set: the primary structure set; None where there is none.
        dose: the course's dose in Gy; None where there is none.
        dose_scaling: its DoseGridScaling; None where there is no dose.
        ct: geometry of the planning CT; None where there is none.
        acquisition: how the first image of the planning CT was made.
        problems: a sentence for every file that cannot be read.
    """

    patients: tuple[Patient, ...]
    plans: dict[str, PlanContent]
    records: tuple[TreatmentRecord, ...]
    registrations: tuple[RegistrationContent, ...]
    structure_set: StructureSetContent | None
    dose: Volume | None
    dose_scaling: float | None
    ct: SeriesGeometry | None
    acquisition: Acquisition | None
    problems: tuple[str, ...]

    @property
    def patient(self) -> Patient:
        """Whom the course is of: the first value that any of its files gives."""
        return Patient(
            name=_first(patient.name for patient in self.patients) or "",
            birth_date=_first(patient.birth_date for patient in self.patients) or "",
            sex=_first(patient.sex for patient in self.patients) or "",
            age_years=_first(patient.age_years for patient in self.patients),
            weight_kg=_first(patient.weight_kg for patient in self.patients),
            height_m=_first(patient.height_m for patient in self.patients),
        )


def read_course(course: Course) -> CourseContent:
    """Read the files of a course; one that cannot be read is left out and named in `problems`."""
    description, files = course.description, course.files
    problems: list[str] = []
    plan_paths = [course.path(plan.file) for plan in description.plans]
    plans = [plan for path in plan_paths if (plan := _readable(read_plan, path, problems)) is not None]
    patients = [patient for path in plan_paths if (patient := _readable(read_patient, path, problems)) is not None]
    record_paths = [course.path(file) for file in description.treatment_record_files]
    records = [record for path in record_paths if (record := _readable(read_treatment_record, path, problems))]
    registration_paths = [course.path(file) for file in description.registration_files]
    registrations = [one for path in registration_paths if (one := _readable(read_registration, path, problems))]
    dose = _readable(read_dose, files.dose, problems, optional=True)
    ct = description.planning_ct
    geometry = _readable(read_geometry, course.path(ct.folder), problems) if ct is not None else None
    if geometry is not None:
        patients.append(patient_of(geometry.header))
    return CourseContent(
        patients=tuple(patients),
        plans={plan.sop_instance_uid: plan for plan in plans},
        records=tuple(records),
        registrations=tuple(registrations),
        structure_set=_readable(read_structure_set, files.structure_set, problems, optional=True),
        dose=dose,
        dose_scaling=dose_grid_scaling(files.dose) if dose is not None else None,
        ct=geometry,
        acquisition=acquisition_of(geometry.header) if geometry is not None else None,
        problems=tuple(map(course.within, problems)),
    )


def _readable(
    read: Callable[[Path], Content], path: Path, problems: list[str], *, optional: bool = False
) -> Content | None:
    if optional and not path.exists():
        return None
    try:
        return read(path)
    except DicomError as error:
        problems.append(str(error))
        return None


def _first(values: Iterable[Value]) -> Value | None:
    """The first that is given; an age of 0 years is."""
    return next((value for value in values if value is not None and value != ""), None)

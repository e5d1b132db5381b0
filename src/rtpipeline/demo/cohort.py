"""The synthetic cohort: who is in it, and its files.

DEMO-001 a whole course with a record of every fraction, two of them on one day · DEMO-002 a course with a boost plan
(50 Gy in 25 fractions and 16 Gy in 8), whose dose grids do not cover the whole patient · DEMO-003 CT and structures
only · DEMO-004 CT and MR in one frame of reference, each with structures · DEMO-005 CT and PET in one frame of
reference, each with structures.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from rtpipeline.demo.anatomy import BODY, CT_GRID, MR_GRID, PET_GRID, SPINAL_CORD, Anatomy, dose_gy
from rtpipeline.demo.dicom_objects import Study, image_series
from rtpipeline.demo.mess import add_rubbish, scatter
from rtpipeline.demo.radiotherapy_objects import (
    DrawnRoi,
    Fraction,
    dose,
    plan,
    structure_set,
    treatment_record,
)
from rtpipeline.demo.shapes import Ellipsoid
from rtpipeline.imaging.grid import Grid, Volume

TUMOUR_RADIUS_MM = {"DEMO-001": 15.0, "DEMO-002": 18.0, "DEMO-003": 13.0, "DEMO-004": 16.0, "DEMO-005": 20.0}
DOSE_SPACING_MM = 4.0
WHOLE_PATIENT_DOSE_GRID = Grid.uniform((-93.1, -74.2, -92.3), (DOSE_SPACING_MM,) * 3, (47, 38, 47))
"""Off the CT's grid, and larger than the body."""
BOOST_MARGIN_MM = 2.0


def write_demo_cohort(folder: Path) -> None:
    """Write the cohort's DICOM files, and some rubbish among them, below `folder`; the same bytes in every run."""
    scatter(folder, cohort_objects())
    scout_grid = Grid.uniform((-94.5, -94.5, 0.0), (3.0, 3.0, 10.0), (64, 64, 2))
    study = Study("DEMO-001", "planning", "20240108", frame="scout")
    scout = image_series(
        study,
        "CT",
        "Scout",
        anatomy_of("DEMO-001").ct(scout_grid),
        image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"),
    )
    add_rubbish(folder, scout)


def cohort_objects() -> list[Dataset]:
    """Every DICOM object of the cohort, patient by patient."""
    return [
        *_full_course("DEMO-001"),
        *_boost_course("DEMO-002"),
        *_images_with_structures("DEMO-003", "20240304"),
        *_images_with_structures("DEMO-004", "20240311"),
        *_second_modality("DEMO-004", "20240312", "MR", anatomy_of("DEMO-004").mr(), "GTV_MR"),
        *_images_with_structures("DEMO-005", "20240318"),
        *_second_modality("DEMO-005", "20240318", "PT", anatomy_of("DEMO-005").pet(), "GTV_PET"),
    ]


def anatomy_of(patient: str) -> Anatomy:
    """What the synthetic patient looks like."""
    return Anatomy.draw(seed=int(patient.removeprefix("DEMO-")), tumour_radius_mm=TUMOUR_RADIUS_MM[patient])


def planes_mm(grid: Grid) -> list[float]:
    """The z positions of the planes of an axial grid."""
    return [float(grid.origin_mm[2] + offset) for offset in grid.plane_offsets_mm]


def _full_course(patient: str) -> list[Dataset]:
    """60 Gy in 20 fractions, all delivered, fractions 5 and 6 on one day."""
    study = Study(patient, "planning", "20240108", sex="F")
    images, structures = _planning_images(study)
    target = anatomy_of(patient).planning_target
    the_plan = plan(study, "Lung60", structures, "PTV", target, prescription_gy=60.0, fractions=20, date="20240110")
    the_dose = dose(study, "Lung60", the_plan, dose_gy(target, 60.0, WHOLE_PATIENT_DOSE_GRID))
    fractions = _schedule(datetime.date(2024, 1, 15), range(1, 21), twice_on_day_of=5)
    records = [treatment_record(study, "Lung60", the_plan, fraction) for fraction in fractions]
    return [*images, structures, the_plan, the_dose, *records]


def _boost_course(patient: str) -> list[Dataset]:
    """50 Gy in 25 fractions to the planning target, then 16 Gy in 8 to the tumour with a small margin."""
    study = Study(patient, "planning", "20240205", sex="M")
    images, structures = _planning_images(study)
    anatomy = anatomy_of(patient)
    phases = (
        ("Phase1_50Gy", "PTV", anatomy.planning_target, 50.0, 25, "20240207", datetime.date(2024, 2, 12)),
        (
            "Boost_16Gy",
            "PTV_Boost",
            anatomy.tumour.expanded(BOOST_MARGIN_MM),
            16.0,
            8,
            "20240311",
            datetime.date(2024, 3, 18),
        ),
    )
    objects = [*images, structures]
    for label, name, target, prescription_gy, fractions, date, first_day in phases:
        the_plan = plan(
            study, label, structures, name, target, prescription_gy=prescription_gy, fractions=fractions, date=date
        )
        the_dose = dose(study, label, the_plan, dose_gy(target, prescription_gy, _dose_grid(target)))
        schedule = _schedule(first_day, range(1, fractions + 1))
        objects += [the_plan, the_dose, *(treatment_record(study, label, the_plan, one) for one in schedule)]
    return objects


def _images_with_structures(patient: str, date: str) -> list[Dataset]:
    images, structures = _planning_images(Study(patient, "planning", date))
    return [*images, structures]


def _planning_images(study: Study) -> tuple[list[Dataset], Dataset]:
    anatomy = anatomy_of(study.patient)
    images = image_series(study, "CT", "Planning CT 3.0 B30f", anatomy.ct())
    rois = [
        DrawnRoi("BODY", "EXTERNAL", BODY),
        DrawnRoi("GTV", "GTV", anatomy.tumour),
        DrawnRoi("PTV", "PTV", anatomy.planning_target),
        DrawnRoi("Spinal Cord", "ORGAN", SPINAL_CORD),
        DrawnRoi("Heart", "ORGAN", anatomy.organs["heart"]),
        DrawnRoi("Liver", "ORGAN", anatomy.organs["liver"]),
    ]
    if study.patient == "DEMO-002":
        rois.append(DrawnRoi("PTV_Boost", "PTV", anatomy.tumour.expanded(BOOST_MARGIN_MM)))
    return images, structure_set(study, "Physician", images, rois, planes_mm(CT_GRID))


def _second_modality(patient: str, date: str, modality: str, volume: Volume, roi_name: str) -> list[Dataset]:
    study = Study(patient, f"study {modality}", date)
    images = image_series(study, modality, "T1 TSE tra" if modality == "MR" else "PET FDG SUV", volume)
    grid = MR_GRID if modality == "MR" else PET_GRID
    roi = DrawnRoi(roi_name, "GTV", anatomy_of(patient).tumour)
    return [*images, structure_set(study, f"Drawn on {modality}", images, [roi], planes_mm(grid))]


def _dose_grid(target: Ellipsoid) -> Grid:
    """An isotropic grid of its own, off the CT's, that holds the irradiated box but not the whole patient."""
    size = (40, 35, 25)
    origin = (-79.3, -68.7, target.centre_mm[2] - (size[2] - 1) * DOSE_SPACING_MM / 2 + 0.9)
    return Grid.uniform(origin, (DOSE_SPACING_MM,) * 3, size)


def _schedule(first_day: datetime.date, numbers: Sequence[int], twice_on_day_of: int | None = None) -> list[Fraction]:
    """One fraction a working day; the one after `twice_on_day_of` in the afternoon of the same day."""
    fractions: list[Fraction] = []
    day = first_day
    for number in numbers:
        afternoon = twice_on_day_of is not None and number == twice_on_day_of + 1
        if afternoon:
            day = datetime.datetime.strptime(fractions[-1].date, "%Y%m%d").date()
        fractions.append(Fraction(number, day.strftime("%Y%m%d"), "154500" if afternoon else "091000"))
        day += datetime.timedelta(days=3 if day.weekday() == 4 else 1)
    return fractions

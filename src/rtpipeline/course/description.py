"""What organizing found out about a course: the records of `course.json`."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

COURSE_DESCRIPTION_VERSION = 1
CT_KEY = "CT"


def inside(path: str) -> str:
    """`path` itself.

    Raises:
        ValueError: it is absolute or leads out of the folder that it is given in.
    """
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in path:
        raise ValueError(f"{path!r} leads out of the course folder")
    return path


RelativePath = Annotated[str, AfterValidator(inside)]
"""A path below the folder that it is given in, with `/`."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageSeries(_Record):
    """One image series of a course, copied below the course folder."""

    key: str
    """`CT` for the planning CT; `MR_<digest>` or `PT_<digest>` (of the series UID) for every other series."""
    modality: Literal["CT", "MR", "PT"]
    folder: RelativePath
    """Relative to the course folder, for example `DICOM/CT` or `DICOM/MR/MR_1a2b3c4d`."""
    series_instance_uid: str
    study_instance_uid: str
    frame_of_reference_uid: str = ""
    series_description: str = ""
    date: str = ""
    instance_count: int
    series_class: str = ""
    """What kind of image it is: `planning_ct`, `pet_ct`, `anatomical_mr`, `functional_mr`, `pet`, …"""
    class_reason: str = ""
    link: str = ""
    """How the series came to this course: `structure set reference`, `frame of reference`, `registration`, …"""


class StructureSet(_Record):
    """One manual RTSTRUCT of a course."""

    file: RelativePath
    sop_instance_uid: str
    label: str = ""
    date: str = ""
    image_key: str = ""
    """The `ImageSeries.key` it was drawn on; empty when that series is not in the course."""
    frame_of_reference_uid: str = ""
    primary: bool = False
    """The one that `RS.dcm` is a copy of: the plan's, or the newest on the planning images."""


class NamedSegment(_Record):
    """One segment of a DICOM segmentation, as its header names it."""

    number: int
    label: str


class SegmentationObject(_Record):
    """One DICOM segmentation (SEG) of the export that belongs to a course."""

    file: RelativePath
    sop_instance_uid: str
    label: str = ""
    """`ContentLabel`."""
    series_description: str = ""
    date: str = ""
    image_key: str = ""
    """The `ImageSeries.key` it was made on; empty when that series is not in the course."""
    frame_of_reference_uid: str = ""
    segments: tuple[NamedSegment, ...] = ()


class TargetPrescription(_Record):
    """One prescription of a plan, as the plan states it."""

    description: str = ""
    roi_number: int | None = None
    dose_gy: float
    source: str
    """The attribute it was read from, for example `TargetPrescriptionDose`."""


class Plan(_Record):
    """One RTPLAN of a course."""

    file: RelativePath
    sop_instance_uid: str
    label: str = ""
    name: str = ""
    date: str = ""
    approval_status: str = ""
    intent: str = ""
    fractions_planned: int | None = None
    prescriptions: tuple[TargetPrescription, ...] = ()
    referenced_structure_set_uid: str = ""


class Dose(_Record):
    """One RTDOSE of a course."""

    file: RelativePath
    sop_instance_uid: str
    summation_type: str = ""
    units: str = ""
    dose_type: str = ""
    referenced_plan_uids: tuple[str, ...] = ()
    frame_of_reference_uid: str = ""
    used: bool = False
    """Part of `RD.dcm`."""


class DoseDecision(_Record):
    """Which doses stand for the course, and why."""

    label: str
    """`single_dose`, `dose_grids_joined`, `plan_sum_used`, `beam_doses_summed`, `fraction_doses_summed`,
    `plans_summed`, `replan_first`, `approved_plan`, `override`, `ambiguous` or `no_dose`."""
    reason: str = ""
    used_dose_uids: tuple[str, ...] = ()
    used_plan_uids: tuple[str, ...] = ()
    """The plans that the used doses are of, also those that the input lacks."""
    left_out: tuple[str, ...] = ()
    """One sentence for each dose that was left out, and for each plan that is another one exported again."""


class Prescription(_Record):
    """The prescribed dose of the course, from the plans that its dose decision uses."""

    total_dose_gy: float | None = None
    fractions: int | None = None
    source: str = ""
    targets: tuple[TargetPrescription, ...] = ()


class CourseDescription(_Record):
    """Everything that organizing found out about a course: the content of `course.json`."""

    version: int = COURSE_DESCRIPTION_VERSION
    patient: str
    """Folder name of the patient (safe)."""
    course: str
    """Folder name of the course (safe)."""
    patient_id: str
    """PatientID as in the files."""
    kind: Literal["plan", "structures", "images"]
    start_date: str = ""
    """`YYYY-MM-DD` of the first treatment plan, else of the images; empty when nothing is dated."""
    frame_of_reference_uid: str = ""
    images: tuple[ImageSeries, ...] = ()
    structure_sets: tuple[StructureSet, ...] = ()
    segmentations: tuple[SegmentationObject, ...] = ()
    plans: tuple[Plan, ...] = ()
    doses: tuple[Dose, ...] = ()
    treatment_record_files: tuple[RelativePath, ...] = ()
    registration_files: tuple[RelativePath, ...] = ()
    dose_decision: DoseDecision
    prescription: Prescription = Prescription()
    links: tuple[str, ...] = ()
    """One sentence for each link that is not an explicit reference (a fallback), with its reason."""
    warnings: tuple[str, ...] = ()

    @property
    def planning_ct(self) -> ImageSeries | None:
        """The planning CT, or None."""
        return next((image for image in self.images if image.key == CT_KEY), None)

    @property
    def used_plans(self) -> tuple[Plan, ...]:
        """The plans that the dose of the course is of: none where the course lacks one of them.

        Where no dose is decided for, the only plan; never all of several.
        """
        uids = self.dose_decision.used_plan_uids
        if not uids:
            return self.plans if len(self.plans) == 1 else ()
        used = tuple(plan for plan in self.plans if plan.sop_instance_uid in uids)
        return used if len(used) == len(uids) else ()

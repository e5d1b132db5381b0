"""What a course is, and where each of its files lives: the only room that knows file names."""

from rtpipeline.course.cohort_files import CohortFiles
from rtpipeline.course.course import Course, CourseError
from rtpipeline.course.course_files import CourseFiles
from rtpipeline.course.description import (
    CT_KEY,
    CourseDescription,
    Dose,
    DoseDecision,
    ImageSeries,
    NamedSegment,
    Plan,
    Prescription,
    SegmentationObject,
    StructureSet,
    TargetPrescription,
)
from rtpipeline.course.recorded_state import INCOMPLETE, recorded_state

__all__ = [
    "CT_KEY",
    "INCOMPLETE",
    "CohortFiles",
    "Course",
    "CourseDescription",
    "CourseError",
    "CourseFiles",
    "Dose",
    "DoseDecision",
    "ImageSeries",
    "NamedSegment",
    "Plan",
    "Prescription",
    "SegmentationObject",
    "StructureSet",
    "TargetPrescription",
    "recorded_state",
]

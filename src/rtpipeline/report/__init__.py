"""HTML for people: one page per course, one for the whole run."""

from rtpipeline.report.cohort_page import cohort_report
from rtpipeline.report.course_page import course_report

__all__ = ["cohort_report", "course_report"]

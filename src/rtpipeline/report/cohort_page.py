"""The report of a whole run: what is there, what is not and why, and where to go on reading."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rtpipeline.course import CohortFiles, Course
from rtpipeline.report import cohort_contents
from rtpipeline.report.cohort_contents import CourseStates
from rtpipeline.report.course_page import USABLE, radiomics_environment
from rtpipeline.report.methods import methods_text
from rtpipeline.report.page import STAGE_LABELS, render


def cohort_report(
    courses: Sequence[Course],
    cohort: CohortFiles,
    states: CourseStates,
    provenance: Mapping[str, Any],
    seconds: Mapping[str, float] | None = None,
) -> str:
    """The HTML page of a cohort, self-contained; it links to the tables and the course reports beside it.

    Args:
        courses: the courses of the manifest.
        cohort: where the results are.
        states: by `Course.key` and name of the stage, what the stage's state says.
        provenance: what `rtpipeline.provenance.provenance` says of the run.
        seconds: wall-clock seconds of the stages that have no state in a course (`organize`, `aggregate`, …).
    """
    used = {name for own in states.values() for name, state in own.items() if state["status"] in USABLE}
    environments = (radiomics_environment(states[course.key]) for course in courses if course.key in states)
    values = {
        "title": "Cohort report · rtpipeline",
        "provenance": provenance,
        "patients": len({course.description.patient for course in courses}),
        "courses": len(courses),
        "kinds": Counter(course.description.kind for course in courses),
        "cards": _cards(courses),
        "decisions": Counter(course.description.dose_decision.label for course in courses),
        "matrix": cohort_contents.matrix(courses, states),
        "problems": cohort_contents.problems(courses, cohort, states),
        "times": cohort_contents.times(courses, states, seconds or {}),
        "dose_overview": cohort_contents.dose_overview(courses, states),
        "analysis": cohort_contents.analysis_rows(cohort),
        "quality": cohort_contents.quality(cohort),
        "unused": cohort_contents.unused(cohort),
        "robustness": cohort_contents.robustness(cohort),
        "files": cohort_contents.files(cohort),
        "text": methods_text(
            provenance,
            [name for name in STAGE_LABELS if name in used],
            next((found for found in environments if found), None),
        ),
    }
    return render("cohort.html", values)


def _cards(courses: Sequence[Course]) -> list[tuple[int, str]]:
    """Numbers at the top of the page."""
    descriptions = [course.description for course in courses]
    modalities: Counter[str] = Counter(image.modality for description in descriptions for image in description.images)
    cards = [
        (len({description.patient for description in descriptions}), "patients"),
        (len(courses), "courses"),
        (sum(description.kind == "plan" for description in descriptions), "with a plan"),
        (sum(bool(description.dose_decision.used_dose_uids) for description in descriptions), "with a dose"),
        (sum(bool(description.structure_sets) for description in descriptions), "with contours"),
    ]
    names = {"CT": "CT series", "MR": "MR series", "PT": "PET series"}
    return cards + [(modalities[key], name) for key, name in names.items() if modalities[key]]

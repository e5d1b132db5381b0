import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rtpipeline.aggregate import SOURCES
from rtpipeline.course import CohortFiles, Course, CourseDescription, CourseFiles, DoseDecision, Plan, Prescription
from rtpipeline.tables.definitions.dvh import DVH_METRICS
from rtpipeline.tables.definitions.metadata import CASE_METADATA, FRACTIONS
from rtpipeline.tables.definitions.quality_control import QUALITY_CONTROL
from rtpipeline.tables.parquet import write_parquet

WIDE_NAMES = {"Volume cm3": "Volume (cm³)"}

MakeCourse = Callable[..., Course]


@pytest.fixture
def cohort(tmp_path: Path) -> CohortFiles:
    return CohortFiles(tmp_path / "out")


@pytest.fixture
def make_course(cohort: CohortFiles) -> MakeCourse:
    """Makes a course whose dose and metadata stages are done, as the pipeline leaves it."""

    def make(patient: str, structures: Sequence[tuple[str, str, dict[str, float]]] = (), **states: str) -> Course:
        folder = cohort.folder / patient / "2020-01"
        description = CourseDescription(
            patient=patient,
            course="2020-01",
            patient_id=patient,
            kind="plan",
            start_date="2020-01-02",
            plans=(Plan(file="RP.dcm", sop_instance_uid="1.2", label="=plan"),),
            dose_decision=DoseDecision(label="single_dose", used_plan_uids=("1.2",)),
            prescription=Prescription(total_dose_gy=60.0, fractions=30, source="DoseReference"),
        )
        course = Course(CourseFiles(folder), description)
        for stage, status in {**dict.fromkeys((source.stage for source in SOURCES), "ok"), **states}.items():
            write_state(course, stage, status)
        rows = [
            {
                **course.identifiers,
                "segmentation_source": source,
                "roi_number": number,
                "roi_name": name,
                "standard_name": name if name in ("Heart", "Lung_L", "Esophagus") else "",
                "metric": metric.split()[0],
                "unit": metric.split()[1],
                "column": WIDE_NAMES.get(metric, metric.replace(" ", "")),
                "value": value,
                "status": "ok",
            }
            for number, (source, name, values) in enumerate(structures)
            for metric, value in values.items()
        ]
        write_parquet(course.files.dvh_metrics, DVH_METRICS, rows)
        write_parquet(course.files.case_metadata_table, CASE_METADATA, [{**course.identifiers, "patient_sex": "F"}])
        overall = {**course.identifiers, "check": "overall", "status": "WARNING", "message": "WARNING: ct_gaps"}
        write_parquet(course.files.quality_control, QUALITY_CONTROL, [overall])
        write_parquet(course.files.fractions, FRACTIONS, [{**course.identifiers, "fraction_number": 1}])
        return course

    return make


def write_state(course: Course, stage: str, status: str) -> None:
    file = course.files.state(stage)
    file.parent.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"status": status, "reason": "" if status == "ok" else f"because of {stage}"}
    file.write_text(json.dumps(content))

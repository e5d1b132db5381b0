"""Memory of putting the cohort tables together, for 100 and for 1,000 courses of realistic width.

Each course has 10 structures with 1,223 radiomics features and 30 with 80 dose-volume metrics. Each size is aggregated
in a process of its own, Excel included; what is compared is the largest resident memory above that of no courses.
"""

from __future__ import annotations

import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from rtpipeline.aggregate import SOURCES, aggregate
from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles, Course, CourseDescription, CourseFiles, DoseDecision
from rtpipeline.tables.definitions.dvh import DVH_METRICS
from rtpipeline.tables.definitions.metadata import CASE_METADATA
from rtpipeline.tables.definitions.quality_control import QUALITY_CONTROL
from rtpipeline.tables.definitions.radiomics import RADIOMICS_CT
from rtpipeline.tables.parquet import empty, to_arrow, write_arrow

SIZES = (0, 100, 1000)
FEATURES, FEATURE_STRUCTURES = 1206, 10
METRICS, METRIC_STRUCTURES = 80, 30


def templates() -> dict[str, pa.Table]:
    """The tables of one course."""
    numbers = np.random.default_rng(1)
    course = {"patient_id": "", "course_id": "2020-01"}

    def structure(number: int) -> dict[str, object]:
        return {"segmentation_source": "manual", "roi_number": number, "roi_name": f"roi {number}"}

    features = [
        {
            **course,
            **structure(number),
            **{f"original_class_Feature{i}": float(value) for i, value in enumerate(numbers.normal(size=FEATURES))},
        }
        for number in range(FEATURE_STRUCTURES)
    ]
    metrics = [
        {
            **course,
            **structure(number),
            "metric": f"D{i}",
            "unit": "Gy",
            "status": "ok",
            "column": f"D{i}Gy",
            "value": float(value),
        }
        for number in range(METRIC_STRUCTURES)
        for i, value in enumerate(numbers.normal(size=METRICS))
    ]
    return {
        RADIOMICS_CT.name: to_arrow(RADIOMICS_CT, features),
        DVH_METRICS.name: to_arrow(DVH_METRICS, metrics),
        CASE_METADATA.name: to_arrow(CASE_METADATA, [course]),
        QUALITY_CONTROL.name: to_arrow(QUALITY_CONTROL, [{**course, "check": "overall", "status": "PASS"}]),
    }


def make_cohort(folder: Path, count: int) -> list[Course]:
    """Courses as the pipeline leaves them, each with the numbers of the same one."""
    made = templates()
    courses = []
    for number in range(count):
        patient = f"P{number:04}"
        description = CourseDescription(
            patient=patient, course="2020-01", patient_id=patient, kind="plan", dose_decision=DoseDecision(label="none")
        )
        course = Course(CourseFiles(folder / patient / "2020-01"), description)
        for source in SOURCES:
            state = course.files.state(source.stage)
            state.parent.mkdir(parents=True, exist_ok=True)
            state.write_text('{"status": "ok", "reason": ""}', encoding="utf-8")
            data = made.get(source.table.name, empty(source.table) if source.always else None)
            if data is not None:
                named = data.set_column(0, "patient_id", pa.array([patient] * data.num_rows, pa.string()))
                write_arrow(source.file(course.files), named)
        courses.append(course)
    return courses


def measure(folder: Path, count: int) -> None:
    """Aggregate in this process, and print seconds and the largest resident memory in MB."""
    courses = make_cohort(folder, count)
    made_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    start = time.process_time()
    outcome = aggregate(courses, CohortFiles(folder), Configuration(), threads=2, logger=logging.getLogger())
    assert outcome.status == "ok", outcome
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    sys.stdout.write(json.dumps([time.process_time() - start, made_mb, peak_mb]) + "\n")


def measured(count: int) -> tuple[float, float]:
    """Processor seconds and MB at most, of a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, folder, str(count)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    seconds, made_mb, peak_mb = json.loads(answer)
    assert made_mb < peak_mb, "what is measured must not be the making of the cohort"
    return seconds, peak_mb


def main() -> None:
    figures: dict[str, float] = {}
    print("courses   processor seconds   MB at most")
    for count in SIZES:
        seconds, peak_mb = measured(count)
        figures |= {f"seconds_{count}": seconds, f"mb_{count}": peak_mb}
        print(f"{count:7} {seconds:19.1f} {peak_mb:12.0f}", flush=True)
    growth = figures["mb_1000"] - figures["mb_100"]
    bars = {"mb_added_by_900_courses": {"value": growth, "at_most": 100.0, "ok": growth <= 100.0}}
    print(json.dumps({"name": "aggregation", "figures": figures, "bars": bars, "ok": growth <= 100.0}))
    sys.exit(0 if growth <= 100.0 else 1)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        main()

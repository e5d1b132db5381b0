import html
import json
import logging
import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dicom_factory import Patient
from rtpipeline.aggregate import aggregate
from rtpipeline.atomic import write_text
from rtpipeline.config import Configuration, load_configuration
from rtpipeline.course import (
    CohortFiles,
    Course,
    CourseDescription,
    CourseFiles,
    DoseDecision,
    ImageSeries,
    Plan,
    Prescription,
)
from rtpipeline.organize import organize
from rtpipeline.provenance import provenance
from rtpipeline.report import cohort_report, course_report
from rtpipeline.tables.definitions.dvh import DVH_CURVES, DVH_METRICS, DVH_STATUS
from rtpipeline.tables.definitions.quality_control import QUALITY_CONTROL
from rtpipeline.tables.definitions.radiomics import RADIOMICS_LEDGER
from rtpipeline.tables.definitions.robustness import ROBUSTNESS_LEDGER
from rtpipeline.tables.parquet import write_parquet
from stage_runs import organized_courses

HOSTILE = "<script>alert('x')</script>\"&$PTV$"
PROVENANCE = provenance(Configuration())


class Elements(HTMLParser):
    """Every element of a page with its attributes, and whether elements are closed in order."""

    _VOID = frozenset({"meta", "img", "br", "link", "path", "use"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._VOID:
            assert self.open.pop() == tag


def make_course(folder: Path, patient: str = "P1") -> Course:
    description = CourseDescription(
        patient=patient,
        course="2020-01",
        patient_id=patient,
        kind="plan",
        start_date="2020-01-02",
        plans=(Plan(file="RP.dcm", sop_instance_uid="1.2", label=HOSTILE, fractions_planned=30),),
        dose_decision=DoseDecision(label="single_dose", reason=HOSTILE, left_out=(HOSTILE,)),
        prescription=Prescription(total_dose_gy=60.0, fractions=30, source="TargetPrescriptionDose"),
        links=(HOSTILE,),
        warnings=(HOSTILE,),
    )
    return Course(CourseFiles(folder / patient / "2020-01"), description)


def write_tables(course: Course) -> None:
    """What the stages leave of a structure with a hostile name."""
    files, ids = course.files, course.identifiers
    structure = {**ids, "segmentation_source": "manual", "roi_number": 1, "roi_name": HOSTILE}
    metrics = [("Volume", "cm3", "Volume (cm³)", 12.5), ("D95", "Gy", "D95Gy", 57.25)]
    write_parquet(
        files.dvh_metrics,
        DVH_METRICS,
        [{**structure, "metric": m, "unit": u, "column": c, "value": v, "status": "ok"} for m, u, c, v in metrics],
    )
    points = [(40.0, 100.0), (60.0, 50.0), (70.0, 0.0)]
    write_parquet(files.dvh_curves, DVH_CURVES, [{**structure, "dose_gy": d, "volume_percent": v} for d, v in points])
    write_parquet(files.dvh_status, DVH_STATUS, [{**structure, "status": "outside", "reason": HOSTILE}])
    check = {**ids, "check": "plan_present", "subject": HOSTILE, "severity": "high", "message": HOSTILE}
    write_parquet(files.quality_control, QUALITY_CONTROL, [{**check, "status": "FAIL"}])
    image = {"image_key": "CT", "modality": "CT"}
    ledger = [{**structure, **image, "status": "failed", "reason": HOSTILE}]
    write_parquet(files.radiomics_ledger, RADIOMICS_LEDGER, ledger)
    state = {**structure, "profile": "volume", "perturbation_id": "ntcv_v0", "status": "ok"}
    write_parquet(files.radiomics_robustness_ledger, ROBUSTNESS_LEDGER, [state])


DONE: dict[str, dict[str, Any]] = {
    "segmentation": {"status": "failed", "reason": HOSTILE, "seconds": 3.0, "device": "cpu", "details": {}},
    **{
        name: {"status": "ok", "reason": "", "seconds": 65.0, "device": "cpu", "details": {}}
        for name in ("dvh", "quality_control", "radiomics", "radiomics_robustness")
    },
}


def assert_self_contained(page: str) -> None:
    """Nothing is fetched, run, or left open, and the hostile name is text everywhere."""
    elements = Elements(page)
    assert elements.open == []
    for tag, attributes in elements.found:
        assert tag not in ("script", "link", "iframe", "object")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href", "action", "data"):
            target = attributes.get(name) or ""
            assert target.startswith("data:image/png;base64,") or not set(":\\") & set(target), (tag, target)
            assert not target.startswith("//"), (tag, target)
    assert not re.search(r"url\((?!#|&quot;#)", page)
    assert "<script" not in page


def test_a_course_without_any_result_says_so_everywhere(tmp_path: Path) -> None:
    page = course_report(make_course(tmp_path), Configuration(), {}, PROVENANCE)
    assert_self_contained(page)
    for sentence in ("No stage of this course has run", "DVH has not run", "The course has no planning CT"):
        assert sentence in page


def test_a_course_with_results_shows_them_and_names_stay_text(tmp_path: Path) -> None:
    course = make_course(tmp_path)
    write_tables(course)
    page = course_report(course, Configuration(), DONE, PROVENANCE)
    assert_self_contained(page)
    assert "57.25" in page
    assert "60 Gy" in page
    assert "65 s" in page
    assert "<svg" in page
    assert page.count("&lt;script&gt;alert(") > 10
    assert page == course_report(course, Configuration(), DONE, PROVENANCE)


def test_a_course_shows_what_was_decided_by_what_evidence_and_what_was_left_out(tmp_path: Path) -> None:
    patient = Patient(tmp_path / "export")
    patient.make_series(description="Thorax")
    patient.make_structure_set()
    for name, gy, label, date in (
        ("a", 50, "Pelvis", "20240110"),
        ("b", 16, "Boost", "20240301"),
        ("c", 50, "Replan", "20240201"),
    ):
        patient.make_plan(name, prescriptions_gy=(gy,), label=label, date=date)
        patient.make_dose(f"dose of {name}", plans=(name,), dose_gy=gy)
    patient.make_record("record", plan=None)
    (course,) = organized_courses(tmp_path / "export", tmp_path / "out").values()
    page = html.unescape(course_report(course, Configuration(), {}, PROVENANCE))
    decision = course.description.dose_decision
    assert decision.label == "plans_summed"
    assert len(decision.left_out) == 1
    assert course.description.links
    for sentence in ("plans summed", decision.reason, *decision.left_out, *course.description.links):
        assert sentence in page
    assert "planning ct: a structure set was drawn on it" in page


def test_the_same_finding_of_many_structures_is_one_thing_to_look_at(tmp_path: Path) -> None:
    course = make_course(tmp_path)
    finding = {**course.identifiers, "check": "dvh_present", "status": "WARNING", "message": "it lies outside"}
    rows = [{**finding, "severity": "medium", "subject": f"auto: organ{i}"} for i in range(9)]
    rows.append({**finding, "severity": "low", "subject": "auto: minor", "message": "not worth a look"})
    write_parquet(course.files.quality_control, QUALITY_CONTROL, rows)
    page = course_report(course, Configuration(), {"quality_control": DONE["dvh"]}, PROVENANCE)
    verdict = page[page.index("<section") : page.index("</section>")]
    assert "2 things to look at" in verdict  # the warning of the course itself is the other
    assert "auto: organ5 and 3 more: it lies outside" in verdict
    assert "minor" not in verdict


def test_images_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    course = make_course(tmp_path)
    image = ImageSeries(
        key="CT",
        modality="CT",
        folder="DICOM/CT",
        series_instance_uid="1.2.3",
        study_instance_uid="1.2",
        instance_count=3,
    )
    course = Course(course.files, course.description.model_copy(update={"images": (image,)}))
    page = course_report(course, Configuration(), {}, PROVENANCE)
    assert "The images cannot be shown" in page
    assert_self_contained(page)


def test_a_failed_stage_hides_the_table_that_an_earlier_run_left(tmp_path: Path) -> None:
    course = make_course(tmp_path)
    write_tables(course)
    states = {**DONE, "dvh": {"status": "failed", "reason": "no dose grid"}}
    page = course_report(course, Configuration(), states, PROVENANCE)
    assert "57.25" not in page
    assert "DVH: failed. no dose grid" in page


def test_damaged_tables_are_said_to_be(tmp_path: Path) -> None:
    course = make_course(tmp_path)
    write_tables(course)
    course.files.quality_control.write_bytes(b"PAR1")
    assert "quality_control.parquet cannot be read" in course_report(course, Configuration(), DONE, PROVENANCE)


def test_the_methods_name_versions_and_only_what_was_done(tmp_path: Path) -> None:
    states = {
        "segmentation": {"status": "skipped", "reason": "off"},
        "radiomics": {
            "status": "ok",
            "details": {"radiomics_environment": {"pyradiomics": "3.0.1", "numpy": "1.26.4"}},
        },
    }
    page = course_report(make_course(tmp_path), Configuration(), states, PROVENANCE)
    assert f"rtpipeline {PROVENANCE['rtpipeline']['version']}" in page
    assert "PyRadiomics 3.0.1 (NumPy 1.26.4)" in page
    assert "van Griethuysen" in page
    assert "Wasserthal" not in page


def test_a_cohort_without_results_says_so(tmp_path: Path) -> None:
    page = cohort_report([], CohortFiles(tmp_path), {}, PROVENANCE)
    assert_self_contained(page)
    assert "No table was written yet" in page


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        ({"ptv_name": "PTV 60", "ptv_d95_gy": 57.25, "ctv_name": "CTV"}, ("PTV 60", "57.25")),
        ({"ptv_name": None, "ctv_name": "CTV", "ctv_dmean_gy": 61.5}, ("CTV", "61.5")),
        ({"gtv_name": "GTV-1"}, ("GTV-1",)),
        ({}, ()),
    ],
)
def test_targets_are_shown_whatever_the_analysis_table_has_of_them(
    columns: dict[str, Any], shown: tuple[str, ...], tmp_path: Path
) -> None:
    cohort = CohortFiles(tmp_path)
    always = ("prescription_gy", "fractions_planned", "fractions_delivered", "qc_status")
    row = {"patient_id": "P1", "course_id": "2020-01", **dict.fromkeys(always), **columns}
    cohort.results.mkdir()
    pq.write_table(pa.Table.from_pylist([row]), cohort.table("analysis_table"))
    page = cohort_report([], cohort, {}, PROVENANCE)
    for text in shown:
        assert f">{text}</td>" in page


def test_a_cohort_report_links_to_courses_and_tables(tmp_path: Path) -> None:

    cohort = CohortFiles(tmp_path)
    courses = [make_course(tmp_path, patient) for patient in ("P1", "P2")]
    for course in courses:
        write_tables(course)
        for name, state in DONE.items():
            write_text(course.files.state(name), json.dumps(state))
    aggregate(courses, cohort, Configuration(), threads=1, logger=logging.getLogger("test"))
    states = {course.key: DONE for course in courses}
    page = cohort_report(courses, cohort, states, PROVENANCE, {"organize": 12.0})
    assert_self_contained(page)
    assert page == cohort_report(courses, cohort, states, PROVENANCE, {"organize": 12.0})
    links = {attributes["href"] for tag, attributes in Elements(page).found if tag == "a"}
    assert {"../P1/2020-01/report.html", "../P2/2020-01/report.html", "dvh_metrics.xlsx"} <= links
    for link in links:
        if link and not link.startswith(("#", "..")):
            assert cohort.table(Path(link).stem, Path(link).suffix).is_file()
    assert "2 courses" in page
    assert "2 things to look at" in page  # the segmentation that failed, and the check that failed
    assert "12 s" in page
    assert "2 min 10 s" in page


@pytest.mark.real_data
def test_a_real_course_shows_its_images(test_data: Path, tmp_path: Path) -> None:
    cohort = CohortFiles(tmp_path)
    configuration = load_configuration(overrides={"output_dir": str(tmp_path)})
    (course,) = organize(
        test_data / "LUNG1-001",
        cohort,
        configuration,
        threads=2,
        logger=logging.getLogger("test"),
        report_progress=lambda done, total: None,
        cancelled=threading.Event(),
    ).courses
    page = course_report(course, configuration, {}, provenance(configuration, index=cohort.index))
    assert_self_contained(page)
    assert 'alt="CT planes of LUNG1-001/' in page
    assert "60 Gy in 30 fractions" in page

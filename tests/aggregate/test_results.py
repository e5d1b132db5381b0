import csv
import functools
import json
import logging
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest

from rtpipeline.aggregate import SOURCES, aggregate
from rtpipeline.config import Configuration, ConfigurationError, load_configuration
from rtpipeline.course import CohortFiles, Course
from rtpipeline.outcome import Outcome
from rtpipeline.tables import excel, parquet
from rtpipeline.tables.definitions.analysis import analysis_definition
from rtpipeline.tables.definitions.dvh import DVH_METRICS
from rtpipeline.tables.definitions.radiomics import RADIOMICS_CT
from rtpipeline.tables.parquet import read_parquet, write_parquet

LOGGER = logging.getLogger("test")


def run(courses: list[Course], cohort: CohortFiles, configuration: Configuration | None = None) -> Outcome:
    return aggregate(courses, cohort, configuration or Configuration(), threads=2, logger=LOGGER)


def rows(cohort: CohortFiles, name: str) -> list[dict[str, Any]]:
    return read_parquet(cohort.table(name)).to_pylist()


def sheet(path: Path, name: str) -> list[dict[str, Any]]:
    header, *cells = openpyxl.load_workbook(path)[name].iter_rows(values_only=True)
    return [dict(zip(header, row, strict=True)) for row in cells]


def test_courses_are_put_together_whatever_their_order(cohort: CohortFiles, make_course: Any) -> None:
    structures = [("manual", "GTV-1", {"Volume cm3": 10.0, "D95 Gy": 58.0})]
    courses = [make_course(patient, structures) for patient in ("000123", "b", "a")]
    run(courses, cohort)
    first = {file.name: file.read_bytes() for file in cohort.results.iterdir()}
    assert [row["patient_id"] for row in rows(cohort, "dvh_metrics")] == ["000123", "000123", "a", "a", "b", "b"]
    run(courses[::-1], cohort)
    assert {file.name: file.read_bytes() for file in cohort.results.iterdir()} == first


def test_dvh_is_long_in_parquet_and_wide_in_excel(cohort: CohortFiles, make_course: Any) -> None:
    course = make_course("000123", [("manual", "=PTV-1cm", {"Volume cm3": 10.0, "D95 Gy": 58.0})])
    run([course], cohort)
    assert {(row["metric"], row["unit"]): row["value"] for row in rows(cohort, "dvh_metrics")} == {
        ("Volume", "cm3"): 10.0,
        ("D95", "Gy"): 58.0,
    }
    (row,) = sheet(cohort.table("dvh_metrics", ".xlsx"), "dvh_metrics")
    assert (row["patient_id"], row["roi_name"], row["Volume (cm³)"], row["D95Gy"]) == ("000123", "=PTV-1cm", 10, 58)


@pytest.mark.parametrize(
    ("status", "expected", "reason"),
    [
        ("failed", "failed", "because of dvh"),
        ("skipped", "skipped", "because of dvh"),
        ("publishing", "missing", "because of dvh"),
    ],
)
def test_a_table_that_a_stage_left_behind_is_not_read_when_its_state_does_not_allow_it(
    cohort: CohortFiles, make_course: Any, status: str, expected: str, reason: str
) -> None:
    structures = [("manual", "GTV", {"Volume cm3": 10.0})]
    good, bad = make_course("a", structures), make_course("b", structures, dvh=status)
    run([good, bad], cohort)
    assert {row["patient_id"] for row in rows(cohort, "dvh_metrics")} == {"a"}
    (row,) = [row for row in rows(cohort, "table_coverage") if row["table"] == "dvh_metrics"]
    assert (row["patient_id"], row["status"], row["reason"]) == ("b", expected, reason)
    assert sheet(cohort.table("dvh_metrics", ".xlsx"), "coverage")[0]["reason"] == reason


def test_missing_and_damaged_results_are_listed_and_the_rest_is_there(cohort: CohortFiles, make_course: Any) -> None:
    courses = [make_course(name) for name in ("state", "table", "damaged", "fine")]
    courses[0].files.state("dvh").unlink()
    courses[1].files.dvh_metrics.unlink()
    courses[2].files.dvh_metrics.write_bytes(b"PAR1 and no more")
    outcome = run(courses, cohort)
    assert outcome.status == "partial"
    found = {row["patient_id"]: row for row in rows(cohort, "table_coverage") if row["table"] == "dvh_metrics"}
    assert set(found) == {"state", "table", "damaged"}
    assert {row["status"] for row in found.values()} == {"missing"}
    assert "has not run" in found["state"]["reason"]
    assert "dvh_metrics.parquet is gone" in found["table"]["reason"]
    assert "cannot be read" in found["damaged"]["reason"]


def test_a_table_with_columns_of_another_version_is_not_mixed_in(cohort: CohortFiles, make_course: Any) -> None:
    course = make_course("a")
    course.files.dvh_metrics.write_bytes(course.files.fractions.read_bytes())
    run([course], cohort)
    (row,) = [row for row in rows(cohort, "table_coverage") if row["table"] == "dvh_metrics"]
    assert "unlike this version's columns" in row["reason"]


def test_strict_fails_and_writes_no_table_but_the_coverage(cohort: CohortFiles, make_course: Any) -> None:
    configuration = load_configuration(overrides={"aggregation.strict": True})
    outcome = run([make_course("a", dvh="failed")], cohort, configuration)
    assert outcome.status == "failed"
    assert sorted(file.name for file in cohort.results.iterdir()) == ["table_coverage.parquet", "table_coverage.xlsx"]


def test_a_stage_that_is_switched_off_is_not_missing(cohort: CohortFiles, make_course: Any) -> None:
    course = make_course("a")
    course.files.state("dvh").unlink()
    run([course], cohort, load_configuration(overrides={"dvh.enabled": False}))
    (row,) = [row for row in rows(cohort, "table_coverage") if row["table"] == "dvh_metrics"]
    assert (row["status"], row["reason"]) == ("skipped", "the stage dvh is switched off")


def test_tables_without_rows_have_their_header(cohort: CohortFiles) -> None:
    assert run([], cohort).status == "ok"
    for source in SOURCES:
        data = read_parquet(cohort.table(source.table.name))
        assert data.num_rows == 0
        assert data.column_names == [column.name for column in source.table.columns]
        assert cohort.table(source.table.name, ".xlsx").is_file()


@pytest.mark.parametrize("segmentation", ["ok", "failed"])
def test_analysis_table_says_what_the_ct_shows(cohort: CohortFiles, make_course: Any, segmentation: str) -> None:
    course = make_course("P1", segmentation=segmentation)
    course.files.body_regions.parent.mkdir(parents=True, exist_ok=True)
    shown = {"regions_present": ["THORAX", "ABDOMEN"], "contrast_phase": "portal_venous", "modality": "ct"}
    course.files.body_regions.write_text(json.dumps(shown))
    run([course], cohort, Configuration())
    (row,) = rows(cohort, "analysis_table")
    found = (row["body_regions"], row["contrast_phase"], row["modality_by_intensities"])
    assert found == (("THORAX, ABDOMEN", "portal_venous", "ct") if segmentation == "ok" else (None, None, None))


def test_analysis_table_has_the_prescription_the_target_and_the_organs(cohort: CohortFiles, make_course: Any) -> None:
    metrics = {"Volume cm3": 1.0, "Dmean Gy": 50.0}
    structures = [
        ("manual", "PTV_boost", {"Volume cm3": 5.0, "D95 Gy": 65.0}),
        ("manual", "PTV_60", {"Volume cm3": 50.0, "D95 Gy": 58.0}),
        ("auto", "Heart", {**metrics, "Dmean Gy": 4.0}),
        ("manual", "Heart", {**metrics, "Dmean Gy": 5.0}),
        ("manual", "Lung_L", metrics),
        ("manual", "Lung_L", metrics),
        ("auto_mr:MR_1", "Esophagus", {**metrics, "Dmean Gy": 2.0}),
        ("seg:mine", "Esophagus", {**metrics, "Dmean Gy": 7.0}),
    ]
    run([make_course("a", structures)], cohort)
    (row,) = rows(cohort, "analysis_table")
    assert (row["prescription_gy"], row["fractions_planned"], row["plan_labels"]) == (60.0, 30, "=plan")
    assert (row["ptv_count"], row["ptv_name"], row["ptv_volume_cm3"], row["ptv_d95_gy"]) == (2, "PTV_60", 50.0, 58.0)
    assert (row["gtv_count"], row["gtv_name"], row["gtv_d95_gy"]) == (0, None, None)
    assert (row["heart_source"], row["heart_dmean_gy"]) == ("manual", 5.0)
    assert (row["lung_l_source"], row["lung_l_dmean_gy"]) == (None, None)
    assert row["notes"] == "Lung_L: 2 manual structures, none chosen"
    assert (row["esophagus_source"], row["esophagus_dmean_gy"]) == ("seg", 7.0)
    counts = {source: row[f"structures_{source}"] for source in ("manual", "auto", "custom", "seg", "auto_mr")}
    assert counts == {"manual": 5, "auto": 1, "custom": 0, "seg": 1, "auto_mr": 1}
    assert (row["patient_sex"], row["qc_status"]) == ("F", "WARNING")
    assert (row["status_dvh"], row["status_segmentation"]) == ("ok", "missing")


def test_a_value_that_is_withheld_is_empty_and_the_note_says_why(cohort: CohortFiles, make_course: Any) -> None:
    course = make_course("a", [("manual", "Heart", {"Volume cm3": 500.0})])
    withheld = {"metric": "Dmean", "unit": "Gy", "status": "withheld: the dose grid does not cover the structure"}
    (volume,) = read_parquet(course.files.dvh_metrics).to_pylist()
    row = {**volume, **withheld, "column": "DmeanGy", "value": None}
    write_parquet(course.files.dvh_metrics, DVH_METRICS, [volume, row])
    run([course], cohort)
    (found,) = rows(cohort, "analysis_table")
    assert (found["heart_source"], found["heart_dmean_gy"]) == ("manual", None)
    assert found["notes"] == "Heart: withheld: the dose grid does not cover the structure"


def test_clinical_rows_are_joined_and_the_unmatched_listed(
    cohort: CohortFiles, make_course: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "clinical.csv"
    file.write_text("patient_id,age,kind\n000123,61,x\nnobody,50,y\n")
    configuration = load_configuration(overrides={"aggregation.clinical": str(file)})
    run([make_course("000123"), make_course("b")], cohort, configuration)
    found = [(row["clinical_matched"], row["age"], row["clinical_kind"]) for row in rows(cohort, "analysis_table")]
    assert found == [(True, 61, "x"), (False, None, None)]
    assert "1 rows of the clinical table belong to no course" in caplog.text
    assert "nobody" not in caplog.text
    types = {
        one["column"]: one["type"] for one in rows(cohort, "column_dictionary") if one["table"] == "analysis_table"
    }
    assert (types["age"], types["clinical_kind"], types["clinical_matched"]) == ("integer", "text", "boolean")
    unmatched = sheet(cohort.table("analysis_table", ".xlsx"), "clinical_unmatched")
    assert unmatched == [{"patient_id": "nobody", "age": 50, "kind": "y"}]
    with cohort.table("analysis_table", ".csv").open(newline="") as lines:
        assert [(row["patient_id"], row["age"]) for row in csv.DictReader(lines)] == [("000123", "61"), ("b", "")]


def test_an_unusable_clinical_table_takes_only_itself_away(
    cohort: CohortFiles, make_course: Any, tmp_path: Path
) -> None:
    file = tmp_path / "clinical.csv"
    file.write_text("id\n1\n")
    outcome = run([make_course("a")], cohort, load_configuration(overrides={"aggregation.clinical": str(file)}))
    assert outcome.status == "partial"
    assert "there is no column patient_id" in outcome.reason
    assert len(rows(cohort, "analysis_table")) == 1


def test_columns_are_chosen_in_the_configuration(cohort: CohortFiles, make_course: Any) -> None:
    course = make_course("a", [("manual", "PTV_60", {"Volume cm3": 5.0}), ("manual", "Heart", {"D2cc Gy": 8.0})])
    features = [
        {
            **course.identifiers,
            "roi_number": number,
            **structure,
            "original_shape_A": float(number),
            "original_glcm_B": 9.0,
        }
        for number, structure in enumerate(
            (
                {"segmentation_source": "manual", "roi_name": "GTVn", "standard_name": "", "volume_cm3": 1.0},
                {"segmentation_source": "manual", "roi_name": "GTVp", "standard_name": "", "volume_cm3": 2.0},
                {"segmentation_source": "auto", "roi_name": "heart", "standard_name": "Heart", "volume_cm3": 3.0},
            )
        )
    ]
    write_parquet(course.files.radiomics_ct, RADIOMICS_CT, features)
    chosen = {
        "targets": {"PTV": ["Volume (cm³)"]},
        "organs": {"Heart": ["D2ccGy", "V99Gy (%)"]},
        "features": {"GTV": ["original_shape_*"], "Heart": "original_glcm_B"},
        "case_metadata": ["treatment_machines"],
    }
    run([course], cohort, load_configuration(overrides={"aggregation.analysis": chosen}))
    (row,) = rows(cohort, "analysis_table")
    assert (row["ptv_volume_cm3"], row["heart_d2cc_gy"], row["heart_v99gy_percent"]) == (5.0, 8.0, None)
    assert (row["gtv_features_of"], row["gtv_original_shape_A"]) == ("GTVp", 1.0)
    assert (row["heart_features_of"], row["heart_original_glcm_B"]) == ("heart", 9.0)
    assert "gtv_original_glcm_B" not in row
    assert not [name for name in row if name.startswith(("lung_l", "ctv", "gtv_count", "ptv_d95"))]
    described = {one["column"] for one in rows(cohort, "column_dictionary") if one["table"] == "analysis_table"}
    assert described == set(row)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"case_metadata": ["patient_sexx"]}, "did you mean patient_sex?"),
        ({"organs": {"Heart": ["DmeanGy", "DmeanGy"]}}, "two columns would be named heart_dmean_gy"),
    ],
)
def test_columns_that_cannot_be_are_refused(chosen: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        analysis_definition(load_configuration(overrides={"aggregation.analysis": chosen}).aggregation.analysis)


def test_memory_does_not_grow_with_the_number_of_courses(
    cohort: CohortFiles, make_course: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_CELLS_OF_A_GROUP", 5_000)
    monkeypatch.setattr(excel, "_CELLS_AT_ONCE", 2_000)
    numbers = {f"original_class_{i}": i / 7 for i in range(100)}
    courses = [make_course(f"{number:02}") for number in range(16)]
    for course in courses:
        features = [
            {**course.identifiers, "segmentation_source": "manual", "roi_number": i, "roi_name": str(i), **numbers}
            for i in range(40)
        ]
        write_parquet(course.files.radiomics_ct, RADIOMICS_CT, features)
    run(courses[:1], cohort)  # what is held from the first time on is not what is measured
    few, many = (peak_bytes(functools.partial(run, courses[:count], cohort)) for count in (4, 16))
    assert many < 1.3 * few


def peak_bytes(work: Callable[[], object]) -> int:
    """The most that Arrow and Python held at once while `work` was done."""
    usual = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        work()
        return pool.max_memory() + tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(usual)


def test_the_dictionary_names_every_column_of_every_table(cohort: CohortFiles, make_course: Any) -> None:
    run([make_course("a", [("manual", "GTV", {"Volume cm3": 1.0})])], cohort)
    described = {(row["table"], row["column"]) for row in rows(cohort, "column_dictionary")}
    for source in SOURCES:
        for column in read_parquet(cohort.table(source.table.name)).column_names:
            assert (source.table.name, column) in described


def test_no_patient_id_but_the_folder_in_the_log(
    cohort: CohortFiles, make_course: Any, caplog: pytest.LogCaptureFixture
) -> None:
    course = make_course("folder", dvh="failed")
    named = Course(course.files, course.description.model_copy(update={"patient_id": "Secret^Name"}))
    run([named], cohort)
    assert "folder/2020-01 dvh: tables are missing or incomplete: because of dvh" in caplog.text
    assert "Secret" not in caplog.text

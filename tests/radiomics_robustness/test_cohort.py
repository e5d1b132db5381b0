import json
import logging
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow.parquet as pq
import pytest

from rtpipeline.config import load_configuration
from rtpipeline.course import CourseDescription, DoseDecision
from rtpipeline.outcome import StageError
from rtpipeline.radiomics_robustness.agreement import vectorised
from rtpipeline.radiomics_robustness.cohort import aggregate_robustness, raw_values_file, structure_names
from rtpipeline.tables.definitions.robustness import ROBUSTNESS, ROBUSTNESS_SUMMARY
from rtpipeline.tables.parquet import read_parquet, write_parquet

STATES = {"ntcv_v-15": -0.15, "ntcv_v0": 0.0, "ntcv_v+15": 0.15}
LOGGER = logging.getLogger("test")


def write_course(
    folder: Path, patient: str, rows, status: str | None = "ok", reason: str = "", profile: str = "volume"
) -> Path:
    """A finished course folder; `rows` are (source, number, name, standard name, feature, values per state)."""
    course = folder / patient / "2024-01"
    (course / "state").mkdir(parents=True)
    description = CourseDescription(
        patient=patient,
        course="2024-01",
        patient_id=f"id-{patient}",
        kind="images",
        dose_decision=DoseDecision(label="no_dose"),
    )
    (course / "course.json").write_text(description.model_dump_json())
    if status is not None:
        state = {"status": status, "reason": reason}
        (course / "state" / "radiomics_robustness.json").write_text(json.dumps(state))
    table = course / "radiomics_robustness_ct.parquet"
    if rows:
        expanded = [
            {
                "patient_id": f"id-{patient}",
                "course_id": "2024-01",
                "segmentation_source": source,
                "roi_number": number,
                "roi_name": name,
                "standard_name": standard,
                "profile": profile,
                "parameter_digest": "0123456789abcdef",
                "perturbation_id": state,
                "volume_change": STATES[state],
                "seed": 42,
                "feature_name": feature,
                "value": value,
            }
            for source, number, name, standard, feature, values in rows
            for state, value in zip(STATES, values, strict=True)
        ]
        write_parquet(table, ROBUSTNESS, expanded)
    return table


def gtv(feature: str, values, source: str = "manual"):
    return (source, 1, "GTV", "GTV", feature, values)


def aggregate(tables, workbook: Path, **keys):
    configuration = load_configuration(overrides=keys)
    return aggregate_robustness(tables, configuration, workbook=workbook, logs=workbook.parent, logger=LOGGER)


def summary(workbook: Path) -> dict[tuple[str, str, str], dict]:
    rows = read_parquet(workbook.with_suffix(".parquet")).to_pylist()
    return {(row["structure"], row["segmentation_source"], row["feature_name"]): row for row in rows}


def sheet(workbook: Path, name: str) -> list[dict]:
    rows = list(openpyxl.load_workbook(workbook)[name].values)
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    return tmp_path / "_RESULTS" / "radiomics_robustness_summary.xlsx"


@pytest.mark.radiomics_environment
class TestStatistics:
    def test_labels(self, tmp_path: Path, workbook: Path):
        """Robust: subjects far apart, states close. Acceptable: CoV of 13 %. Poor: states as far apart as subjects."""
        random = np.random.default_rng(1)
        tables = []
        for number in range(12):
            base = 100.0 * 2.0**number
            rows = [
                gtv("robust", base * np.array([0.99, 1.0, 1.01])),
                gtv("acceptable", base * np.array([0.87, 1.0, 1.13])),
                gtv("poor", random.uniform(1, 100, 3)),
                gtv("negative", base * np.array([0.99, 1.0, 1.01]) - 300.0),
                gtv("constant", [7.0, 7.0, 7.0]),
                gtv("undefined", [None, None, None]),
            ]
            tables.append(write_course(tmp_path, f"P{number:02d}", rows))
        outcome = aggregate(tables, workbook)
        assert outcome.status == "ok"
        rows = {name: row for (_, _, name), row in summary(workbook).items()}
        labels = {name: row["robustness_label"] for name, row in rows.items()}
        assert labels == {
            "robust": "robust",
            "acceptable": "acceptable",
            "poor": "poor",
            "negative": "not_evaluable",
            "constant": "not_evaluable",
            "undefined": "not_evaluable",
        }
        assert rows["acceptable"]["cov_pct"] == pytest.approx(13.0)
        assert "not all values are positive" in rows["negative"]["label_reason"]
        assert rows["negative"]["icc"] > 0.99
        assert "does not vary" in rows["constant"]["label_reason"]
        assert rows["undefined"]["n_subjects_dropped"] == 12
        assert rows["robust"]["qcd_status"] == "not_evaluable", "three states have no quartiles"
        assert [row["feature_name"] for row in sheet(workbook, "robust_features")] == ["robust"]
        assert [row["feature_name"] for row in sheet(workbook, "acceptable_features")] == ["acceptable"]
        assert len(sheet(workbook, "global_summary")) == 6
        assert "per_source_summary" not in openpyxl.load_workbook(workbook).sheetnames

    @pytest.mark.parametrize("form", ["ICC1", "ICC2", "ICC3"])
    def test_vectorised_equals_pingouin_and_nothing_is_rounded(self, form: str, tmp_path: Path):
        random = np.random.default_rng(7)
        spread = {f"f{n}": (random.uniform(0.2, 3.0), random.uniform(0.0, 2.0)) for n in range(12)}
        values = {
            name: 50 + random.normal(0, sd, (8, 1)) + random.normal(0, rater, (1, 3)) + random.normal(0, 1, (8, 3))
            for name, (sd, rater) in spread.items()
        }
        tables = [
            write_course(tmp_path, f"P{n}", [gtv(name, matrix[n]) for name, matrix in values.items()]) for n in range(8)
        ]
        found = {}
        for implementation in ("vectorised", "pingouin"):
            workbook = tmp_path / implementation / "summary.xlsx"
            keys = {"implementation": implementation, "icc_type": form}
            aggregate(tables, workbook, **{f"radiomics_robustness.metrics.icc.{k}": v for k, v in keys.items()})
            found[implementation] = summary(workbook)
        # States are ordered by name in the statistics; the coefficients do not depend on their order.
        here = vectorised(np.stack(list(values.values())), form)
        for number, name in enumerate(values):
            ours, theirs = (found[side]["GTV", "manual", name] for side in ("vectorised", "pingouin"))
            for column, own in (("icc", here.icc), ("icc_ci95_low", here.low), ("icc_ci95_high", here.high)):
                assert ours[column] == pytest.approx(theirs[column], rel=1e-7, abs=1e-9)
                assert ours[column] == pytest.approx(float(own[number]), rel=1e-7, abs=1e-9)
            assert ours["robustness_label"] == theirs["robustness_label"]
        assert any(round(row["icc_ci95_low"], 2) != row["icc_ci95_low"] for row in found["pingouin"].values())

    def test_one_subject_is_not_evaluable(self, tmp_path: Path, workbook: Path):
        outcome = aggregate([write_course(tmp_path, "P1", [gtv("f", [1.0, 1.0, 1.1])])], workbook)
        assert outcome.status == "ok"
        row = summary(workbook)["GTV", "manual", "f"]
        assert row["robustness_label"] == "not_evaluable"
        assert "two subjects" in row["label_reason"]
        assert row["cov_pct"] == pytest.approx(100 * np.std([1.0, 1.0, 1.1], ddof=1) / np.mean([1.0, 1.0, 1.1]))

    def test_sources_and_structures_are_never_pooled(self, tmp_path: Path, workbook: Path):
        tables = []
        for number in range(3):
            values = np.array([0.99, 1.0, 1.01]) * 10.0 ** (number + 1)
            rows = [
                gtv("f", values),
                gtv("f", values[::-1] * 3, source="custom"),
                ("manual", 2, "PTV", "PTV", "f", values * 7),
            ]
            tables.append(write_course(tmp_path, f"P{number}", rows))
        aggregate(tables, workbook)
        assert {key: row["n_subjects"] for key, row in summary(workbook).items()} == {
            ("GTV", "manual", "f"): 3,
            ("GTV", "custom", "f"): 3,
            ("PTV", "manual", "f"): 3,
        }
        per_source = sheet(workbook, "per_source_summary")
        assert [(row["segmentation_source"], row["structure"], row["n_robust"]) for row in per_source] == [
            ("custom", "GTV", 1),
            ("manual", "GTV", 1),
            ("manual", "PTV", 1),
        ]

    def test_a_subject_without_a_state_is_dropped_and_counted(self, tmp_path: Path, workbook: Path):
        values = [[1.0, 1.1, 1.2], [2.0, 2.1, 2.2], [3.0, None, 3.2], [9.0, 9.1, 9.2]]
        tables = [write_course(tmp_path, f"P{n}", [gtv("f", v)]) for n, v in enumerate(values)]
        aggregate(tables, workbook)
        row = summary(workbook)["GTV", "manual", "f"]
        assert (row["n_subjects"], row["n_subjects_complete"], row["n_subjects_dropped"]) == (4, 3, 1)
        complete = np.array([values[0], values[1], values[3]], dtype=float)
        assert row["icc"] == pytest.approx(float(vectorised(complete[None], "ICC3").icc[0]))
        assert row["n_subjects_cov"] == 3
        assert row["cov_status"] == "complete"

    def test_a_bound_just_below_the_threshold_is_not_rounded_up(self, tmp_path: Path, workbook: Path):
        """The lower bound is 0.895 to 0.9, which two digits would call 0.90."""
        random = np.random.default_rng(0)
        while True:
            matrix = 100 + random.normal(0, 4.0, (15, 1)) + random.normal(0, 0.8, (15, 3))
            low = float(vectorised(matrix[None], "ICC3").low[0])
            if 0.895 < low < 0.9:
                break
        tables = [write_course(tmp_path, f"P{n:02d}", [gtv("f", matrix[n])]) for n in range(15)]
        aggregate(tables, workbook)
        row = summary(workbook)["GTV", "manual", "f"]
        assert row["icc_ci95_low"] == pytest.approx(low, abs=1e-12)
        assert row["robustness_label"] == "acceptable"

    def test_missing_and_failed_courses_are_covered(self, tmp_path: Path, workbook: Path):
        good = [write_course(tmp_path, f"P{n}", [gtv("f", [n + 1.0, n + 1.1, n + 1.2])]) for n in range(3)]
        damaged = write_course(tmp_path, "P7", [gtv("f", [1, 2, 3.0])])
        damaged.write_bytes(damaged.read_bytes()[:100])
        others = [
            write_course(tmp_path, "P3", None, "failed", "no radiomics environment"),
            write_course(tmp_path, "P4", None, "skipped", "no structure matches GTV*"),
            write_course(tmp_path, "P5", None, status=None),
            write_course(tmp_path, "P6", [gtv("f", [4.0, 4.1, 4.2])], "partial", "1 of 3 states is missing"),
            damaged,
            tmp_path / "P8" / "2024-01" / "radiomics_robustness_ct.parquet",
        ]
        outcome = aggregate([*others, *good], workbook)
        assert outcome.status == "partial"
        assert "5 of 9 courses" in outcome.reason
        coverage = {row["patient_id"]: (row["status"], row["reason"]) for row in sheet(workbook, "coverage")}
        assert coverage["id-P0"] == ("ok", "")
        assert coverage["id-P3"] == ("failed", "no radiomics environment")
        assert coverage["id-P4"] == ("skipped", "no structure matches GTV*")
        assert coverage["id-P5"][0] == coverage["id-P7"][0] == coverage["P8"][0] == "missing"
        assert coverage["id-P6"][0] == "partial"
        assert summary(workbook)["GTV", "manual", "f"]["n_subjects"] == 4

    def test_raw_values_hold_every_row_with_its_structure(self, tmp_path: Path, workbook: Path):
        rows = [("manual", 3, "gtv_1 ", "GTV1", "f", [1.0, 2.0, 3.0])]
        tables = [write_course(tmp_path, f"P{n}", rows) for n in (2, 1)]
        aggregate(tables, workbook)
        assert raw_values_file(workbook).name == "radiomics_robustness_raw_values.parquet"
        raw = read_parquet(raw_values_file(workbook))
        assert raw.num_rows == 6
        assert set(raw["structure"].to_pylist()) == {"GTV1"}
        assert raw["patient_id"].to_pylist() == ["id-P1"] * 3 + ["id-P2"] * 3

    def test_same_courses_in_another_order_give_the_same_bytes(self, tmp_path: Path):
        tables = [write_course(tmp_path, f"P{n}", [gtv("f", [n + 1.0, n + 1.1, n + 1.2])]) for n in range(3)]
        contents = []
        for name, order in (("a", tables), ("b", tables[::-1])):
            workbook = tmp_path / name / "radiomics_robustness_summary.xlsx"
            aggregate(order, workbook)
            contents.append([path.read_bytes() for path in sorted(workbook.parent.glob("radiomics*[xt]"))])
        assert len(contents[0]) == 3
        assert contents[0] == contents[1]

    def test_a_course_that_is_given_twice_is_an_error(self, tmp_path: Path, workbook: Path):
        table = write_course(tmp_path, "P1", [gtv("f", [1.0, 2.0, 3.0])])
        with pytest.raises(StageError, match="there twice"):
            aggregate([table, table], workbook)

    def test_courses_of_different_profiles_are_an_error(self, tmp_path: Path, workbook: Path):
        tables = [write_course(tmp_path, p, [gtv("f", [1.0, 2.0, 3.0])], profile=p) for p in ("mild", "volume")]
        with pytest.raises(StageError, match=r"different profile \(mild, volume\)"):
            aggregate(tables, workbook)


def test_strict_fails_and_writes_nothing(tmp_path: Path, workbook: Path):
    tables = [write_course(tmp_path, "P3", None, "failed", "no radiomics environment")]
    outcome = aggregate(tables, workbook, **{"aggregation.strict": True})
    assert outcome.status == "failed"
    assert "no radiomics environment" in outcome.reason
    assert not workbook.exists()


def test_nothing_but_skipped_courses_is_a_table_without_rows(tmp_path: Path, workbook: Path):
    """No statistics are needed, so no radiomics environment is either."""
    tables = [write_course(tmp_path, "P4", None, "skipped", "no structure matches GTV*")]
    outcome = aggregate(tables, workbook)
    assert outcome.status == "ok"
    assert summary(workbook) == {}
    assert pq.read_schema(workbook.with_suffix(".parquet")).names == [c.name for c in ROBUSTNESS_SUMMARY.columns]
    assert len(sheet(workbook, "coverage")) == 1


def test_names_under_which_structures_are_compared():
    rois = {
        ("manual", 1, "gtv 1", "GTV1"),
        ("manual", 2, "GTV_1", "GTV1"),
        ("manual", 3, "Tumor", ""),
        ("manual", 4, "PTV", "PTV"),
        ("manual", 5, "PTV", "PTV"),
        ("custom", 1, "PTV ring", "PTV"),
    }
    assert {(roi[0], roi[1]): name for roi, name in structure_names(rois).items()} == {
        ("manual", 1): "gtv 1",
        ("manual", 2): "GTV_1",
        ("manual", 3): "Tumor",
        ("manual", 4): "PTV #4",
        ("manual", 5): "PTV #5",
        ("custom", 1): "PTV",
    }

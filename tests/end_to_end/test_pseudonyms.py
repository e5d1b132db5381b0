"""The demo cohort once more, with pseudonyms: every number is the same, and no original identifier is left.

It takes as long as the demo itself, because every stage and the search at the end have to have run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from end_to_end.runs import FinishedRun, rtpipeline
from rtpipeline.organize.identifier_check import find_identifiers
from rtpipeline.organize.translation import stored_pseudonyms
from rtpipeline.tables.parquet import read_parquet

pytestmark = [pytest.mark.end_to_end, pytest.mark.radiomics_environment]

NAMES = (
    "roi_name",
    "metric",
    "segmentation_source",
    "check",
    "subject",
    "feature_name",
    "state",
    "structure",
    "perturbation",
)
"""Text columns that tell rows apart and that pseudonyms do not change."""
STATISTICS = ("radiomics_robustness_summary",)
"""Tables of statistics over all patients."""


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("key") / "study.key"


@pytest.fixture(scope="session")
def pseudonymised(demo: FinishedRun, key: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    output = tmp_path_factory.mktemp("pseudonymised") / "output"
    configuration = demo.cohort.effective_configuration
    finished = rtpipeline("run", "--config", configuration, "--outdir", output, "--pseudonymize", key)
    return FinishedRun(output, finished.stdout, finished.returncode)


def test_the_run_ends_well_and_names_nobody(pseudonymised: FinishedRun) -> None:
    assert pseudonymised.exit_code == 0, pseudonymised.printed
    assert "DEMO-" not in pseudonymised.printed
    assert "carry the PatientID" not in pseudonymised.printed


def test_nothing_original_is_left(demo: FinishedRun, pseudonymised: FinishedRun, key: Path) -> None:
    stored = stored_pseudonyms(key, pseudonymised.output)
    logs = pseudonymised.output / "Logs"
    assert (logs / "rtpipeline.log").is_file()
    assert find_identifiers(pseudonymised.cohort, logs, stored) == []
    assert find_identifiers(demo.cohort, demo.output / "Logs", stored) != []
    for file in sorted(pseudonymised.output.rglob("*")):
        assert "DEMO" not in file.name
        if file.suffix in (".json", ".html", ".yaml", ".log", ".csv"):
            assert "DEMO-0" not in file.read_text(encoding="utf-8")


def test_every_number_is_the_same(demo: FinishedRun, pseudonymised: FinishedRun, key: Path) -> None:
    known = json.loads(key.with_name("study.key.patients.json").read_text(encoding="utf-8"))
    originals = {one["pseudonym"]: patient_id for patient_id, one in known.items()}
    tables = sorted(path.name for path in demo.cohort.results.glob("*.parquet"))
    assert sorted(path.name for path in pseudonymised.cohort.results.glob("*.parquet")) == tables
    compared = 0
    for table in tables:
        before = numbers(demo.cohort.results / table, {})
        assert numbers(pseudonymised.cohort.results / table, originals) == before, table
        compared += len(before)
    assert compared > 1000


def numbers(path: Path, originals: dict[str, str]) -> list[list[str]]:
    """Every row: original patient, names that tell rows apart, and all numbers, each to the last bit; sorted.

    Statistics over the cohort are compared to eleven digits: they add up patients in the order of their names.
    """
    table = read_parquet(path)
    numeric = [field.name for field in table.schema if not pa.types.is_string(field.type)]
    names = [name for name in NAMES if name in table.column_names]

    def row_of(row: dict[str, Any]) -> list[str]:
        patient = str(row.get("patient_id") or "")
        return [originals.get(patient, patient), *(shown(row[name]) for name in (*names, *numeric))]

    def shown(value: Any) -> str:
        return f"{value:.11g}" if path.stem in STATISTICS and isinstance(value, float) else repr(value)

    return sorted(map(row_of, table.to_pylist()))


def test_search_and_translation_on_the_command_line(pseudonymised: FinishedRun, key: Path) -> None:
    table = rtpipeline("pseudonyms", key)
    assert table.returncode == 0
    assert len(table.stdout.splitlines()) == 1 + len(pseudonymised.courses)
    (pseudonym, *_) = pseudonymised.courses
    assert "DEMO-0" in rtpipeline("pseudonyms", key, pseudonym).stdout
    searched = rtpipeline("pseudonyms", key, "--check", pseudonymised.output)
    assert (searched.returncode, searched.stdout) == (0, "no original identifier found\n")


def test_going_on_needs_the_key(demo: FinishedRun, pseudonymised: FinishedRun) -> None:
    configuration = demo.cohort.effective_configuration
    again = rtpipeline("run", "--config", configuration, "--outdir", pseudonymised.output)
    assert again.returncode == 1
    assert "--pseudonymize KEYFILE" in again.stdout

"""From the courses of the manifest to the files in `_RESULTS`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from rtpipeline.aggregate.analysis import analysis_table, with_clinical
from rtpipeline.aggregate.clinical import ClinicalTable, read_clinical
from rtpipeline.aggregate.collect import INCOMPLETE, Source, collect
from rtpipeline.atomic import replacing
from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles, Course
from rtpipeline.outcome import Outcome, StageError, failed, ok, partial
from rtpipeline.provenance import stamp
from rtpipeline.tables.definitions.cohort import COLUMN_DICTIONARY, COVERAGE
from rtpipeline.tables.definitions.dvh import DVH_METRICS, DVH_STATUS, PRESCRIPTIONS, WIDE_DVH_ROW
from rtpipeline.tables.definitions.metadata import CASE_METADATA, FRACTIONS
from rtpipeline.tables.definitions.organize import UNUSED_FILES
from rtpipeline.tables.definitions.quality_control import (
    QUALITY_CONTROL,
    STRUCTURE_COMPARISON,
    STRUCTURE_COMPARISON_DOSE,
)
from rtpipeline.tables.definitions.radiomics import RADIOMICS_CT, RADIOMICS_DOSE, RADIOMICS_MR, RADIOMICS_PET
from rtpipeline.tables.dictionary import defined_tables, dictionary
from rtpipeline.tables.excel import write_workbook
from rtpipeline.tables.parquet import Row, read_parquet, to_arrow, write_arrow
from rtpipeline.tables.wide import wide


def _dvh(configuration: Configuration) -> bool:
    return configuration.dvh.enabled


def _metadata(configuration: Configuration) -> bool:
    return configuration.metadata.enabled


def _radiomics(configuration: Configuration) -> bool:
    return configuration.radiomics.enabled


def _dosiomics(configuration: Configuration) -> bool:
    return configuration.radiomics.enabled and configuration.radiomics.dose


def _quality_control(configuration: Configuration) -> bool:
    return configuration.qc.enabled


SOURCES = (
    Source(DVH_METRICS, "dvh", lambda files: files.dvh_metrics, _dvh),
    Source(DVH_STATUS, "dvh", lambda files: files.dvh_status, _dvh),
    Source(PRESCRIPTIONS, "dvh", lambda files: files.prescriptions, _dvh, always=False),
    Source(CASE_METADATA, "metadata", lambda files: files.case_metadata_table, _metadata),
    Source(FRACTIONS, "metadata", lambda files: files.fractions, _metadata, always=False),
    Source(RADIOMICS_CT, "radiomics", lambda files: files.radiomics_ct, _radiomics, always=False),
    Source(RADIOMICS_MR, "radiomics", lambda files: files.radiomics_mr, _radiomics, always=False),
    Source(RADIOMICS_PET, "radiomics", lambda files: files.radiomics_pet, _radiomics, always=False),
    Source(RADIOMICS_DOSE, "radiomics", lambda files: files.radiomics_dose, _dosiomics, always=False),
    Source(QUALITY_CONTROL, "quality_control", lambda files: files.quality_control, _quality_control),
    Source(
        STRUCTURE_COMPARISON,
        "quality_control",
        lambda files: files.structure_comparison,
        _quality_control,
        always=False,
    ),
    Source(
        STRUCTURE_COMPARISON_DOSE,
        "quality_control",
        lambda files: files.structure_comparison_dose,
        _quality_control,
        always=False,
    ),
)
"""The cohort tables that are made of the courses' tables."""

_DVH_FIRST = ("Volume (cm³)", "DmeanGy", "DmaxGy", "DminGy", "D98Gy", "D95Gy", "D50Gy", "D2Gy")


def aggregate(
    courses: Sequence[Course],
    cohort: CohortFiles,
    configuration: Configuration,
    *,
    threads: int,
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
) -> Outcome:
    """Write every cohort table, as Parquet and Excel.

    A course takes part in a table when its stage's state says that there is a result. What a course lacks is listed
    with its reason in the table `table_coverage` and on the sheet `coverage` of each workbook; then the outcome is
    `partial`, or `failed` (and no other table is written) where the configuration is strict.

    Args:
        courses: the courses of the manifest; nothing is looked for in folders.
        cohort: where the files go.
        configuration: `aggregation` says how; the rest is recorded as a digest.
        threads: how many courses are read at once.
        logger: gets a line for each course and table that is missing.
    """
    about = stamp(configuration)
    tables: dict[str, pa.Table] = {}
    coverage: list[Row] = []
    for source in SOURCES:
        collected = collect(source, courses, configuration, threads)
        tables[source.table.name] = collected.data
        coverage += collected.coverage
    incomplete = [row for row in coverage if row["status"] in INCOMPLETE]
    _log_incomplete(incomplete, courses, logger)
    coverage_table = to_arrow(COVERAGE, coverage)
    _write(cohort, COVERAGE.name, coverage_table, {"coverage": coverage_table}, about)
    if incomplete and configuration.aggregation.strict:
        return failed(f"{_incomplete(incomplete)}; aggregation is strict, so no other table was written")
    for name, data in tables.items():
        missing = coverage_table.filter(pc.equal(coverage_table["table"], name))
        _write(cohort, name, data, {name: _for_people(name, data), "coverage": missing}, about)
    if cohort.table(UNUSED_FILES.name).is_file():
        unused = read_parquet(cohort.table(UNUSED_FILES.name))
        write_workbook(cohort.table(UNUSED_FILES.name, ".xlsx"), {UNUSED_FILES.name: unused})
    clinical, problem = _clinical(configuration, logger)
    _write_analysis(cohort, analysis_table(courses, tables), clinical, coverage_table, about)
    _write_dictionary(cohort, tables, about)
    reasons = [_incomplete(incomplete)] if incomplete else []
    reasons += [problem] if problem else []
    rows = {name: data.num_rows for name, data in tables.items()}
    return partial("; ".join(reasons), rows=rows) if reasons else ok(rows=rows)


def _log_incomplete(
    rows: Sequence[Row], courses: Sequence[Course], logger: logging.Logger | logging.LoggerAdapter[logging.Logger]
) -> None:
    """One line for each course, stage and reason; a course is named by its folder."""
    folders = {tuple(course.identifiers.values()): course.key for course in courses}
    lines = {(folders[str(row["patient_id"]), str(row["course_id"])], row["stage"], row["reason"]) for row in rows}
    for folder, stage, reason in sorted(lines, key=str):
        logger.warning("%s %s: tables are missing or incomplete: %s", folder, stage, reason)


def _incomplete(rows: Sequence[Row]) -> str:
    courses = {(row["patient_id"], row["course_id"]) for row in rows}
    number = f"{len(courses)} course{'s' if len(courses) > 1 else ''}"
    return f"tables of {number} are missing or incomplete; the sheet coverage gives the reasons"


def _for_people(name: str, data: pa.Table) -> pa.Table:
    """The table as people read it in Excel: dose-volume metrics side by side, the best known first."""
    if name != DVH_METRICS.name:
        return data
    table = wide(data, WIDE_DVH_ROW, "column", "value")
    first = [column for column in _DVH_FIRST if column in table.column_names]
    others = [column for column in table.column_names if column not in {*WIDE_DVH_ROW, *first}]
    return table.select([*WIDE_DVH_ROW, *first, *others])


def _write(
    cohort: CohortFiles, name: str, data: pa.Table, sheets: Mapping[str, pa.Table], about: Mapping[str, str]
) -> None:
    write_arrow(cohort.table(name), data, about)
    write_workbook(cohort.table(name, ".xlsx"), {**sheets, "about": _about_sheet(about)})


def _about_sheet(about: Mapping[str, str]) -> pa.Table:
    return pa.table({"what": pa.array(list(about), pa.string()), "value": pa.array(list(about.values()), pa.string())})


def _clinical(
    configuration: Configuration, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]
) -> tuple[ClinicalTable | None, str]:
    """The clinical table, where one is named, or why it cannot be used."""
    if configuration.aggregation.clinical is None:
        return None, ""
    try:
        return read_clinical(configuration.aggregation.clinical), ""
    except StageError as error:
        logger.warning("%s", error)
        return None, f"the clinical table was not joined: {error}"


def _write_analysis(
    cohort: CohortFiles,
    data: pa.Table,
    clinical: ClinicalTable | None,
    coverage: pa.Table,
    about: Mapping[str, str],
) -> None:
    sheets = {"analysis_table": data}
    if clinical is not None:
        data, unmatched = with_clinical(data, clinical)
        sheets = {"analysis_table": data, "clinical_unmatched": unmatched}
    _write(cohort, "analysis_table", data, {**sheets, "coverage": coverage}, about)
    with replacing(cohort.table("analysis_table", ".csv")) as temporary:
        pa.csv.write_csv(data, temporary)


def _write_dictionary(cohort: CohortFiles, tables: Mapping[str, pa.Table], about: Mapping[str, str]) -> None:
    found = {name: data.column_names for name, data in tables.items()}
    data = to_arrow(COLUMN_DICTIONARY, dictionary(defined_tables(), found))
    _write(cohort, COLUMN_DICTIONARY.name, data, {COLUMN_DICTIONARY.name: data}, about)

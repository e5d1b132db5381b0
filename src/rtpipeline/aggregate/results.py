"""From the courses of the manifest to the files in `_RESULTS`."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from rtpipeline.aggregate.analysis import RADIOMICS_TABLES, analysis_row, asked_metrics, described, with_clinical
from rtpipeline.aggregate.clinical import ToPseudonyms, read_clinical
from rtpipeline.aggregate.collect import Source, Survey, collected, in_order, key_of, read_part, survey
from rtpipeline.atomic import replacing
from rtpipeline.config import AnalysisSection, Configuration
from rtpipeline.course import INCOMPLETE, CohortFiles, Course
from rtpipeline.outcome import Outcome, StageError, failed, ok, partial
from rtpipeline.provenance import stamp
from rtpipeline.pseudonyms import Translation
from rtpipeline.tables.definitions.analysis import analysis_definition, matching
from rtpipeline.tables.definitions.cohort import COLUMN_DICTIONARY, COVERAGE
from rtpipeline.tables.definitions.dvh import DVH_METRICS, DVH_STATUS, PRESCRIPTIONS, WIDE_DVH_ROW
from rtpipeline.tables.definitions.metadata import CASE_METADATA, FRACTIONS
from rtpipeline.tables.definitions.organize import UNUSED_FILES
from rtpipeline.tables.definitions.quality_control import (
    QUALITY_CONTROL,
    STRUCTURE_COMPARISON,
    STRUCTURE_COMPARISON_DOSE,
)
from rtpipeline.tables.definitions.radiomics import (
    RADIOMICS_CT,
    RADIOMICS_DIAGNOSTICS,
    RADIOMICS_DOSE,
    RADIOMICS_MR,
    RADIOMICS_PET,
)
from rtpipeline.tables.dictionary import defined_tables, dictionary
from rtpipeline.tables.excel import write_workbook
from rtpipeline.tables.parquet import (
    Row,
    read_parts,
    read_schema,
    to_arrow,
    with_columns,
    write_arrow,
    write_arrow_parts,
)
from rtpipeline.tables.schema import Table
from rtpipeline.tables.wide import natural, wide, wide_schema


def _dvh(configuration: Configuration) -> bool:
    return configuration.dvh.enabled


def _metadata(configuration: Configuration) -> bool:
    return configuration.metadata.enabled


def _radiomics(configuration: Configuration) -> bool:
    return configuration.radiomics.enabled


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
    Source(RADIOMICS_DOSE, "radiomics", lambda files: files.radiomics_dose, _radiomics, always=False),
    Source(RADIOMICS_DIAGNOSTICS, "radiomics", lambda files: files.radiomics_diagnostics, _radiomics, always=False),
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

_OF_ANALYSIS = frozenset({DVH_METRICS.name, CASE_METADATA.name, QUALITY_CONTROL.name, *RADIOMICS_TABLES})
"""The tables that a row of the analysis table is made of."""

_DVH_FIRST = ("Volume (cm³)", "DmeanGy", "DmaxGy", "DminGy", "D98Gy", "D95Gy", "D50Gy", "D2Gy")


def aggregate(
    courses: Sequence[Course],
    cohort: CohortFiles,
    configuration: Configuration,
    *,
    threads: int,
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
    translation_of: Callable[[str], Translation] | None = None,
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
        translation_of: for results with pseudonyms, the translation of a patient by the original PatientID; it may
            raise a `StageError`, which takes away the clinical table alone.
    """
    about = stamp(configuration)
    ordered = sorted(courses, key=key_of)
    surveys = {source.table.name: survey(source, ordered, configuration, threads) for source in SOURCES}
    coverage = [row for found in surveys.values() for row in found.coverage]
    incomplete = [row for row in coverage if row["status"] in INCOMPLETE]
    _log_incomplete(incomplete, courses, logger)
    coverage_table = to_arrow(COVERAGE, coverage)
    _write(cohort, COVERAGE.name, coverage_table, {"coverage": coverage_table}, about)
    if incomplete and configuration.aggregation.strict:
        return failed(f"{_incomplete(incomplete)}; aggregation is strict, so no other table was written")
    for found in surveys.values():
        parts = functools.partial(collected, found, ordered, configuration, threads)
        logger.info("aggregate: %s, %d rows of %d courses", found.name, sum(found.rows.values()), len(found.rows))
        _write_collected(found, parts, cohort, coverage_table, about)
    if cohort.table(UNUSED_FILES.name).is_file():
        write_workbook(cohort.table(UNUSED_FILES.name, ".xlsx"), {UNUSED_FILES.name: cohort.table(UNUSED_FILES.name)})
    to_pseudonyms = None if translation_of is None else ToPseudonyms({key_of(one) for one in courses}, translation_of)
    problem = _write_analysis(ordered, surveys, cohort, configuration, threads, coverage_table, to_pseudonyms, logger)
    reasons = [_incomplete(incomplete)] if incomplete else []
    reasons += [problem] if problem else []
    rows = {name: sum(found.rows.values()) for name, found in surveys.items()}
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


def _write_collected(
    found: Survey,
    parts: Callable[[], Iterator[pa.Table]],
    cohort: CohortFiles,
    coverage: pa.Table,
    about: Mapping[str, str],
) -> None:
    """One cohort table; `parts` gives its rows, course by course, as often as it is asked."""
    file = cohort.table(found.name)
    write_arrow_parts(file, found.schema, parts(), about)
    with _for_people(file, parts()) if found.name == DVH_METRICS.name else nullcontext(file) as shown:
        missing = coverage.filter(pc.equal(coverage["table"], found.name))
        _write_workbook(cohort, found.name, {found.name: shown, "coverage": missing}, about)


def _metric_columns(file: Path) -> set[str]:
    """Every metric in the long table, by the name of its column in the wide one."""
    return {name for part in read_parts(file, ["column"]) for name in part["column"].unique().to_pylist()}


@contextmanager
def _for_people(file: Path, parts: Iterator[pa.Table]) -> Iterator[Path]:
    """The table of dose-volume metrics as people read it in Excel: side by side, the best known first.

    Args:
        file: the long table.
        parts: its rows again, course by course.
    """
    columns = _metric_columns(file)
    first = [name for name in _DVH_FIRST if name in columns]
    others = sorted(columns.difference(first), key=natural)
    schema = wide_schema(read_schema(file), WIDE_DVH_ROW, "value", [*first, *others])
    side_by_side = file.with_name(f".{file.stem}.wide.parquet")
    write_arrow_parts(
        side_by_side, schema, (with_columns(wide(part, WIDE_DVH_ROW, "column", "value"), schema) for part in parts)
    )
    try:
        yield side_by_side
    finally:
        side_by_side.unlink()


def _write(
    cohort: CohortFiles, name: str, data: pa.Table, sheets: Mapping[str, pa.Table | Path], about: Mapping[str, str]
) -> None:
    write_arrow(cohort.table(name), data, about)
    _write_workbook(cohort, name, sheets, about)


def _write_workbook(
    cohort: CohortFiles, name: str, sheets: Mapping[str, pa.Table | Path], about: Mapping[str, str]
) -> None:
    write_workbook(cohort.table(name, ".xlsx"), {**sheets, "about": _about_sheet(about)})


def _about_sheet(about: Mapping[str, str]) -> pa.Table:
    return pa.table({"what": pa.array(list(about), pa.string()), "value": pa.array(list(about.values()), pa.string())})


def _write_analysis(
    courses: Sequence[Course],
    surveys: Mapping[str, Survey],
    cohort: CohortFiles,
    configuration: Configuration,
    threads: int,
    coverage: pa.Table,
    to_pseudonyms: ToPseudonyms | None,
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
) -> str:
    """The analysis table and, because its columns are known only now, the column dictionary.

    Returns:
        why the clinical table could not be joined; empty where it was, or where none is named.
    """
    chosen = configuration.aggregation.analysis
    of_ct = surveys[RADIOMICS_CT.name].schema.names[len(RADIOMICS_CT.columns) :]
    table = analysis_definition(chosen, of_ct)
    _log_unknown(chosen, _metric_columns(cohort.table(DVH_METRICS.name)), of_ct, logger)
    sources = {source.table.name: source for source in SOURCES if source.table.name in _OF_ANALYSIS}

    def row(course: Course) -> Row:
        parts = {name: read_part(source, course, configuration).data for name, source in sources.items()}
        return analysis_row(course, parts, chosen)

    data = to_arrow(table, in_order(row, courses, threads))
    sheets: dict[str, pa.Table | Path] = {"analysis_table": data}
    problem = ""
    if configuration.aggregation.clinical is not None:
        try:
            clinical = read_clinical(configuration.aggregation.clinical, to_pseudonyms)
        except StageError as error:
            logger.warning("%s", error)
            problem = f"the clinical table was not joined: {error}"
        else:
            data, unmatched = with_clinical(data, clinical)
            sheets = {"analysis_table": data, "clinical_unmatched": unmatched}
            _log_unmatched(data, unmatched, logger)
            if clinical.left_out:
                logger.warning(
                    "aggregate: values of the clinical table that may be dates and cannot be moved are left out of %s; "
                    "write them as YYYY-MM-DD",
                    ", ".join(clinical.left_out),
                )
    about = stamp(configuration)
    _write(cohort, "analysis_table", data, {**sheets, "coverage": coverage}, about)
    with replacing(cohort.table("analysis_table", ".csv")) as temporary:
        pa.csv.write_csv(data, temporary)
    _write_dictionary(cohort, surveys, described(table, data), about)
    return problem


def _log_unknown(
    chosen: AnalysisSection,
    metrics: set[str],
    features: Sequence[str],
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
) -> None:
    """Columns that the user chose and that no course has: they are there, and empty."""
    own_choice = asked_metrics(chosen) - asked_metrics(AnalysisSection())
    wanted = [name for patterns in chosen.features.values() for name in matching(patterns, features)]
    unknown = [*sorted(own_choice - metrics), *(name for name in dict.fromkeys(wanted) if name not in features)]
    if unknown:
        logger.warning("aggregation.analysis: no structure of any course has %s", ", ".join(unknown))


def _log_unmatched(
    data: pa.Table, unmatched: pa.Table, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]
) -> None:
    """How many rows found no partner; who they are is in the workbook, because a clinical table may name people."""
    without = data.num_rows - pc.sum(data["clinical_matched"]).as_py() if data.num_rows else 0
    if unmatched.num_rows or without:
        logger.warning(
            "aggregate: %d rows of the clinical table belong to no course (sheet clinical_unmatched of "
            "analysis_table.xlsx), %d courses have no row in it (column clinical_matched)",
            unmatched.num_rows,
            without,
        )


def _write_dictionary(
    cohort: CohortFiles, surveys: Mapping[str, Survey], analysis: Table, about: Mapping[str, str]
) -> None:
    found = {name: survey.schema.names for name, survey in surveys.items()}
    tables = [analysis if table.name == analysis.name else table for table in defined_tables()]
    data = to_arrow(COLUMN_DICTIONARY, dictionary(tables, found))
    _write(cohort, COLUMN_DICTIONARY.name, data, {COLUMN_DICTIONARY.name: data}, about)

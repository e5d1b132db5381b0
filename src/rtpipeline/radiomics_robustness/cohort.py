"""The cohort's robustness: every course's values in one file, statistics over them, and what is missing."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rtpipeline.config import Configuration
from rtpipeline.course import INCOMPLETE, Course, recorded_state
from rtpipeline.outcome import Outcome, StageError, failed, ok, partial
from rtpipeline.provenance import stamp
from rtpipeline.radiomics_conda import child_variables, find_radiomics_python
from rtpipeline.radiomics_robustness.statistics import Judgement
from rtpipeline.scheduling.worker_process import WorkerError, WorkerProcess
from rtpipeline.tables.definitions.robustness import (
    ROBUSTNESS,
    ROBUSTNESS_COVERAGE,
    ROBUSTNESS_PER_SOURCE,
    ROBUSTNESS_RAW_VALUES,
    ROBUSTNESS_SUMMARY,
)
from rtpipeline.tables.excel import write_workbook
from rtpipeline.tables.parquet import empty, read_parquet, to_arrow, write_arrow, write_arrow_parts

STAGE = "radiomics_robustness"

_STATISTICS = "rtpipeline.radiomics_robustness.statistics"
_LABELS = ("robust", "acceptable", "poor", "not_evaluable")
Row = dict[str, object]


@dataclass(frozen=True)
class CoursePart:
    """What one course has for the cohort.

    Attributes:
        folder: the names of the patient's and the course's folder, as in logs.
        identifiers: `patient_id` and `course_id`.
        table: its values; None where there are none to be used.
        status: `ok`, `partial`, `skipped`, `failed` or `missing`.
        reason: why it is not `ok`.
    """

    folder: str
    identifiers: dict[str, str]
    table: Path | None
    status: str
    reason: str


def aggregate_robustness(
    course_tables: Sequence[Path],
    configuration: Configuration,
    *,
    workbook: Path,
    logs: Path,
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
) -> Outcome:
    """Judge the robustness of every feature over courses.

    Writes `workbook` (sheets `global_summary`, `robust_features`, `acceptable_features`, `per_source_summary` where
    there are several sources, `coverage`), its Parquet beside it, and the raw values
    (see `raw_values_file`). Courses without values are listed on `coverage` with their reason.

    Args:
        course_tables: `radiomics_robustness_ct.parquet` of every course, also where it does not exist.
        configuration: metrics, thresholds, where the radiomics environment is; where `aggregation.strict` is set,
            nothing is written when a course is missing, failed or incomplete.
        workbook: the `.xlsx` to write.
        logs: folder for the log of the child process.
        logger: gets a line for each course that is missing or incomplete, and what the child process logs.

    Returns:
        `ok`; `partial` where something is missing; `failed` where the configuration is strict about that.

    Raises:
        StageError: there is no radiomics environment, or the statistics cannot be computed.
    """
    parts = sorted((course_part(table) for table in course_tables), key=lambda part: tuple(part.identifiers.values()))
    incomplete = [part for part in parts if part.status in INCOMPLETE]
    for part in incomplete:
        logger.warning("%s %s: %s", part.folder, STAGE, part.reason)
    missing = _missing(incomplete, len(parts))
    if missing and configuration.aggregation.strict:
        return failed(f"{missing}; aggregation is strict, so no robustness table was written")
    about = stamp(configuration)
    raw_values = raw_values_file(workbook)
    schema = empty(ROBUSTNESS_RAW_VALUES).schema.with_metadata(about)
    write_arrow_parts(raw_values, schema, (_raw_values(part.table) for part in parts if part.table is not None))
    rows = _statistics(raw_values, configuration, logs, logger) if any(part.table for part in parts) else []
    summary = to_arrow(ROBUSTNESS_SUMMARY, rows)
    coverage: list[Row] = [{**part.identifiers, "status": part.status, "reason": part.reason} for part in parts]
    write_arrow(workbook.with_suffix(".parquet"), summary, about)
    write_workbook(workbook, _sheets(summary, coverage), complete_in=raw_values.name)
    counts = Counter(summary["robustness_label"].to_pylist())
    details: dict[str, Any] = {
        "courses": dict(sorted(Counter(part.status for part in parts).items())),
        "features": {label: counts[label] for label in _LABELS},
    }
    return partial(missing, **details) if missing else ok(**details)


def raw_values_file(workbook: Path) -> Path:
    """`radiomics_robustness_summary.xlsx` → `radiomics_robustness_raw_values.parquet`, in the same folder."""
    return workbook.with_name(f"{workbook.stem.removesuffix('_summary')}_raw_values.parquet")


def course_part(table: Path) -> CoursePart:
    """What the course folder around `table` says of it, and whether it can be read."""
    folder = table.parent
    name = f"{folder.parent.name}/{folder.name}"
    identifiers = {"patient_id": folder.parent.name, "course_id": folder.name}
    status, reason = "ok", ""
    if (folder / "course.json").is_file():
        course = Course.load(folder)
        identifiers = course.identifiers
        state = recorded_state(course, STAGE)
        status, reason = str(state["status"]), str(state["reason"])
    if status not in ("ok", "partial"):
        return CoursePart(name, identifiers, None, status, reason)
    try:
        data = read_parquet(table)
    except FileNotFoundError:
        return CoursePart(
            name, identifiers, None, "missing", f"{table.name} is not there; run the stage {STAGE} of this course"
        )
    except (pa.ArrowInvalid, OSError) as error:
        return CoursePart(
            name, identifiers, None, "missing", f"{table.name} cannot be read ({error}); run {STAGE} again"
        )
    if data.schema.names != [column.name for column in ROBUSTNESS.columns]:
        return CoursePart(name, identifiers, None, "missing", f"{table.name} is of another version; run {STAGE} again")
    if not (folder / "course.json").is_file() and data.num_rows:
        identifiers = {name: data[name][0].as_py() for name in ("patient_id", "course_id")}
    return CoursePart(name, identifiers, table, status, reason)


def _missing(incomplete: Sequence[CoursePart], total: int) -> str:
    if not incomplete:
        return ""
    first = incomplete[0]
    return (
        f"{len(incomplete)} of {total} courses are missing or incomplete, for example "
        f"{first.folder} ({first.status}: {first.reason})"
    )


def _raw_values(table: Path) -> pa.Table:
    """The course's values with the structure that each row counts for."""
    data = read_parquet(table)
    keys = [data[name].to_pylist() for name in ("segmentation_source", "roi_number", "roi_name", "standard_name")]
    names = structure_names(set(zip(*keys, strict=True)))
    structures = pa.array([names[key] for key in zip(*keys, strict=True)], pa.string())
    return data.append_column("structure", structures)


def structure_names(rois: set[tuple[str, int, str, str]]) -> dict[tuple[str, int, str, str], str]:
    """Under which name each ROI of a course is compared with those of other courses.

    Args:
        rois: (source, number, name as drawn, standard name).

    Returns:
        the standard name where there is one, else the name as drawn. Where two ROIs of one source would have one name,
        each has its name as drawn, and where that is the same too, with its number; they are never one subject.
    """
    names: dict[tuple[str, int, str, str], str] = {}
    for candidate in (lambda roi: roi[3] or roi[2], lambda roi: roi[2], lambda roi: f"{roi[2]} #{roi[1]}"):
        undecided = sorted(rois - names.keys())
        taken = {(roi[0], name) for roi, name in names.items()}
        wanted = Counter((roi[0], candidate(roi)) for roi in undecided)
        for roi in undecided:
            name = (roi[0], candidate(roi))
            if wanted[name] == 1 and name not in taken:
                names[roi] = name[1]
    return names


def _statistics(
    raw_values: Path,
    configuration: Configuration,
    logs: Path,
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
) -> list[Row]:
    """The summary's rows, computed in the radiomics environment."""
    environment = find_radiomics_python(configuration, os.environ)
    child = WorkerProcess(
        _STATISTICS,
        log_file=logs / "radiomics_robustness_statistics.log",
        python=environment.python,
        environment=child_variables(1),
        logger=logger,
    )
    try:
        reply = child.call({"file": str(raw_values.resolve()), "judgement": asdict(judgement(configuration))})
    except WorkerError as error:
        raise StageError(f"robustness statistics: {error}", memory_pressure=error.memory_pressure) from error
    finally:
        child.close()
    rows: list[Row] = reply["rows"]
    return rows


def judgement(configuration: Configuration) -> Judgement:
    """How the configuration wants features judged."""
    metrics = configuration.radiomics_robustness.metrics
    thresholds = configuration.radiomics_robustness.thresholds
    return Judgement(
        implementation=metrics.icc.implementation,
        icc_type=metrics.icc.icc_type,
        by_lower_bound=metrics.icc.ci,
        icc_robust=thresholds.icc.robust,
        icc_acceptable=thresholds.icc.acceptable,
        cov_enabled=metrics.cov.enabled,
        cov_robust_pct=thresholds.cov.robust_pct,
        cov_acceptable_pct=thresholds.cov.acceptable_pct,
        qcd_enabled=metrics.qcd.enabled,
    )


def _sheets(summary: pa.Table, coverage: Sequence[Row]) -> dict[str, pa.Table]:
    sheets = {
        "global_summary": summary,
        "robust_features": summary.filter(pc.equal(summary["robustness_label"], "robust")),
        "acceptable_features": summary.filter(pc.equal(summary["robustness_label"], "acceptable")),
    }
    if len(pc.unique(summary["segmentation_source"])) > 1:
        sheets["per_source_summary"] = to_arrow(ROBUSTNESS_PER_SOURCE, _per_source(summary))
    sheets["coverage"] = to_arrow(ROBUSTNESS_COVERAGE, coverage)
    return sheets


def _per_source(summary: pa.Table) -> Iterator[Row]:
    """How many features of each structure and source have which label."""
    columns = summary.select(["segmentation_source", "structure", "robustness_label", "icc"])
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in columns.to_pylist():
        groups.setdefault((row["segmentation_source"], row["structure"]), []).append(row)
    for (source, structure), rows in groups.items():
        counts = Counter(row["robustness_label"] for row in rows)
        coefficients = [row["icc"] for row in rows if row["icc"] is not None]
        yield {
            "segmentation_source": source,
            "structure": structure,
            "n_features": len(rows),
            **{f"n_{label}": counts[label] for label in _LABELS},
            "median_icc": median(coefficients) if coefficients else None,
        }

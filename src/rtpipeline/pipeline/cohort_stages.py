"""What is done once for the whole cohort, after the courses: tables, robustness statistics, reports."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rtpipeline import __version__
from rtpipeline.aggregate import aggregate
from rtpipeline.atomic import write_text
from rtpipeline.course import CohortFiles, Course
from rtpipeline.organize.pseudonymise import KeyFiles
from rtpipeline.organize.translation import StoredTranslations
from rtpipeline.outcome import Outcome, StageError, failed, ok, partial
from rtpipeline.pipeline.course_stage import RunContext, stage_states
from rtpipeline.pipeline.origin import States, origin_of
from rtpipeline.pipeline.state import FileRecord, StageState
from rtpipeline.provenance import configuration_digest, digest, file_digest
from rtpipeline.radiomics_robustness.cohort import aggregate_robustness
from rtpipeline.report import cohort_report, course_report

AGGREGATE = "aggregate"
AGGREGATE_METHOD_VERSION = 1
REPORT = "report"
REPORT_METHOD_VERSION = 1

Outcomes = Mapping[tuple[str, str], Outcome]
"""By course key (empty for the cohort) and stage name."""


def aggregate_results(courses: Sequence[Course], cohort: CohortFiles, context: RunContext, *, threads: int) -> Outcome:
    """Put the courses' tables together in `_RESULTS`, unless nothing that they are made of has changed."""
    inputs = _aggregate_inputs(courses, cohort, context)
    configured = configuration_digest(context.configuration)
    state_file = cohort.state(AGGREGATE)
    previous = StageState.load(state_file)
    if previous is not None and AGGREGATE not in context.forced and _holds(previous, cohort, inputs, configured):
        return replace(previous.outcome, computed=False)
    context.logger.info("%s: started", AGGREGATE)
    state_file.unlink(missing_ok=True)
    started, clock = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
    try:
        outcome = _aggregate(courses, cohort, context, threads)
    except StageError as error:
        outcome = failed(error.reason)
    state = StageState(
        stage=AGGREGATE,
        status=outcome.status,
        reason=outcome.reason,
        method_version=AGGREGATE_METHOD_VERSION,
        rtpipeline_version=__version__,
        configuration_digest=configured,
        input_digest=inputs,
        outputs=_tables(cohort),
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
        details=outcome.details,
    )
    state.save(state_file)
    context.logger.info("%s: %s in %.1f s", AGGREGATE, outcome.status, state.seconds)
    return outcome


def write_reports(
    courses: Sequence[Course],
    cohort: CohortFiles,
    context: RunContext,
    outcomes: Outcomes,
    seconds: Mapping[str, float],
) -> Outcome:
    """Write a page for each course and for the cohort, and what says how the results came to be."""
    states = {course.key: stage_states(course) for course in courses}
    shown = _shown(states, cohort, context)
    previous = StageState.load(cohort.state(REPORT))
    pages = [cohort.report, cohort.run_report, cohort.provenance, *(course.files.report for course in courses)]
    known = previous is not None and previous.status == "ok" and previous.input_digest == shown
    if known and REPORT not in context.forced and all(page.is_file() for page in pages):
        return Outcome("ok", computed=False)
    context.logger.info("report: started")
    key_file = context.configuration.organize.pseudonymize
    index = cohort.index if key_file is None else KeyFiles(key_file).index(cohort.folder)
    aggregated = StageState.load(cohort.state(AGGREGATE))
    origin = origin_of(courses, states, cohort, context.configuration, index=index, aggregated=aggregated)
    plain = {key: {name: asdict(state) for name, state in own.items()} for key, own in states.items()}
    write_text(cohort.provenance, _json(origin))
    write_text(cohort.run_report, _json(_run_report(outcomes, states, seconds)))
    missing = []
    with ThreadPoolExecutor(1, thread_name_prefix="report") as executor:
        # In a thread, so that a defect in one page is seen here and leaves the other pages alone.
        for course in courses:
            page = executor.submit(course_report, course, context.configuration, plain[course.key], origin)
            missing += _written(page, course.files.report, f"{course.key} report", context)
        page = executor.submit(cohort_report, courses, cohort, plain, origin, seconds)
        missing += _written(page, cohort.report, "cohort report", context)
    outcome = ok(courses=len(courses))
    if missing:
        outcome = partial(f"pages are missing: {', '.join(missing)}; the log says why")
    StageState(REPORT, outcome.status, outcome.reason, input_digest=shown).save(cohort.state(REPORT))
    return outcome


def _shown(states: States, cohort: CohortFiles, context: RunContext) -> str:
    """Digest of what the pages follow from: the program, the configuration, and how every stage ended."""
    aggregated = StageState.load(cohort.state(AGGREGATE))
    return digest(
        {
            "version": [REPORT_METHOD_VERSION, __version__],
            "configuration": configuration_digest(context.configuration),
            "courses": {
                key: {name: [*_result_of(state), state.started] for name, state in own.items()}
                for key, own in states.items()
            },
            "tables": _result_of(aggregated) if aggregated is not None else [],
        }
    )


def _written(page: Future[str], file: Path, name: str, context: RunContext) -> list[str]:
    """Write a page when it is ready; returns its name where it could not be made."""
    error = page.exception()
    if error is not None:
        context.logger.error("%s: defect in the program", name, exc_info=error)
        return [name]
    write_text(file, page.result())
    context.logger.info("%s: written", name)
    return []


def _aggregate(courses: Sequence[Course], cohort: CohortFiles, context: RunContext, threads: int) -> Outcome:
    configuration = context.configuration
    translations = StoredTranslations(configuration.organize.pseudonymize) if cohort.pseudonyms.is_file() else None
    tables = aggregate(
        courses,
        cohort,
        configuration,
        threads=threads,
        logger=context.logger,
        translation_of=translations.of if translations is not None else None,
    )
    if not configuration.radiomics_robustness.enabled or tables.status == "failed":
        return tables
    robustness = aggregate_robustness(
        [course.files.radiomics_robustness for course in courses],
        configuration,
        workbook=cohort.table("radiomics_robustness_summary", ".xlsx"),
        logs=context.logs,
        logger=context.logger,
    )
    return _combined(tables, robustness)


def _aggregate_inputs(courses: Sequence[Course], cohort: CohortFiles, context: RunContext) -> str:
    """Digest of what the cohort tables follow from: status and outputs of every stage of every course, and more."""
    clinical = context.configuration.aggregation.clinical
    key_file = context.configuration.organize.pseudonymize
    unused_files = cohort.table("unused_files")
    return digest(
        {
            "courses": [
                {
                    "course": course.key,
                    "stages": {name: _result_of(state) for name, state in stage_states(course).items()},
                }
                for course in courses
            ],
            "clinical": file_digest(clinical) if clinical is not None and clinical.is_file() else "",
            "key": clinical is not None and key_file is not None and key_file.is_file(),
            "unused_files": file_digest(unused_files) if unused_files.is_file() else "",
        }
    )


def _result_of(state: StageState) -> list[Any]:
    return [state.status, state.reason, {file: record.digest for file, record in state.outputs.items()}]


def _holds(state: StageState, cohort: CohortFiles, inputs: str, configured: str) -> bool:
    """Whether method, input and configuration are the same as then, and every table is as it was left."""
    now = (AGGREGATE_METHOD_VERSION, inputs, configured)
    if state.status == "failed" or (state.method_version, state.input_digest, state.configuration_digest) != now:
        return False
    return all(
        (cohort.folder / name).is_file() and FileRecord.of(cohort.folder / name, record).digest == record.digest
        for name, record in state.outputs.items()
    )


def _tables(cohort: CohortFiles) -> dict[str, FileRecord]:
    return {
        path.relative_to(cohort.folder).as_posix(): FileRecord.of(path)
        for path in sorted(cohort.results.iterdir())
        if path.suffix in (".parquet", ".xlsx", ".csv")
    }


def _combined(tables: Outcome, robustness: Outcome) -> Outcome:
    """The worse of both, with both reasons; missing robustness statistics leave the tables usable."""
    order = ("ok", "skipped", "partial", "failed")
    worse = max(tables, robustness, key=lambda outcome: order.index(outcome.status))
    status = "partial" if worse.status == "failed" else worse.status
    reason = "; ".join(outcome.reason for outcome in (tables, robustness) if outcome.reason)
    return Outcome("ok" if status == "skipped" else status, reason, details={**robustness.details, **tables.details})


def _run_report(outcomes: Outcomes, states: States, seconds: Mapping[str, float]) -> dict[str, Any]:
    """Status, reason, time and memory of every stage of every course, as this run left them."""
    return {
        "version": __version__,
        "cohort": {
            stage: {"status": outcome.status, "reason": outcome.reason}
            for (course, stage), outcome in outcomes.items()
            if not course
        },
        "cohort_seconds": dict(seconds),
        "courses": {
            course: {
                name: {
                    "status": state.status,
                    "reason": state.reason,
                    "started": state.started,
                    "seconds": state.seconds,
                    "peak_memory_bytes": state.peak_memory_bytes,
                }
                for name, state in own.items()
            }
            for course, own in states.items()
        },
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"

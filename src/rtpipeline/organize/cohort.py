"""From an input folder to the courses of a cohort, their manifest, and the list of unused files."""

from __future__ import annotations

import fnmatch
import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rtpipeline.atomic import write_text
from rtpipeline.config import Configuration, OrganizeSection
from rtpipeline.course import CohortFiles, Course
from rtpipeline.organize.description import CoursePlan, plan_course, with_other_contents
from rtpipeline.organize.duplicates import Unused, distinct_files
from rtpipeline.organize.grouping import courses_of
from rtpipeline.organize.index import DAMAGED, UNREADABLE, Index, IndexedFile, build_index
from rtpipeline.organize.materialise import InputFileError, Writing, write_course
from rtpipeline.organize.overrides import CourseOverride, read_overrides
from rtpipeline.organize.patients import patients_of
from rtpipeline.organize.pseudonymise import KeyFiles, Pseudonyms, key_of, pseudonyms_for
from rtpipeline.organize.series import header_of
from rtpipeline.outcome import StageError
from rtpipeline.pseudonyms import Key
from rtpipeline.tables.definitions.organize import UNUSED_FILES
from rtpipeline.tables.parquet import write_parquet

MANIFEST_VERSION = 1
FILTERED = "filtered"
FAILED = "failed"
OWNER_ONLY = 0o600
"""Permissions of what lies beside a key file."""


@dataclass(frozen=True)
class OrganizeResult:
    """What organizing made.

    Attributes:
        courses: in the order of the manifest.
        files_read: input files that were opened to read their header.
        files_total: files below the input folder.
        changed: whether any course or the manifest was changed.
        warnings: what a user should know about the cohort as a whole.
        not_wanted: number of courses that `organize.course_filter` leaves out.
        failures: why a course could not be written, by `patient/course`; it is in no manifest.
        pseudonyms: what stands for what, where identifiers are replaced.
    """

    courses: tuple[Course, ...]
    files_read: int
    files_total: int
    changed: bool
    warnings: tuple[str, ...]
    not_wanted: int = 0
    failures: Mapping[str, str] = field(default_factory=dict)
    pseudonyms: Pseudonyms | None = None


def organize(
    dicom_root: Path,
    cohort: CohortFiles,
    configuration: Configuration,
    *,
    threads: int,
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger],
    report_progress: Callable[[int, int], None],
    cancelled: threading.Event,
    force: bool = False,
) -> OrganizeResult:
    """Make courses of every DICOM file below `dicom_root`.

    Every file is looked at once and ends in a course or, with a reason, in the table of unused files. Courses that
    are as they should be are not touched; those that a killed run left half written are completed.

    Args:
        dicom_root: the input; only read.
        cohort: the output folder.
        configuration: its section `organize`, and the scheduler's order of courses.
        threads: how many files are read or copied at once.
        logger: gets one line per course that is written.
        report_progress: called with (files looked at, files in all).
        cancelled: ends the work with a `StageError`.
        force: read every header and copy every file again, and take from courses the images that the input lost.

    Raises:
        StageError: the input cannot be listed or read, the output cannot be written, or the work was cancelled.
    """
    settings = configuration.organize
    key = key_of(cohort, settings.pseudonymize)
    stored = _stored_index(cohort, settings)
    if force:
        stored.unlink(missing_ok=True)
    index = build_index(
        dicom_root,
        stored,
        excluded=cohort.folder,
        threads=threads,
        report_progress=report_progress,
        cancelled=cancelled,
    )
    if key is not None:
        stored.chmod(OWNER_ONLY)
    earlier = _courses_of_manifest(cohort)
    planned, pseudonyms = _decided(key, index, settings, _names(earlier), dicom_root)
    plans, unused = _wanted(planned.plans, planned.unused, settings.course_filter)
    series = _series_uids(index, pseudonyms)
    writing = Writing(dicom_root, cohort.folder, settings.use_hardlinks, threads, cancelled, pseudonyms, series, force)
    made = _write_courses(_in_order(plans, configuration), writing, logger)
    changed = _write_manifest(cohort, made.plans)
    _write_unused(cohort, _without_used([*made.unused, *unused], made.plans), pseudonyms)
    nowhere = _that_match_nothing(settings.course_filter, plans, pseudonyms)
    return OrganizeResult(
        courses=tuple(made.courses),
        files_read=index.files_read,
        files_total=len(index.files),
        changed=changed or made.changed,
        warnings=(*planned.warnings, *made.warnings, *_no_longer_made(earlier, planned.plans), *nowhere),
        not_wanted=len(planned.plans) - len(plans),
        failures=made.failures,
        pseudonyms=pseudonyms,
    )


def _stored_index(cohort: CohortFiles, settings: OrganizeSection) -> Path:
    """Where the index lies: in the output, or beside the key where it must not."""
    return cohort.index if settings.pseudonymize is None else KeyFiles(settings.pseudonymize).index(cohort.folder)


def _series_uids(index: Index, pseudonyms: Pseudonyms | None) -> frozenset[str]:
    """The series that the input has whole files of, as courses are to name them."""
    whole = (file.header for file in index.files if file.header is not None and not file.problem_kind)
    uids = {header.series_instance_uid for header in whole}
    return frozenset(uids if pseudonyms is None else map(pseudonyms.key.uid, uids))


def _no_longer_made(earlier: Iterable[tuple[str, str]], plans: Iterable[CoursePlan]) -> list[str]:
    """A sentence for each course of the last manifest that is in the input no more."""
    keys = {plan.key for plan in plans}
    return [
        f"{patient}/{name}: of an earlier run, and no longer made from this input; its folder was left as it was"
        for patient, name in earlier
        if f"{patient}/{name}" not in keys
    ]


def _that_match_nothing(
    patterns: Iterable[str], plans: Sequence[CoursePlan], pseudonyms: Pseudonyms | None
) -> list[str]:
    """A sentence for each pattern of `organize.course_filter` that no course matches."""
    return [
        f"organize.course_filter: no course of the input is called "
        f"{pattern if pseudonyms is None else pseudonyms.sentence(pattern)}; unused_files lists what there is"
        for pattern in patterns
        if not any(_is_wanted(plan, [pattern]) for plan in plans)
    ]


@dataclass
class _Made:
    """What became of the courses that were to be written."""

    courses: list[Course] = field(default_factory=list)
    plans: list[CoursePlan] = field(default_factory=list)
    unused: list[Unused] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    changed: bool = False


def _write_courses(
    plans: Iterable[CoursePlan], writing: Writing, logger: logging.Logger | logging.LoggerAdapter[logging.Logger]
) -> _Made:
    """Write each course; a file of the input that cannot be copied takes only its own courses away."""
    made = _Made()
    for plan in plans:
        try:
            written = write_course(plan, writing)
        except InputFileError as error:
            logger.error("%s: not organized: %s", plan.key, error.reason)
            made.failures[plan.key] = error.reason
            reason = f"its course {plan.key} could not be written: {error.reason}"
            made.unused += [Unused(file, FAILED, reason) for file in plan.files.values()]
            continue
        made.courses.append(written.course)
        made.plans.append(written.plan)
        made.unused += written.unused
        made.warnings += [written.warning] if written.warning else []
        made.changed |= written.changed
        if written.changed:
            logger.info("%s: %s", plan.key, _summary(plan))
    return made


def _decided(
    key: Key | None, index: Index, settings: OrganizeSection, known_names: Mapping[tuple[str, str], str], root: Path
) -> tuple[Planned, Pseudonyms | None]:
    """All courses; with a key, they are decided with the original identifiers and told without them."""
    if key is None or settings.pseudonymize is None:
        return _all_courses(index.files, settings, known_names, read_overrides(settings.overrides)), None
    planned = _all_courses(index.files, settings, {}, {})
    pseudonyms = pseudonyms_for(key, settings.pseudonymize, index, planned.plans, root)
    if overrides := read_overrides(settings.overrides):
        decisions = pseudonyms.original_decisions(overrides, planned.plans, known_names)
        planned = _all_courses(index.files, settings, {}, decisions)
    return Planned(*pseudonyms.told(planned, known_names)), pseudonyms


def preview_courses(
    dicom_root: Path,
    cohort: CohortFiles,
    configuration: Configuration,
    *,
    threads: int,
    report_progress: Callable[[int, int], None],
) -> list[CoursePlan]:
    """The courses that organizing would make now, in their order, with nothing written; not yet pseudonymised.

    Raises:
        StageError: the input cannot be listed or read.
    """
    settings = configuration.organize
    index = build_index(
        dicom_root,
        _stored_index(cohort, settings),
        excluded=cohort.folder,
        threads=threads,
        report_progress=report_progress,
        cancelled=threading.Event(),
        store=False,
    )
    overrides = read_overrides(settings.overrides)
    plans = plan_courses(index.files, settings, _names(_courses_of_manifest(cohort)), overrides).plans
    return _in_order(plans, configuration)


class Planned(NamedTuple):
    """Courses as they are to be written, the files that none of them takes, and warnings about the whole input."""

    plans: Sequence[CoursePlan]
    unused: Sequence[Unused]
    warnings: Sequence[str]


def plan_courses(
    files: Sequence[IndexedFile],
    settings: OrganizeSection,
    known_names: Mapping[tuple[str, str], str],
    overrides: Mapping[str, CourseOverride],
) -> Planned:
    """The courses of an indexed input, with nothing written.

    Args:
        files: every file of the input.
        settings: how courses are formed and which are wanted.
        known_names: names that courses have from earlier runs, by (patient folder, digest).
        overrides: what the user decided about doses, by `patient/course`.
    """
    planned = _all_courses(files, settings, known_names, overrides)
    plans, unused = _wanted(planned.plans, planned.unused, settings.course_filter)
    return Planned(plans, _without_used(unused, plans), planned.warnings)


def _all_courses(
    files: Sequence[IndexedFile],
    settings: OrganizeSection,
    known_names: Mapping[tuple[str, str], str],
    overrides: Mapping[str, CourseOverride],
) -> Planned:
    """As `plan_courses`, whichever courses are wanted."""
    distinct = distinct_files(files)
    unused = [Unused(file, file.problem_kind, file.problem) for file in files if file.problem_kind]
    unused += distinct.unused
    damaged = [file for file in files if file.problem_kind == DAMAGED]
    plans: list[CoursePlan] = []
    for patient in patients_of(distinct.files, damaged):
        drafts, left_over = courses_of(patient, settings)
        unused += left_over
        plan_uids = {draft_number: {plan.uid for plan in draft.plans} for draft_number, draft in enumerate(drafts)}
        everywhere = set().union(*plan_uids.values())
        for number, draft in enumerate(drafts):
            elsewhere = frozenset(everywhere - plan_uids[number])
            plan = plan_course(draft, elsewhere, known_names, overrides)
            plans.append(with_other_contents(plan, distinct.other_contents))
    unknown = overrides.keys() - {plan.key for plan in plans}
    warnings = [f"organize.overrides: there is no course {key}" for key in sorted(unknown)]
    if unreadable := sum(file.problem_kind == UNREADABLE for file in files):
        warnings.append(
            f"{unreadable} files or folders of the input cannot be read, whatever is in them; unused_files lists them"
        )
    identifiers = {header_of(file).patient_id for file in distinct.files}
    if alike := len(identifiers) - len({identifier.casefold() for identifier in identifiers}):
        warnings.append(
            f"{alike} PatientIDs differ from another only in upper and lower case; each is taken for another patient"
        )
    return Planned(plans, unused, [*distinct.warnings, *warnings])


def _wanted(
    plans: Sequence[CoursePlan], unused: Sequence[Unused], patterns: Sequence[str]
) -> tuple[list[CoursePlan], list[Unused]]:
    """The courses that are wanted, and the files of the others with those that no course takes anyway."""
    unused = list(unused)
    wanted: list[CoursePlan] = []
    for plan in plans:
        if _is_wanted(plan, patterns):
            wanted.append(plan)
        else:
            reason = f"its course {plan.key} is not wanted by organize.course_filter"
            unused += [Unused(file, FILTERED, reason) for file in plan.files.values()]
    return wanted, unused


def _courses_of_manifest(cohort: CohortFiles) -> list[tuple[str, str]]:
    """Patient and course folders of the last manifest."""
    try:
        entries = json.loads(cohort.manifest.read_bytes())["courses"]
        return [(entry["patient"], entry["course"]) for entry in entries]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise StageError(f"{cohort.manifest}: damaged ({error}); delete it, and run again") from error


def _names(courses: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Names that courses have, by patient folder and digest."""
    return {(patient, name.rsplit("_", 1)[1]): name for patient, name in courses}


def _is_wanted(plan: CoursePlan, patterns: Sequence[str]) -> bool:
    """Whether a course's patient, PatientID, name or `patient/course` matches one of the patterns (all, if none)."""
    description = plan.description
    names = (description.patient, description.patient_id, description.course, plan.key)
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _without_used(unused: Iterable[Unused], plans: Iterable[CoursePlan]) -> list[Unused]:
    """Each unused file once, with its first reason; files that some course takes are not unused."""
    used = {file.path for plan in plans for file in plan.files.values()}
    first: dict[str, Unused] = {}
    for one in unused:
        if one.file.path not in used:
            first.setdefault(one.file.path, one)
    return [first[path] for path in sorted(first)]


def _in_order(plans: Iterable[CoursePlan], configuration: Configuration) -> list[CoursePlan]:
    shortest_first = configuration.scheduler.prioritize_short_courses
    return sorted(plans, key=lambda plan: (plan.slice_count if shortest_first else 0, plan.key))


def _summary(plan: CoursePlan) -> str:
    description = plan.description
    images = ", ".join(f"{image.modality} {image.instance_count}" for image in description.images) or "no images"
    return (
        f"{description.kind} course, {images}, {len(description.structure_sets)} structure sets, "
        f"{len(description.plans)} plans, {len(description.doses)} doses ({description.dose_decision.label})"
    )


def _write_manifest(cohort: CohortFiles, plans: Sequence[CoursePlan]) -> bool:
    """Write the manifest; False where it is already as it should be."""
    entries = [
        {
            "patient": plan.description.patient,
            "course": plan.description.course,
            "path": plan.key,
            "slice_count": plan.slice_count,
            "kind": plan.description.kind,
        }
        for plan in plans
    ]
    text = json.dumps({"version": MANIFEST_VERSION, "courses": entries}, indent=1, ensure_ascii=False) + "\n"
    if cohort.manifest.is_file() and cohort.manifest.read_text(encoding="utf-8") == text:
        return False
    write_text(cohort.manifest, text)
    return True


def _write_unused(cohort: CohortFiles, unused: Sequence[Unused], pseudonyms: Pseudonyms | None) -> None:
    rows = []
    for one in unused:
        header = one.file.header
        rows.append(
            {
                "path": one.file.shown_path,
                "kind": one.kind,
                "reason": one.reason,
                "modality": header.modality if header is not None else "",
                "patient_id": header.patient_id if header is not None else "",
                "series_instance_uid": header.series_instance_uid if header is not None else "",
                "sop_instance_uid": header.sop_instance_uid if header is not None else "",
                "size_bytes": one.file.size,
            }
        )
    if pseudonyms is not None:
        rows = [pseudonyms.unused_row(row) for row in rows]
    write_parquet(cohort.table("unused_files"), UNUSED_FILES, rows)

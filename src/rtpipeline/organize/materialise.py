"""Writing a course: its files are copied to a staging folder and moved into place; a complete course is left alone.

`state/organize.json` is written last, and removed first. It says from which input each file was made, so that only
what differs is made again. A course that a killed run left without it is written anew.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from rtpipeline.atomic import write_text
from rtpipeline.course import Course, CourseFiles
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.rtdose import read_dose, write_dose
from rtpipeline.organize.copying import copy_file
from rtpipeline.organize.description import CoursePlan, without_dose
from rtpipeline.organize.dose_sum import sum_of
from rtpipeline.organize.duplicates import Unused
from rtpipeline.organize.index import IndexedFile
from rtpipeline.organize.patients import NOT_CHOSEN
from rtpipeline.organize.pseudonymise import Pseudonyms
from rtpipeline.organize.series import header_of
from rtpipeline.outcome import StageError

STAGE = "organize"
SENTINEL = ".organized"
DOSE_SUM_VERSION = 1
"""Counts up when the same doses give another sum."""

_OWN_FOLDERS = ("CT", "MR", "PT", "RTSTRUCT", "RTPLAN", "RTDOSE", "REG", "RTRECORD", "SEG", "OTHER_CONTENT")


_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
"""What a copy fails with because of the output, whichever file the error names."""


class DoseSumError(StageError):
    """The doses of a course cannot be added."""


class InputFileError(StageError):
    """A file of the input cannot be copied."""


@dataclass(frozen=True)
class Writing:
    """How courses are written.

    Attributes:
        root: the input folder.
        outdir: the output folder.
        hard_link: whether files may be other names of the input's files.
        threads: how many files are copied at once.
        cancelled: ends the work with a `StageError`.
        pseudonyms: what stands for what, where copies are to be without identifiers.
        series_uids: series of which the input has images, as courses are to name them.
        force: make every file again, and take away the images of courses whose input has none any more.
    """

    root: Path
    outdir: Path
    hard_link: bool
    threads: int
    cancelled: threading.Event
    pseudonyms: Pseudonyms | None = None
    series_uids: frozenset[str] = frozenset()
    force: bool = False

    def source(self, file: IndexedFile) -> str:
        """What a copy of a file is made from, as text that differs when the copy has to be made again."""
        text = f"{header_of(file).sop_instance_uid} {file.size} {file.mtime_ns}"
        return text if self.pseudonyms is None else self.pseudonyms.source(text)

    def copy(self, file: IndexedFile, target: Path, plan: CoursePlan) -> None:
        """Copy a file of the input, without its identifiers where that is wanted.

        Raises:
            InputFileError: the file cannot be read.
            OSError: the copy cannot be written.
        """
        source = self.root / file.path
        try:
            if self.pseudonyms is None:
                copy_file(source, target, hard_link=self.hard_link)
            else:
                self.pseudonyms.copy(source, target, plan)
        except DicomError as error:
            raise InputFileError(self._refusal(file, plan, str(error))) from error
        except OSError as error:
            if error.errno in _DISK or error.filename != os.fspath(source):
                raise
            raise InputFileError(self._refusal(file, plan, f"cannot be read ({error.strerror})")) from error

    def _refusal(self, file: IndexedFile, plan: CoursePlan, reason: str) -> str:
        text = f"{file.shown_path}: {reason}; mend the file or take it out of the input"
        return text if self.pseudonyms is None else self.pseudonyms.sentence_of_course(text, plan)


class Written(NamedTuple):
    """What became of a course.

    Attributes:
        course: as it is now.
        plan: the same as a plan; of an earlier run where the course was left as it was.
        changed: whether anything was written.
        unused: files of the plan that were not taken.
        warning: what a user should know; empty if nothing.
    """

    course: Course
    plan: CoursePlan
    changed: bool
    unused: Sequence[Unused] = ()
    warning: str = ""


def write_course(plan: CoursePlan, writing: Writing) -> Written:
    """Bring a course folder to what `plan` says; a course whose doses cannot be added gets none, and says why.

    A course that has images is left as it is when the input has none for it any more: a part of the input that is not
    there now must not take away what was made of it.

    Raises:
        InputFileError: a file of the input cannot be copied; the course is as it was.
        StageError: the course cannot be written, or the work was cancelled.
    """
    earlier = None if writing.force else _with_lost_images(plan, writing)
    if earlier is not None:
        return _left_as_it_was(earlier, plan, writing)
    try:
        return _write(plan, writing)
    except DoseSumError as error:
        return _write(without_dose(plan, str(error)), writing)


def _with_lost_images(plan: CoursePlan, writing: Writing) -> Course | None:
    """The complete course of an earlier run whose planning CT (or all of whose images) the input has no more."""
    if plan.description.planning_ct is not None:
        return None
    folder = writing.outdir / plan.description.patient / plan.description.course
    if not _recorded(CourseFiles(folder)):
        return None
    try:
        course = Course.load(folder)
    except (FileNotFoundError, ValueError):
        return None  # half written, or of another version: it is made again
    ct, images = course.description.planning_ct, course.description.images
    gone = [image.series_instance_uid not in writing.series_uids for image in images]
    lost = all(gone) if ct is None else ct.series_instance_uid not in writing.series_uids
    return course if images and lost else None


def _left_as_it_was(course: Course, plan: CoursePlan, writing: Writing) -> Written:
    recorded = {record["source"] for record in _recorded(course.files).values()}
    reason = f"its course {course.key} was left as it was, because its images are no longer in the input"
    taken = {name: file for name, file in plan.files.items() if writing.source(file) in recorded}
    unused = [Unused(file, NOT_CHOSEN, reason) for name, file in plan.files.items() if name not in taken]
    warning = (
        f"{course.key}: its images are no longer in the input; the course was left as it was. Put them back, or go on "
        "without them with --force organize"
    )
    return Written(
        course, replace(plan, description=course.description, files=taken), _mark(course.files), unused, warning
    )


def _write(plan: CoursePlan, writing: Writing) -> Written:
    files = CourseFiles(writing.outdir / plan.description.patient / plan.description.course)
    course = Course(files, plan.description)
    text = plan.description.model_dump_json(indent=1) + "\n"
    sources = _sources(plan, files, writing)
    recorded = {} if writing.force else _recorded(files)
    intact = {name for name in sources if _is_intact(files.folder / name, recorded.get(name), sources[name])}
    extra = [name for name in _own_files(files) if name not in sources]
    described = files.description.is_file() and files.description.read_bytes() == text.encode("utf-8")
    if described and not extra and len(intact) == len(sources) == len(recorded):
        return Written(course, plan, _mark(files))
    staging = files.folder / f".staging-{STAGE}"
    if staging.exists():
        shutil.rmtree(staging)
    try:
        staging.mkdir(parents=True)
        missing = [name for name in sources if name not in intact]
        _stage(plan, missing, files, staging, writing)
        staged = CourseFiles(staging).description
        staged.write_text(text, encoding="utf-8")
        _publish(staging, [*missing, staged.name], extra, files)
    except OSError as error:
        where = error.filename2 or error.filename or files.folder
        raise StageError(
            f"{course.key}: cannot write the course ({error.strerror}: {where}); "
            "free space or mend permissions, and run again"
        ) from error
    finally:
        if staging.exists():
            shutil.rmtree(staging)
    _write_state(files, sources)
    _mark(files)
    return Written(course, plan, True)


def _mark(files: CourseFiles) -> bool:
    """Write the line that people and scripts look for; False where it is there."""
    sentinel = files.folder / SENTINEL
    if sentinel.is_file():
        return False
    write_text(sentinel, "ok\n")
    return True


def _sources(plan: CoursePlan, files: CourseFiles, writing: Writing) -> dict[str, str]:
    """What each file of the course is made from, as text that differs when the file has to be made again."""
    sources = {name: writing.source(file) for name, file in plan.files.items()}
    if plan.summed:
        parts = " + ".join(writing.source(dose.file) for dose in plan.summed)
        sources[files.dose.name] = f"sum {DOSE_SUM_VERSION}: {parts}"
    return sources


def _recorded(files: CourseFiles) -> dict[str, dict[str, Any]]:
    """What the course's files were made from; nothing where that cannot be read, so that they are made again."""
    try:
        outputs: dict[str, dict[str, Any]] = json.loads(files.state(STAGE).read_bytes())["outputs"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}
    return outputs


def _is_intact(path: Path, record: Mapping[str, Any] | None, source: str) -> bool:
    if record is None or record["source"] != source:
        return False
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (record["size"], record["mtime_ns"])


def _own_files(files: CourseFiles) -> Iterator[str]:
    """Every file that organizing may have put into the course, by its relative path; links are not followed."""
    for path in (files.structure_set, files.plan, files.dose):
        if path.is_file():
            yield path.name
    for folder in _OWN_FOLDERS:
        if any(path.is_symlink() for path in (files.dicom, files.dicom / folder)):
            continue
        for directory, _, names in os.walk(files.dicom / folder):
            for name in sorted(names):
                yield (Path(directory) / name).relative_to(files.folder).as_posix()


def _stage(plan: CoursePlan, names: list[str], files: CourseFiles, staging: Path, writing: Writing) -> None:
    def copy(name: str) -> None:
        if writing.cancelled.is_set():
            raise StageError("organize was interrupted; the next run goes on from here")
        writing.copy(plan.files[name], staging / name, plan)

    for folder in sorted({(staging / name).parent for name in names}):
        folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max(writing.threads, 1), thread_name_prefix="copy") as pool:
        for _ in pool.map(copy, [name for name in names if name in plan.files]):
            pass
    if plan.summed and files.dose.name in names:
        parts = [_copy_of(dose.file, plan) for dose in plan.summed]
        _write_sum(plan, staging / files.dose.name, {name: _present(name, files, staging) for name in parts})


def _copy_of(file: IndexedFile, plan: CoursePlan) -> str:
    """The name of the course's copy of an input file."""
    return next(name for name, other in plan.files.items() if other is file)


def _present(name: str, files: CourseFiles, staging: Path) -> Path:
    """Where a file of the course lies now: just staged, or there before."""
    return staging / name if (staging / name).is_file() else files.folder / name


def _write_sum(plan: CoursePlan, path: Path, parts: Mapping[str, Path]) -> None:
    plans = plan.description.dose_decision.used_plan_uids
    uids = {dose.file: dose.sop_instance_uid for dose in plan.description.doses}
    try:
        total = sum_of([read_dose(part) for part in parts.values()])
        write_dose(
            path,
            total,
            like=next(iter(parts.values())),
            summation_type="PLAN" if len(plans) == 1 else "MULTI_PLAN",
            referenced_plan_uids=plans,
            source_dose_uids=[uids[name] for name in parts],
            entropy=plan.description.patient_id,
        )
    except (DicomError, ValueError) as error:
        reason = str(error)
        for name, part in parts.items():
            reason = reason.replace(str(part), name)  # the same sentence wherever the output lies
        raise DoseSumError(f"its doses cannot be added: {reason}") from error


def _publish(staging: Path, names: list[str], extra: list[str], files: CourseFiles) -> None:
    """Move staged files into place; from the first to the last step the course counts as unfinished."""
    for mark in (files.folder / SENTINEL, files.state(STAGE), files.description):
        mark.unlink(missing_ok=True)
    for name in extra:
        (files.folder / name).unlink()
    for name in names:
        target = files.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(target)
    for name in extra:
        _remove_empty_folders((files.folder / name).parent, files.folder)


def _remove_empty_folders(folder: Path, top: Path) -> None:
    while folder != top and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _write_state(files: CourseFiles, sources: Mapping[str, str]) -> None:
    outputs = {}
    for name in sorted(sources):
        status = (files.folder / name).stat()
        outputs[name] = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "source": sources[name]}
    state = {"stage": STAGE, "status": "ok", "reason": "", "outputs": outputs}
    write_text(files.state(STAGE), json.dumps(state, indent=1, ensure_ascii=False) + "\n")

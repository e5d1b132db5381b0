"""Organizing with pseudonyms: courses are planned with the original identifiers, and written with none of them.

So every decision, and every number, is the one that a run without pseudonyms comes to. What must know the originals,
the index of the input and the table of patients, lies beside the key file.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from rtpipeline.atomic import write_text
from rtpipeline.course import CohortFiles, CourseDescription
from rtpipeline.dicom.deidentify import DEIDENTIFY_VERSION, copy_without_identifiers, identifiers_of
from rtpipeline.dicom.errors import DicomError
from rtpipeline.organize.description import CoursePlan
from rtpipeline.organize.duplicates import Unused
from rtpipeline.organize.index import Index, IndexedFile
from rtpipeline.organize.names import UNDATED
from rtpipeline.organize.overrides import CourseOverride
from rtpipeline.outcome import StageError
from rtpipeline.pseudonyms import Key, Translation, open_key

_DATES = ("date", "start_date")
_NAMES_OF_FILES = ("file", "folder", "key", "image_key", "treatment_record_files", "registration_files")
_FIXED = ("kind", "modality", "series_class", "version")
_DIGEST = re.compile(r"(?<=_)[0-9a-f]{8,}(?=[./]|$)")


@dataclass(frozen=True)
class KeyFiles:
    """What lies beside a key file, readable for its owner only.

    Attributes:
        key: the key file.
    """

    key: Path

    def index(self, output: Path) -> Path:
        """The index of the input of an output folder."""
        return self.key.with_name(f"{self.key.name}.{sha256(str(output.resolve()).encode()).hexdigest()[:12]}.parquet")

    @property
    def indices(self) -> list[Path]:
        """The indices of all output folders that were made with the key."""
        return sorted(self.key.parent.glob(f"{self.key.name}.????????????.parquet"))

    @property
    def patients(self) -> Path:
        """Pseudonym, days and identifiers of each patient by PatientID."""
        return self.key.with_name(f"{self.key.name}.patients.json")

    def known_patients(self) -> dict[str, dict[str, Any]]:
        """The content of `patients`; empty before the first run."""
        try:
            known: dict[str, dict[str, Any]] = json.loads(self.patients.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return known


def key_of(cohort: CohortFiles, key_file: Path | None) -> Key | None:
    """The key that an output folder is to be written with, or None; made and noted in the folder on the first run.

    Raises:
        StageError: the folder holds results with another key, or holds some with pseudonyms and is to get some without,
            or the other way round; or the key file cannot be used (see `rtpipeline.pseudonyms.open_key`).
    """
    noted = cohort.pseudonyms
    used = json.loads(noted.read_text(encoding="utf-8"))["key_check"] if noted.is_file() else None
    if key_file is None:
        if used is not None:
            raise StageError(
                f"{cohort.folder}: holds results with pseudonyms; give their key with --pseudonymize KEYFILE, or "
                "another --outdir for results with the original identifiers"
            )
        return None
    if used is None and cohort.manifest.is_file():
        raise StageError(
            f"{cohort.folder}: holds results with the original identifiers, which pseudonyms cannot be mixed with; "
            "choose another --outdir"
        )
    key = open_key(key_file, cohort.folder, create=used is None)
    check = key.code("check", "key")
    if used not in (None, check):
        raise StageError(
            f"{cohort.folder}: was made with another key than {key_file}; give that key, or another --outdir"
        )
    if used is None:
        write_text(noted, json.dumps({"version": 1, "key_check": check}, indent=1) + "\n")
    return key


@dataclass(frozen=True)
class Pseudonyms:
    """What stands for what in one output folder.

    Attributes:
        key: of the project.
        translations: of each patient, by PatientID (by folder name for those without).
        paths: code of each input file by its path.
        uids: UIDs of the input's objects, series, studies and frames of reference.
        identifiers: what names each patient or other people in their files: PatientID → attribute → values.
    """

    key: Key
    translations: Mapping[str, Translation]
    paths: Mapping[str, str]
    uids: frozenset[str]
    identifiers: Mapping[str, Mapping[str, tuple[str, ...]]]

    def of(self, patient_id: str, folder: str = "") -> Translation:
        """The translation of a patient."""
        name = patient_id or folder
        return self.translations.get(name) or Translation(self.key, name)

    def plan(self, plan: CoursePlan, known_names: Mapping[tuple[str, str], str]) -> CoursePlan:
        """A course plan as it is to be written: description and file names translated, the input files as they are.

        Args:
            plan: with the original identifiers.
            known_names: names that courses have from earlier runs, by (patient folder, digest), as they were written.
        """
        description = plan.description
        translation = self.of(description.patient_id, description.patient)
        start = translation.date(description.start_date) if description.start_date else ""
        digest = self.key.course(description.course.rsplit("_", 1)[1])
        course = known_names.get((translation.patient, digest), f"{start[:7] or UNDATED}_{digest}")
        named = {plan.key: f"{translation.patient}/{course}"}
        content = self._translated(description.model_dump(), "", translation, named)
        content["patient"] = content["patient_id"] = translation.patient
        content["course"] = course
        content["dose_decision"]["label"] = description.dose_decision.label
        files = {self._file_name(name): file for name, file in plan.files.items()}
        return replace(plan, description=CourseDescription.model_validate(content), files=dict(sorted(files.items())))

    def told(
        self,
        planned: tuple[Sequence[CoursePlan], Sequence[Unused], Sequence[str]],
        known_names: Mapping[tuple[str, str], str],
    ) -> tuple[list[CoursePlan], list[Unused], list[str]]:
        """Courses, unused files and warnings, decided with the original identifiers, told without them."""
        plans, unused, warnings = planned
        return (
            [self.plan(plan, known_names) for plan in plans],
            [self.unused(one) for one in unused],
            [self.sentence(warning) for warning in warnings],
        )

    def original_decisions(
        self,
        decisions: Mapping[str, CourseOverride],
        plans: Iterable[CoursePlan],
        known_names: Mapping[tuple[str, str], str],
    ) -> dict[str, CourseOverride]:
        """A user's decisions, who sees only pseudonyms, with the original names of courses and UIDs."""
        courses = {self.plan(plan, known_names).key: plan.key for plan in plans}
        uids = {self.key.uid(uid): uid for uid in self.uids}
        return {
            courses.get(course, course): CourseOverride(
                doses=[uids.get(uid, uid) for uid in one.doses],
                plans=None if one.plans is None else [uids.get(uid, uid) for uid in one.plans],
            )
            for course, one in decisions.items()
        }

    def unused(self, unused: Unused) -> Unused:
        """An unused file with a reason that names nobody."""
        header = unused.file.header
        translation = self.of(header.patient_id if header is not None else "")
        return replace(unused, reason=self.sentence(unused.reason, translation))

    def unused_row(self, row: Mapping[str, object]) -> dict[str, object]:
        """A row of the table of unused files, translated."""
        patient_id = str(row["patient_id"])
        uids = {name: self.key.uid(str(value)) for name, value in row.items() if name.endswith("_uid")}
        path = self.paths.get(str(row["path"])) or self.key.code("path", str(row["path"]))
        return {**row, **uids, "path": path, "patient_id": self.of(patient_id).patient if patient_id else ""}

    def sentence(self, text: str, translation: Translation | None = None) -> str:
        """A sentence without names of people, files, UIDs and dates of the input.

        Args:
            translation: of the patient that it is about; None where it is about the whole input.
        """
        text = self._without_paths(text)
        if translation is not None:
            return translation.text(text)
        for one in self.translations.values():
            text = one.without_names(text)
        return Translation(self.key, "").text(text)

    def sentence_of_course(self, text: str, plan: CoursePlan) -> str:
        """A sentence about a translated course, without names."""
        return self.sentence(text, self._by_pseudonym[plan.description.patient])

    def source(self, text: str) -> str:
        """What stands in the state of a course for the input file that a copy was made of."""
        return f"{self.key.code('source', text, 24)} {DEIDENTIFY_VERSION}"

    def copy(self, source: Path, target: Path, plan: CoursePlan) -> None:
        """Copy a file of a translated course without its identifiers.

        Raises:
            DicomError: the file cannot be read or written as DICOM.
            OSError: the copy cannot be written.
        """
        copy_without_identifiers(source, target, self._by_pseudonym[plan.description.patient])

    @cached_property
    def _by_pseudonym(self) -> dict[str, Translation]:
        return {translation.patient: translation for translation in self.translations.values()}

    def _translated(self, value: Any, name: str, translation: Translation, named: Mapping[str, str]) -> Any:
        if isinstance(value, dict):
            return {key: self._translated(item, key, translation, named) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._translated(item, name, translation, named) for item in value]
        if not isinstance(value, str) or name in _FIXED:
            return value
        if name.endswith(("_uid", "_uids")):
            return self.key.uid(value)
        if name in _DATES or name.endswith("_date"):
            return translation.date(value) if value else ""
        if name in _NAMES_OF_FILES:
            return self._file_name(value)
        for original, pseudonym in named.items():
            value = value.replace(original, pseudonym)
        return self.sentence(value, translation)

    def _file_name(self, name: str) -> str:
        """The name of a file of a course, in which digests of UIDs are replaced by keyed ones."""
        return _DIGEST.sub(lambda found: self.key.code("name", found[0], len(found[0])), name)

    @cached_property
    def _words_of_a_path(self) -> int:
        """Into how many words, at most, spaces divide a path of the input."""
        return max((path.count(" ") + 1 for path in self.paths), default=0)

    def _without_paths(self, text: str) -> str:
        words = text.split(" ")
        start = 0
        while start < len(words):
            for end in range(min(start + self._words_of_a_path, len(words)), start, -1):
                span = " ".join(words[start:end])
                path = span.rstrip(",;:.")
                code = self.paths.get(span) or self.paths.get(path)
                if code is not None:
                    words[start:end] = [code + ("" if span in self.paths else span[len(path) :])]
                    break
            start += 1
        return " ".join(words)


def pseudonyms_for(key: Key, key_file: Path, index: Index, plans: Sequence[CoursePlan], root: Path) -> Pseudonyms:
    """Pseudonyms for all patients of an indexed input; notes them beside the key.

    The identifiers of a patient are read from one file of each of their series, unless nothing of the input is new.

    Args:
        key: of the project.
        key_file: where it lies.
        index: of the input.
        plans: the courses with the original identifiers; their folders stand for patients without PatientID.
        root: the input folder.

    Raises:
        StageError: the table of patients cannot be written.
    """
    folders = {file.path: plan.description.patient for plan in plans for file in plan.files.values()}
    examples: dict[str, dict[str, IndexedFile]] = defaultdict(dict)
    uids: set[str] = set()
    for file in index.files:
        header = file.header
        if header is None:
            continue
        uids |= {header.sop_instance_uid, header.series_instance_uid, header.study_instance_uid}
        uids.add(header.frame_of_reference_uid)
        examples[header.patient_id or folders.get(file.path, "")].setdefault(header.series_instance_uid, file)
    noted = KeyFiles(key_file).known_patients() if index.files_read == 0 else {}
    people = {
        name: {} if name in noted else _identifiers(of_series.values(), root) for name, of_series in examples.items()
    }
    known = _note(key, KeyFiles(key_file), people)
    identifiers = {
        name: {keyword: tuple(values) for keyword, values in known[name]["identifiers"].items()}
        for name in sorted(people)
    }
    translations = {
        name: Translation(key, name, tuple(value for values in own.values() for value in values))
        for name, own in identifiers.items()
    }
    paths = {file.shown_path: key.code("path", file.shown_path) for file in index.files}
    return Pseudonyms(key, translations, paths, frozenset(uids - {""}), identifiers)


def _identifiers(files: Iterable[IndexedFile], root: Path) -> dict[str, list[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for file in files:
        try:
            values = identifiers_of(root / file.path)
        except DicomError:
            continue  # it cannot be copied either, which is said where a course needs it
        for keyword, value in values.items():
            found[keyword].add(value)
    return {keyword: sorted(values) for keyword, values in sorted(found.items())}


def _note(key: Key, beside: KeyFiles, people: Mapping[str, dict[str, list[str]]]) -> dict[str, dict[str, Any]]:
    """Add patients to the table beside the key; patients of other runs stay."""
    try:
        with beside.key.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # runs with one key wait for each other here
            known = beside.known_patients()
            for name, identifiers in people.items():
                earlier = known.get(name, {}).get("identifiers", {})
                known[name] = {
                    "pseudonym": key.patient(name),
                    "days": key.days(name),
                    "identifiers": {
                        keyword: sorted({*earlier.get(keyword, ()), *identifiers.get(keyword, ())})
                        for keyword in sorted({*earlier, *identifiers})
                    },
                }
            write_text(beside.patients, json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False) + "\n")
            beside.patients.chmod(0o600)
    except OSError as error:
        raise StageError(
            f"{beside.patients}: the table of patients cannot be written beside the key ({error.strerror}); put the "
            "key file where you may write"
        ) from error
    return known

"""A search for original identifiers in the files of an output folder that was made with pseudonyms."""

from __future__ import annotations

import csv
import gzip
import json
import re
import struct
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import yaml

from rtpipeline.course import CohortFiles
from rtpipeline.dicom.deidentify import texts_of
from rtpipeline.dicom.errors import DicomError
from rtpipeline.organize.pseudonymise import Pseudonyms
from rtpipeline.outcome import Outcome, failed, ok
from rtpipeline.pseudonyms import STANDARD_UIDS, identifying_words, pattern_of
from rtpipeline.tables.parquet import read_parquet

_UID = re.compile(r"\d+(?:\.\d+){2,}")
_TOKEN = re.compile(r"[^\W_]+")
_NIFTI_HEADER_BYTES = 352
_PARTS = re.compile(r"[\s\"'<>,;]+")
_CELL_TEXT = re.compile(r"<(?:t|dc:creator|dc:title|cp:lastModifiedBy)\b[^>]*>([^<]*)<|<sheet name=\"([^\"]*)\"")
_DRAWING = re.compile(r'\s(?:d|points|src)="[^"]*"')
"""Attributes of HTML and SVG that hold coordinates or a picture."""
_NUMBER = re.compile(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?")
_FEW = 5


@dataclass(frozen=True)
class Finding:
    """An original identifier in an output file.

    Attributes:
        file: relative to the folder that was searched, or the log file.
        kind: `UID`, `file path`, or the attribute that the identifier is the value of; never the identifier itself.
    """

    file: str
    kind: str


@dataclass(frozen=True)
class _Words:
    """Words to search for, found quickly by the longest part of each."""

    kinds: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _by_token(self) -> dict[str, list[tuple[re.Pattern[str], str]]]:
        found: dict[str, list[tuple[re.Pattern[str], str]]] = defaultdict(list)
        for word, kind in self.kinds.items():
            found[max(word.split(" "), key=len)].append((re.compile(pattern_of(word, alone=True), re.IGNORECASE), kind))
        return dict(found)

    def kinds_in(self, text: str) -> Iterator[str]:
        """The kind of each word that the text holds."""
        if not self.kinds:
            return
        parts = re.compile(r"\d+|[^\W\d_]+")
        tokens = {token.lower() for run in _TOKEN.findall(text) for token in (run, *parts.findall(run))}
        for token in tokens & self._by_token.keys():
            for pattern, kind in self._by_token[token]:
                if pattern.search(text):
                    yield kind


def find_identifiers(cohort: CohortFiles, logs: Path, pseudonyms: Pseudonyms) -> list[Finding]:
    """Every file of the output and the logs in which an original identifier is found, sorted.

    Searched are names of files and folders, texts of DICOM objects, all text columns of tables, cells of workbooks, and
    every other file as text; numbers in tables and JSON are none. UIDs, and identifiers that hold digits or several
    words, are searched everywhere. A single word of letters (part of a name) and the birth date are searched only in
    the data of that patient, because elsewhere they mean something else as well. Words that `identifying_words` leaves
    out are not searched. Pixels are not read.
    """
    everywhere, own = _searched(pseudonyms)
    findings: set[Finding] = set()
    files = [(path, path.relative_to(cohort.folder).as_posix()) for path in _files_below(cohort.folder)]
    if not logs.resolve().is_relative_to(cohort.folder.resolve()):
        files += [(path, f"{logs.name}/{path.relative_to(logs).as_posix()}") for path in _files_below(logs)]
    for path, name in files:
        patient = name.split("/")[0]
        for text in (name, *_texts(path)):
            if any(uid in pseudonyms.uids and not uid.startswith(STANDARD_UIDS) for uid in _UID.findall(text)):
                findings.add(Finding(name, "UID"))
            kinds = [*everywhere.kinds_in(text)]
            if any(part in pseudonyms.paths for part in _PARTS.split(text) if "/" in part):
                kinds.append("file path")
            if patient in own and path.suffix != ".html":
                kinds += own[patient].kinds_in(text)
            findings |= {Finding(name, kind) for kind in kinds}
    return sorted(findings, key=lambda finding: (finding.file, finding.kind))


def without_identifiers(cohort: CohortFiles, logs: Path, pseudonyms: Pseudonyms) -> Outcome:
    """The outcome of `find_identifiers`: failed, naming files and kinds, where something is found."""
    findings = find_identifiers(cohort, logs, pseudonyms)
    if not findings:
        return ok(files_with_identifiers=0)
    some = "; ".join(f"{finding.file} ({finding.kind})" for finding in findings[:_FEW])
    more = f" and {len(findings) - _FEW} more" if len(findings) > _FEW else ""
    return failed(f"original identifiers are still in the output, do not pass it on: {some}{more}")


def _searched(pseudonyms: Pseudonyms) -> tuple[_Words, dict[str, _Words]]:
    """What to search everywhere, and what only in the folder of each patient (by its name)."""
    everywhere: dict[str, str] = {}
    own: dict[str, _Words] = {}
    for patient_id, translation in pseudonyms.translations.items():
        names: dict[str, str] = {}
        for keyword, values in {"PatientID": (patient_id,), **pseudonyms.identifiers.get(patient_id, {})}.items():
            for word in identifying_words(values):
                distinctive = " " in word or (any(c.isdigit() for c in word) and keyword != "PatientBirthDate")
                (everywhere if distinctive and keyword != "PatientBirthDate" else names)[word] = keyword
            if keyword == "PatientBirthDate":
                names |= {value.replace("-", ""): keyword for value in values}
        own[translation.patient] = _Words(names)
    return _Words(everywhere), own


def _files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def _texts(path: Path) -> Iterable[str]:
    """The texts of a file, by what it is."""
    if path.suffix == ".dcm":
        try:
            return ["\n".join(text for _, text in texts_of(path))]
        except DicomError:
            return [path.read_bytes().decode("latin-1")]
    if path.suffix == ".parquet":
        return [_table_text(read_parquet(path))]
    if path.suffix == ".xlsx":
        with zipfile.ZipFile(path) as workbook:
            parts = [workbook.read(name).decode("utf-8", "replace") for name in workbook.namelist()]
        return ["\n".join(" ".join(found) for part in parts for found in _CELL_TEXT.findall(part))]
    if path.suffix in (".json", ".yaml", ".csv", ".html"):
        return ["\n".join(_strings(path))]
    if path.name.endswith(".nii.gz"):
        with gzip.open(path) as file:
            header = file.read(_NIFTI_HEADER_BYTES)
            start = int(struct.unpack("<f", header[108:112])[0]) if len(header) == _NIFTI_HEADER_BYTES else 0
            return [(header + file.read(max(start - len(header), 0))).decode("latin-1")]
    return [path.read_bytes().decode("utf-8", "replace")]


def _strings(path: Path) -> Iterator[str]:
    """The strings of a JSON, YAML, CSV or HTML file, without its numbers; the whole file where it is none."""
    text = path.read_bytes().decode("utf-8", "replace")
    if path.suffix == ".html":
        yield _DRAWING.sub(" ", text)
        return
    if path.suffix == ".csv":
        cells = (cell for row in csv.reader(text.splitlines()) for cell in row)
        yield from (cell for cell in cells if not _NUMBER.fullmatch(cell))
        return
    try:
        pending = [json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)]
    except (ValueError, yaml.YAMLError):
        yield text
        return
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, str):
            yield value


def _table_text(table: pa.Table) -> str:
    texts = [str(table.schema.metadata or "")]
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            texts += [value for value in column.unique().to_pylist() if value]
    return "\n".join(texts)

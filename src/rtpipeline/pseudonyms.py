"""Keyed pseudonyms: the same for the same key on every machine and in every run, and worthless without the key.

Everything follows from the key by HMAC-SHA-256 (RFC 2104): a name for each patient, a UID for each UID, a code for each
file path, and for each patient a number of days by which all dates are moved.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rtpipeline.outcome import StageError

KEY_HEADER = "rtpipeline pseudonym key 1"
_KEY_BYTES = 32
STANDARD_UIDS = "1.2.840.10008."
"""UIDs of the DICOM standard itself (PS3.6 A): SOP classes, transfer syntaxes, well-known frames of reference."""
FEWEST_WEEKS, MOST_WEEKS = 52, 519
"""Dates move into the past by whole weeks, which keeps the days of the week, by one to ten years."""
REMOVED = "X"
"""Stands in a text for an identifier that was taken out."""

_UID = re.compile(r"(?<![\w.])(?:2\.25\.\d{10,}|\d+(?:\.\d+){5,})(?![\w])")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
MONTH = "|".join(f"{name[:3]}(?:{name[3:]})?" for name in _MONTHS)
"""A month by its name or the beginning of it, as part of a regular expression."""
_DATES = (
    (re.compile(r"(?<!\d)(?P<y>(?:19|20)\d\d)(?P<m>\d\d)(?P<d>\d\d)(?!\d)"), "{y:04d}{m:02d}{d:02d}"),
    (
        re.compile(r"(?<!\d)(?P<y>(?:19|20)\d\d)(?P<s>[-./])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})(?!\d)"),
        "{y:04d}{s}{m:02d}{s}{d:02d}",
    ),
    (
        re.compile(r"(?<!\d)(?P<d>\d{1,2})(?P<s>[-./])(?P<m>\d{1,2})(?P=s)(?P<y>(?:19|20)\d\d)(?!\d)"),
        "{d:02d}{s}{m:02d}{s}{y:04d}",
    ),
    (
        re.compile(rf"(?<!\d)(?P<d>\d\d?)[-. /]*(?P<m>{MONTH})[-., /]*(?P<y>(?:19|20)\d\d)(?!\d)", re.IGNORECASE),
        "{y:04d}-{m:02d}-{d:02d}",
    ),
    (
        re.compile(rf"(?<![a-z])(?P<m>{MONTH})[-. /]*(?P<d>\d\d?)[-., /]+(?P<y>(?:19|20)\d\d)(?!\d)", re.IGNORECASE),
        "{y:04d}-{m:02d}-{d:02d}",
    ),
)
_TOKEN = re.compile(r"[^\W_]+")
_COMMON_WORDS = """
    abdomen anon anonymised anonymized anonymous axial body bone boost brain breast case chest clinic demo dose
    head heart hospital image institution kidney left liver lung machine model mri neck none operator patient
    pelvis pet phantom phase physician plan primary prostate right scan series skin spine station structure
    study target test thorax tumor tumour unknown
"""
"""Words that say nothing of a person although they may stand in the place of a name."""
_COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True, repr=False)
class Key:
    """A secret, and what follows from it."""

    secret: bytes

    def code(self, kind: str, text: str, length: int = 12) -> str:
        """Hexadecimal digits that stand for `text`; other digits for each kind of thing."""
        return self._digest(kind, text).hex()[:length]

    def patient(self, patient_id: str) -> str:
        """The name of a patient, in place of PatientID and PatientName."""
        return f"P{self.code('patient', patient_id)}"

    def course(self, digest: str) -> str:
        """The digits that stand at the end of a course's name, in place of those that it has without pseudonyms."""
        return self.code("course", digest, 8)

    def uid(self, uid: str) -> str:
        """A UID in place of another (`2.25.` and 128 bits: PS3.5 B.2); the standard's own stay as they are."""
        if not uid or uid.startswith(STANDARD_UIDS):
            return uid
        return f"2.25.{int.from_bytes(self._digest('uid', uid)[:16], 'big')}"

    def days(self, patient_id: str) -> int:
        """By how many days the dates of a patient move; negative, a multiple of 7."""
        weeks = int.from_bytes(self._digest("date", patient_id)[:8], "big") % (MOST_WEEKS - FEWEST_WEEKS + 1)
        return -7 * (FEWEST_WEEKS + weeks)

    def _digest(self, kind: str, text: str) -> bytes:
        return hmac.digest(self.secret, f"{kind}\x1f{text}".encode("utf-8", "surrogatepass"), hashlib.sha256)


@dataclass(frozen=True)
class Translation:
    """What stands for what, for one patient.

    Attributes:
        key: of the project.
        patient_id: PatientID as in the files, or what stands for the patient where that is empty.
        identifiers: values that name the patient or other people, as in the files.
    """

    key: Key
    patient_id: str
    identifiers: tuple[str, ...] = ()

    @property
    def patient(self) -> str:
        """The patient's pseudonym."""
        return self.key.patient(self.patient_id)

    @cached_property
    def days(self) -> int:
        """By how many days the patient's dates move."""
        return self.key.days(self.patient_id)

    @cached_property
    def _words(self) -> re.Pattern[str] | None:
        patterns = [pattern_of(word) for word in identifying_words((self.patient_id, *self.identifiers))]
        return re.compile("|".join(patterns), re.IGNORECASE) if patterns else None

    def date(self, date: str) -> str:
        """A date, as `YYYY-MM-DD` or `YYYYMMDD`, moved; what is no date becomes empty."""
        try:
            moved = self._moved(datetime.datetime.strptime(date.replace("-", ""), "%Y%m%d").date())
        except ValueError:
            return ""
        return moved.isoformat() if "-" in date else moved.strftime("%Y%m%d")

    def text(self, text: str) -> str:
        """A text in which UIDs are replaced, dates moved, and words that identify somebody replaced by `X`."""
        text = _UID.sub(lambda found: self.key.uid(found[0]), text)
        for pattern, form in _DATES:
            text = pattern.sub(lambda found, form=form: self._moved_in_text(found, form), text)  # type: ignore[misc]
        return self.without_names(text)

    def without_names(self, text: str) -> str:
        """A text in which words that identify somebody are replaced by `X`."""
        return self._words.sub(REMOVED, text) if self._words is not None else text

    def _moved(self, date: datetime.date) -> datetime.date:
        try:
            return date + datetime.timedelta(days=self.days)
        except OverflowError as error:
            raise ValueError("before the first year") from error

    def _moved_in_text(self, found: re.Match[str], form: str) -> str:
        year, month, day = int(found["y"]), month_number(found["m"]), int(found["d"])
        for one, other in ((month, day), (day, month)):
            try:
                moved = self._moved(datetime.date(year, one, other))
            except ValueError:
                continue
            return form.format(y=moved.year, m=moved.month, d=moved.day, s=found.groupdict().get("s", ""))
        return found[0]


def month_number(month: str) -> int:
    """The number of a month, from its number or its name (see `MONTH`)."""
    return int(month) if month.isdigit() else [name[:3] for name in _MONTHS].index(month[:3].lower()) + 1


def identifying_words(values: Iterable[str]) -> tuple[str, ...]:
    """The words in which an identifier can turn up again in a text: each value, and each part of a person's name.

    Left out are words of fewer than three letters, numbers and codes of fewer than five characters, and words such as
    `phantom` that say nothing of a person: they would be found everywhere.
    """
    words: dict[str, None] = {}
    for value in values:
        parts = [value, *re.split(r"[\^=\\, ]+", value)] if "^" in value else [value]
        for part in parts:
            tokens = _TOKEN.findall(part)
            compact = "".join(tokens)
            too_short = len(compact) < (5 if any(map(str.isdigit, compact)) else 3)
            if not too_short and not all(token.lower() in _COMMON for token in tokens):
                words[" ".join(tokens).lower()] = None
    return tuple(sorted(words, key=lambda word: (-len(word), word)))


def pattern_of(word: str, *, alone: bool = False) -> str:
    """A regular expression for a word of `identifying_words`, whatever stands between its parts.

    Args:
        word: its parts separated by one space.
        alone: a number must stand alone: not in a code, and not before or behind a decimal point.
    """
    between = r"[\W_]*".join(re.escape(token) for token in word.split(" "))
    if alone and word.isdigit():
        return rf"(?<![\w.]){word}(?!\w|\.\d)"
    return f"{_edge('?<!', word[0])}{between}{_edge('?!', word[-1])}"


def _edge(look: str, character: str) -> str:
    """A letter does not go on before a first or after a last letter, nor a digit beside a digit."""
    return f"({look}\\d)" if character.isdigit() else f"({look}[^\\W\\d_])"


def open_key(path: Path, output: Path | None, *, create: bool) -> Key:
    """Read the key file, or make one that only its owner can read.

    Args:
        path: the key file.
        output: the output folder, in which the key must not lie; None where there is none.
        create: make it where it is missing.

    Raises:
        StageError: the file lies in the output, cannot be read or written, or is no key file.
    """
    if output is not None and path.resolve().is_relative_to(output.resolve()):
        raise StageError(
            f"{path}: the key file lies in the output folder, where it would be passed on; keep it outside"
        )
    try:
        if create and not path.exists():
            _create(path)
        lines = path.read_text(encoding="ascii").split("\n")
    except FileNotFoundError as error:
        raise StageError(
            f"{path}: there is no such key file, and these results were made with one; give the key they were made with"
        ) from error
    except OSError as error:
        raise StageError(
            f"{path}: the key file cannot be read or made ({error.strerror}); choose another place"
        ) from error
    except UnicodeDecodeError as error:
        raise _no_key(path) from error
    if len(lines) < 2 or lines[0] != KEY_HEADER or not re.fullmatch(f"[0-9a-f]{{{2 * _KEY_BYTES}}}", lines[1]):
        raise _no_key(path)
    return Key(bytes.fromhex(lines[1]))


def _no_key(path: Path) -> StageError:
    return StageError(f"{path}: this is no key file of rtpipeline; name a new file, and the run makes one")


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = f"{KEY_HEADER}\n{secrets.token_hex(_KEY_BYTES)}\n"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

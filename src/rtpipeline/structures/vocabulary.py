"""Words for organs in several languages and their standard names (AAPM TG-263, doi:10.1016/j.ijrobp.2017.12.013).

`vocabulary.csv` has one row per standard name, with the words of each language separated by semicolons, in lower case
and without accents (ä, ö, ü as ae, oe, ue). `kind` says what a side does: `one` organ has none, of a `pair` the name
goes on with `_L` or `_R`, and `both` stands for the two.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

STANDARD = "TG-263"
"""Stands where a language does for words that are already those of the standard."""
LEFT, RIGHT = "L", "R"

_EVERYWHERE = {
    LEFT: "l lt left sin sinistra sinister li links linke linker linkes gauche lewa lewe lewy izq izquierda izquierdo "
    "sx sinistro",
    RIGHT: "r rt right dex dext dextra dexter re rechts rechte rechter rechtes droit droite prawa prawe prawy derecha "
    "derecho dx destra destro",
}
_BY_LANGUAGE = {
    "french": {LEFT: "g gche", RIGHT: "d dt dte dr drt"},
    "polish": {LEFT: "lew", RIGHT: "p praw"},
    "spanish": {LEFT: "i iz izda izdo izqda izqdo", RIGHT: "d der dch dcha dcho"},
    "italian": {LEFT: "s sn", RIGHT: "d ds"},
}
"""Words that mean a side only beside a word of their language."""
_SMALL_WORDS = frozenset(
    ("of", "the", "de", "du", "des", "la", "le", "les", "el", "los", "las", "di", "del", "della", "van", "het")
)
_WORD = re.compile(r"[A-Za-z][a-z]+|[A-Z]+(?![a-z])|[a-z]+|\d+|[^\W\d_]+")
_LETTERS = str.maketrans({"ß": "ss", "ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "æ": "ae", "œ": "oe", "Œ": "Oe"})
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})


@dataclass(frozen=True)
class Entry:
    """One organ in one language.

    Attributes:
        standard_name: TG-263 name, without a side.
        kind: `one`, `pair` or `both`.
        language: of the words; `STANDARD` for the standard's own.
        words: what it is called there.
    """

    standard_name: str
    kind: str
    language: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Match:
    """An organ that a name means, with its side (empty for none)."""

    entry: Entry
    side: str

    @property
    def standard_name(self) -> str:
        """With the side; empty where a pair has none, or one organ has one."""
        if self.entry.kind == "pair":
            return f"{self.entry.standard_name}_{self.side}" if self.side else ""
        return "" if self.side else self.entry.standard_name


def spellings(name: str) -> tuple[tuple[str, ...], ...]:
    """The words of a name in lower case without accents; two versions where umlauts may be written in two ways."""
    variants = (_plain(name.translate(_UMLAUTS)), _plain(name))
    return tuple(dict.fromkeys(tuple(word.lower() for word in _WORD.findall(text)) for text in variants))


def matches(words: Sequence[str]) -> list[Match]:
    """The organs that these words mean, each with its side; in any order of the words, or written as one."""
    found = []
    for language, known, glued in _lookups():
        entry = known.get(_key(words))
        if entry is not None:
            found.append(Match(entry, ""))
            continue
        sides = _sides(language)
        named = {sides[word] for word in words if word in sides}
        entry = known.get(_key([word for word in words if word not in sides]))
        if entry is not None and len(named) == 1:
            found.append(Match(entry, next(iter(named))))
        elif entry is None:
            found += _glued(words, glued, sides)
    return found


def all_words() -> frozenset[str]:
    """Every organ's words, written as one, in every language."""
    return frozenset(word for _, _, glued in _lookups() for word in glued)


@lru_cache(maxsize=1)
def entries() -> tuple[Entry, ...]:
    """Every organ in every language."""
    found: list[Entry] = []
    table = (files("rtpipeline.structures") / "vocabulary.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(table.splitlines()):
        name, kind = row.pop("standard_name"), row.pop("kind")
        found.append(Entry(name, kind, STANDARD, spellings(name)[0]))
        for language, texts in row.items():
            found += [Entry(name, kind, language, tuple(text.split())) for text in texts.split(";") if text]
    return tuple(found)


def _glued(words: Sequence[str], glued: dict[str, Entry], sides: dict[str, str]) -> Iterator[Match]:
    """`spinalcord`, `lungleft`, `lkidney`."""
    text = "".join(word for word in words if word not in _SMALL_WORDS)
    if text in glued:
        yield Match(glued[text], "")
        return
    for side_word, side in sides.items():
        if len(side_word) == 1 and side_word not in "lr":  # the plural of `retina` is not an Italian left one
            continue
        for rest in (text.removesuffix(side_word), text.removeprefix(side_word)):
            if rest != text and rest in glued and glued[rest].kind == "pair" and len(rest) > 2:
                yield Match(glued[rest], side)
                return


@lru_cache(maxsize=1)
def _lookups() -> tuple[tuple[str, dict[tuple[str, ...], Entry], dict[str, Entry]], ...]:
    """(language, entry by words, entry by words written as one)."""
    languages = dict.fromkeys(entry.language for entry in entries())
    return tuple(
        (
            language,
            {_key(entry.words): entry for entry in entries() if entry.language == language},
            {"".join(entry.words): entry for entry in entries() if entry.language == language},
        )
        for language in languages
    )


@lru_cache(maxsize=16)
def _sides(language: str) -> dict[str, str]:
    tables = (_EVERYWHERE, _BY_LANGUAGE.get(language, {}))
    return {word: side for table in tables for side, words in table.items() for word in words.split()}


def _key(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(word for word in words if word not in _SMALL_WORDS))


def _plain(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))

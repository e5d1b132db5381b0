"""Dates in the columns of a clinical table, whatever their form, moved as all dates of a patient are.

One cell does not always say whether it is a date, and which of its numbers is the day; its column does.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rtpipeline.pseudonyms import MONTH, Translation, month_number

Kind = Literal["dates", "numbers", "numbers or dates", "texts"]

EARLIEST_YEAR, LATEST_YEAR = 1850, 2100
_FEW = 0.1
"""A column of numbers has at most this share of values that could be dates; by chance one in a thousand can."""

_TIME_OF_DAY = re.compile(r"[T ]\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[AaPp][Mm])?(?:Z|[+-]\d\d:?\d\d)?$")
_TIME = rf"(?:{_TIME_OF_DAY.pattern}|\.0+)?"
_YEAR_FIRST = re.compile(rf"(?P<y>\d{{4}})(?:(?P<s>[-./ ])(?P<m>\d\d?)(?P=s)(?P<d>\d\d?)|(?P<md>\d{{4}})){_TIME}")
_YEAR_LAST = re.compile(
    rf"(?:(?P<a>\d\d?)(?P<s>[-./ ])(?P<b>\d\d?)(?P=s)(?P<y>\d{{4}}|\d\d)|(?P<ab>\d{{4}})(?P<y4>\d{{4}})){_TIME}"
)
_NAMED_MONTH = re.compile(
    rf"(?:(?P<d>\d\d?)[-. /]*(?P<m>{MONTH})|(?P<m2>{MONTH})[-. /]*(?P<d2>\d\d?))[-., /]+(?P<y>\d{{4}}|\d\d){_TIME}",
    re.IGNORECASE,
)
_PLAIN_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_DATE_WORDS = frozenset({"date", "dates", "datum", "dob", "dod", "birthdate", "birthday"})


@dataclass(frozen=True)
class ClinicalColumn:
    """A column of a clinical table.

    Attributes:
        name: from the header.
        values: its cells that are not empty, each once.
    """

    name: str
    values: frozenset[str]

    @cached_property
    def kind(self) -> Kind:
        """Dates by its name or because half of its values can be read as dates; numbers where hardly one can."""
        if _DATE_WORDS & {word.lower() for word in _WORD.findall(self.name)}:
            return "dates"
        dates = sum(next(_readings(value), None) is not None for value in self.values)
        if dates and 2 * dates >= len(self.values):
            return "dates"
        if all(_PLAIN_NUMBER.fullmatch(value) for value in self.values):
            return "numbers" if dates <= _FEW * len(self.values) else "numbers or dates"
        return "texts"

    @cached_property
    def _day_first(self) -> bool | None:
        """Whether the day comes before the month where the year comes last; None where the column leaves it open."""
        readings = [list(_readings(value)) for value in self.values]
        fits = {
            order: all(any(one in (order, None) for one, _ in of) for of in readings if of) for order in (True, False)
        }
        return None if fits[True] == fits[False] else fits[True]

    def told(self, cell: str, translation: Translation) -> str:
        """A cell without original identifiers: a date moved and written `YYYY-MM-DD`.

        Of a column of dates, what has digits and is no date that can be moved is left out; so is, of any column,
        a date whose day and month, or whose century, cannot be told, and what may as well be a number as a date.
        """
        if self.kind == "numbers":
            return translation.without_names(cell)
        if readings := list(_readings(cell)):
            by_order = {date for order, date in readings if order in (None, self._day_first)}
            dates = by_order or {date for _, date in readings}
            if len(dates) > 1 or self.kind == "numbers or dates":
                return ""
            return translation.date(dates.pop().isoformat()) + (_TIME_OF_DAY.search(cell) or [""])[0]
        if self.kind == "dates" and any(map(str.isdigit, cell)):
            return ""
        return translation.text(cell)


def clinical_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[ClinicalColumn]:
    """The columns of a clinical table, in the order of its header."""
    return [
        ClinicalColumn(name, frozenset(row[number] for row in rows if row[number]))
        for number, name in enumerate(header)
    ]


def _readings(cell: str) -> Iterator[tuple[bool | None, datetime.date]]:
    """Every date that a whole cell can be, with whether its day comes before its month (None: there is no question)."""
    found = _YEAR_FIRST.fullmatch(cell)
    if found:
        month, day = (found["m"], found["d"]) if found["md"] is None else (found["md"][:2], found["md"][2:])
        yield from _dated(None, found["y"], month, day)
    if found := _NAMED_MONTH.fullmatch(cell):
        yield from _dated(None, found["y"], found["m"] or found["m2"], found["d"] or found["d2"])
    if found := _YEAR_LAST.fullmatch(cell):
        one, other = (found["a"], found["b"]) if found["ab"] is None else (found["ab"][:2], found["ab"][2:])
        year = found["y"] or found["y4"]
        yield from _dated(None if found["s"] == "." else True, year, other, one)
        if found["s"] != ".":
            yield from _dated(False, year, one, other)


def _dated(day_first: bool | None, year: str, month: str, day: str) -> Iterator[tuple[bool | None, datetime.date]]:
    """The date, if the calendar has it; of a year of two digits, which does not tell its century, two dates."""
    for number in (int(year),) if len(year) == 4 else (1900 + int(year), 2000 + int(year)):
        if EARLIEST_YEAR <= number <= LATEST_YEAR:
            with contextlib.suppress(ValueError):
                yield day_first, datetime.date(number, month_number(month), int(day))

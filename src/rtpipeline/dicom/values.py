"""Attribute values as plain Python values; what is missing or malformed is empty, never an exception.

Files come from outside and may hold anything. A value that its VR does not allow is treated as not given.
"""

from __future__ import annotations

import datetime
import functools
import logging
import math
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag, Tag

MALFORMED_VALUE_ERRORS = (
    *(ValueError, TypeError, LookupError, AttributeError, NotImplementedError, OverflowError, RecursionError),
    *(OSError, EOFError, struct.error, BytesLengthException, InvalidDicomError),
)
"""What pydicom raises when it converts a value that its VR does not allow."""

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


def as_text(dataset: Dataset, keyword: str) -> str:
    """A text without control characters and surrounding spaces; several values are joined by a backslash."""
    value = _value(dataset, keyword)
    if value is None:
        return ""
    text = "\\".join(map(str, value)) if isinstance(value, (MultiValue, list, tuple)) else str(value)
    return _CONTROL_CHARACTERS.sub("", text).strip()


def as_uid(dataset: Dataset, keyword: str) -> str:
    """A UID; empty when it is not one word."""
    text = as_text(dataset, keyword)
    return text if len(text.split()) == 1 else ""


def as_date(dataset: Dataset, keyword: str) -> str:
    """A date as `YYYY-MM-DD`; empty when it is no date of the calendar."""
    text = as_text(dataset, keyword).replace("-", "").replace(".", "")[:8]
    if len(text) != 8 or not (text.isascii() and text.isdigit()):
        return ""
    try:
        return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:])).isoformat()
    except ValueError:
        return ""


def as_number(dataset: Dataset, keyword: str) -> float | None:
    """A finite number (the first of several)."""
    numbers = as_numbers(dataset, keyword)
    return numbers[0] if numbers else None


def as_numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Finite numbers; empty when one of them is not."""
    value = _value(dataset, keyword)
    if value is None:
        return ()
    several = value if isinstance(value, (MultiValue, list, tuple)) else [value]
    try:
        numbers = tuple(float(one) for one in several)
    except MALFORMED_VALUE_ERRORS:
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def as_integer(dataset: Dataset, keyword: str) -> int | None:
    """A whole number of at most 64 bits (the first of several)."""
    number = as_number(dataset, keyword)
    return int(number) if number is not None and number.is_integer() and abs(number) < 2**63 else None


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none when it is missing."""
    value = _value(dataset, keyword)
    return list(value) if isinstance(value, DicomSequence) else []


@contextmanager
def quietly() -> Iterator[None]:
    """Read without a warning for each value that breaks its VR's rules; here such values are treated as not given."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def _value(dataset: Dataset, keyword: str) -> Any:
    tag, representation = _entry(keyword)
    element = dataset.get_item(tag, keep_deferred=True)
    if element is None or (isinstance(element, RawDataElement) and element.value is None):
        return None
    value = _plain_value(element, representation) if isinstance(element, RawDataElement) else None
    if value is None:
        try:
            value = dataset.get(keyword)
        except MALFORMED_VALUE_ERRORS:
            return None
    return None if value == "" else value


def _plain_value(element: RawDataElement, representation: str) -> str | list[str] | int | None:
    """The value of an element that pydicom has not converted yet; None if it is none of the simplest kinds.

    Converting every value of every header takes pydicom longer than reading them.
    """
    content = element.value
    if content is None or element.VR not in (representation, None):
        return None
    if representation == "US" and len(content) == 2:
        return int.from_bytes(content, "little" if element.is_little_endian else "big")
    if representation not in _TEXT or not content.isascii() or b"\x1b" in content:
        return None
    text = content.decode("ascii").rstrip(" \0")
    return text.split("\\") if "\\" in text else text


_TEXT = frozenset({"AS", "CS", "DA", "DS", "IS", "LO", "SH", "TM", "UI"})
"""Value representations that are plain text where all bytes are ASCII and no escape switches the character set."""


@functools.cache
def _entry(keyword: str) -> tuple[BaseTag, str]:
    """Tag and value representation of an attribute."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no DICOM keyword")
    return Tag(tag), dictionary_VR(tag)

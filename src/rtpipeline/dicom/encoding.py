"""Data elements and items as bytes in implicit VR little endian (DICOM PS3.5, 7.1.3 and 7.5)."""

from __future__ import annotations

import struct

_ELEMENT = struct.Struct("<HHL")
_ITEM = (0xFFFE, 0xE000)


def encoded_element(tag: int, value: bytes, padding: bytes = b" ") -> bytes:
    """A data element; `padding` makes its value's length even."""
    value += padding * (len(value) % 2)
    return _ELEMENT.pack(tag >> 16, tag & 0xFFFF, len(value)) + value


def encoded_item(value: bytes) -> bytes:
    """An item of a sequence, of defined length."""
    return _ELEMENT.pack(*_ITEM, len(value)) + value

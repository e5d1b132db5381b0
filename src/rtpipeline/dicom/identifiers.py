"""Unique identifiers that depend only on what they identify, and references to objects by them."""

from __future__ import annotations

import hashlib

from pydicom.dataset import Dataset


def derived_uid(*sources: str) -> str:
    """The same UID for the same sources: `2.25.` and a 128-bit number (DICOM PS3.5, B.2), from their SHA-256."""
    digest = hashlib.sha256("\x1f".join(sources).encode("utf-8")).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def reference_item(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Item of a sequence that refers to an object (DICOM PS3.3, 10.8)."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item

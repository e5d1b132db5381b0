"""Unique identifiers that depend only on what they identify."""

from __future__ import annotations

import hashlib


def derived_uid(*sources: str) -> str:
    """The same UID for the same sources: `2.25.` and a 128-bit number (DICOM PS3.5, B.2), from their SHA-256."""
    digest = hashlib.sha256("\x1f".join(sources).encode("utf-8")).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"

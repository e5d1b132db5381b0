"""Folder names that are safe everywhere and never depend on what else there is."""

from __future__ import annotations

import hashlib
import re

MAXIMUM_LENGTH = 64
UNDATED = "0000-00"

_DIGEST_LENGTH = 8
_UNSAFE = re.compile(r"[^A-Za-z0-9._+=@ -]")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
"""Device names of Windows, which no folder may have there."""


def digest(*parts: str, length: int = _DIGEST_LENGTH) -> str:
    """Hexadecimal digits that stand for the parts."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:length]


def patient_folder(patient_id: str, alternative: str = "") -> str:
    """A folder name for a patient: the PatientID itself where it is safe.

    A PatientID that has to be changed gets a digest of the original, so that two never share a folder.

    Args:
        patient_id: as in the files; may hold anything.
        alternative: what identifies the patient where the PatientID is empty.
    """
    if not patient_id:
        return f"unknown_{digest(alternative)}"
    safe = _UNSAFE.sub("_", patient_id).strip(" ").lstrip("._").rstrip(". ")
    if _RESERVED.fullmatch(safe):
        safe = f"patient_{safe}"
    if safe == patient_id and len(safe) <= MAXIMUM_LENGTH:
        return safe
    room = MAXIMUM_LENGTH - _DIGEST_LENGTH - 1
    return f"{safe[:room].rstrip('. ') or 'patient'}_{digest(patient_id)}"


def course_folder(start_date: str, patient_id: str, *definition: str) -> str:
    """`YYYY-MM_<digest>`: month of the start, and a digest of what defines the course for good.

    Args:
        start_date: `YYYY-MM-DD` or empty.
        patient_id: as in the files.
        definition: identifiers of the planning images (frame of reference or series, and study).
    """
    return f"{start_date[:7] or UNDATED}_{digest(patient_id, *definition)}"

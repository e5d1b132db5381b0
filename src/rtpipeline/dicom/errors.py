"""The error of everything that reads or writes DICOM objects."""

from __future__ import annotations


class DicomError(ValueError):
    """A DICOM object cannot be used; the message is a sentence that names the file and what is wrong with it."""

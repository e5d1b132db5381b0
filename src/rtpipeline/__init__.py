"""Radiotherapy DICOM exports in, publishable research tables out."""

from importlib.metadata import version

__version__ = version("rtpipeline")
"""The version of the installed distribution; `pyproject.toml` is the only place that states it."""

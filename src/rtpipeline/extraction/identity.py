"""What is installed on this side: printed by `python -m rtpipeline.extraction.identity`, compared by the other side."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import sysconfig
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

from rtpipeline import __version__

_PACKAGE = Path(__file__).parent.parent
_SHARED_SOURCES = (
    "extraction/*.py",
    "scheduling/worker_process.py",
    "scheduling/memory.py",
    "scheduling/memory_pressure.py",
    "scheduling/thread_caps.py",
    "radiomics_robustness/statistics.py",
)
"""What runs in the radiomics environment; it must be the same on both sides."""


def source_digest() -> str:
    """SHA-256 of the source files that both environments share, names included."""
    digest = hashlib.sha256()
    for pattern in _SHARED_SOURCES:
        for file in sorted(_PACKAGE.glob(pattern)):
            digest.update(file.relative_to(_PACKAGE).as_posix().encode("utf-8") + b"\0")
            digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()


def installation_digest() -> str:
    """SHA-256 of what lies in this side's folders of packages, and when it was put there."""
    digest = hashlib.sha256()
    for folder in sorted({sysconfig.get_path(name) for name in ("purelib", "platlib")}):
        for entry in sorted(Path(folder).iterdir()):
            if entry.name != "__pycache__":
                digest.update(f"{entry}\0{entry.stat().st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def identity() -> dict[str, Any]:
    """Versions, digests and installed packages of this side, with PyRadiomics and its compiled matrices loaded.

    Raises:
        ImportError: a library is missing, or was compiled for another NumPy.
    """
    import numpy
    import radiomics  # noqa: F401  loads its compiled modules too
    import SimpleITK

    return {
        "python": platform.python_version(),
        "numba": version("numba"),
        "numpy": numpy.__version__,
        "pyradiomics": version("pyradiomics"),
        "pywavelets": version("PyWavelets"),
        "simpleitk": SimpleITK.Version.VersionString(),
        "rtpipeline": __version__,
        "source_digest": source_digest(),
        "installation_digest": installation_digest(),
        "installed": {package.metadata["Name"]: package.version for package in distributions()},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(identity()) + "\n")

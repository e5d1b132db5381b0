"""Environments of peers: made once, beside the project's own, and never used at run time."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def peer_python(name: str, *requirements: str) -> Path:
    """The interpreter of an environment with exactly these requirements; it is made where it is not there."""
    digest = hashlib.sha256("\n".join((sys.version, *requirements)).encode()).hexdigest()[:12]
    folder = ROOT / ".nox" / f"peer-{name}-{digest}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *requirements], check=True)
    (folder / "complete").touch()
    return python

"""`rtpipeline doctor`: is this machine ready? It needs only the standard library, Typer and Rich."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rtpipeline import __version__
from rtpipeline.cli.checks import Check, report
from rtpipeline.cli.flags import Config, Json
from rtpipeline.scheduling.budget import usable_cpus

SUPPORTED_PYTHON = ((3, 10), (3, 11))
SET_UP = "in the project's folder: python -m nox -s setup"
LITTLE_DISK_GB, TOO_LITTLE_DISK_GB = 20.0, 1.0
LITTLE_MEMORY_GB = 8.0
LITTLE_SHARED_MEMORY_GB = 0.5
_QUESTION_TIMEOUT_S = 180
_TORCH_QUESTION = (
    "import json, torch; print(json.dumps({'version': torch.__version__, 'cuda': torch.version.cuda,"
    " 'gpus': [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]}))"
)


def command(
    config: Config = None,
    outdir: Annotated[Path, typer.Option(help="Where results would go; its disk is looked at.")] = Path(),
    json_output: Json = False,
) -> None:
    """Check this machine, and say how to mend what is missing."""
    checks = [
        Check("rtpipeline", "ok", f"{__version__} in {Path(__file__).parents[1]}"),
        system_check(),
        python_check(),
        packages_check(),
        torch_check(),
        *environment_checks(config or []),
        disk_check(outdir),
        memory_check(),
        shared_memory_check(),
        cores_check(),
    ]
    report(checks, as_json=json_output)


def system_check() -> Check:
    """The operating system."""
    name = f"{platform.system()} {platform.release()} {platform.machine()}"
    if platform.system() == "Linux":
        return Check("system", "ok", name)
    if platform.system() == "Darwin":
        return Check("system", "note", name, "macOS works with the CPU, as well as it can; Linux is what is tested")
    return Check("system", "problem", name, "use Linux; on Windows, WSL2")


def python_check() -> Check:
    """The Python that runs this."""
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] in SUPPORTED_PYTHON:
        return Check("Python", "ok", found)
    return Check("Python", "problem", found, f"3.10 or 3.11 is needed; {SET_UP}")


def packages_check() -> Check:
    """The packages of the main environment: those of the extra `segmentation`."""
    required = importlib.metadata.requires("rtpipeline") or []
    names = [re.split(r"[^\w.-]", text)[0] for text in required if "segmentation" in text.partition(";")[2]]
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("packages", "problem", f"missing: {', '.join(missing)}", SET_UP)
    return Check("packages", "ok", ", ".join(found))


def torch_check() -> Check:
    """PyTorch, and the GPUs that it can use; asked in another process, because a broken one may crash."""
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _TORCH_QUESTION],
            capture_output=True,
            text=True,
            timeout=_QUESTION_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check("PyTorch", "problem", f"did not start within {_QUESTION_TIMEOUT_S} s", SET_UP)
    if answer.returncode != 0:
        return Check("PyTorch", "problem", _last_line(answer.stderr, answer.returncode), SET_UP)
    torch = json.loads(answer.stdout.splitlines()[-1])
    if torch["gpus"]:
        return Check("PyTorch", "ok", f"{torch['version']}, GPU: {', '.join(torch['gpus'])}")
    if shutil.which("nvidia-smi") is not None:
        return Check(
            "PyTorch",
            "note",
            f"{torch['version']} (CUDA: {torch['cuda'] or 'not in this build'}) cannot use this machine's GPU",
            "see docs/how-to/install.md; until then segmentation runs on the CPU",
        )
    detail = f"{torch['version']}, no GPU: segmentation runs on the CPU, in minutes per course instead of seconds"
    return Check("PyTorch", "note", detail)


def environment_checks(config: Sequence[str]) -> list[Check]:
    """The radiomics environment and TotalSegmentator's weights, looked for by a process that may import everything."""
    question = [sys.executable, "-m", "rtpipeline.cli.environment_checks", *config]
    try:
        answer = subprocess.run(
            question, capture_output=True, text=True, timeout=_QUESTION_TIMEOUT_S, check=False, env=dict(os.environ)
        )
    except subprocess.TimeoutExpired:
        return [Check("environments", "problem", f"no answer within {_QUESTION_TIMEOUT_S} s", SET_UP)]
    if answer.returncode != 0:
        detail = f"cannot be looked at: {_last_line(answer.stderr, answer.returncode)}"
        return [Check("environments", "problem", detail, "mend the above first")]
    return [Check(**check) for check in json.loads(answer.stdout.splitlines()[-1])]


def disk_check(folder: Path) -> Check:
    """Free space where results would go."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free_gb = shutil.disk_usage(existing).free / 1e9
    detail = f"{free_gb:.1f} GB free at {existing}"
    if free_gb < TOO_LITTLE_DISK_GB:
        return Check("disk", "problem", detail, "free some space, or choose another --outdir")
    if free_gb < LITTLE_DISK_GB:
        return Check("disk", "note", detail, "a course takes about twice the size of its DICOM files")
    return Check("disk", "ok", detail)


def memory_check() -> Check:
    """Main memory."""
    file = Path("/proc/meminfo")
    if not file.is_file():
        return Check("memory", "note", "cannot be read on this system")
    kib = {line.split(":")[0]: int(line.split()[1]) for line in file.read_text(encoding="ascii").splitlines()}
    total_gb, available_gb = kib["MemTotal"] * 1024 / 1e9, kib["MemAvailable"] * 1024 / 1e9
    detail = f"{total_gb:.1f} GB, {available_gb:.1f} GB of it available"
    if total_gb < LITTLE_MEMORY_GB:
        return Check("memory", "note", detail, "use segmentation.fast, and max_workers: 1")
    return Check("memory", "ok", detail)


def shared_memory_check() -> Check:
    """`/dev/shm`, which processes of PyTorch exchange arrays in; containers often have little."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Check("shared memory", "note", "no /dev/shm on this system")
    size_gb = shutil.disk_usage(folder).total / 1e9
    if size_gb < LITTLE_SHARED_MEMORY_GB:
        return Check("shared memory", "note", f"{size_gb:.2f} GB", "in a container: --shm-size=2g")
    return Check("shared memory", "ok", f"{size_gb:.1f} GB")


def cores_check() -> Check:
    """CPU cores that this process may use."""
    usable, present = usable_cpus(), os.cpu_count() or 1
    limited = f" of {present} (limited by affinity or control group)" if usable < present else ""
    return Check("cores", "ok", f"{usable}{limited}")


def _last_line(text: str, code: int) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else f"ended with code {code}"

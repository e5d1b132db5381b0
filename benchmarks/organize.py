"""Organize beside a bare header scan of the same files: seconds, and how often each input file is opened.

Ten patients with 178 files each: a CT of 174 slices of 256 × 256, structure set, plan, dose, treatment record.
"""

from __future__ import annotations

import json
import logging
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom

from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles
from rtpipeline.organize import organize
from rtpipeline.organize.index import build_index

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from dicom_factory import Patient

THREADS = 2
ROUNDS = 5
SCANNED = ["PatientID", "Modality", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"]


def make_export(folder: Path) -> list[Path]:
    for number in range(10):
        patient = Patient(folder / f"P{number}", f"P{number}")
        for path in patient.make_series(slices=174):
            dataset = pydicom.dcmread(path)
            dataset.Rows = dataset.Columns = 256
            dataset.PixelData = np.zeros((256, 256), "<u2").tobytes()
            dataset.save_as(path)
        patient.make_structure_set()
        patient.make_plan()
        patient.make_dose()
        patient.make_record("record")
    return sorted(path for path in folder.rglob("*") if path.is_file())


def scan(files: list[Path]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(lambda file: pydicom.dcmread(file, stop_before_pixels=True, specific_tags=SCANNED), files):
            pass


def run_organize(root: Path, out: Path) -> None:
    organize(
        root,
        CohortFiles(out),
        Configuration(),
        threads=THREADS,
        logger=logging.getLogger("benchmark"),
        report_progress=lambda done, total: None,
        cancelled=threading.Event(),
    )


def run_index(root: Path, out: Path) -> None:
    build_index(
        root,
        out / "index.parquet",
        excluded=out,
        threads=THREADS,
        report_progress=lambda done, total: None,
        cancelled=threading.Event(),
    )


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def count_opens(root: Path, work: Callable[[], None]) -> int:
    """How often a file below `root` is opened while `work` runs."""
    opened = 0
    counting = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal opened
        if counting and event == "open" and str(arguments[0]).startswith(f"{root}/"):
            opened += 1

    sys.addaudithook(hook)
    work()
    counting = False
    return opened


def main() -> None:
    work = Path(tempfile.mkdtemp(prefix="rtpipeline-benchmark-"))
    try:
        root, out = work / "export", work / "out"
        files = make_export(root)
        run_organize(root, out)  # imports and disk cache
        times: dict[str, list[float]] = {"scan_s": [], "organize_s": [], "again_s": []}
        for _ in range(ROUNDS):
            shutil.rmtree(out)
            times["scan_s"].append(seconds(lambda: scan(files)))
            times["organize_s"].append(seconds(lambda: run_organize(root, out)))
            times["again_s"].append(seconds(lambda: run_organize(root, out)))
        index = work / "index"
        index.mkdir()
        first = count_opens(root, lambda: run_index(root, index)) / len(files)
        again = count_opens(root, lambda: run_organize(root, out)) / len(files)
    finally:
        shutil.rmtree(work)
    figures = {name: statistics.median(values) for name, values in times.items()}
    ratio = statistics.median([one / other for one, other in zip(times["organize_s"], times["scan_s"], strict=True)])
    bars = {
        "organize_over_scan": {"value": ratio, "at_most": 3.0, "ok": ratio <= 3.0},
        "header_reads_per_file": {"value": first, "at_most": 1.0, "ok": first == 1.0},
        "opens_per_file_when_unchanged": {"value": again, "at_most": 0.0, "ok": again == 0.0},
    }
    print(f"{len(files)} files, {THREADS} threads, median of {ROUNDS} rounds")
    for name, value in figures.items():
        print(f"  {name:30} {value:8.3f}")
    for name, bar in bars.items():
        print(f"  {name:30} {bar['value']:8.3f}  at most {bar['at_most']:g}  {'ok' if bar['ok'] else 'NOT MET'}")
    ok = all(bar["ok"] for bar in bars.values())
    print(json.dumps({"name": "organize", "figures": figures, "bars": bars, "ok": ok}))


if __name__ == "__main__":
    main()

"""Organize beside a bare header scan of the same files: seconds, and how often each input file is opened.

Ten patients with 178 files each: a CT of 174 slices of 256 × 256, structure set, plan, dose, treatment record. Then the
scale: indexing and deciding on 10,000 and on 100,000 files that are little but headers, each in a process of its own.
Taken are the time of the index by the clock, the processor time of the process from its start to its end, and its
largest memory. The small ones run one after another beside the large one, so that both meet the same machine: what
else it does at the moment does not show in their ratio.
"""

from __future__ import annotations

import json
import logging
import shutil
import statistics
import subprocess
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
from rtpipeline.organize.index import Index, build_index

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from dicom_factory import Patient

THREADS = 2
ROUNDS = 5
SLICES = 200
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


def add_slice(neighbour: Path, path: Path) -> None:
    """A further slice of the neighbour's series, at a position that has none yet."""
    dataset = pydicom.dcmread(neighbour)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{dataset.SOPInstanceUID}.1"
    dataset.InstanceNumber = 1000
    dataset.ImagePositionPatient = [*dataset.ImagePositionPatient[:2], 1000]
    dataset.save_as(path)


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


def run_index(root: Path, out: Path) -> Index:
    return build_index(
        root,
        out / "index.parquet",
        excluded=out,
        threads=THREADS,
        report_progress=lambda done, total: None,
        cancelled=threading.Event(),
    )


def make_headers(folder: Path, count: int) -> None:
    """CT images of 200 slices a patient, of a single pixel; files differ in a few bytes."""
    template = Patient(folder, "P" * 8).make_series("t" * 4, slices=1)[0]
    dataset = pydicom.dcmread(template)
    dataset.Rows = dataset.Columns = 1
    dataset.PixelData = b"\0\0"
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = "1.2.3.100000000", "1.2.4.100000000"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID = dataset.FrameOfReferenceUID = "1.2.5.100000000"
    dataset.ImagePositionPatient = ["0", "0", "777777"]
    dataset.save_as(template)
    content = template.read_bytes()
    template.unlink()
    for number in range(count):
        patient, slice_number = divmod(number, SLICES)
        place = folder / f"{patient}"
        if slice_number == 0:
            place.mkdir()
        text = content.replace(b"1.2.3.100000000", b"1.2.3.1%08d" % number).replace(b"P" * 8, b"P%07d" % patient)
        for root in (b"1.2.4.", b"1.2.5."):
            text = text.replace(root + b"100000000", root + b"1%08d" % patient)
        (place / f"{slice_number}").write_bytes(text.replace(b"777777", b"%06d" % (3 * slice_number)))


SCALE = """
import json, resource, sys, tempfile, time
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[2])
import organize
from rtpipeline.config import Configuration
from rtpipeline.organize.cohort import plan_courses
start = time.perf_counter()
with tempfile.TemporaryDirectory() as out:
    index = organize.run_index(Path(sys.argv[1]), Path(out))
indexed = time.perf_counter() - start
courses, unused, _ = plan_courses(index.files, Configuration().organize, {}, {})
print(json.dumps({
    "files": len(index.files), "courses": len(courses), "index_s": indexed,
    "all_s": time.perf_counter() - start, "cpu_s": time.process_time(),
    "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
}))
"""


def measure_scale(work: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Figures of 10,000 files (medians of several processes) and of 100,000, measured at the same time."""
    few, many = work / "headers 10000", work / "headers 100000"
    for root, count in ((few, 10_000), (many, 100_000)):
        root.mkdir()
        make_headers(root, count)
    small: list[dict[str, float]] = []
    with start_scale(many) as large:
        while large.poll() is None or not small:
            with start_scale(few) as process:
                small.append(json.loads(process.communicate()[0]))
        found = json.loads(large.communicate()[0])
    return {name: statistics.median(one[name] for one in small) for name in small[0]}, found


def start_scale(root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCALE, str(root), json.dumps([str(Path(__file__).parent)])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


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
        add_slice(files[0], root / "added")
        added = count_opens(root, lambda: run_index(root, index))
        few, many = measure_scale(work)
    finally:
        shutil.rmtree(work)
    figures = {name: statistics.median(values) for name, values in times.items()}
    ratio = statistics.median([one / other for one, other in zip(times["organize_s"], times["scan_s"], strict=True)])
    figures |= {f"{name}_10000": value for name, value in few.items()}
    figures |= {f"{name}_100000": value for name, value in many.items()}
    growth = many["index_s"] / few["index_s"]
    figures["cpu_100000_over_10000"] = many["cpu_s"] / few["cpu_s"]
    bars = {
        "organize_over_scan": {"value": ratio, "at_most": 3.0, "ok": ratio <= 3.0},
        "header_reads_per_file": {"value": first, "at_most": 1.0, "ok": first == 1.0},
        "opens_per_file_when_unchanged": {"value": again, "at_most": 0.0, "ok": again == 0.0},
        "opens_for_one_added_slice": {"value": added, "at_most": 1.0, "ok": added == 1},
        "index_100000_over_10000": {"value": growth, "at_most": 11.0, "ok": growth <= 11.0},
        "memory_gb_100000": {"value": many["memory_gb"], "at_most": 1.0, "ok": many["memory_gb"] < 1.0},
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

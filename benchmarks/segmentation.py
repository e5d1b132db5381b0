"""Ten small series by one warm TotalSegmentator beside ten processes of their own: seconds, and the same labels.

The networks are tiny, so this is about what a process costs besides the network: imports and loading. Rounds alternate
and the ratio is the median. Where there is a GPU (`RTPIPELINE_BENCHMARK_DEVICE=gpu:0`) the inferences run on it, and a
second table has seconds, memory and utilisation of the GPU with one job on it at a time and with two. Its networks are
the real ones where `RTPIPELINE_BENCHMARK_WEIGHTS` names the folder of TotalSegmentator's weights.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from painted_course import configuration, make_course, phantom, publish, resources
from rtpipeline import segmentation
from rtpipeline.course import Course, CourseFiles
from rtpipeline.demo.tiny_weights import write_tiny_weights
from rtpipeline.scheduling.children import ChildProcesses

SERIES = 10
ROUNDS = 2
DEVICE = os.environ.get("RTPIPELINE_BENCHMARK_DEVICE", "cpu")
REAL_WEIGHTS = os.environ.get("RTPIPELINE_BENCHMARK_WEIGHTS")
GPU_SERIES = 6
GPU_SAMPLES_S = 0.2
Bytes = list[bytes]


class GpuWatch:
    """What `nvidia-smi` says of one GPU while something runs on it."""

    def __init__(self, device: str) -> None:
        self.number = device.partition(":")[2] or "0"
        self.memory_mib: list[float] = []
        self.utilisation_percent: list[float] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def ask(self, *fields: str) -> list[str]:
        """Values of some of nvidia-smi's fields."""
        command = ["nvidia-smi", "-i", self.number, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [value.strip() for value in answer.strip().split(",")]

    def _watch(self) -> None:
        while not self._done.wait(GPU_SAMPLES_S):
            memory, utilisation = self.ask("memory.used", "utilization.gpu")
            self.memory_mib.append(float(memory))
            self.utilisation_percent.append(float(utilisation))

    def __enter__(self) -> GpuWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def segment(course: Course, weights: Path, children: ChildProcesses, forced: bool = True) -> dict[str, object]:
    """Segment one course; returns what is recorded of its inference."""
    section = {"fast": True, "weights": weights}
    given = resources(
        course.files.folder, children, device=DEVICE, forced=forced, staging=course.files.folder / "staging"
    )
    outcome = segmentation.run(course, configuration(segmentation=section), given)
    publish(given.staging, course.files.folder)
    if outcome.status != "ok":
        raise SystemExit(f"the segmentation was {outcome.status}: {outcome.reason}")
    return dict(outcome.details["inferences"]["total on CT"])


def results(courses: list[Course]) -> Bytes:
    """The labels and label maps of all courses."""
    files = [course.files.segmentation("CT", "total") for course in courses]
    return [file.read_bytes() for labels in files for file in (labels, CourseFiles.label_map(labels))]


def warm(courses: list[Course], weights: Path) -> float:
    """Seconds of all courses by one process, with its start and end."""
    started = time.perf_counter()
    children = ChildProcesses()
    for course in courses:
        segment(course, weights, children)
    children.close()
    return time.perf_counter() - started


def separate(courses: list[Course], weights: Path) -> float:
    """Seconds of all courses by a process each."""
    started = time.perf_counter()
    for course in courses:
        children = ChildProcesses()
        segment(course, weights, children)
        children.close()
    return time.perf_counter() - started


def gpu_table(work: Path, weights: Path) -> dict[str, dict[str, float]]:
    """Seconds, peak memory and mean utilisation of the GPU with one and with two jobs on it; warm processes."""
    planes, size = (150, 300) if REAL_WEIGHTS else (60, 120)
    courses = [make_course(work / f"gpu{number}", phantom(planes=planes, size=size)) for number in range(GPU_SERIES)]
    figures = {}
    for slots in (1, 2):
        children = ChildProcesses()

        def one(course: Course, children: ChildProcesses = children) -> None:
            segment(course, weights, children)

        with ThreadPoolExecutor(slots) as executor:
            list(executor.map(one, courses[:slots]))  # starts the processes and loads the models
            with GpuWatch(DEVICE) as watch:
                started = time.perf_counter()
                list(executor.map(one, courses))
                seconds = time.perf_counter() - started
        children.close()
        figures[f"{slots} at once"] = {
            "seconds": seconds,
            "peak_memory_mib": max(watch.memory_mib, default=float("nan")),
            "mean_utilisation_percent": statistics.fmean(watch.utilisation_percent or [float("nan")]),
        }
    return figures


def show_gpu_table(figures: dict[str, dict[str, float]]) -> None:
    name, memory, driver = GpuWatch(DEVICE).ask("name", "memory.total", "driver_version")
    networks = "TotalSegmentator's networks (fast)" if REAL_WEIGHTS else "tiny networks"
    print(f"{GPU_SERIES} series on {DEVICE}: {name}, {memory} MiB, driver {driver}; {networks}")
    for slots, values in figures.items():
        print(f"  {slots:12}", "  ".join(f"{label} {value:9.1f}" for label, value in values.items()))


def main() -> None:
    work = Path(tempfile.mkdtemp(prefix="rtpipeline-benchmark-"))
    try:
        weights = work / "weights"
        write_tiny_weights(weights)
        courses = []
        for number in range(SERIES):
            painted = phantom(planes=12)
            painted.hu[0, 0, 0] -= number  # no two series are the same
            courses.append(make_course(work / f"course{number}", painted))
        separate(courses[:1], weights)  # disk cache
        times: dict[str, list[float]] = {"warm_s": [], "separate_s": []}
        labels: dict[str, Bytes] = {}
        for _ in range(ROUNDS):
            times["warm_s"].append(warm(courses, weights))
            labels["warm"] = results(courses)
            times["separate_s"].append(separate(courses, weights))
            labels["separate"] = results(courses)
        children = ChildProcesses()
        again = [segment(course, weights, children, forced=False) for course in courses]
        children.close()
        on_gpu = gpu_table(work, Path(REAL_WEIGHTS or weights)) if DEVICE.startswith("gpu") else {}
    finally:
        shutil.rmtree(work)
    ratio = statistics.median([one / ten for one, ten in zip(times["warm_s"], times["separate_s"], strict=True)])
    same = float(labels["warm"] == labels["separate"])
    repeated = sum("earlier_result" not in result for result in again)
    figures = {name: statistics.median(values) for name, values in times.items()}
    bars: dict[str, dict[str, Any]] = {
        "warm_over_separate": {"value": ratio, "at_most": 0.5, "ok": ratio <= 0.5},
        "same_bytes": {"value": same, "at_least": 1.0, "ok": same == 1.0},
        "inferences_of_a_second_run": {"value": repeated, "at_most": 0, "ok": repeated == 0},
    }
    print(f"{SERIES} series of 12 planes of 34 x 32 voxels on {DEVICE}, median of {ROUNDS} rounds")
    for name, value in figures.items():
        print(f"  {name:30} {value:8.2f}")
    for name, bar in bars.items():
        limit = f"at most {bar['at_most']:g}" if "at_most" in bar else f"at least {bar['at_least']:g}"
        print(f"  {name:30} {bar['value']:8.3f}  {limit}  {'ok' if bar['ok'] else 'NOT MET'}")
    if on_gpu:
        show_gpu_table(on_gpu)
    else:
        print("  no GPU: memory and utilisation were not measured")
    ok = all(bar["ok"] for bar in bars.values())
    print(
        json.dumps({"name": "segmentation", "device": DEVICE, "figures": {**figures, **on_gpu}, "bars": bars, "ok": ok})
    )


if __name__ == "__main__":
    main()

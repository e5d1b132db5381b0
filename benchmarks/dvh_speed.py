"""Dose-volume curves of all structures of two real plans beside dicompyler-core 0.5.6.

One core: both from opening the files to the last curve, alternating, in seconds of processor time, which other work
on the machine disturbs least; imports and compilation are outside the timing, and the peer runs in a process and an
environment of its own. Two threads against one, in seconds that pass: all structures of both plans
by the stage's own thread pool, files read before. The settings are those of the stage and of `dvh_accuracy`.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pydicom

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from dicompyler_process import Dicompyler

from rtpipeline.dicom.rtdose import read_dose
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.dvh.histogram import SampledDose
from rtpipeline.dvh.structure_dvh import StructureDvh, structure_dvh, structure_dvhs
from rtpipeline.structures import Structure

ROUNDS = 5
THREAD_ROUNDS = 15
PLANE_SPACING_MM = 3.0
PLANS = ("breast-tps", "LUNG1-001")


def files_of(plan: str) -> tuple[Path, Path]:
    """Structure set and dose."""
    found = {}
    for path in sorted((Path(os.environ["RTPIPELINE_TEST_DATA"]) / plan).rglob("*.dcm")):
        modality = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Modality"]).Modality
        found.setdefault(modality, path)
    return found["RTSTRUCT"], found["RTDOSE"]


def read(plan: tuple[Path, Path]) -> tuple[list[Structure], SampledDose]:
    rois = read_structure_set(plan[0]).rois
    structures = [Structure("manual", roi.number, roi.name, "", contours=roi.contours) for roi in rois if roi.contours]
    return structures, SampledDose(read_dose(plan[1]))


def curves(structures: list[Structure], dose: SampledDose, threads: int) -> list[StructureDvh]:
    def compute(structure: Structure) -> StructureDvh:
        return structure_dvh(structure, dose, image_plane_spacing_mm=PLANE_SPACING_MM, minimum_coverage_fraction=0.99)

    return list(structure_dvhs(structures, compute, threads))


def read_and_compute(plan: tuple[Path, Path]) -> None:
    curves(*read(plan), threads=1)


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    work()
    return clock() - start


def beside_the_peer(plans: dict[str, tuple[Path, Path]]) -> dict[str, float]:
    """Seconds per plan and the ratio of the totals, medians over the rounds, on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    ours: dict[str, list[float]] = {plan: [] for plan in plans}
    theirs: dict[str, list[float]] = {plan: [] for plan in plans}
    with Dicompyler() as peer:
        for number in range(ROUNDS + 1):
            for plan, paths in plans.items():
                own = seconds(partial(read_and_compute, paths), time.process_time)
                other = float(peer.ask(*paths)["seconds"])
                if number:  # the first round warms up
                    ours[plan].append(own)
                    theirs[plan].append(other)
    os.sched_setaffinity(0, cores)
    figures = {f"{plan}_s": statistics.median(values) for plan, values in ours.items()}
    figures |= {f"{plan}_dicompyler_s": statistics.median(values) for plan, values in theirs.items()}
    rounds = zip(zip(*theirs.values(), strict=True), zip(*ours.values(), strict=True), strict=True)
    figures["times_faster"] = statistics.median([sum(other) / sum(own) for other, own in rounds])
    return figures


def two_threads(plans: dict[str, tuple[Path, Path]]) -> dict[str, float]:
    """Seconds of all structures of both plans with one and two threads, and their ratio, medians."""
    loaded = [read(paths) for paths in plans.values()]
    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(THREAD_ROUNDS):
        for threads in times:
            times[threads].append(sum(seconds(partial(curves, *one, threads)) for one in loaded))
    ratios = [one / two for one, two in zip(times[1], times[2], strict=True)]
    return {
        "one_thread_s": statistics.median(times[1]),
        "two_threads_s": statistics.median(times[2]),
        "two_threads_gain": statistics.median(ratios),
    }


def main() -> None:
    plans = {plan: files_of(plan) for plan in PLANS}
    figures = beside_the_peer(plans) | two_threads(plans)
    bars = {
        "times_faster": {"value": figures["times_faster"], "at_least": 10.0},
        "two_threads_gain": {"value": figures["two_threads_gain"], "at_least": 1.6},
    }
    print(
        f"all structures of {' and '.join(PLANS)}; medians of {ROUNDS} rounds on one core, {THREAD_ROUNDS} with threads"
    )
    for name, value in figures.items():
        print(f"  {name:28} {value:8.3f}")
    for name, bar in bars.items():
        bar["ok"] = bar["value"] >= bar["at_least"]
        print(f"  {name:28} {bar['value']:8.2f}  at least {bar['at_least']:g}  {'ok' if bar['ok'] else 'NOT MET'}")
    ok = all(bar["ok"] for bar in bars.values())
    print(json.dumps({"name": "dvh_speed", "figures": figures, "bars": bars, "ok": ok}))


if __name__ == "__main__":
    main()

"""Radiomics beside plain PyRadiomics 3.0.1: speed on one core, parity of every feature, and a second core.

Both sides run in the radiomics environment, each in a process of its own, with the packaged CT profile (1,223 features
a structure) on a CT of 512 × 512 × 134 voxels. Image and mask are in memory, kernels are compiled, diagnostics are off
on both sides; times are seconds of processor time, which other work on the machine disturbs least. Ours are timed with
the B-spline coefficients of the image at hand, as they are from an image's second structure on, except where it says
"first"; plain computes them for every structure. Lung-Right and the ball of 2,000 cm³ are timed once. Parity of the
structures that are not timed is compared two at a time. Two cores against one: six structures through the service, in
seconds that pass.

All three are run, in under 20 minutes on two idle cores; `--speed`, `--parity` and `--two-cores` run one of them.
`--short` leaves out structures of more than 1,000 cm³ and repeats nothing: some minutes, to see that it runs.
`--whole`, about twice as long, repeats more, compares Lung-Left too, and replays two cores by processor time, which
other work disturbs less: every part is done by the worker that would be free first.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from rtpipeline.config import Configuration
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.extraction.jobs import ExtractionJob
from rtpipeline.extraction.parts import in_parts, next_part
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.radiomics_conda import find_radiomics_python
from rtpipeline.radiomics_parallel import packaged_parameters, radiomics_client, store_image, store_mask
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.resources import Resources

sys.path.insert(0, str(Path(__file__).parent / "peers"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "extraction"))
import parity
from radiomics_side import Side

PARTS_OF_THE_BENCHMARK = ("--speed", "--parity", "--two-cores")
SIX = ("Lung-Right", "Lung-Left", "ball of 300 cm³", "GTV-1", "Spinal-Cord", "20 cm³")
LARGE = ("Lung-Right", "ball of 2,000 cm³", "Lung-Left")


@dataclass(frozen=True)
class Extent:
    """How much is run.

    Attributes:
        rounds: how often the structure of 20 cm³ is timed.
        core_rounds: how often six structures are, on one core and on two.
        without: structures that take part in nothing.
        uncompared: structures whose features are not compared, because plain PyRadiomics takes minutes for each.
        replay: whether two cores are replayed too.
    """

    rounds: int
    core_rounds: int
    without: tuple[str, ...] = ()
    uncompared: tuple[str, ...] = ()
    replay: bool = False


SHORT = Extent(rounds=1, core_rounds=1, without=LARGE)
SAMPLE = Extent(rounds=3, core_rounds=1, uncompared=("Lung-Left",))
WHOLE = Extent(rounds=5, core_rounds=3, replay=True)


@dataclass
class Comparison:
    """What both sides say of one structure."""

    times: dict[str, list[float]]
    features: dict[str, dict[str, float]]
    peak_bytes: dict[str, int]

    @property
    def times_faster(self) -> float:
        return statistics.median(p / o for p, o in zip(self.times["plain"], self.times["ours"], strict=True))

    @property
    def different(self) -> dict[str, Any]:
        """Features that are not the same within the tolerances of the parity test."""
        return parity.differences(self.features["ours"], self.features["plain"])

    @property
    def last_bits(self) -> set[str]:
        """Features, without their image, that are the same but for their last bits."""
        plain, ours = self.features["plain"], self.features["ours"]
        return {
            "_".join(name.split("_")[-2:])
            for name, value in plain.items()
            if ours[name] != value and ours[name] is not None
        }


def compare(sides: dict[str, Side], job: ExtractionJob, rounds: int) -> Comparison:
    """Run one job on both sides, alternating."""
    result = Comparison({name: [] for name in sides}, {}, {})
    for _ in range(rounds):
        for name, side in sides.items():
            answer = side.extract(job)
            result.times[name].append(answer["seconds"])
            result.features[name] = answer["features"]
            result.peak_bytes[name] = answer["peak_bytes"]
    return result


def masks_of_the_lung_course(volume: Volume) -> dict[str, Mask]:
    """The drawn structures; GTV-1 eroded to 20 cm³; balls in the middle of the body."""
    grid = volume.grid
    course = Path(os.environ["RTPIPELINE_TEST_DATA"]) / "LUNG1-001"
    masks = {roi.name: rasterise(roi.contours, grid) for roi in read_structure_set(course / "RTSTRUCT.dcm").rois}
    masks["20 cm³"] = eroded(masks["GTV-1"], grid, 20.0)
    for volume_cm3 in (300, 2000):
        masks[f"ball of {volume_cm3:,} cm³"] = ball(grid, float(volume_cm3))
    return masks


def eroded(mask: Mask, grid: Grid, volume_cm3: float) -> Mask:
    """The voxels that lie deepest in a mask, as many as make up the volume."""
    depth = ndimage.distance_transform_edt(np.pad(mask.values, 1), sampling=grid.spacing_mm[::-1])[1:-1, 1:-1, 1:-1]
    wanted = round(volume_cm3 * 1000 / float(np.prod(grid.spacing_mm)))
    whole = np.zeros(grid.shape, bool)
    whole[mask.box_on(grid)] = depth > np.sort(depth, axis=None)[-wanted]
    return Mask.cropped(grid, whole)


def ball(grid: Grid, volume_cm3: float) -> Mask:
    radius_mm = (volume_cm3 * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
    centre = [size / 2 for size in grid.shape]
    offsets = [
        ((np.arange(size) - middle) * spacing) ** 2
        for size, middle, spacing in zip(grid.shape, centre, grid.spacing_mm[::-1], strict=True)
    ]
    return Mask.cropped(grid, offsets[0][:, None, None] + offsets[1][:, None] + offsets[2] <= radius_mm**2)


def phantom() -> tuple[Volume, Mask]:
    """The IBSI's CT phantom and its structure."""
    dicom = Path(os.environ["RTPIPELINE_TEST_DATA"]) / "IBSI-1" / "dicom"
    volume = load_image(dicom / "image")
    roi = next(roi for roi in read_structure_set(next((dicom / "mask").glob("*.dcm"))).rois if roi.contours)
    return volume, rasterise(roi.contours, volume.grid)


@contextmanager
def service(folder: Path, threads: int) -> Iterator[Any]:
    """The radiomics service as a stage with this many threads uses it."""
    children = ChildProcesses()
    resources = Resources(
        threads=threads,
        device="cpu",
        staging=folder / "staging",
        scratch=folder / "scratch",
        logs=folder / "logs",
        children=children,
        logger=logging.getLogger("benchmark"),
    )
    try:
        yield radiomics_client(Configuration(), resources)
    finally:
        children.close()


def second_core(folder: Path, jobs: list[ExtractionJob], warm_up: ExtractionJob, rounds: int) -> dict[str, float]:
    """Seconds of the structures with one and with two workers, alternating, and the ratio; medians."""
    times: dict[int, list[float]] = {1: [], 2: []}
    with service(folder, 1) as one, service(folder, 2) as two:
        clients = {1: one, 2: two}
        for client in clients.values():
            list(client.extract([replace(warm_up, key=str(number)) for number in range(6)], timeout_s=None))
        for _ in range(rounds):
            for workers, client in clients.items():
                start = time.perf_counter()
                results = list(client.extract(jobs, timeout_s=None))
                times[workers].append(time.perf_counter() - start)
                assert all(result.status == "ok" for result in results), results
    return {
        "structures": len(jobs),
        "one_core_s": statistics.median(times[1]),
        "two_cores_s": statistics.median(times[2]),
        "second_core": statistics.median(a / b for a, b in zip(times[1], times[2], strict=True)),
    }


def replayed_second_core(python: Path, jobs: list[ExtractionJob], warm_up: ExtractionJob) -> dict[str, float]:
    """The same by processor time: one worker, then two that take parts in the pool's order, one part after another."""
    ordered = sorted(jobs, key=lambda job: (-job.size, job.key))
    waiting = [part for own in in_parts(ordered, 2) for part in own]
    sides = [Side(python, "ours") for _ in range(3)]
    for side in sides:
        side.extract(warm_up)
    alone = sum(sides[0].extract(job)["seconds"] for job in ordered)
    clocks, last, parts = [0.0, 0.0], ["", ""], len(waiting)
    while waiting:
        free = clocks.index(min(clocks))
        other = 1 - free
        chosen = next_part(waiting, last[free], {last[other]} if parts > len(waiting) else ())
        if chosen is None:  # it waits until the other one is free
            free, chosen = other, next_part(waiting, last[other], ())
        part = waiting.pop(chosen)
        last[free] = part.key
        clocks[free] += sides[1 + free].extract(part)["seconds"]
    for side in sides:
        side.close()
    return {
        "replayed_one_core_s": alone,
        "replayed_two_cores_s": max(clocks),
        "replayed_extra_work_s": sum(clocks) - alone,
        "replayed_second_core": alone / max(clocks),
    }


def speed(python: Path, jobs: dict[str, ExtractionJob], rounds: int) -> dict[str, Comparison]:
    """Both sides on one core, alternating."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    sides = {name: Side(python, name) for name in ("plain", "ours")}
    compared = {"first structure of an image, 20 cm³": compare(sides, jobs["20 cm³"], 1)}
    compare(sides, jobs["GTV-1"], 1)  # computes the coefficients that the others share
    compared["20 cm³"] = compare(sides, jobs["20 cm³"], rounds)
    for name in ("Lung-Right", "ball of 2,000 cm³"):
        if name not in jobs:
            continue
        compared[name] = compare(sides, jobs[name], 1)
        print(f"  {name}: {compared[name].times_faster:.1f} times faster", flush=True)
    for side in sides.values():
        side.close()
    os.sched_setaffinity(0, cores)
    return compared


def parity_of(python: Path, jobs: dict[str, ExtractionJob]) -> dict[str, Comparison]:
    """Structures that are not timed, two at a time."""

    def one(job: ExtractionJob) -> Comparison:
        sides = {name: Side(python, name) for name in ("plain", "ours")}
        compared = compare(sides, job, 1)
        for side in sides.values():
            side.close()
        return compared

    with ThreadPoolExecutor(2) as executor:
        return dict(zip(jobs, executor.map(one, jobs.values()), strict=True))


def prepared_jobs(folder: Path) -> dict[str, ExtractionJob]:
    """Structures of the lung course, the IBSI's phantom, and one structure on an oblique image."""
    with service(folder, 1) as client:
        parameters = client.read_parameters(packaged_parameters("CT"))
    volume = load_image(Path(os.environ["RTPIPELINE_TEST_DATA"]) / "LUNG1-001" / "CT")
    image = store_image(folder / "lung.npy", volume)
    jobs = {
        name: ExtractionJob(
            name, image, store_mask(folder / f"{name}.npy", mask, volume.grid), parameters, mask.volume_cm3
        )
        for name, mask in masks_of_the_lung_course(volume).items()
    }
    phantom_volume, phantom_mask = phantom()
    jobs["IBSI-1"] = ExtractionJob(
        "IBSI-1",
        store_image(folder / "phantom.npy", phantom_volume),
        store_mask(folder / "phantom_mask.npy", phantom_mask, phantom_volume.grid),
        parameters,
        phantom_mask.volume_cm3,
    )
    turned = Rotation.from_euler("xyz", [7, -12, 31], degrees=True).as_matrix()
    oblique = replace(image, direction=tuple(turned.ravel().tolist()))
    jobs["oblique, 20 cm³"] = replace(jobs["20 cm³"], key="oblique", image=oblique)
    return jobs


def main() -> None:
    extent = SHORT if "--short" in sys.argv else WHOLE if "--whole" in sys.argv else SAMPLE
    asked = [part for part in PARTS_OF_THE_BENCHMARK if part in sys.argv] or list(PARTS_OF_THE_BENCHMARK)
    python = find_radiomics_python(Configuration(), os.environ).python
    compared: dict[str, Comparison] = {}
    cores: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        jobs = {name: job for name, job in prepared_jobs(folder).items() if name not in extent.without}
        if "--speed" in asked:
            compared |= speed(python, jobs, extent.rounds)
        if "--parity" in asked:
            others = [name for name in jobs if name not in compared and name not in extent.uncompared]
            largest_first = sorted(others, key=lambda name: -jobs[name].size)
            compared |= parity_of(python, {name: jobs[name] for name in largest_first})
        if "--two-cores" in asked:
            shared = [jobs[name] for name in SIX if name in jobs]
            cores = second_core(folder, shared, jobs["20 cm³"], extent.core_rounds)
            if extent.replay:
                cores |= replayed_second_core(python, shared, jobs["20 cm³"])
    sys.exit(0 if report(compared, cores) else 1)


def report(compared: dict[str, Comparison], cores: dict[str, float]) -> bool:
    """A table, the features that differ in their last bits, and the figures as JSON; whether the bars are met."""
    print(f"\n{'structure':36} {'plain s':>9} {'ours s':>8} {'times faster':>13} {'differ':>7}")
    for name, one in compared.items():
        plain, ours = (statistics.median(one.times[side]) for side in ("plain", "ours"))
        print(f"{name:36} {plain:9.2f} {ours:8.2f} {one.times_faster:13.1f} {len(one.different):7}")
    print("the same but for the last bits, in some image or structure:")
    print("  " + ", ".join(sorted(set().union(*(one.last_bits for one in compared.values())))))
    for name, figure in cores.items():
        print(f"  {name:32} {figure:8.2f}")
    figures: dict[str, Any] = {
        **cores,
        "features_compared": sum(len(one.features["plain"]) for one in compared.values()),
        **{
            f"{name} {side} s": statistics.median(one.times[side])
            for name, one in compared.items()
            for side in one.times
        },
    }
    bars = bars_of(compared, cores)
    for name, bar in bars.items():
        bar["ok"] = bar["value"] >= bar["at_least"] if "at_least" in bar else bar["value"] <= bar["at_most"]
        limit = f"at least {bar['at_least']:g}" if "at_least" in bar else f"at most {bar['at_most']:g}"
        print(f"  {name:32} {bar['value']:8.2f}  {limit:12} {'ok' if bar['ok'] else 'NOT MET'}")
    ok = all(bar["ok"] for bar in bars.values())
    print(json.dumps({"name": "radiomics", "figures": figures, "bars": bars, "ok": ok}))
    return ok


def bars_of(compared: dict[str, Comparison], cores: dict[str, float]) -> dict[str, dict[str, Any]]:
    """The bars of what was run."""
    least = {"20 cm³": 8.0, "Lung-Right": 6.0, "ball of 2,000 cm³": 5.0}
    bars: dict[str, dict[str, Any]] = {}
    bars |= {
        f"{name} times_faster": {"value": compared[name].times_faster, "at_least": times}
        for name, times in least.items()
        if name in compared
    }
    if compared:
        peak = max(one.peak_bytes["ours"] for one in compared.values())
        bars["peak_gb"] = {"value": peak / 1e9, "at_most": 3.0}
        bars["features that differ"] = {"value": sum(len(one.different) for one in compared.values()), "at_most": 0}
    if cores.get("structures") == len(SIX):
        bars["second_core"] = {"value": cores["second_core"], "at_least": 1.6}
    return bars


if __name__ == "__main__":
    main()

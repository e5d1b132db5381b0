"""Structure sets beside rt-utils 1.2.7; a thousand random masks there and back; what plastimatch reads.

100 structures on 512 × 512 × 120 voxels, written from masks and read into masks, in seconds of processor time, each
side in a process of its own, alternating; imports and the making of the masks are outside the timing.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from environment import peer_python
from phantom_masks import ORIGIN, SHAPE, SPACING, masks, names

from dicom_files import write_series
from imaging.masks import random_direction, random_mask
from rtpipeline.dicom.image_series import read_geometry
from rtpipeline.dicom.rtstruct import RoiToWrite, read_structure_set, write_structure_set
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.keyholes import keyholed_outline
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.nifti import read_nifti

PEERS = Path(__file__).parent / "peers"
ROUNDS = 3
REQUIREMENTS = ("rt-utils==1.2.7", "pydicom<3", "numpy<2", "opencv-python-headless<4.11", "setuptools<81")
RANDOM_MASKS = 1000
MASKS_PER_FILE = 10
SMALLEST_COMPARED_VOXELS = 500
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}


def run(python: Path, script: str, images: Path, path: Path) -> dict[str, Any]:
    finished = subprocess.run(
        [python, PEERS / script, images, path],
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return answer


def compare(work: Path) -> tuple[dict[str, float], dict[str, Any]]:
    grid = Grid.uniform(ORIGIN, SPACING, SHAPE[::-1])
    images = work / "CT"
    write_series(images, grid, np.zeros(SHAPE, np.int16))
    peer = peer_python("rt-utils", *REQUIREMENTS)
    ours, theirs = [], []
    for number in range(ROUNDS):
        ours.append(run(Path(sys.executable), "our_structure_sets.py", images, work / "ours.dcm"))
        theirs.append(run(peer, "rt_utils_process.py", images, work / "theirs.dcm"))
        print(f"round {number + 1}: ours {ours[-1]}, rt-utils {theirs[-1]}", flush=True)
    figures: dict[str, float] = {}
    bars: dict[str, Any] = {}
    for what in ("write", "read"):
        key = f"{what}_s"
        figures[f"ours_{key}"] = statistics.median(one[key] for one in ours)
        figures[f"rt_utils_{key}"] = statistics.median(one[key] for one in theirs)
        ratio = statistics.median(other[key] / own[key] for own, other in zip(ours, theirs, strict=True))
        bars[f"speedup_{what}"] = {"value": ratio, "at_least": 5.0, "ok": ratio >= 5.0}
    peak_gb = max(one["peak_bytes"] for one in ours) / 1e9
    figures["rt_utils_peak_gb"] = max(one["peak_bytes"] for one in theirs) / 1e9
    different = max(one["different_voxels"] for one in ours)
    bars["peak_gb"] = {"value": peak_gb, "at_most": 1.0, "ok": peak_gb < 1.0}
    bars["different_voxels_of_100_structures"] = {"value": different, "at_most": 0, "ok": different == 0}
    return figures, bars


def random_masks(work: Path) -> int:
    """Number of voxels that differ after mask → file → mask, over all random masks."""
    different = 0
    for number in range(RANDOM_MASKS // MASKS_PER_FILE):
        generator = np.random.default_rng(number)
        shape = random_mask(generator).shape
        direction = random_direction(generator) if number % 2 else np.eye(3)
        spacing = tuple(generator.uniform(0.5, 4, 3))
        grid = Grid.uniform(generator.uniform(-1500, 1500, 3), spacing, shape[::-1], direction)
        drawn = []
        for _ in range(MASKS_PER_FILE):
            values, fitted = random_mask(generator), np.zeros(shape, bool)
            part = tuple(slice(0, min(a, b)) for a, b in zip(values.shape, shape, strict=True))
            fitted[part] = values[part]
            drawn.append(fitted)
        folder = work / f"random {number}"
        write_series(folder / "CT", grid, np.zeros(shape, np.int16))
        rois = [RoiToWrite(f"mask {n}", keyholed_outline(Mask.cropped(grid, values))) for n, values in enumerate(drawn)]
        write_structure_set(folder / "RS.dcm", folder / "CT", rois, label="random")
        image_grid = read_geometry(folder / "CT").grid
        for roi, values in zip(read_structure_set(folder / "RS.dcm").rois, drawn, strict=True):
            different += int(np.count_nonzero(rasterise(roi.contours, image_grid).on(image_grid) != values))
        shutil.rmtree(folder)
    return different


def plastimatch_deviation_percent(work: Path) -> float:
    """Largest deviation of a structure's volume as plastimatch reads it, of those with 500 voxels and more."""
    command = ["plastimatch", "convert", "--input", "ours.dcm", "--referenced-ct", "CT"]
    command += ["--output-prefix", "plastimatch", "--prefix-format", "nii.gz"]
    subprocess.run(command, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    worst = 0.0
    for name, mask in zip(names(), masks(), strict=True):
        count = int(np.count_nonzero(mask))
        if count < SMALLEST_COMPARED_VOXELS:
            continue
        found = list((work / "plastimatch").glob(f"{name.replace(' ', '?')}.nii.gz"))
        read = int(np.count_nonzero(read_nifti(found[0]).values)) if found else 0
        worst = max(worst, 100.0 * abs(read - count) / count)
    return worst


def main() -> None:
    work = Path(tempfile.mkdtemp(prefix="rtpipeline-benchmark-"))
    try:
        figures, bars = compare(work)
        different = random_masks(work)
        bars["different_voxels_of_1000_random_masks"] = {"value": different, "at_most": 0, "ok": different == 0}
        if shutil.which("plastimatch"):
            worst = plastimatch_deviation_percent(work)
            bars["plastimatch_volume_percent"] = {"value": worst, "at_most": 2.0, "ok": worst <= 2.0}
        else:
            print("plastimatch is not installed (apt install plastimatch): not compared")
    finally:
        shutil.rmtree(work)
    print(f"100 structures on 512 x 512 x 120 voxels, median of {ROUNDS} rounds")
    for name, value in figures.items():
        print(f"  {name:40} {value:9.2f}")
    for name, bar in bars.items():
        limit = f"at least {bar['at_least']:g}" if "at_least" in bar else f"at most {bar['at_most']:g}"
        print(f"  {name:40} {bar['value']:9.2f}  {limit}  {'ok' if bar['ok'] else 'NOT MET'}")
    ok = all(bar["ok"] for bar in bars.values())
    print(json.dumps({"name": "rtstruct", "figures": figures, "bars": bars, "ok": ok}))


if __name__ == "__main__":
    main()

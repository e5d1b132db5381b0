"""The same features to the last bit, whichever Python the radiomics environment has: `python -m nox -s interpreters`.

That makes the environment for each Python version in a folder of its own and hands their interpreters over. Each of
them extracts the IBSI's digital phantom and, where the real test data is, two structures of a chest CT, with the
packaged CT profile (1,223 features a structure); plain PyRadiomics in the first of them is beside.
"""

from __future__ import annotations

import json
import os
import platform
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent / "peers"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "extraction"))
import parity
from radiomics_side import Side

from ibsi_reference import digital_phantom
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.extraction.jobs import ExtractionJob
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.grid import Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.radiomics_parallel import packaged_parameters, store_image, store_mask

CHEST_STRUCTURES = ("GTV-1", "Spinal-Cord")


def prepared_jobs(folder: Path) -> list[ExtractionJob]:
    """The phantom, whose values are 1 to 6, with bins of 1; the structures of the chest with the profile as it is."""
    profile = yaml.safe_load(packaged_parameters("CT").read_text(encoding="utf-8"))
    fine = {**profile, "setting": {**profile["setting"], "binWidth": 1}}
    volume, mask = digital_phantom()
    jobs = [job(folder, "digital phantom", volume, mask, fine)]
    if "RTPIPELINE_TEST_DATA" not in os.environ:
        return jobs
    course = Path(os.environ["RTPIPELINE_TEST_DATA"]) / "LUNG1-001"
    volume = load_image(course / "CT")
    rois = {roi.name: roi for roi in read_structure_set(course / "RTSTRUCT.dcm").rois}
    masks = {name: rasterise(rois[name].contours, volume.grid) for name in CHEST_STRUCTURES}
    return [*jobs, *(job(folder, f"LUNG1-001 {name}", volume, own, profile) for name, own in masks.items())]


def job(folder: Path, name: str, volume: Volume, mask: Mask, parameters: dict[str, Any]) -> ExtractionJob:
    image = store_image(folder / f"{name}.npy", volume)
    return ExtractionJob(
        name, image, store_mask(folder / f"{name} mask.npy", mask, volume.grid), parameters, mask.volume_cm3
    )


def version_of(python: Path) -> str:
    code = "import platform; print(platform.python_version())"
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def unlike(one: Mapping[str, float | None], other: Mapping[str, float | None]) -> set[str]:
    """Names of features that are not the same bytes, or that only one of them has."""
    first, second = (
        {(name, None if value is None else struct.pack("<d", value)) for name, value in features.items()}
        for features in (one, other)
    )
    return {name for name, _ in first ^ second}


def main() -> None:
    pythons = [Path(argument) for argument in sys.argv[1:]]
    if len(pythons) < 2:
        sys.exit("name two interpreters of radiomics environments or more; `python -m nox -s interpreters` makes them")
    versions = [version_of(python) for python in pythons]
    sides = [Side(python, "ours") for python in pythons]
    plain = Side(pythons[0], "plain")
    print(f"radiomics environments with Python {', '.join(versions)}; plain PyRadiomics with {versions[0]}\n")
    print(f"{'structure':24} {'features':>8} {'unlike between interpreters':>28} {'unlike plain PyRadiomics':>25}")
    totals = {"features": 0, "unlike_between_interpreters": 0, "unlike_plain": 0}
    with tempfile.TemporaryDirectory() as folder:
        for one in prepared_jobs(Path(folder)):
            first, *others = [side.extract(one)["features"] for side in sides]
            between = sorted(set().union(*(unlike(first, other) for other in others)))
            from_plain = parity.differences(first, plain.extract(one)["features"])
            print(f"{one.key:24} {len(first):8} {len(between):28} {len(from_plain):25}")
            print("".join(f"  {name}\n" for name in [*between, *from_plain]), end="", flush=True)
            counts = (len(first), len(between), len(from_plain))
            totals = {name: totals[name] + count for name, count in zip(totals, counts, strict=True)}
    for side in (*sides, plain):
        side.close()
    several = len({version.rsplit(".", 1)[0] for version in versions}) > 1
    bars = {
        name: {"value": totals[name], "at_most": 0, "ok": totals[name] == 0}
        for name in ("unlike_between_interpreters", "unlike_plain")
    }
    ok = several and all(bar["ok"] for bar in bars.values())
    figures = {"python": versions, "machine": platform.machine(), **totals}
    print(json.dumps({"name": "interpreters", "figures": figures, "bars": bars, "ok": ok}))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtpipeline.config import Configuration
from rtpipeline.extraction.jobs import ExtractionJob
from rtpipeline.imaging.grid import Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.radiomics_conda import child_variables, find_radiomics_python
from rtpipeline.radiomics_parallel import RadiomicsClient, radiomics_client, store_image, store_mask
from rtpipeline.scheduling.children import ChildProcesses
from rtpipeline.scheduling.resources import Resources

PLAIN_PYRADIOMICS = Path(__file__).with_name("plain_pyradiomics.py")


@pytest.fixture(scope="session")
def children() -> Iterator[ChildProcesses]:
    processes = ChildProcesses()
    yield processes
    processes.close()


@pytest.fixture
def resources(tmp_path: Path, children: ChildProcesses) -> Resources:
    return Resources(
        threads=2,
        device="cpu",
        staging=tmp_path / "staging",
        scratch=tmp_path / "scratch",
        logs=tmp_path / "logs",
        children=children,
        logger=logging.getLogger("test"),
    )


@pytest.fixture
def client(resources: Resources) -> RadiomicsClient:
    return radiomics_client(Configuration(), resources)


@pytest.fixture
def make_job(tmp_path: Path, client: RadiomicsClient) -> Callable[[str, Volume, Mask, Path], ExtractionJob]:
    """Store an image and a mask, as a stage does."""

    def make(key: str, volume: Volume, mask: Mask, parameters: Path) -> ExtractionJob:
        return ExtractionJob(
            key=key,
            image=store_image(tmp_path / f"{key}_image.npy", volume),
            mask=store_mask(tmp_path / f"{key}_mask.npy", mask, volume.grid),
            parameters=client.read_parameters(parameters),
            size=mask.voxel_count,
        )

    return make


@pytest.fixture
def plain_features(plain: Callable[[Volume, Mask, Path], Any]) -> Callable[[Volume, Mask, Path], dict[str, float]]:
    """Features by plain PyRadiomics on the whole image."""
    return lambda volume, mask, parameters: plain(volume, mask, parameters)["features"]


@pytest.fixture
def plain(tmp_path: Path) -> Callable[[Volume, Mask, Path], Any]:
    """`features` and `diagnostics` by plain PyRadiomics on the whole image."""

    def compute(volume: Volume, mask: Mask, parameters: Path) -> Any:
        np.save(tmp_path / "plain_image.npy", volume.values.astype(np.float32))
        np.save(tmp_path / "plain_mask.npy", mask.on(volume.grid))
        request = {
            "image": str(tmp_path / "plain_image.npy"),
            "mask": str(tmp_path / "plain_mask.npy"),
            "origin": volume.grid.origin_mm.tolist(),
            "spacing": list(volume.grid.spacing_mm),
            "direction": volume.grid.direction.ravel().tolist(),
            "parameters": str(parameters),
        }
        variables = {**os.environ, **child_variables(threads=1)}
        python = find_radiomics_python(Configuration(), os.environ).python
        answer = subprocess.run(
            [str(python), str(PLAIN_PYRADIOMICS)],
            input=json.dumps(request),
            env={name: value for name, value in variables.items() if value is not None},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return json.loads(answer.stdout)

    return compute

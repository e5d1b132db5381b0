"""The configuration that the demo runs with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rtpipeline.config import Configuration, load_configuration

PARAMETERS = Path(__file__).parent / "parameters"


def demo_settings(weights: Path) -> dict[str, Any]:
    """What the demo sets otherwise than the defaults, by dotted key.

    Args:
        weights: where `write_tiny_weights` has written.
    """
    return {
        "scheduler.reserved_cores": 0,
        "segmentation.device": "cpu",
        "segmentation.fast": True,
        "segmentation.weights": weights,
        "radiomics.params_file": PARAMETERS / "ct.yaml",
        "radiomics.mr_params_file": PARAMETERS / "mr.yaml",
        "radiomics.pet_params_file": PARAMETERS / "pet.yaml",
    }


def demo_configuration(dicom_root: Path, weights: Path, output_dir: Path, **flags: Any) -> Configuration:
    """The demo's whole configuration; `flags` are values by dotted key that go before the demo's own.

    Raises:
        ConfigurationError: a key of `flags` is unknown, or its value of the wrong type.
    """
    folders = {"dicom_root": dicom_root, "output_dir": output_dir}
    return load_configuration(overrides={**folders, **demo_settings(weights), **flags})

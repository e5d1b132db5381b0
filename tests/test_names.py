"""Names that people know: modules, stages and their aliases, sentinels, flags of the published examples."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from rtpipeline.pipeline.stages import STAGE_NAMES, STAGES, canonical_names
from rtpipeline.report.page import STAGE_LABELS
from rtpipeline.tables.definitions.analysis import STAGES as STAGES_OF_ANALYSIS

MODULES = [
    "cli",
    "organize",
    "segmentation",
    "auto_rtstruct",
    "custom_models",
    "anatomical_cropping",
    "dvh",
    "quality_control",
    "metadata",
    "radiomics",
    "radiomics_conda",
    "radiomics_parallel",
    "radiomics_robustness",
]

SENTINELS = {
    ".segmentation_done",
    ".custom_models_done",
    ".crop_ct_done",
    ".dvh_done",
    ".radiomics_done",
    ".radiomics_robustness_done",
    ".qc_done",
}


@pytest.mark.parametrize("name", MODULES)
def test_every_documented_module_is_there(name: str) -> None:
    assert importlib.util.find_spec(f"rtpipeline.{name}") is not None


def test_reports_and_tables_know_the_same_stages() -> None:
    assert tuple(STAGE_LABELS) == STAGE_NAMES
    assert {stage.name: stage.label for stage in STAGES}.items() <= STAGE_LABELS.items()
    assert tuple(stage.name for stage in STAGES) == STAGES_OF_ANALYSIS


def test_stages_are_understood_by_name_and_by_alias() -> None:
    assert set(STAGE_NAMES) == {
        "organize",
        "segmentation",
        "custom_models",
        "auto_rtstruct",
        "anatomical_cropping",
        "dvh",
        "metadata",
        "radiomics",
        "radiomics_robustness",
        "quality_control",
        "aggregate",
        "report",
    }
    aliases = ["qc", "crop_ct", "segmentation_custom"]
    assert canonical_names(aliases) == ("custom_models", "anatomical_cropping", "quality_control")


def test_every_stage_leaves_the_mark_that_people_look_for() -> None:
    assert {stage.sentinel for stage in STAGES} >= SENTINELS


@pytest.mark.parametrize("name", ["rtpipeline.yaml", "rtpipeline-radiomics.yaml"])
def test_both_environments_are_described_for_conda(name: str) -> None:
    assert (Path(__file__).parents[1] / "envs" / name).is_file()

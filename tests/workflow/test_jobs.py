"""What the Snakefile is told: pools, threads and commands, from the same table and formulas as a run."""

from __future__ import annotations

import pytest

from rtpipeline.config import load_configuration
from rtpipeline.pipeline.plan import RunPlan
from rtpipeline.pipeline.stages import STAGES, stage_named
from rtpipeline.scheduling import budget, devices
from rtpipeline.workflow.jobs import CLUSTER_JOB_THREADS, Jobs, dotted, rule_name


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Sixteen CPUs and four GPUs."""
    monkeypatch.setattr(budget, "usable_cpus", lambda: 16)
    monkeypatch.setattr(devices, "gpu_uuids", lambda: ("GPU-a", "GPU-b", "GPU-c", "GPU-d"))


def jobs(cores: int | None = 8, **values) -> Jobs:
    return Jobs.of(load_configuration(overrides=values), cores)


@pytest.mark.parametrize(
    ("values", "pools"),
    [
        ({}, {"workers": 7, "seg_workers": 1, "custom_seg_workers": 1}),
        ({"segmentation.device": "cuda"}, {"workers": 7, "seg_workers": 1, "custom_seg_workers": 1}),
        ({"segmentation.max_workers": 2}, {"workers": 7, "seg_workers": 2, "custom_seg_workers": 1}),
        ({"segmentation.device": "cpu"}, {"workers": 7, "seg_workers": 7, "custom_seg_workers": 7}),
        (
            {"segmentation.device": "cpu", "segmentation.max_workers": 2, "max_workers": 4},
            {"workers": 4, "seg_workers": 2, "custom_seg_workers": 4},
        ),
        ({"scheduler.reserved_cores": 0}, {"workers": 8, "seg_workers": 1, "custom_seg_workers": 1}),
    ],
)
def test_pools_of_one_machine(values, pools):
    assert jobs(**values).pools == pools


@pytest.mark.parametrize(
    ("cores", "threads"),
    [(23, (4, 6, 2)), (8, (4, 6, 2)), (5, (4, 4, 2)), (2, (1, 1, 1))],
)
def test_threads_of_stages_are_clipped_to_the_budget(cores, threads, monkeypatch):
    monkeypatch.setattr(budget, "usable_cpus", lambda: 32)
    found = jobs(cores)
    stages = (stage_named(name) for name in ("dvh", "radiomics", "quality_control"))
    assert tuple(found.resources(stage)["workers"] for stage in stages) == threads


@pytest.mark.parametrize(("asked", "threads"), [(None, 7), (3, 3), (20, 7)])
def test_threads_of_aggregation_are_clipped_to_the_budget(asked, threads, monkeypatch):
    monkeypatch.setattr(budget, "usable_cpus", lambda: 32)
    configuration = load_configuration(overrides={"cores": 8, "aggregation.threads": asked})
    assert RunPlan.of(configuration).aggregation_threads(configuration) == threads


def test_the_plan_is_that_of_a_run():
    configuration = load_configuration(overrides={"cores": 8})
    assert jobs(8).plan == RunPlan.of(configuration)


def test_a_cluster_shares_out_its_nodes_itself():
    found = jobs(None)
    assert found.pools == {}
    assert found.budget == CLUSTER_JOB_THREADS
    segmentation, dvh = stage_named("segmentation"), stage_named("dvh")
    assert found.resources(segmentation)["gpu"] == 1
    assert "gpu" not in found.resources(dvh)
    assert "gpu" not in jobs(None, **{"segmentation.device": "cpu"}).resources(segmentation)
    assert jobs(None, max_workers=3).budget == 3


def test_a_job_gets_its_threads_as_the_whole_budget_and_reserves_nothing():
    found = jobs()
    assert "--max-workers {threads}" in found.stage_command
    assert found.cohort_command("organize").count("scheduler.reserved_cores=0") == 1


def test_folders_with_spaces_stay_one_word():
    command = jobs(output_dir="/data/my study").stage_command
    assert "'/data/my study'/{wildcards.patient}/{wildcards.course}" in command


def test_every_stage_has_a_rule_of_its_own_and_a_sentinel():
    assert len({rule_name(stage) for stage in STAGES}) == len(STAGES)
    assert all(stage.sentinel for stage in STAGES)


def test_nested_settings_become_dotted_keys():
    assert dotted({"max_workers": 8, "dvh": {"metrics": ["D95"]}}) == {"max_workers": 8, "dvh.metrics": ["D95"]}

"""Custom models with the real nnU-Net on networks of a few kilobytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
import yaml

from painted_course import LABELS, configuration, make_course, phantom, publish, resources
from rtpipeline import custom_models
from rtpipeline.course import Course, CourseFiles
from rtpipeline.demo.phantom_codes import ORGAN_HU
from rtpipeline.demo.tiny_weights import write_tiny_nnunet_model, write_tiny_weights
from rtpipeline.imaging.nifti import read_nifti
from rtpipeline.inference.body_regions import body_regions
from rtpipeline.outcome import Outcome, StageError
from rtpipeline.scheduling.children import ChildProcesses
from waiting import command_line

ORGANS = ("heart", "liver", "brain")
MODEL_FOLDER = "Dataset603_Three/nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with one of three organs."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_nnunet_model(
        folder / "three" / "nnUNet_results" / MODEL_FOLDER, {name: ORGAN_HU[name] for name in ORGANS}
    )
    _describe(folder / "three")
    return folder


@pytest.fixture(scope="module")
def warm() -> Iterator[ChildProcesses]:
    children = ChildProcesses()
    yield children
    children.close()


def _describe(folder: Path, **changes: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"nnunet": {"networks": [{"id": 603, "label_order": list(ORGANS)}]}, **changes}
    (folder / "custom_model.yaml").write_text(yaml.safe_dump(content))


def _run(
    course: Course,
    root: Path,
    children: ChildProcesses,
    weights: Path | None = None,
    device: str = "cpu",
    threads: int = 2,
    cpu_fallback: bool = False,
    forced: bool = False,
    **options: Any,
) -> Outcome:
    section = {"enabled": True, "root": root, **options}
    staging = course.files.folder / "staging"
    given = resources(course.files.folder, children, staging=staging, device=device, threads=threads, forced=forced)
    settings = configuration(
        custom_models=section, segmentation={"weights": weights, "allow_cpu_fallback": cpu_fallback}
    )
    outcome = custom_models.run(course, settings, given)
    publish(given.staging, course.files.folder)
    return outcome


@pytest.mark.parametrize("position", ["HFS", "FFP", "oblique"])
def test_no_voxel_is_wrong_in_any_patient_position(
    tmp_path: Path, root: Path, warm: ChildProcesses, position: str
) -> None:
    painted = phantom(position)
    course = make_course(tmp_path, painted)
    outcome = _run(course, root, warm)
    assert outcome.status == "ok", outcome.reason
    expected = np.zeros_like(painted.organs)
    for label, name in enumerate(ORGANS, start=1):
        expected[painted.organs == LABELS[name]] = label
    segmented = read_nifti(course.files.custom_model_segmentation("three"))
    assert segmented.grid.same_as(painted.grid)
    np.testing.assert_array_equal(segmented.values, expected)
    label_map = json.loads(CourseFiles.label_map(course.files.custom_model_segmentation("three")).read_text())
    assert label_map["labels"] == {"1": "heart", "2": "liver", "3": "brain"}
    assert label_map["voxel_counts"]["2"] == np.count_nonzero(painted.organs == LABELS["liver"])


def test_a_model_that_cannot_be_used_leaves_the_others(tmp_path: Path, warm: ChildProcesses, root: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "three").symlink_to(root / "three")
    _describe(models / "old", nnunet={"interface": "nnunetv1", "networks": [{"id": 1, "label_order": ["a"]}]})
    _describe(models / "off", enabled=False)
    course = make_course(tmp_path / "course", phantom())
    outcome = _run(course, models, warm)
    assert outcome.status == "partial"
    assert "nnU-Net v1" in outcome.reason
    assert list(outcome.details["inferences"]) == ["three"]
    assert _run(course, models, warm, models=["Three"]).status == "ok"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_tiny_weights(folder)
    return folder


def test_a_task_of_totalsegmentator_is_a_model_among_the_others(
    tmp_path: Path, root: Path, weights: Path, warm: ChildProcesses
) -> None:
    painted = phantom()
    painted.hu[2:4, 20:22, 30:32] = ORGAN_HU["spleen"]
    models = tmp_path / "models"
    _describe(
        models / "organs",
        nnunet={
            "interface": "totalsegmentator",
            "networks": [
                {
                    "alias": "some",
                    "task": "total",
                    "predict_args": "--fast --force_split",  # too short for it, and not split
                    "label_order": ["spleen", "heart"],
                },
                {
                    "alias": "clean",
                    "task": "total",
                    "predict_args": "--fast --force_split",
                    "label_order": ["spleen"],
                    "postprocessing": {"keep_largest_component": True},
                },
            ],
            "combine": {"order": ["some", "clean"]},
        },
    )
    (models / "three").symlink_to(root / "three")
    course = make_course(tmp_path / "course", painted)
    outcome = _run(course, models, warm, weights)
    assert outcome.status == "ok", outcome.reason
    file = course.files.custom_model_segmentation("organs")
    label_map = json.loads(CourseFiles.label_map(file).read_text())
    assert label_map["labels"] == {"1": "spleen", "2": "heart"}
    values = read_nifti(file).values
    for label, name in ((1, "spleen"), (2, "heart")):
        np.testing.assert_array_equal(values == label, painted.organs == LABELS[name])
    again = _run(course, models, warm, weights)
    assert {result.get("earlier_result") for result in again.details["inferences"].values()} == {True}


def test_an_average_of_networks_lies_between_them(tmp_path: Path, warm: ChildProcesses) -> None:
    """Two networks with shifted codes: their mean probability decides as one with the code in the middle."""
    painted = phantom()
    folder = tmp_path / "models" / "pair"
    for number, shift in ((1, -30.0), (2, 30.0)):
        write_tiny_nnunet_model(folder / f"model{number}", {name: ORGAN_HU[name] + shift for name in ORGANS})
    networks = [{"alias": f"n{number}", "weights": f"model{number}", "label_order": list(ORGANS)} for number in (1, 2)]
    _describe(folder, nnunet={"networks": networks, "ensemble": {"inputs": ["n1", "n2"]}})
    course = make_course(tmp_path / "course", painted)
    outcome = _run(course, tmp_path / "models", warm)
    assert outcome.status == "ok", outcome.reason
    segmented = read_nifti(course.files.custom_model_segmentation("pair")).values
    for label, name in enumerate(ORGANS, start=1):
        np.testing.assert_array_equal(segmented == label, painted.organs == LABELS[name])
    steps = {
        "postprocessing_fns": ["remove_all_but_largest_component_from_segmentation"],
        "postprocessing_kwargs": [{"labels_or_regions": [1, 2]}],
    }
    (folder / "postprocessing.json").write_text(json.dumps(steps))
    ensemble = {"inputs": ["n1", "n2"], "postprocessing_json": "postprocessing.json"}
    _describe(folder, nnunet={"networks": networks, "ensemble": ensemble})
    assert _run(course, tmp_path / "models", warm).status == "ok"
    values = read_nifti(course.files.custom_model_segmentation("pair")).values
    sizes = {name: np.count_nonzero(painted.organs == LABELS[name]) for name in ORGANS}
    assert sizes["heart"] > sizes["liver"], "of both together the heart is the largest part"
    np.testing.assert_array_equal(values == 1, painted.organs == LABELS["heart"])
    assert not (values == 2).any()
    np.testing.assert_array_equal(values == 3, painted.organs == LABELS["brain"])


def test_folds_are_those_that_are_asked_for(tmp_path: Path, warm: ChildProcesses) -> None:
    """Fold 0 finds hearts, fold 1 takes livers for hearts, and on average they agree on nothing."""
    painted = phantom(planes=20)
    model = tmp_path / "models" / "folds" / "model"
    write_tiny_nnunet_model(model, {"heart": ORGAN_HU["heart"]})
    write_tiny_nnunet_model(tmp_path / "other", {"heart": ORGAN_HU["liver"]})
    shutil.copytree(tmp_path / "other" / "fold_0", model / "fold_1")
    course = make_course(tmp_path / "course", painted)

    def found(folds: Any) -> np.ndarray:
        network = {"weights": "model", "label_order": ["heart"], "folds": folds}
        _describe(model.parent, nnunet={"networks": [network]})
        outcome = _run(course, model.parent.parent, warm)
        assert outcome.status == "ok", outcome.reason
        return read_nifti(course.files.custom_model_segmentation("folds")).values == 1

    np.testing.assert_array_equal(found(0), painted.organs == LABELS["heart"])
    np.testing.assert_array_equal(found([1]), painted.organs == LABELS["liver"])
    assert not found("all").any()
    empty = _run(course, model.parent.parent, warm)
    assert empty.details["inferences"]["folds"] == {"structures": 0, "device": "cpu", "earlier_result": True}


def test_new_weights_run_their_model_alone_also_those_of_an_unknown_trainer(
    tmp_path: Path, root: Path, warm: ChildProcesses
) -> None:
    models = tmp_path / "models"
    (models / "own").mkdir(parents=True)
    (models / "three").symlink_to(root / "three")
    write_tiny_nnunet_model(models / "own" / "model", {"heart": ORGAN_HU["heart"]})
    _describe(models / "own", nnunet={"networks": [{"weights": "model", "label_order": ["heart"]}]})
    painted = phantom(planes=20)
    course = make_course(tmp_path / "course", painted)
    _run(course, models, warm)
    checkpoint = models / "own" / "model" / "fold_0" / "checkpoint_final.pth"
    content = torch.load(checkpoint, weights_only=False)
    torch.save({**content, "trainer_name": "nnUNetTrainer_OfAnotherHospital"}, checkpoint)
    outcome = _run(course, models, warm)
    assert outcome.status == "ok", outcome.reason
    again = {name: result.get("earlier_result", False) for name, result in outcome.details["inferences"].items()}
    assert again == {"own": False, "three": True}
    values = read_nifti(course.files.custom_model_segmentation("own")).values
    np.testing.assert_array_equal(values == 1, painted.organs == LABELS["heart"])


def test_force_and_other_versions_run_a_model_again(tmp_path: Path, root: Path, warm: ChildProcesses) -> None:
    course = make_course(tmp_path / "course", phantom(planes=20))

    def again(**options: Any) -> bool:
        result = _run(course, root, warm, **options).details["inferences"]["three"]
        return not result.get("earlier_result", False)

    assert again()
    assert not again()
    assert again(forced=True)
    file = CourseFiles.label_map(course.files.custom_model_segmentation("three"))
    label_map = json.loads(file.read_text())
    file.write_text(json.dumps({**label_map, "versions": {**label_map["versions"], "nnunetv2": "1.0"}}))
    assert again()
    assert json.loads(file.read_text()) == label_map


def test_device_and_threads_reach_nnunet(tmp_path: Path, root: Path) -> None:
    course = make_course(tmp_path / "course", phantom(planes=20))
    device = f"gpu:{torch.cuda.device_count()}"
    children = ChildProcesses()
    refused = _run(course, root, children, device=device, threads=1)
    assert refused.status == "failed"
    assert f"{device} is not usable" in refused.reason
    (child,) = (
        process
        for process in psutil.Process().children()
        if "rtpipeline.inference.nnunet" in command_line(process) and process.environ().get("OMP_NUM_THREADS") == "1"
    )
    assert {child.environ()[name] for name in ("MKL_NUM_THREADS", "nnUNet_def_n_proc")} == {"1"}
    children.close()


class _TooSmallGpu(ChildProcesses):
    """Children on a GPU are ended as the kernel ends a process for which memory does not suffice."""

    @contextmanager
    def borrow(self, key: str, start: Callable[[], Any]) -> Iterator[Any]:
        with super().borrow(key, start) as child:
            if "gpu" in key:
                os.killpg(child.pid, signal.SIGKILL)
            yield child


@pytest.mark.parametrize("task_of_totalsegmentator", [False, True])
def test_where_the_gpus_memory_does_not_suffice_the_cpu_takes_over_if_it_may(
    tmp_path: Path, root: Path, weights: Path, task_of_totalsegmentator: bool
) -> None:
    painted = phantom(planes=20)
    if task_of_totalsegmentator:
        root = tmp_path / "models"
        task = {"task": "total", "predict_args": "--fast", "label_order": list(ORGANS)}
        _describe(root / "three", nnunet={"interface": "totalsegmentator", "networks": [task]})
    course = make_course(tmp_path / "course", painted)
    children = _TooSmallGpu()
    refused = _run(course, root, children, weights, device="gpu:0")
    assert (refused.status, refused.memory_pressure) == ("failed", True)
    assert not course.files.custom_model_segmentation("three").exists()
    outcome = _run(course, root, children, weights, device="gpu:0", cpu_fallback=True)
    children.close()
    assert outcome.status == "ok", outcome.reason
    result = outcome.details["inferences"]["three"]
    assert (result["device"], result["out_of_memory_on"]) == ("cpu", ["gpu:0"])
    values = read_nifti(course.files.custom_model_segmentation("three")).values
    for label, name in enumerate(ORGANS, start=1):
        np.testing.assert_array_equal(values == label, painted.organs == LABELS[name])


def test_a_time_limit_ends_the_model(tmp_path: Path, root: Path) -> None:
    children = ChildProcesses()
    outcome = _run(make_course(tmp_path, phantom(planes=20)), root, children, timeout_s=1)
    children.close()
    assert outcome.status == "failed"
    assert "three failed:" in outcome.reason
    assert "within 1 s" in outcome.reason
    assert not outcome.memory_pressure


def test_a_later_network_takes_the_structure_and_says_whose_voxels(tmp_path: Path, warm: ChildProcesses) -> None:
    painted = phantom()
    folder = tmp_path / "models" / "layers"
    write_tiny_nnunet_model(folder / "all", {name: ORGAN_HU[name] for name in ORGANS})
    write_tiny_nnunet_model(folder / "other", {"liver": ORGAN_HU["spleen"], "node": ORGAN_HU["brain"]})
    networks = [
        {"alias": "all", "weights": "all", "label_order": list(ORGANS)},
        {"alias": "other", "weights": "other", "label_order": ["liver", "node"]},
    ]
    _describe(folder, nnunet={"networks": networks, "combine": {"order": ["all", "other"]}})
    course = make_course(tmp_path / "course", painted)
    outcome = _run(course, tmp_path / "models", warm)
    assert outcome.status == "ok", outcome.reason
    file = course.files.custom_model_segmentation("layers")
    label_map = json.loads(CourseFiles.label_map(file).read_text())
    assert label_map["labels"] == {"1": "heart", "2": "liver", "3": "brain", "4": "node"}
    truth = {"heart": "heart", "liver": "spleen", "node": "brain"}
    values = read_nifti(file).values
    for label, name in label_map["labels"].items():
        expected = painted.organs == LABELS[truth[name]] if name in truth else np.zeros_like(values, bool)
        np.testing.assert_array_equal(values == int(label), expected)
    assert label_map["voxels_taken"] == {"brain": int(np.count_nonzero(painted.organs == LABELS["brain"]))}


def test_a_model_for_another_region_is_not_run(tmp_path: Path, root: Path, warm: ChildProcesses) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "three").symlink_to(root / "three")
    for name, region, confidence in (("pelvic", "PELVIS", 0.5), ("unsure", "THORAX", 0.9), ("fits", "THORAX", 0.7)):
        network = {"weights": str(root / "three" / "nnUNet_results" / MODEL_FOLDER), "label_order": list(ORGANS)}
        _describe(
            models / name,
            nnunet={"networks": [network]},
            required_body_regions=[region],
            min_region_confidence=confidence,
        )
    course = make_course(tmp_path / "course", phantom())
    unknown = _run(course, models, warm)
    assert list(unknown.details["inferences"]) == ["three"]
    assert all("nobody knows what the CT shows" in reason for reason in unknown.details["not_for_this_ct"])
    shown = body_regions({f"vertebrae_T{number}": 20.0 for number in range(1, 4)})
    course.files.body_regions.parent.mkdir()
    course.files.body_regions.write_text(json.dumps({"regions": shown}))
    outcome = _run(course, models, warm)
    assert outcome.status == "ok"
    assert sorted(outcome.details["inferences"]) == ["fits", "three"]
    assert outcome.details["inferences"]["three"]["earlier_result"] is True
    pelvic, unsure = outcome.details["not_for_this_ct"]
    assert pelvic == "pelvic was not run: the CT does not show PELVIS"
    assert "confidence 0.7, 0.9 is required" in unsure
    only = _run(course, models, warm, models=["pelvic"])
    assert (only.status, only.reason) == ("skipped", pelvic)


def test_postprocessing_of_a_model_and_of_the_configuration(tmp_path: Path, warm: ChildProcesses) -> None:
    painted = phantom()
    painted.hu[2:4, 20:22, 30:32] = ORGAN_HU["liver"]
    painted.hu[30:32, 20:22, 30:32] = ORGAN_HU["heart"]
    folder = tmp_path / "models" / "three"
    write_tiny_nnunet_model(folder / "weights", {name: ORGAN_HU[name] for name in ORGANS})
    network = {"weights": "weights", "label_order": list(ORGANS)}
    course = make_course(tmp_path / "course", painted)

    def islands(rule: dict[str, Any], **options: Any) -> tuple[int, int]:
        _describe(folder, nnunet={"networks": [{**network, "postprocessing": rule}]})
        assert _run(course, tmp_path / "models", warm, **options).status == "ok"
        values = read_nifti(course.files.custom_model_segmentation("three")).values
        return int(np.count_nonzero(values[2:4, 20:22, 30:32])), int(np.count_nonzero(values[30:32, 20:22, 30:32]))

    assert islands({}) == (8, 8)
    assert islands({"min_component_volume_cm3": 0.2}) == (8, 8)  # 8 voxels of 27 mm3 are 0.216 cm3
    assert islands({"min_component_volume_cm3": 0.22}) == (0, 0)
    assert islands({}, postprocessing={"keep_largest_component": ["liver"]}) == (0, 8)


def test_too_few_planes_are_not_segmented(tmp_path: Path, root: Path, warm: ChildProcesses) -> None:
    outcome = _run(make_course(tmp_path, phantom(planes=4)), root, warm)
    assert outcome.status == "skipped"
    assert "4 planes" in outcome.reason


def test_nothing_to_do_is_said(tmp_path: Path, root: Path, warm: ChildProcesses) -> None:
    assert "no planning CT" in _run(make_course(tmp_path / "empty", None), root, warm).reason
    course = make_course(tmp_path / "course", phantom(planes=4))
    (tmp_path / "none").mkdir()
    assert _run(course, tmp_path / "none", warm).status == "skipped"
    with pytest.raises(StageError, match="is not a folder"):
        _run(course, tmp_path / "nowhere", warm)
    with pytest.raises(StageError, match=r"two is not below.*there are: three"):
        _run(course, root, warm, models=["two"])


def test_damaged_weights_are_named(tmp_path: Path, warm: ChildProcesses) -> None:
    folder = tmp_path / "models" / "three"
    model = folder / "nnUNet_results" / MODEL_FOLDER
    write_tiny_nnunet_model(model, {name: ORGAN_HU[name] for name in ORGANS})
    _describe(folder)
    checkpoint = model / "fold_0" / "checkpoint_final.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[:3000])
    outcome = _run(make_course(tmp_path / "course", phantom(planes=8)), tmp_path / "models", warm)
    assert outcome.status == "failed"
    assert "cannot be loaded" in outcome.reason
    assert str(model) in outcome.reason

"""What `custom_model.yaml` may say, and what is refused with which words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtpipeline.demo.tiny_weights import write_tiny_nnunet_model
from rtpipeline.inference.model_description import CustomModelError, model_files, read_model_file
from rtpipeline.inference.model_folders import CustomModel, Layer, ReadyNetwork, ready_model
from rtpipeline.inference.model_tasks import TaskLayer
from rtpipeline.inference.postprocessing import Cleaning

CODES = {"Left_Atrium": 150.0, "Right_Atrium": 250.0}
KEEP_LARGEST = "remove_all_but_largest_component_from_segmentation"
MODEL_FOLDER = "nnUNetTrainer__nnUNetPlans__3d_fullres"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / MODEL_FOLDER
    write_tiny_nnunet_model(folder, CODES)
    return folder


def _write(folder: Path, network: dict[str, Any] | None = None, **nnunet: Any) -> Path:
    """A model folder's `custom_model.yaml` for the labels of `CODES`."""
    folder.mkdir(parents=True, exist_ok=True)
    network = {"id": 603, "label_order": list(CODES), **(network or {})}
    content = {"name": "atria", "nnunet": {"networks": [network], **nnunet}}  # `networks` may be given whole
    file = folder / "custom_model.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def _ready(file: Path) -> CustomModel:
    return ready_model(file, read_model_file(file))


def _network(file: Path) -> ReadyNetwork:
    """The only network of a model."""
    (layer,) = _ready(file).layers
    assert isinstance(layer, Layer)
    (network,) = layer.networks
    return network


def test_a_public_nnunetv2_configuration_loads(tmp_path: Path, trained: Path) -> None:
    results = tmp_path / "cardiac" / "nnUNet_results" / "Dataset603_Atria"
    results.mkdir(parents=True)
    (results / MODEL_FOLDER).symlink_to(trained)
    file = tmp_path / "cardiac" / "custom_model.yaml"
    file.write_text(
        """
name: cardiac
description: Two atria
required_body_regions: THORAX
min_region_confidence: 0.6
nnunet:
  interface: nnunetv2
  command: nnUNetv2_predict
  model: 3d_fullres
  folds: all
  env: {nnUNet_results: ./nnUNet_results}
  networks:
    - id: 603
      alias: atria
      dataset_directory: Dataset603_Atria
      label_order: [Left_Atrium, Right_Atrium]
      predict_args: --disable_tta
  combine: {ordered_networks: [atria]}
"""
    )
    model = _ready(file)
    assert model.name == "cardiac"
    assert model.labels == ("Left_Atrium", "Right_Atrium")
    assert model.required_body_regions == ("THORAX",)
    assert model.min_region_confidence == 0.6
    network = _network(file)
    assert network.folder == results / MODEL_FOLDER
    assert network.folds == ("0",)
    assert network.mirroring is False


def test_a_model_folder_is_used_where_it_lies(tmp_path: Path, trained: Path) -> None:
    file = _write(tmp_path / "atria", {"weights": str(trained), "folds": [0]}, interface="nnunetv2_modelfolder")
    assert _network(file).folder == trained


def test_folders_that_begin_with_an_underscore_are_left_out(tmp_path: Path) -> None:
    for name in ("b", "_a", "a"):
        _write(tmp_path / name)
    assert [file.parent.name for file in model_files(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("network", "nnunet", "words"),
    [
        ({}, {"interface": "nnunetv1"}, "nnU-Net v1 cannot run"),
        ({"task": "total"}, {}, "task of a network is not supported"),
        ({"prompt": {"model": "x"}}, {}, "prompt of a network is not supported"),
        ({"cascade_trainer": "x"}, {}, "cascade_trainer of a network is not supported"),
        ({"label_order": []}, {}, "label_order of a network is missing"),
        ({}, {"interface": "other"}, "nnunet.interface"),
        ({"colour": "red"}, {}, "nnunet.networks.0.colour: Extra inputs"),
        ({}, {"ensemble": {"inputs": ["a"]}}, "ensemble.inputs names a; there are 603"),
        ({}, {"ensemble": {"command": "average.sh"}}, "ensemble.command 'average.sh'"),
        ({}, {"ensemble": {"postprocessing_json": "x.json"}}, "x.json is not a postprocessing.json"),
        ({}, {"ensemble": {"postprocessing": "postprocessing.pkl"}}, "name the postprocessing.json"),
        ({}, {"ensemble": {"label_order": ["a", "b"]}}, "do not have the same labels"),
        ({}, {"combine": {"order": ["603", "b"]}}, "combine names b"),
        ({"alias": "ensemble"}, {}, "alias of its own"),
        ({"postprocessing": {"confine_to_lung_mask": True}}, {}, "postprocessing.confine_to_lung_mask of a network"),
        ({"postprocessing": {"anchor_source": "specialist_reference"}}, {}, "postprocessing.anchor_source"),
        ({"postprocessing": {"largest": True}}, {}, "postprocessing.largest: Extra inputs"),
        ({"sha256": "abc"}, {}, "sha256"),
        ({}, {"command": "my_predict.sh"}, "command 'my_predict.sh'"),
        ({}, {"env": {"TOTALSEG_HOME_DIR": "x"}}, "env has TOTALSEG_HOME_DIR"),
        ({"weights": "nowhere"}, {}, "no nnU-Net v2 model folder"),
        ({"folds": "0 3"}, {}, "has no fold_3"),
        ({"checkpoint": "checkpoint_best.pth"}, {}, "checkpoint_best.pth"),
        ({"predict_args": "-npp 3"}, {}, "argument -npp is not supported"),
        ({"predict_args": "-step_size 2"}, {}, "-step_size needs"),
        ({"predict_args": "-step_size abc"}, {}, "-step_size needs"),
        ({"predict_args": "-step_size nan"}, {}, "-step_size needs"),
        ({"checkpoint": "../checkpoint_final.pth"}, {}, "checkpoint: String should match"),
        ({"checkpoint": "*"}, {}, "checkpoint: String should match"),
        ({"weights": "x" * 300}, {}, "its weights cannot be read"),
        ({"postprocessing": {"min_component_volume_cm3": float("inf")}}, {}, "min_component_volume_cm3"),
        ({"label_order": ["Right_Atrium", "Left_Atrium"]}, {}, "labels Right_Atrium, Left_Atrium are not those of"),
        ({"label_order": ["Left_Atrium"]}, {}, "labels Left_Atrium are not those of"),
        ({"sha256": "0" * 64}, {}, "sha256 is that of a zip archive, and none is named"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    tmp_path: Path, trained: Path, network: dict[str, Any], nnunet: dict[str, Any], words: str
) -> None:
    file = _write(tmp_path / "atria", {"weights": str(trained), **network}, **nnunet)
    with pytest.raises(CustomModelError, match=r".") as refused:
        _ready(file)
    assert words in str(refused.value)
    assert str(file) in str(refused.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"postprocessing_fns": [KEEP_LARGEST], "postprocessing_kwargs": [{"labels_or_regions": 3}]},
            "labels that are",
        ),
        ({"postprocessing_fns": ["blur"], "postprocessing_kwargs": [{"labels_or_regions": 1}]}, "not known: blur"),
        ({"postprocessing_fns": [KEEP_LARGEST], "postprocessing_kwargs": []}, "steps that are not known"),
        ({"for_which_classes": [1]}, "is not a postprocessing.json of nnU-Net v2"),
    ],
)
def test_postprocessing_that_is_not_understood_is_refused(
    tmp_path: Path, trained: Path, content: dict[str, Any], words: str
) -> None:
    file = _write(tmp_path / "atria", {"weights": str(trained)}, ensemble={"postprocessing_json": "pp.json"})
    (file.parent / "pp.json").write_text(json.dumps(content))
    with pytest.raises(CustomModelError, match=words):
        _ready(file)


def test_nnunets_own_postprocessing_is_read(tmp_path: Path, trained: Path) -> None:
    file = _write(tmp_path / "atria", {"weights": str(trained)}, ensemble={"postprocessing_json": "pp.json"})
    steps = [{"labels_or_regions": [1, [2, 1]]}, {"labels_or_regions": 2}]
    content = {"postprocessing_fns": [KEEP_LARGEST] * 2, "postprocessing_kwargs": steps, "input_folder": {}}
    (file.parent / "pp.json").write_text(json.dumps(content))
    ((layer,),) = (_ready(file).layers,)
    assert isinstance(layer, Layer)
    assert layer.keep_largest == ((1, 2, 1), (2,))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for dataset in ("Dataset297_total", "Dataset299_body"):
        (folder / dataset).mkdir()
    return folder


def _task(folder: Path, weights: Path, network: dict[str, Any], **nnunet: Any) -> CustomModel:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "custom_model.yaml"
    file.write_text(yaml.safe_dump({"nnunet": {"interface": "totalsegmentator", "networks": [network], **nnunet}}))
    return ready_model(file, read_model_file(file), weights)


def test_a_task_of_totalsegmentator_is_a_network(tmp_path: Path, weights: Path) -> None:
    network = {"task": "total", "label_order": ["Heart", "spleen"], "predict_args": "--fast --force_split"}
    model = _task(tmp_path / "task", weights, network, command="TotalSegmentator")
    (layer,) = model.layers
    assert isinstance(layer, TaskLayer)
    assert (layer.task.task, layer.task.fast, layer.split) == ("total", True, True)
    assert model.labels == ("Heart", "spleen")
    assert layer.task_labels == (51, 1)
    assert [folder.name for folder in model.folders] == ["Dataset297_total"]
    body = _task(tmp_path / "body", weights, {"id": "body"})
    assert body.labels == ("body_trunc", "body_extremities")
    for variable, path in (("TOTALSEG_WEIGHTS_PATH", "w"), ("TOTALSEG_HOME_DIR", "home")):
        place = tmp_path / "own" / ("w" if path == "w" else "home/nnunet/results")
        (place / "Dataset299_body").mkdir(parents=True)
        (own,) = _task(tmp_path / "own", weights, {"task": "body"}, env={variable: path}).layers
        assert isinstance(own, TaskLayer)
        assert own.weights == place


@pytest.mark.parametrize(
    ("network", "nnunet", "words"),
    [
        ({"task": "totals"}, {}, "no task 'totals'; its tasks are abdominal_muscles"),
        ({"task": "total_mr"}, {}, "task total_mr is for MR"),
        ({"task": "lung_vessels"}, {}, r"weights of task lung_vessels \(datasets 258, 298\) are not in"),
        ({"task": "body", "label_order": ["skin"]}, {}, "task body has no skin; it has body_trunc, body_extremities"),
        ({"task": "lung_vessels", "predict_args": "--fast"}, {}, "lung_vessels has no fast variant"),
        ({"task": "body", "predict_args": "--roi_subset x"}, {}, "argument --roi_subset is not supported"),
        ({"task": "body", "label_order": ["body_trunc", "Body Trunc"]}, {}, "differ only in case or punctuation"),
        ({"task": "body", "folds": [0]}, {}, "folds of a TotalSegmentator task has no meaning"),
        ({"task": "body"}, {"ensemble": {}}, "give no probabilities"),
        (
            {"task": "body"},
            {"command": "nnUNetv2_predict"},
            "command 'nnUNetv2_predict' is not one of TotalSegmentator",
        ),
    ],
)
def test_what_a_task_cannot_honour_is_refused(
    tmp_path: Path, weights: Path, network: dict[str, Any], nnunet: dict[str, Any], words: str
) -> None:
    with pytest.raises(CustomModelError, match=words):
        _task(tmp_path, weights, network, **nnunet)


def test_names_may_differ_from_the_training_in_case_and_punctuation(tmp_path: Path, trained: Path) -> None:
    file = _write(tmp_path / "atria", {"weights": str(trained), "label_order": ["left atrium", "RightAtrium"]})
    assert _ready(file).labels == ("left atrium", "RightAtrium")


def test_an_archive_is_unpacked_into_the_cache(tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = _write(tmp_path / "atria", {"archive": "weights.zip"})
    with pytest.raises(CustomModelError, match=r"weights\.zip is not there"):
        _ready(file)
    shutil.make_archive(str(tmp_path / "atria" / "weights"), "zip", trained.parent, MODEL_FOLDER)
    folder = _network(file).folder
    assert folder.is_relative_to(tmp_path / "cache")
    assert (folder / "plans.json").read_bytes() == (trained / "plans.json").read_bytes()
    assert _network(file).folder == folder
    (tmp_path / "atria" / "weights.zip").write_bytes(b"PK")
    with pytest.raises(CustomModelError, match=r"weights\.zip cannot be unpacked"):
        _ready(file)


def test_networks_are_combined_in_the_given_order(tmp_path: Path, trained: Path) -> None:
    def layers(**nnunet: Any) -> list[tuple[str, list[str]]]:
        model = _ready(_several(tmp_path / "atria", trained, **nnunet))
        return [
            (layer.alias, [network.alias for network in layer.networks])
            for layer in model.layers
            if isinstance(layer, Layer)
        ]

    assert layers() == [("one", ["one"]), ("two", ["two"])]
    assert layers(combine={"ordered_networks": ["two", "one"]}) == [("two", ["two"]), ("one", ["one"])]
    assert layers(ensemble={}) == [("ensemble", ["one", "two"])]
    assert layers(ensemble={}, combine={"order": "two"}) == [("ensemble", ["one", "two"]), ("two", ["two"])]
    assert layers(ensemble={"inputs": ["one"]}) == [("ensemble", ["one"]), ("two", ["two"])]
    with pytest.raises(CustomModelError, match="nothing uses two"):
        layers(combine={"order": ["one"]})


def _several(folder: Path, trained: Path, **nnunet: Any) -> Path:
    networks = [{"alias": alias, "weights": str(trained), "label_order": list(CODES)} for alias in ("one", "two")]
    return _write(folder, networks=networks, **nnunet)


def test_postprocessing_of_a_network_is_read(tmp_path: Path, trained: Path) -> None:
    rule = {"min_component_volume_cm3": 0.3, "keep_largest_component": True}
    file = _write(tmp_path / "atria", {"weights": str(trained), "postprocessing": rule})
    assert _network(file).cleaning == Cleaning(keep_largest=True, smallest_part_cm3=0.3)


def test_a_confidence_is_a_number_from_0_to_1(tmp_path: Path, trained: Path) -> None:
    file = _write(tmp_path / "atria", {"weights": str(trained)})
    content = yaml.safe_load(file.read_text())
    for wrong in (float("nan"), 1.5, -0.1, "sure"):
        file.write_text(yaml.safe_dump({**content, "min_region_confidence": wrong}))
        with pytest.raises(CustomModelError, match="min_region_confidence"):
            _ready(file)


def test_a_region_that_does_not_exist_is_refused(tmp_path: Path, trained: Path) -> None:
    file = _write(tmp_path / "atria", {"weights": str(trained)})
    content = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**content, "required_body_regions": "thorax, chest"}))
    with pytest.raises(CustomModelError, match="required_body_regions has CHEST"):
        _ready(file)


def test_fold_zero_of_a_network_is_not_all_folds(tmp_path: Path) -> None:
    folder = tmp_path / "atria" / MODEL_FOLDER
    write_tiny_nnunet_model(folder, CODES)
    shutil.copytree(folder / "fold_0", folder / "fold_1")
    for asked, folds in ((0, ("0",)), ("0 1", ("0", "1")), ([1], ("1",)), ("all", ("0", "1"))):
        assert _network(_write(tmp_path / "atria", {"weights": MODEL_FOLDER, "folds": asked})).folds == folds


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("channel_names", {"0": "CT", "1": "PET"}, "needs 2 images"),
        ("labels", {"background": 0, "whole": [1, 2], "core": 2}, "region-based"),
        ("labels", {"background": 0, "Left_Atrium": 1, "left atrium": 2}, "labels Left_Atrium, Right_Atrium are not"),
    ],
)
def test_models_of_other_kinds_are_refused(tmp_path: Path, key: str, value: Any, words: str) -> None:
    folder = tmp_path / "atria" / MODEL_FOLDER
    write_tiny_nnunet_model(folder, CODES)
    dataset = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**dataset, key: value}))
    with pytest.raises(CustomModelError, match=words):
        _ready(_write(tmp_path / "atria", {"weights": MODEL_FOLDER}))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "dictionary"),
        ("null", "dictionary"),
        ("[" * 100_000, "recursion"),
        ('{"labels": {"background": 0}}', "channel_names: Field required"),
        ('{"labels": [0, 1, 2], "channel_names": {"0": "CT"}}', "labels: "),
        ('{"labels": {"background": 0, "Left_Atrium": "x"}, "channel_names": {"0": "CT"}}', "labels.Left_Atrium"),
        ('{"labels": {"background": 0, "Left_Atrium": 1.5}, "channel_names": {"0": "CT"}}', "labels.Left_Atrium"),
        ('{"labels": {"background": 0, "Left_Atrium": NaN}, "channel_names": {"0": "CT"}}', "labels.Left_Atrium"),
        ('{"labels": {"Left_Atrium": 1, "Right_Atrium": 2}, "channel_names": {"0": "CT"}}', "from 0, the background"),
        ('{"labels": {"b": 0, "Left_Atrium": 1, "Right_Atrium": 3}, "channel_names": {"0": "CT"}}', "without gaps"),
        ('{"labels": {"b": 0, "Left_Atrium": 1, "Right_Atrium": 1}, "channel_names": {"0": "CT"}}', "without gaps"),
    ],
)
def test_a_damaged_description_of_the_training_is_named(tmp_path: Path, content: str, words: str) -> None:
    folder = tmp_path / "atria" / MODEL_FOLDER
    write_tiny_nnunet_model(folder, CODES)
    (folder / "dataset.json").write_text(content)
    with pytest.raises(CustomModelError, match=words) as refused:
        _ready(_write(tmp_path / "atria", {"weights": MODEL_FOLDER}))
    assert str(folder / "dataset.json") in str(refused.value)


def test_labels_that_would_share_a_name_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "atria" / MODEL_FOLDER
    write_tiny_nnunet_model(folder, {"Left_Atrium": 150.0, "left-atrium": 250.0})
    network = {"weights": MODEL_FOLDER, "label_order": ["Left_Atrium", "left-atrium"]}
    with pytest.raises(CustomModelError, match="two labels differ only in case or punctuation"):
        _ready(_write(tmp_path / "atria", network))


def test_the_fold_that_was_trained_on_all_data_is_preferred(tmp_path: Path) -> None:
    folder = tmp_path / "atria" / MODEL_FOLDER
    write_tiny_nnunet_model(folder, CODES)
    for fold in ("1", "all"):
        (folder / f"fold_{fold}").mkdir()
        (folder / f"fold_{fold}" / "checkpoint_final.pth").write_bytes(b"")
    assert _network(_write(tmp_path / "atria", {"weights": MODEL_FOLDER})).folds == ("all",)
    assert _network(_write(tmp_path / "atria", {"weights": MODEL_FOLDER}, folds=[0, 1])).folds == ("0", "1")


def test_names_that_are_no_folder_names_are_refused(tmp_path: Path) -> None:
    file = _write(tmp_path / "atria")
    file.write_text(file.read_text().replace("atria", "../atria"))
    with pytest.raises(CustomModelError, match="name"):
        read_model_file(file)

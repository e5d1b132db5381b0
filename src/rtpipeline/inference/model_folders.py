"""A user's own models, ready to run: the nnU-Net v2 model folders and tasks that a `custom_model.yaml` names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, StrictInt, ValidationError

from rtpipeline.inference.body_regions import REGIONS
from rtpipeline.inference.label_names import plain
from rtpipeline.inference.model_description import (
    ENSEMBLE,
    CustomModelError,
    CustomModelFile,
    Ensemble,
    Network,
    Nnunet,
)
from rtpipeline.inference.model_tasks import TaskLayer, named_tasks, task_layer
from rtpipeline.inference.model_weights import found_folds, model_folder
from rtpipeline.inference.postprocessing import Cleaning, merged, model_cleaning
from rtpipeline.inference.tasks import dataset_place, weights_folder

MOST_LABELS = 255

_REFUSED_INTERFACES = {
    "nnunetv1": "nnU-Net v1 cannot run beside nnU-Net v2; train or convert the model with nnU-Net v2",
    "medsam_boxprompt": "models that need a prompt are not supported",
}
_COMMANDS = {
    "nnunetv2": ("", "nnUNetv2_predict", "nnUNetv2_predict_from_modelfolder"),
    "nnunetv2_modelfolder": ("", "nnUNetv2_predict", "nnUNetv2_predict_from_modelfolder"),
    "totalsegmentator": ("", "TotalSegmentator"),
}
_ENSEMBLE_COMMANDS = ("nnUNetv2_ensemble", "nnUNet_ensemble")
_NNUNET_VARIABLES = ("nnUNet_results", "nnUNet_raw", "nnUNet_preprocessed")
_VARIABLES = {
    "nnunetv2": _NNUNET_VARIABLES,
    "nnunetv2_modelfolder": _NNUNET_VARIABLES,
    "totalsegmentator": (*_NNUNET_VARIABLES, "TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH"),
}


@dataclass(frozen=True)
class ReadyNetwork:
    """One network that is ready to run.

    Attributes:
        alias: its name within the model.
        folder: nnU-Net's model folder, with `plans.json` and the folds; used where it lies.
        folds: names after `fold_`.
        checkpoint: file name in each fold.
        labels: names of the labels 1, 2, …
        step_size: overlap of neighbouring tiles, as a fraction of the tile.
        mirroring: average over mirrored images.
        cleaning: what is done to each of its structures.
    """

    alias: str
    folder: Path
    folds: tuple[str, ...]
    checkpoint: str
    labels: tuple[str, ...]
    step_size: float
    mirroring: bool
    cleaning: Cleaning

    def options(self) -> dict[str, Any]:
        """How it is run, JSON-ready."""
        return {
            "folds": list(self.folds),
            "checkpoint": self.checkpoint,
            "step_size": self.step_size,
            "mirroring": self.mirroring,
        }


@dataclass(frozen=True)
class Layer:
    """One painting of the model's label volume: one network, or several whose probabilities are averaged."""

    alias: str
    networks: tuple[ReadyNetwork, ...]
    keep_largest: tuple[tuple[int, ...], ...] = ()
    """nnU-Net's own postprocessing, step by step: of these labels together only the largest connected part stays."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the labels 1, 2, …; all networks have the same."""
        return self.networks[0].labels

    @property
    def inference(self) -> object:
        """Every layer of nnU-Net has an inference of its own."""
        return self.alias

    @property
    def folders(self) -> tuple[Path, ...]:
        """The model folders that are loaded."""
        return tuple(network.folder for network in self.networks)

    @property
    def cleaning(self) -> Cleaning:
        """What is done to each of its structures."""
        return merged(network.cleaning for network in self.networks)

    def as_facts(self) -> dict[str, Any]:
        """JSON-ready, for the label map."""
        networks = [
            {"alias": network.alias, **network.options(), "postprocessing": network.cleaning.as_facts()}
            for network in self.networks
        ]
        return {"alias": self.alias, "networks": networks, "keep_largest": [list(step) for step in self.keep_largest]}


@dataclass(frozen=True)
class CustomModel:
    """A model that is ready to run.

    Attributes:
        name: of the model, safe as a folder name.
        layers: in the order in which they are painted; a structure that several have is the last one's.
        orientation: see `model_description.Nnunet.image_orientation`.
        required_body_regions: where the model makes sense, as its author says.
        min_region_confidence: how sure it must be that the CT shows them.
    """

    name: str
    layers: tuple[Layer | TaskLayer, ...]
    orientation: str
    required_body_regions: tuple[str, ...]
    min_region_confidence: float

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the model's labels 1, 2, …: those of its layers in order, each once."""
        return tuple(dict.fromkeys(name for layer in self.layers for name in layer.labels))

    @property
    def folders(self) -> list[Path]:
        """The model folders that are loaded."""
        return list(dict.fromkeys(folder for layer in self.layers for folder in layer.folders))


def ready_model(file: Path, described: CustomModelFile, weights: Path | None = None) -> CustomModel:
    """Find the weights of a model and hold its labels against those it was trained with.

    Args:
        file: the model's `custom_model.yaml`.
        described: its content.
        weights: the configured folder of TotalSegmentator's weights; None for TotalSegmentator's own.

    Raises:
        CustomModelError: it asks for something that is not supported, its weights are not there, or its labels are
            not those of `dataset.json`.
    """
    nnunet = described.nnunet
    _only_supported(file, nnunet)
    networks = dict(_with_aliases(nnunet))
    if len({*networks, ENSEMBLE}) != len(nnunet.networks) + 1:
        raise CustomModelError(f"{file}: each network needs an alias of its own, other than {ENSEMBLE!r}")
    regions = tuple(region.upper() for region in described.required_body_regions)
    if unknown := sorted(set(regions) - set(REGIONS)):
        raise CustomModelError(
            f"{file}: required_body_regions has {', '.join(unknown)}; regions are {', '.join(REGIONS)}"
        )
    try:
        layers = _layers(file, nnunet, _single_layers(file, nnunet, networks, weights_folder(weights)))
    except OSError as error:
        raise CustomModelError(f"{file}: its weights cannot be read: {error}") from error
    model = CustomModel(
        name=described.name,
        layers=layers,
        orientation=nnunet.image_orientation,
        required_body_regions=regions,
        min_region_confidence=described.min_region_confidence,
    )
    _check_names(file, model.labels)
    return model


def named_weights(file: Path, described: CustomModelFile, weights: Path | None = None) -> list[Path]:
    """The archives, model folders and datasets of TotalSegmentator that a `custom_model.yaml` names.

    Args:
        file: the model's `custom_model.yaml`.
        described: its content.
        weights: as for `ready_model`.

    Raises:
        CustomModelError: a task of TotalSegmentator does not exist or cannot be used.
    """
    datasets = [
        dataset_place(folder, model)
        for task, folder in named_tasks(file, described, weights_folder(weights))
        for model in task.models
    ]
    networks = described.nnunet.networks
    given = [path for network in networks for path in (network.weights, network.source_directory) if path]
    return [*datasets, *(file.parent / path for path in given)]


def _single_layers(
    file: Path, nnunet: Nnunet, networks: Mapping[str, Network], weights: Path
) -> dict[str, Layer | TaskLayer]:
    """A layer for each network, by its alias."""
    if nnunet.interface == "totalsegmentator":
        return {
            alias: task_layer(file, alias, network, {**nnunet.env, **network.env}, weights)
            for alias, network in networks.items()
        }
    return {alias: Layer(alias, (_ready_network(file, alias, nnunet, network),)) for alias, network in networks.items()}


def _with_aliases(nnunet: Nnunet) -> list[tuple[str, Network]]:
    return [
        (network.alias or network.id or network.task or f"network{number}", network)
        for number, network in enumerate(nnunet.networks, 1)
    ]


def _ready_network(file: Path, alias: str, nnunet: Nnunet, network: Network) -> ReadyNetwork:
    folder = model_folder(file, nnunet, network)
    _check_labels(file, folder, network.labels)
    step_size, mirroring, checkpoint = _predict_arguments(file, network)
    asked = nnunet.folds if network.folds is None else network.folds
    return ReadyNetwork(
        alias=alias,
        folder=folder,
        folds=found_folds(file, folder, asked, checkpoint),
        checkpoint=checkpoint,
        labels=network.labels,
        step_size=step_size,
        mirroring=mirroring,
        cleaning=model_cleaning(network.postprocessing),
    )


def _layers(file: Path, nnunet: Nnunet, layers: dict[str, Layer | TaskLayer]) -> tuple[Layer | TaskLayer, ...]:
    """The order that the file gives, with the ensemble first where it is not named.

    Without an order: the ensemble, then the networks that are not in it, as they are listed.
    """
    networks = tuple(layers)
    inputs: Sequence[str] = ()
    if nnunet.ensemble is not None:
        inputs = nnunet.ensemble.inputs or networks
        _known(file, "ensemble.inputs", inputs, networks)
        layers = {**layers, ENSEMBLE: _ensemble(file, nnunet.ensemble, [layers[alias] for alias in inputs])}
    order = list(nnunet.combine.order)
    _known(file, "combine", order, layers)
    if not order:
        order = [alias for alias in networks if alias not in inputs]
    if ENSEMBLE in layers and ENSEMBLE not in order:
        order.insert(0, ENSEMBLE)
    unused = sorted(set(networks) - set(order) - set(inputs))
    if unused:
        raise CustomModelError(f"{file}: nothing uses {', '.join(unused)}; name it in combine, or take it out")
    return tuple(layers[alias] for alias in order)


def _ensemble(file: Path, ensemble: Ensemble, layers: Sequence[Layer | TaskLayer]) -> Layer:
    """The networks of several layers as one, whose probabilities are averaged."""
    networks = tuple(network for layer in layers if isinstance(layer, Layer) for network in layer.networks)
    if len(networks) != len(layers):
        raise CustomModelError(f"{file}: TotalSegmentator's tasks give no probabilities that an ensemble could average")
    different = {tuple(map(plain, network.labels)) for network in networks}
    if ensemble.labels:
        different.add(tuple(map(plain, ensemble.labels)))
    if len(different) > 1:
        raise CustomModelError(f"{file}: the networks of the ensemble do not have the same labels")
    return Layer(ENSEMBLE, networks, _nnunet_postprocessing(file, ensemble.postprocessing, len(networks[0].labels)))


def _nnunet_postprocessing(file: Path, given: Path | None, labels: int) -> tuple[tuple[int, ...], ...]:
    """The steps of a `postprocessing.json` that nnU-Net v2 found best; its only kind keeps the largest part.

    Raises:
        CustomModelError: it is not that file, or has a step or label that is not known.
    """
    if given is None:
        return ()
    path = file.parent / given
    if path.suffix != ".json":
        raise CustomModelError(
            f"{file}: {given} may hold any program; name the postprocessing.json that nnU-Net v2 wrote beside it"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kinds, arguments = content["postprocessing_fns"], content["postprocessing_kwargs"]
        steps = tuple(tuple(_flat(one["labels_or_regions"])) for one in arguments)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CustomModelError(f"{file}: {path} is not a postprocessing.json of nnU-Net v2 ({error!r})") from error
    known = set(range(1, labels + 1))
    if len(kinds) != len(steps) or set(kinds) - {"remove_all_but_largest_component_from_segmentation"}:
        raise CustomModelError(f"{file}: {path} has steps that are not known: {', '.join(map(str, kinds))}")
    if any(set(arguments_of) - {"labels_or_regions"} for arguments_of in arguments) or set(sum(steps, ())) - known:
        raise CustomModelError(f"{file}: {path} has arguments or labels that are not those of this model")
    return steps


def _flat(labels: Any) -> list[int]:
    """Labels of a label, a region, or a list of both."""
    return [label for part in labels for label in _flat(part)] if isinstance(labels, list) else [int(labels)]


def _known(file: Path, key: str, names: Sequence[str], known: Iterable[str]) -> None:
    strangers = [name for name in names if name not in known]
    if strangers or len(set(names)) != len(names):
        what = ", ".join(strangers) or "a network twice"
        raise CustomModelError(f"{file}: {key} names {what}; there are {', '.join(known)}")


def _only_supported(file: Path, nnunet: Nnunet) -> None:
    """Refuse what would be left out silently."""
    if nnunet.interface in _REFUSED_INTERFACES:
        raise CustomModelError(f"{file}: interface {nnunet.interface}: {_REFUSED_INTERFACES[nnunet.interface]}")
    if not nnunet.networks:
        raise CustomModelError(f"{file}: networks is empty")
    if nnunet.ensemble is not None and Path(nnunet.ensemble.command).name not in _ENSEMBLE_COMMANDS:
        raise CustomModelError(f"{file}: ensemble.command {nnunet.ensemble.command!r} is not {_ENSEMBLE_COMMANDS[0]}")
    commands, variables = _COMMANDS[nnunet.interface], _VARIABLES[nnunet.interface]
    if Path(nnunet.command).name not in commands:
        raise CustomModelError(f"{file}: command {nnunet.command!r} is not one of {', '.join(commands[1:])}")
    for network in nnunet.networks:
        unsupported = [key for key in ("cascade_trainer", "prompt") if getattr(network, key)]
        unsupported += ["task"] if network.task and nnunet.interface != "totalsegmentator" else []
        rule = network.postprocessing
        unsupported += [
            f"postprocessing.{key}"
            for key in ("confine_to_lung_mask", "anchor_source", "anchor_glob", "dice_reference_glob")
            if getattr(rule, key)
        ]
        if unsupported:
            raise CustomModelError(f"{file}: {', '.join(unsupported)} of a network is not supported; take it out")
        if unknown := sorted({*nnunet.env, *network.env} - set(variables)):
            raise CustomModelError(f"{file}: env has {', '.join(unknown)}; only {', '.join(variables)} are used")


class _Trained(BaseModel):
    """What is needed of nnU-Net's `dataset.json`."""

    labels: dict[str, StrictInt | list[Any]]
    channel_names: dict[str, Any]


def _check_labels(file: Path, folder: Path, labels: tuple[str, ...]) -> None:
    """Label names may differ from those of the training in case and punctuation, but not in order or number."""
    if not labels:
        raise CustomModelError(f"{file}: label_order of a network is missing; it names the labels of dataset.json")
    described = folder / "dataset.json"
    try:
        trained = _Trained.model_validate(json.loads(described.read_text(encoding="utf-8")))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors())
        raise CustomModelError(f"{file}: {described} cannot be used: {wrong}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CustomModelError(f"{file}: {described} cannot be used: {error}") from error
    if len(trained.channel_names) != 1:
        raise CustomModelError(f"{file}: the model needs {len(trained.channel_names)} images; a planning CT is one")
    if any(isinstance(label, list) for label in trained.labels.values()):
        raise CustomModelError(f"{file}: region-based models (labels that are lists) are not supported")
    names = {label: name for name, label in trained.labels.items() if isinstance(label, int)}
    if sorted(names) != list(range(len(trained.labels))):
        raise CustomModelError(f"{file}: {described} does not number its labels from 0, the background, without gaps")
    in_order = tuple(names[label] for label in range(1, len(names)))
    if [plain(name) for name in in_order] != [plain(name) for name in labels]:
        raise CustomModelError(
            f"{file}: labels {', '.join(labels)} are not those of {described}: {', '.join(in_order)}"
        )
    _check_names(file, labels)


def _check_names(file: Path, labels: tuple[str, ...]) -> None:
    if len(labels) > MOST_LABELS:
        raise CustomModelError(f"{file}: more than {MOST_LABELS} labels are not supported")
    if len({plain(name) for name in labels}) != len(labels):
        raise CustomModelError(f"{file}: two labels differ only in case or punctuation")


def _number(text: str) -> float:
    """A number, or 0 where it is none."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _predict_arguments(file: Path, network: Network) -> tuple[float, bool, str]:
    """(step size, mirroring, checkpoint) out of the arguments of nnU-Net's own command that are understood."""
    step_size, mirroring, checkpoint = 0.5, True, network.checkpoint
    words = iter(network.predict_args)
    for word in words:
        if word == "--disable_tta":
            mirroring = False
        elif word == "-step_size":
            step_size = _number(next(words, ""))
        elif word == "-chk":
            checkpoint = next(words, "")
        else:
            raise CustomModelError(
                f"{file}: argument {word} is not supported (only --disable_tta, -step_size and -chk are; device, "
                "threads and processes are those of the configuration)"
            )
    if not 0 < step_size <= 1:
        raise CustomModelError(f"{file}: -step_size needs a number above 0 and at most 1")
    return step_size, mirroring, checkpoint

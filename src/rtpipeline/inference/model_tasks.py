"""TotalSegmentator's tasks as networks of a user's own model (`interface: totalsegmentator`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtpipeline.inference.label_names import plain
from rtpipeline.inference.model_description import CustomModelError, CustomModelFile, Network
from rtpipeline.inference.postprocessing import Cleaning, model_cleaning
from rtpipeline.inference.tasks import TASKS, TaskOptions, dataset_folders, labels_of, missing_models, options

_KEYS_THAT_TASKS_TAKE = {"id", "alias", "task", "labels", "predict_args", "env", "postprocessing"}


@dataclass(frozen=True)
class TaskLayer:
    """One painting of the model's label volume by a task of TotalSegmentator.

    Attributes:
        alias: its name within the model.
        task: with the options that it takes.
        split: segment in parts where the volume is long enough.
        weights: the folder of TotalSegmentator's weights.
        labels: names of the structures that are taken; labels 1, 2, … of this layer.
        task_labels: the task's own label of each of them.
        cleaning: what is done to each of its structures.
    """

    alias: str
    task: TaskOptions
    split: bool
    weights: Path
    labels: tuple[str, ...]
    task_labels: tuple[int, ...]
    cleaning: Cleaning

    @property
    def inference(self) -> object:
        """Layers with the same one take different structures of the same labels."""
        return self.task, self.split, self.weights

    @property
    def folders(self) -> tuple[Path, ...]:
        """The nnU-Net datasets that the task loads."""
        return dataset_folders(self.weights, self.task)

    def as_facts(self) -> dict[str, Any]:
        """JSON-ready, for the label map."""
        return {
            "alias": self.alias,
            "task": self.task.task,
            "fast": self.task.fast,
            "split": self.split,
            "task_labels": list(self.task_labels),
            "postprocessing": self.cleaning.as_facts(),
        }


def named_tasks(file: Path, described: CustomModelFile, weights: Path) -> list[tuple[TaskOptions, Path]]:
    """The tasks of TotalSegmentator that a model names, and the folder of each one's weights.

    Raises:
        CustomModelError: a task does not exist or cannot be used.
    """
    if described.nnunet.interface != "totalsegmentator":
        return []
    return [
        (_task(file, network), _weights(file, {**described.nnunet.env, **network.env}, weights))
        for network in described.nnunet.networks
    ]


def task_layer(file: Path, alias: str, network: Network, env: Mapping[str, str], weights: Path) -> TaskLayer:
    """A task of TotalSegmentator with the structures that the file takes of it; all where it names none.

    Args:
        file: the model's `custom_model.yaml`.
        alias: name of the network within the model.
        network: what the file says of it.
        env: variables that the file sets for it; paths are relative to the file's folder.
        weights: where TotalSegmentator's weights lie if `env` does not say.

    Raises:
        CustomModelError: the task does not exist, is not for CT, lacks its weights or a structure that is named, or the
            file asks for something that tasks do not take.
    """
    task, weights = _task(file, network), _weights(file, env, weights)
    if given := sorted(network.model_fields_set - _KEYS_THAT_TASKS_TAKE):
        raise CustomModelError(f"{file}: {', '.join(given)} of a TotalSegmentator task has no meaning; take it out")
    if missing := missing_models(weights, task):
        raise CustomModelError(
            f"{file}: weights of task {task.task} (datasets {', '.join(map(str, missing))}) are not in {weights}; run "
            "`rtpipeline weights` where there is a network"
        )
    known = labels_of(task)
    numbers = {plain(name): int(label) for label, name in known.items()}
    labels = network.labels or tuple(known.values())
    if unknown := [name for name in labels if plain(name) not in numbers]:
        raise CustomModelError(
            f"{file}: task {task.task} has no {', '.join(unknown)}; it has {', '.join(known.values())}"
        )
    return TaskLayer(
        alias=alias,
        task=task,
        split="--force_split" in network.predict_args,
        weights=weights,
        labels=labels,
        task_labels=tuple(numbers[plain(name)] for name in labels),
        cleaning=model_cleaning(network.postprocessing),
    )


def _weights(file: Path, env: Mapping[str, str], weights: Path) -> Path:
    """Where a task's weights lie: as TotalSegmentator's own variables say, else as configured."""
    if "TOTALSEG_WEIGHTS_PATH" in env:
        return file.parent / env["TOTALSEG_WEIGHTS_PATH"]
    if "TOTALSEG_HOME_DIR" in env:
        return file.parent / env["TOTALSEG_HOME_DIR"] / "nnunet" / "results"
    return weights


def _task(file: Path, network: Network) -> TaskOptions:
    """The task that a network names, with `--fast` where it is asked for."""
    name = network.task or network.id
    if name not in TASKS:
        raise CustomModelError(
            f"{file}: TotalSegmentator has no task {name!r}; its tasks are {', '.join(sorted(TASKS))}"
        )
    if TASKS[name].modality != "CT":
        raise CustomModelError(f"{file}: task {name} is for {TASKS[name].modality}; models segment the planning CT")
    if unknown := sorted(set(network.predict_args) - {"--fast", "--force_split"}):
        raise CustomModelError(
            f"{file}: argument {unknown[0]} is not supported (only --fast and --force_split are; device, threads and "
            "processes are those of the configuration)"
        )
    fast = "--fast" in network.predict_args
    if fast and not TASKS[name].fast_models:
        raise CustomModelError(f"{file}: task {name} has no fast variant; take --fast out")
    return options(name, fast=fast)

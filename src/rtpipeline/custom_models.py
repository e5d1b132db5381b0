"""The stage that segments the planning CT with the user's own models: nnU-Net v2, and tasks of TotalSegmentator."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from rtpipeline.config import Configuration
from rtpipeline.course import CT_KEY, Course, CourseFiles
from rtpipeline.dicom.errors import DicomError
from rtpipeline.inference.body_regions import regions_shown, why_not
from rtpipeline.inference.children import ask, first_that_fits, start_nnunet
from rtpipeline.inference.images import PreparedImage, TooLowError, prepare
from rtpipeline.inference.label_volumes import (
    copy_stored,
    read_labels,
    structure_count,
    unchanged,
    write_labels,
)
from rtpipeline.inference.model_description import (
    CustomModelError,
    CustomModelFile,
    model_files,
    read_model_file,
)
from rtpipeline.inference.model_folders import CustomModel, Layer, named_weights, ready_model
from rtpipeline.inference.model_tasks import TaskLayer, named_tasks
from rtpipeline.inference.postprocessing import Labels, cleaned, configured_cleaning
from rtpipeline.inference.predictor import same_model, weights_digest
from rtpipeline.inference.task_inference import infer_task
from rtpipeline.inference.tasks import NeededTask, weights_folder
from rtpipeline.outcome import Outcome, StageError, failed, ok, skipped
from rtpipeline.scheduling.memory_pressure import is_memory_pressure
from rtpipeline.scheduling.resources import Resources
from rtpipeline.scheduling.worker_process import Message, WorkerError, WorkerProcess


def run(course: Course, configuration: Configuration, resources: Resources) -> Outcome:
    """Segment the planning CT with every enabled model below `custom_models.root`.

    Writes, for each model, a multilabel NIfTI of uint8 labels on the CT's own grid and its label map. A model that
    cannot be used leaves the others; one that is meant for a region of the body that the CT does not show is not run.

    Raises:
        StageError: the folder of models is not there, or a model that is asked for by name is not in it.
    """
    section = configuration.custom_models
    ct = course.description.planning_ct
    if ct is None:
        return skipped("the course has no planning CT")
    models, problems = usable_models(configuration)
    if not models and not problems:
        return skipped(f"no model below {section.root} is enabled")
    models, gated = _that_fit(models, regions_shown(course.files.body_regions))
    for sentence in gated:
        resources.logger.info("%s", sentence)
    if not models:
        reason = "; ".join([*problems, *gated])
        return failed(reason) if problems else skipped(reason)
    try:
        image = prepare(course.path(ct.folder), resources.scratch / "CT.nii.gz")
    except DicomError as error:
        return failed(f"the planning CT cannot be segmented: {error}")
    except TooLowError as error:
        return skipped(f"the planning CT is not segmented: {error}")
    results: dict[str, Any] = {}
    memory_pressure = try_again = False
    for number, model in enumerate(models, start=1):
        try:
            results[model.name] = _segmented(course, model, image, configuration, resources)
        except (WorkerError, StageError) as error:
            problems.append(f"{model.name} failed: {error}")
            memory_pressure = memory_pressure or is_memory_pressure(error)
            try_again = True
        resources.report_progress(number, len(models))
    details = {"inferences": results, "not_for_this_ct": gated, "try_again": try_again}
    reason = "; ".join(problems)
    if not results:
        return failed(reason, memory_pressure=memory_pressure, **details)
    return Outcome("partial", reason, memory_pressure, details) if problems else ok(**details)


def model_inputs(configuration: Configuration) -> tuple[Path, ...]:
    """Files and folders that the models depend on: their root, and the weights that they name outside of it.

    A `custom_model.yaml` that cannot be read names nothing; the stage says what is wrong with it.
    """
    root = configuration.custom_models.root.absolute()
    outside: set[Path] = set()
    for file in model_files(root):
        try:
            described = read_model_file(file)
            named = named_weights(file, described, configuration.segmentation.weights) if described.enabled else []
        except CustomModelError:
            continue
        outside.update(path for path in named if not path.is_relative_to(root))
    return (configuration.custom_models.root, *sorted(outside))


def unusable_models(configuration: Configuration) -> list[str]:
    """One sentence for each model that cannot be used."""
    try:
        return usable_models(configuration)[1]
    except StageError as error:
        return [error.reason]


def tasks_of_models(configuration: Configuration) -> list[NeededTask]:
    """The tasks of TotalSegmentator that the enabled models which are asked for name.

    Raises:
        StageError: the root is not a folder, an asked name is nowhere, or a model's file cannot be used.
    """
    described, problems = _asked_for(configuration)
    tasks: list[NeededTask] = []
    for file, model in described:
        try:
            named = named_tasks(file, model, weights_folder(configuration.segmentation.weights))
        except CustomModelError as error:
            problems.append(str(error))
        else:
            tasks += [NeededTask(task, weights, f"model {model.name} cannot be used") for task, weights in named]
    if problems:
        raise StageError("; ".join(problems))
    return tasks


def _that_fit(models: list[CustomModel], shown: dict[str, Any] | None) -> tuple[list[CustomModel], list[str]]:
    """The models for what the CT shows, and one sentence for each other one."""
    reasons = {model.name: why_not(shown, model.required_body_regions, model.min_region_confidence) for model in models}
    gated = [f"{name} was not run: {reason}" for name, reason in reasons.items() if reason]
    return [model for model in models if not reasons[model.name]], gated


def usable_models(configuration: Configuration) -> tuple[list[CustomModel], list[str]]:
    """The enabled models that are asked for, and one sentence for each that cannot be used.

    Raises:
        StageError: the root is not a folder, or an asked name is nowhere.
    """
    described, problems = _asked_for(configuration)
    models: list[CustomModel] = []
    for file, model in described:
        try:
            models.append(ready_model(file, model, configuration.segmentation.weights))
        except CustomModelError as error:
            problems.append(str(error))
    return models, problems


def _asked_for(configuration: Configuration) -> tuple[list[tuple[Path, CustomModelFile]], list[str]]:
    """The files and contents of the enabled models that are asked for, and a sentence for each file that cannot be read
    or has the name of another.

    Raises:
        StageError: the root is not a folder, or an asked name is nowhere.
    """
    section = configuration.custom_models
    if not section.root.is_dir():
        raise StageError(f"custom_models.root: {section.root.absolute()} is not a folder")
    problems: list[str] = []
    described: list[tuple[Path, CustomModelFile]] = []
    for file in model_files(section.root.absolute()):
        try:
            described.append((file, read_model_file(file)))
        except CustomModelError as error:
            problems.append(str(error))
    names = {model.name.lower() for _, model in described}
    if unknown := [name for name in section.models if name.lower() not in names]:
        message = (
            f"custom_models.models: {', '.join(unknown)} is not below {section.root.absolute()}; "
            f"there are: {', '.join(sorted(names)) or 'none'}"
        )
        if not problems:
            raise StageError(message)
        problems.append(message)
    wanted = {name.lower() for name in section.models} or names
    asked: dict[str, tuple[Path, CustomModelFile]] = {}
    for file, model in described:
        name = model.name.lower()
        if model.enabled and name in asked:
            problems.append(f"{file}: two models are called {model.name}; this one is left out")
        elif model.enabled and name in wanted:
            asked[name] = (file, model)
    return list(asked.values()), problems


def _segmented(
    course: Course, model: CustomModel, image: PreparedImage, configuration: Configuration, resources: Resources
) -> dict[str, Any]:
    """One model on the CT: its earlier result where that holds, else a new one; returns facts for the state file.

    Raises:
        WorkerError: nnU-Net failed, died or took too long.
        StageError: its result cannot be used.
    """
    facts = _facts(model)
    cleaning = configured_cleaning(configuration.custom_models.postprocessing, facts["labels"])
    stored = course.files.custom_model_segmentation(model.name)
    target = CourseFiles(resources.staging).custom_model_segmentation(model.name)
    earlier = None if resources.forced else unchanged(stored, image, facts, cleaning)
    if earlier is not None and same_model(earlier, model.folders):
        copy_stored(stored, target)
        return {"structures": structure_count(earlier), "device": earlier["device"], "earlier_result": True}
    painted = np.zeros(image.grid.shape, np.uint8)
    seconds = 0.0
    overlaps: Counter[str] = Counter()
    inferred: dict[Any, tuple[Message, Labels]] = {}
    for layer in model.layers:
        if layer.inference not in inferred:
            inferred[layer.inference] = _infer(model, layer, image, configuration, resources)
            seconds += inferred[layer.inference][0]["seconds"]
        reply, made = inferred[layer.inference]
        labels = _cleaned_layer(_own_labels(layer, made), layer, image.grid.voxel_volume_cm3)
        overlaps.update(_paint(painted, model, layer, labels))
    reply = {**reply, "weights_digest": weights_digest(model.folders, {})}
    structures = write_labels(target, image, painted, {**facts, "voxels_taken": dict(overlaps)}, reply, cleaning)
    result = {"seconds": round(seconds, 3), "device": reply["device"], "structures": structures}
    tried = dict.fromkeys(way for answer, _ in inferred.values() for way in answer.get("out_of_memory_on", ()))
    return {**result, "out_of_memory_on": list(tried)} if tried else result


def _cleaned_layer(labels: Labels, layer: Layer | TaskLayer, voxel_volume_cm3: float) -> Labels:
    """Labels of a layer after the postprocessing that the model's own file asks for."""
    rule = layer.cleaning
    rules = dict.fromkeys(range(1, len(layer.labels) + 1), rule) if rule.does_something else {}
    return cleaned(labels, rules, voxel_volume_cm3)


def _paint(painted: Labels, model: CustomModel, layer: Layer | TaskLayer, labels: Labels) -> dict[str, int]:
    """Put a layer's structures over what is painted; a structure that was painted before is taken away first.

    Returns:
        For structures of other layers that lost voxels to this one: `<structure>` → how many.
    """
    own = np.array([0, *(model.labels.index(name) + 1 for name in layer.labels)], np.uint8)
    painted[np.isin(painted, own[1:])] = 0
    there = labels != 0
    lost = np.bincount(painted[there], minlength=len(model.labels) + 1)
    painted[there] = own[labels[there]]
    return {model.labels[label - 1]: int(lost[label]) for label in np.flatnonzero(lost).tolist() if label}


def _infer(
    model: CustomModel,
    layer: Layer | TaskLayer,
    image: PreparedImage,
    configuration: Configuration,
    resources: Resources,
) -> tuple[Message, Labels]:
    """The child's answer and the labels that the model gives on the image's grid.

    Raises:
        WorkerError: the model failed, died or took too long.
        StageError: the labels do not lie on the image.
    """
    output = resources.scratch / f"{model.name}.nii"
    if isinstance(layer, TaskLayer):
        reply = infer_task(
            layer.task,
            image,
            output,
            split=layer.split and layer.task.can_split(image.grid.planes * image.grid.plane_spacing_mm),
            weights=layer.weights,
            section=configuration.segmentation,
            timeout_s=configuration.custom_models.timeout_s,
            resources=resources,
        )
    else:
        reply = _infer_networks(model, layer, image, output, configuration, resources)
    labels = read_labels(output, image.grid)
    output.unlink()
    return reply, labels


def _own_labels(layer: Layer | TaskLayer, labels: Labels) -> Labels:
    """The labels 1, 2, … of a layer out of those that its model gives."""
    if isinstance(layer, Layer):
        return labels
    own = np.zeros(256, np.uint8)
    own[list(layer.task_labels)] = np.arange(1, len(layer.labels) + 1)
    chosen: Labels = own[labels]
    return chosen


def _infer_networks(
    model: CustomModel,
    layer: Layer,
    image: PreparedImage,
    output: Path,
    configuration: Configuration,
    resources: Resources,
) -> Message:
    """Run the networks of a layer in a warm nnU-Net, on the CPU where the GPU's memory ran out and that is allowed.

    nnU-Net itself keeps its results in main memory where the GPU's does not suffice for them.
    """
    limit = configuration.segmentation.thread_limit or resources.threads
    request: Message = {
        "image": str(image.file),
        "output": str(output),
        "scratch": str(resources.scratch),
        "networks": [{"model_folder": str(network.folder), **network.options()} for network in layer.networks],
        "keep_largest": [list(labels) for labels in layer.keep_largest],
        "orientation": model.orientation,
        "threads": min(resources.threads, limit),
    }

    def ask_in_this_way(way: Message) -> Message:
        device = way["device"]

        def start() -> WorkerProcess:
            return start_nnunet(request["threads"], resources.logs, device, resources.logger)

        timeout_s = configuration.custom_models.timeout_s
        return ask("nnunet", start, {**request, **way}, timeout_s, resources, device)

    devices = [resources.device]
    if configuration.segmentation.allow_cpu_fallback and resources.device != "cpu":
        devices.append("cpu")
    return first_that_fits(model.name, [{"device": device} for device in devices], ask_in_this_way, resources)


def _facts(model: CustomModel) -> dict[str, Any]:
    """What the label map says of the model before it is run."""
    return {
        "task": f"custom_model:{model.name}",
        "image_key": CT_KEY,
        "labels": {str(label): name for label, name in enumerate(model.labels, start=1)},
        "options": {
            "orientation": model.orientation,
            "layers": [layer.as_facts() for layer in model.layers],
        },
        "required_body_regions": list(model.required_body_regions),
    }

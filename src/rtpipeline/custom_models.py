"""The stage that segments a course's planning CT with the user's own nnU-Net v2 models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rtpipeline.config import Configuration
from rtpipeline.config.schema import CustomModelsSection
from rtpipeline.course import Course, CourseFiles
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.nifti_conversion import convert_to_nifti
from rtpipeline.imaging.grid import Grid
from rtpipeline.inference.children import ask, start_nnunet
from rtpipeline.inference.label_volumes import store_labels
from rtpipeline.inference.model_folders import (
    CustomModel,
    CustomModelError,
    CustomModelFile,
    model_files,
    read_model_file,
    ready_model,
)
from rtpipeline.outcome import Outcome, StageError, failed, ok, partial, skipped
from rtpipeline.scheduling.memory_pressure import is_memory_pressure
from rtpipeline.scheduling.resources import Resources
from rtpipeline.scheduling.worker_process import Message, WorkerError, WorkerProcess


def run(course: Course, configuration: Configuration, resources: Resources) -> Outcome:
    """Segment the planning CT with every enabled model below `custom_models.root`.

    Writes, for each model, a multilabel NIfTI of uint8 labels on the CT's own grid and its label map. A model that
    cannot be used leaves the others.

    Raises:
        StageError: the folder of models is not there, or a model that is asked for by name is not in it.
    """
    section = configuration.custom_models
    ct = course.description.planning_ct
    if ct is None:
        return skipped("the course has no planning CT")
    models, problems = _models(section)
    if not models and not problems:
        return skipped(f"no model below {section.root} is enabled")
    image = resources.scratch / "CT.nii.gz"
    try:
        grid = convert_to_nifti(course.path(ct.folder), image) if models else None
    except DicomError as error:
        return failed(f"the planning CT cannot be segmented: {error}")
    results: dict[str, Any] = {}
    memory_pressure = False
    for model in models:
        assert grid is not None
        try:
            results[model.name] = _segment(model, image, grid, configuration, resources)
        except (WorkerError, StageError) as error:
            problems.append(f"{model.name} failed: {error}")
            memory_pressure = memory_pressure or is_memory_pressure(error)
        resources.report_progress(len(results), len(models))
    reason = "; ".join(problems)
    if memory_pressure or not results:
        return failed(reason, memory_pressure=memory_pressure, inferences=results)
    return partial(reason, inferences=results) if problems else ok(inferences=results)


def _models(section: CustomModelsSection) -> tuple[list[CustomModel], list[str]]:
    """The enabled models that are asked for, and one sentence for each that cannot be used.

    Raises:
        StageError: the root is not a folder, or an asked name is nowhere.
    """
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
    unknown = [name for name in section.models if name.lower() not in names]
    if unknown and not problems:
        raise StageError(
            f"custom_models.models: {', '.join(unknown)} is not below {section.root.absolute()}; "
            f"there are: {', '.join(sorted(names)) or 'none'}"
        )
    wanted = {name.lower() for name in section.models} or names
    models: list[CustomModel] = []
    for file, model in described:
        if not model.enabled or model.name.lower() not in wanted:
            continue
        try:
            models.append(_unlike(models, ready_model(file, model)))
        except CustomModelError as error:
            problems.append(str(error))
    return models, problems


def _unlike(models: list[CustomModel], model: CustomModel) -> CustomModel:
    if any(other.name.lower() == model.name.lower() for other in models):
        raise CustomModelError(f"two models are called {model.name}; the second is left out")
    return model


def _segment(
    model: CustomModel, image: Path, grid: Grid, configuration: Configuration, resources: Resources
) -> dict[str, Any]:
    """Run one model and write its labels and label map; returns facts for the state file.

    Raises:
        WorkerError: nnU-Net failed, died or took too long.
        StageError: its result cannot be used.
    """
    if model.required_body_regions:
        regions = ", ".join(model.required_body_regions)
        resources.logger.warning("%s is meant for %s; whether the CT shows that is not checked", model.name, regions)
    output = resources.scratch / f"{model.name}.nii"
    limit = configuration.segmentation.thread_limit or resources.threads
    request: Message = {
        "image": str(image),
        "output": str(output),
        "scratch": str(resources.scratch),
        "model_folder": str(model.folder),
        "folds": list(model.folds),
        "checkpoint": model.checkpoint,
        "orientation": model.orientation,
        "step_size": model.step_size,
        "mirroring": model.mirroring,
        "device": resources.device,
        "threads": min(resources.threads, limit),
    }

    def start() -> WorkerProcess:
        return start_nnunet(request["threads"], resources.logs, resources.device, resources.logger)

    reply = ask("nnunet", start, request, configuration.custom_models.timeout_s, resources)
    facts = {
        "task": f"custom_model:{model.name}",
        "image_key": "CT",
        "labels": {str(label): name for label, name in enumerate(model.labels, start=1)},
        "options": {name: request[name] for name in ("folds", "checkpoint", "orientation", "step_size", "mirroring")},
        "required_body_regions": list(model.required_body_regions),
    }
    file = CourseFiles(resources.staging).custom_model_segmentation(model.name)
    structures = store_labels(output, file, grid, facts, reply)
    return {"seconds": reply["seconds"], "device": reply["device"], "structures": structures}

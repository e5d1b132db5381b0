"""The stage of one course: perturb its structures, have features extracted, keep every value with its state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from rtpipeline.config import Configuration, SelectionSection
from rtpipeline.course import Course, CourseFiles
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import load_image
from rtpipeline.imaging.grid import Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.outcome import Outcome, StageError, failed, ok, partial, skipped
from rtpipeline.provenance import short_digest
from rtpipeline.radiomics_parallel import (
    ExtractionJob,
    ImageOnDisk,
    JobResult,
    MaskOnDisk,
    packaged_parameters,
    radiomics_client,
    store_image,
    store_mask,
)
from rtpipeline.radiomics_robustness.contour import ContourOffset
from rtpipeline.radiomics_robustness.masks import Geometry, PerturbedMask, geometry_of, perturbed_masks
from rtpipeline.radiomics_robustness.noise import with_noise
from rtpipeline.radiomics_robustness.region import Region
from rtpipeline.radiomics_robustness.seeds import random_for
from rtpipeline.radiomics_robustness.states import Axes, State, Translation, axes_of
from rtpipeline.scheduling.resources import Resources
from rtpipeline.structures import Structure, as_columns, course_structures, selected
from rtpipeline.tables.definitions.robustness import ROBUSTNESS, ROBUSTNESS_LEDGER
from rtpipeline.tables.parquet import sort, to_arrow, write_arrow, write_parquet

Row = dict[str, object]


@dataclass(frozen=True)
class _Task:
    """One structure in one state: its ledger row without the result, and its job where there is a mask."""

    row: Row
    job: ExtractionJob | None


def run(course: Course, configuration: Configuration, resources: Resources) -> Outcome:
    """Extract the features of every selected structure in every perturbation state.

    Writes `radiomics_robustness_ct.parquet` (long: state × feature) and the ledger, which has a row for every
    structure and state. A state that cannot be made or extracted is missing in the first and explained in the second.

    Raises:
        StageError: the planning CT or a structure cannot be read, or there is no radiomics environment.
    """
    planning_ct = course.description.planning_ct
    if planning_ct is None:
        return skipped("the course has no planning CT")
    if not configuration.radiomics_robustness.modes:
        return skipped("radiomics_robustness.modes is empty")
    structures = selected(course_structures(course, configuration), _selection(configuration))
    if not structures:
        return skipped(f"no structure matches {', '.join(_selection(configuration).include)}")
    axes = _axes(configuration)
    image = _image(course.path(planning_ct.folder))
    client = radiomics_client(configuration, resources)
    parameters = client.read_parameters(configuration.radiomics.params_file or packaged_parameters("CT"))
    versions = client.environment.versions
    computed: Row = {
        "parameter_digest": short_digest(parameters),
        "pyradiomics_version": versions["pyradiomics"],
        "numpy_version": versions["numpy"],
    }
    tasks = list(_tasks(course, configuration, resources, image, structures, axes, parameters))
    jobs = [task.job for task in tasks if task.job is not None]
    resources.logger.info("%d structures x %d states: %d jobs", len(structures), len(axes.states()), len(jobs))
    results = {
        result.key: result
        for result in client.extract(
            jobs,
            timeout_s=configuration.radiomics.task_timeout_s,
            report_progress=resources.report_progress,
            cancelled=resources.cancelled,
        )
    }
    return _write(CourseFiles(resources.staging), tasks, results, computed)


def _selection(configuration: Configuration) -> SelectionSection:
    """`structures.robustness`; `apply_to_structures` goes before its names."""
    selection = configuration.structures.robustness
    names = configuration.radiomics_robustness.segmentation_perturbation.apply_to_structures
    return selection if names is None else selection.model_copy(update={"include": names})


def _axes(configuration: Configuration) -> Axes:
    axes = axes_of(configuration.radiomics_robustness.segmentation_perturbation)
    try:
        axes.states()
    except ValueError as error:
        raise StageError(f"radiomics_robustness.segmentation_perturbation: {error}") from error
    return axes


def _image(folder: Path) -> Volume:
    try:
        image = load_image(folder)
    except DicomError as error:
        raise StageError(str(error)) from error
    if not image.grid.is_uniform:
        raise StageError(f"{folder}: the slices are not equally spaced, so its radiomics are not defined")
    return image


def _tasks(
    course: Course,
    configuration: Configuration,
    resources: Resources,
    image: Volume,
    structures: Sequence[Structure],
    axes: Axes,
    parameters: dict[str, Any],
) -> Iterator[_Task]:
    """Every structure in every state, with its mask stored once for all noise levels."""
    section = configuration.radiomics_robustness
    images = _noisy_images(course, image, axes, section.base_seed, resources.scratch)
    for number, structure in enumerate(structures):
        masks = _masks(course, structure, image, axes, section.base_seed)
        files = {
            geometry: store_mask(resources.scratch / f"mask_{number}_{count}.npy", mask, image.grid)
            for count, (geometry, mask) in enumerate(_voxels(masks, image).items())
        }
        for state in axes.states():
            made = masks[geometry_of(state)] if masks else None
            row: Row = {
                **course.identifiers,
                **as_columns(structure),
                **_state_columns(state, made),
                "profile": section.segmentation_perturbation.profile,
                "seed": section.base_seed,
            }
            key = f"{number} {state.perturbation_id}"
            yield _Task(row, _job(key, made, images[state.noise], files.get(geometry_of(state)), parameters))


def _noisy_images(course: Course, image: Volume, axes: Axes, base_seed: int, scratch: Path) -> dict[float, ImageOnDisk]:
    """The whole image at every noise level: one draw per course and level, whatever the structures are."""
    images = {}
    for number, level in enumerate(axes.noise_levels):
        random = random_for(base_seed, *course.identifiers.values(), "noise", f"{level:g}")
        images[level] = store_image(scratch / f"image_{number}.npy", with_noise(image, level, random))
    return images


def _masks(
    course: Course, structure: Structure, image: Volume, axes: Axes, base_seed: int
) -> dict[Geometry, PerturbedMask]:
    """All masks of one structure; none where it has no voxel."""
    original = structure.mask(image.grid)
    if original.is_empty:
        return {}

    def draw(translation: Translation, realisation: int) -> ContourOffset:
        roi = (structure.source, str(structure.roi_number), structure.roi_name)
        shift = ",".join(f"{value:g}" for value in translation)
        random = random_for(base_seed, *course.identifiers.values(), "contour", *roi, shift, str(realisation))
        return ContourOffset.draw(axes.contour_magnitude_mm, random)

    return perturbed_masks(Region.of(original, image.grid), image.grid, axes, draw)


def _voxels(masks: dict[Geometry, PerturbedMask], image: Volume) -> dict[Geometry, Mask]:
    return {geometry: made.region.mask(image.grid) for geometry, made in masks.items() if made.region is not None}


def _state_columns(state: State, made: PerturbedMask | None) -> Row:
    row: Row = {
        "perturbation_id": state.perturbation_id,
        "noise_hu": state.noise,
        "contour_realisation": state.contour,
        "volume_change": state.volume_change,
    }
    if made is None:
        return {**row, "status": "skipped", "reason": "the structure has no voxel on the planning CT"}
    x_mm, y_mm, z_mm = made.translation_mm
    return {
        **row,
        "translation_x_mm": x_mm,
        "translation_y_mm": y_mm,
        "translation_z_mm": z_mm,
        "contour_offset_mm": made.contour_offset_mm,
        "voxel_count": made.region.voxel_count if made.region is not None else None,
        "status": made.status,
        "reason": made.reason,
    }


def _job(
    key: str,
    made: PerturbedMask | None,
    image: ImageOnDisk,
    file: MaskOnDisk | None,
    parameters: dict[str, Any],
) -> ExtractionJob | None:
    if made is None or made.region is None or file is None:
        return None
    return ExtractionJob(key, image, file, parameters, size=float(made.region.voxel_count))


def _write(files: CourseFiles, tasks: Sequence[_Task], results: dict[str, JobResult], computed: Row) -> Outcome:
    """Values and ledger, and what they amount to."""
    ledger, values = [], [to_arrow(ROBUSTNESS, ())]
    out_of_memory = False
    for task in tasks:
        result = results[task.job.key] if task.job is not None else None
        if result is None or result.status == "ok":
            ledger.append(task.row)
        else:
            ledger.append({**task.row, "status": result.status, "reason": result.reason})
            out_of_memory = out_of_memory or result.memory_pressure
        if result is not None and result.status == "ok":
            values.append(_values({**task.row, **computed}, result))
    counts = Counter(str(row["status"]) for row in ledger)
    usable = counts["ok"]
    lost = counts["failed"] + counts["timed out"]
    if usable == 0 and lost == 0:
        return skipped(next(str(row["reason"]) for row in ledger))
    if usable == 0:
        reason = next(str(row["reason"]) for row in ledger if row["status"] != "skipped")
        return failed(f"none of {lost} perturbation states could be extracted: {reason}", memory_pressure=out_of_memory)
    write_arrow(files.radiomics_robustness, sort(pa.concat_tables(values), ROBUSTNESS))
    write_parquet(files.radiomics_robustness_ledger, ROBUSTNESS_LEDGER, ledger)
    details = {"states": dict(sorted(counts.items())), **computed}
    if lost:
        first = next(row for row in ledger if row["status"] in ("failed", "timed out"))
        where = f"{first['roi_name']} {first['perturbation_id']}: {first['reason']}"
        return partial(f"{lost} of {len(ledger)} perturbation states are missing, for example {where}", **details)
    return ok(**details)


def _values(row: Row, result: JobResult) -> pa.Table:
    state = {name: value for name, value in row.items() if name not in ("status", "reason")}
    features = ({**state, "feature_name": name, "value": value} for name, value in result.features.items())
    return to_arrow(ROBUSTNESS, features)

"""The stage of one course: perturb its structures, have features extracted, keep every value with its state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from rtpipeline.config import Configuration, SelectionSection
from rtpipeline.course import Course, CourseFiles
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import load_image
from rtpipeline.extraction.padding import with_padding
from rtpipeline.imaging.grid import Volume
from rtpipeline.outcome import Outcome, StageError, failed, ok, partial, skipped
from rtpipeline.provenance import short_digest
from rtpipeline.radiomics_parallel import JobResult, packaged_parameters, radiomics_client
from rtpipeline.radiomics_robustness.chain import chain_states
from rtpipeline.radiomics_robustness.chain_tasks import chain_tasks
from rtpipeline.radiomics_robustness.grid_tasks import grid_tasks
from rtpipeline.radiomics_robustness.profiles import CHAIN_PROFILE, profile_states
from rtpipeline.radiomics_robustness.states import axes_of
from rtpipeline.radiomics_robustness.task import Row, Task
from rtpipeline.scheduling.resources import Resources
from rtpipeline.structures import course_structures, selected
from rtpipeline.tables.definitions.robustness import ROBUSTNESS, ROBUSTNESS_LEDGER
from rtpipeline.tables.parquet import sort, to_arrow, write_arrow, write_parquet


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
    structures = selected(course_structures(course, configuration), robustness_selection(configuration))
    if not structures:
        return skipped(f"no structure matches {', '.join(robustness_selection(configuration).include)}")
    count = _state_count(configuration)
    image = _image(course.path(planning_ct.folder))
    client = radiomics_client(configuration, resources)
    parameters = with_padding(
        client.read_parameters(configuration.radiomics.params_file or packaged_parameters("CT")),
        configuration.radiomics.filter_padding,
        image.grid.spacing_mm,
    )
    versions = client.environment.versions
    computed: Row = {
        "parameter_digest": short_digest(parameters),
        "pyradiomics_version": versions["pyradiomics"],
        "numpy_version": versions["numpy"],
    }
    section = configuration.radiomics_robustness
    perturbation = section.segmentation_perturbation
    if perturbation.profile == CHAIN_PROFILE:
        states = chain_states(perturbation)
        scratch = resources.scratch
        tasks = list(chain_tasks(course, image, structures, states, parameters, section.base_seed, scratch))
    else:
        tasks = list(grid_tasks(course, configuration, resources, image, structures, axes_of(perturbation), parameters))
    jobs = [task.job for task in tasks if task.job is not None]
    resources.logger.info("%d structures x %d states: %d jobs", len(structures), count, len(jobs))
    results = {
        result.key: result
        for result in client.extract(
            jobs,
            timeout_s=configuration.radiomics.task_timeout_s,
            kept=resources.kept,
            report_progress=resources.report_progress,
            cancelled=resources.cancelled,
        )
    }
    return _write(CourseFiles(resources.staging), tasks, results, computed)


def robustness_selection(configuration: Configuration) -> SelectionSection:
    """`structures.robustness`; `apply_to_structures` goes before its names."""
    selection = configuration.structures.robustness
    names = configuration.radiomics_robustness.segmentation_perturbation.apply_to_structures
    return selection if names is None else selection.model_copy(update={"include": names})


def _state_count(configuration: Configuration) -> int:
    try:
        return len(profile_states(configuration.radiomics_robustness.segmentation_perturbation))
    except ValueError as error:
        raise StageError(f"radiomics_robustness.segmentation_perturbation: {error}") from error


def _image(folder: Path) -> Volume:
    try:
        image = load_image(folder)
    except DicomError as error:
        raise StageError(str(error)) from error
    if not image.grid.is_uniform:
        raise StageError(f"{folder}: the slices are not equally spaced, so its radiomics are not defined")
    return image


def _write(files: CourseFiles, tasks: Sequence[Task], results: dict[str, JobResult], computed: Row) -> Outcome:
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
    write_parquet(files.radiomics_robustness_ledger, ROBUSTNESS_LEDGER, ledger)
    counts = Counter(str(row["status"]) for row in ledger)
    usable = counts["ok"]
    lost = counts["failed"] + counts["timed out"]
    if usable == 0 and lost == 0:
        return skipped(f"no structure can be used, the first: {ledger[0]['roi_name']}: {ledger[0]['reason']}")
    if usable == 0:
        reason = next(str(row["reason"]) for row in ledger if row["status"] != "skipped")
        return failed(f"none of {lost} perturbation states could be extracted: {reason}", memory_pressure=out_of_memory)
    write_arrow(files.radiomics_robustness, sort(pa.concat_tables(values), ROBUSTNESS))
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

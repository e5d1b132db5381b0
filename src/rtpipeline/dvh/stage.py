"""The DVH stage: every selected structure of a course against the course's dose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rtpipeline.config import Configuration, SelectionSection
from rtpipeline.course import Course, CourseFiles
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import read_geometry
from rtpipeline.dicom.rtdose import read_dose
from rtpipeline.dvh.fractionation import Fractionation, fractionation_of
from rtpipeline.dvh.histogram import SampledDose
from rtpipeline.dvh.structure_dvh import Biology, StructureDvh, structure_dvh, structure_dvhs
from rtpipeline.dvh.tables import curve_rows, metric_rows, prescription_rows, status_rows, workbook_sheets
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.nifti import read_nifti
from rtpipeline.outcome import Outcome, StageError, failed, ok, partial, skipped
from rtpipeline.scheduling.resources import Resources
from rtpipeline.structures import Structure, course_structures, selected
from rtpipeline.structures.selection import is_selected
from rtpipeline.tables.definitions.dvh import DVH_CURVES, DVH_METRICS, DVH_STATUS, PRESCRIPTIONS
from rtpipeline.tables.excel import write_workbook
from rtpipeline.tables.parquet import to_arrow, write_parquet


def run(course: Course, configuration: Configuration, resources: Resources) -> Outcome:
    """Write metrics, curves and a status per structure; skipped where there is no dose or no structure.

    Raises:
        StageError: the dose, the planning CT or a structure set cannot be read.
    """
    if not course.files.dose.exists():
        decision = course.description.dose_decision
        return skipped(f"the course has no dose that stands for it ({decision.label}): {decision.reason}")
    structures = selected(course_structures(course, configuration), configuration.structures.dvh)
    if not structures:
        return skipped("the course has no structure that structures.dvh selects")
    try:
        dose = read_dose(course.files.dose)
        image = _image_grid(course)
        fractionation = fractionation_of(course, dose) if configuration.dvh.alpha_beta_gy else None
    except DicomError as error:
        raise StageError(f"{error}; correct or replace the file and organize again") from error
    results = _compute(structures, SampledDose(dose), fractionation, image, course, configuration, resources)
    _write(course, configuration, resources, results, dose)
    return _outcome(results)


def _compute(
    structures: Sequence[Structure],
    dose: SampledDose,
    fractionation: Fractionation | None,
    image: Grid | None,
    course: Course,
    configuration: Configuration,
    resources: Resources,
) -> list[StructureDvh]:
    """One result per structure, in their order, by up to `resources.threads` threads."""
    within = _cropped_grid(course, configuration)
    shown = image if within is None else within
    spacing_mm = None if image is None else float(np.median(image.plane_thicknesses_mm))
    mismatches = {structure.source: _frame_mismatch(course, structure.source) for structure in structures}

    def compute(structure: Structure) -> StructureDvh:
        if resources.cancelled.is_set():
            raise StageError("cancelled")
        result = structure_dvh(
            structure,
            dose,
            image_plane_spacing_mm=spacing_mm,
            minimum_coverage_fraction=configuration.dvh.minimum_dose_coverage_fraction,
            frame_mismatch=mismatches[structure.source],
            within=within,
            made_on=image if structure.source == "custom" else None,
            biology=_biology(structure, fractionation, configuration.dvh.alpha_beta_gy),
        )
        edge_sides = None if shown is None else structure.sides_at_edge(shown)
        return replace(result, edge_sides=edge_sides, image_cropped=within is not None)

    results = []
    for result in structure_dvhs(structures, compute, resources.threads):
        results.append(result)
        if result.status == "failed":
            resources.logger.warning("DVH of %s failed: %s", result.structure.roi_name, result.reason)
        resources.report_progress(len(results), len(structures))
    return results


def _biology(
    structure: Structure, fractionation: Fractionation | None, alpha_beta_gy: Mapping[str, float]
) -> Biology | None:
    """The first α/β whose pattern fits the structure's name as drawn or its standard name."""
    if fractionation is None:
        return None
    for pattern, value in alpha_beta_gy.items():
        if is_selected(structure, SelectionSection(include=(pattern,), sources=("*",))):
            return Biology(fractionation, value)
    return None


def _image_grid(course: Course) -> Grid | None:
    ct = course.description.planning_ct
    return None if ct is None else read_geometry(course.path(ct.folder)).grid


def _cropped_grid(course: Course, configuration: Configuration) -> Grid | None:
    """The grid of the cropped CT where structures are to be cut to it; None where they are not, or nothing was cut."""
    section = configuration.ct_cropping
    if not (section.enabled and section.use_cropped_for_dvh) or not course.files.cropped_ct.exists():
        return None
    return read_nifti(course.files.cropped_ct).grid


def _frame_mismatch(course: Course, source: str) -> str:
    """Why structures of this source and the dose have no common coordinates; empty where nothing says so."""
    description = course.description
    used = {dose.frame_of_reference_uid for dose in description.doses if dose.used} - {""}
    if source == "manual":
        frames = {entry.frame_of_reference_uid for entry in description.structure_sets if entry.primary} - {""}
    else:
        frames = {description.planning_ct.frame_of_reference_uid} - {""} if description.planning_ct else set()
    if not used or not frames or frames <= used:
        return ""
    return (
        f"its frame of reference ({', '.join(sorted(frames))}) is not the dose's ({', '.join(sorted(used))}), so their "
        "coordinates cannot be compared without a registration"
    )


def _write(
    course: Course,
    configuration: Configuration,
    resources: Resources,
    results: Sequence[StructureDvh],
    dose: Volume,
) -> None:
    files = CourseFiles(resources.staging)
    metrics = list(metric_rows(course, results, dose=dose, section=configuration.dvh))
    prescriptions = list(prescription_rows(course))
    status = list(status_rows(course, results))
    write_parquet(files.dvh_metrics, DVH_METRICS, metrics)
    write_parquet(files.dvh_curves, DVH_CURVES, curve_rows(course, results))
    write_parquet(files.dvh_status, DVH_STATUS, status)
    write_parquet(files.prescriptions, PRESCRIPTIONS, prescriptions)
    sheets = workbook_sheets(to_arrow(DVH_METRICS, metrics), to_arrow(DVH_STATUS, status), metrics)
    sheets["prescriptions"] = to_arrow(PRESCRIPTIONS, prescriptions)
    write_workbook(files.workbook(files.dvh_metrics), sheets)


def _outcome(results: Sequence[StructureDvh]) -> Outcome:
    counts = dict(sorted(Counter(result.status for result in results).items()))
    failures = [result for result in results if result.status == "failed"]
    if len(failures) == len(results):
        return failed(f"no structure could be computed; the first: {failures[0].reason}", structures=counts)
    if failures:
        names = ", ".join(result.structure.roi_name for result in failures)
        return partial(f"no DVH of {names}; see dvh_status for the reasons", structures=counts)
    if not any(result.status in ("ok", "partly_covered") for result in results):
        return partial("no structure lies in the dose grid; see dvh_status", structures=counts)
    return ok(structures=counts)

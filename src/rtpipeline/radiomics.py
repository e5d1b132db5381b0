"""Radiomics features of every selected structure on every image of a course, computed in the other environment."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rtpipeline.config import Configuration, RadiomicsSection
from rtpipeline.course import Course, CourseFiles
from rtpipeline.dicom.errors import DicomError
from rtpipeline.extraction.padding import with_padding
from rtpipeline.imaging.mask import Mask
from rtpipeline.outcome import Outcome, failed, ok, partial, skipped
from rtpipeline.provenance import short_digest
from rtpipeline.radiomics_conda import RadiomicsEnvironment
from rtpipeline.radiomics_images import (
    NoDoseError,
    RadiomicsImage,
    UnsuitableImageError,
    covered_fraction,
    load,
    radiomics_images,
    structures_of,
    write_suv,
)
from rtpipeline.radiomics_parallel import (
    ExtractionJob,
    JobResult,
    RadiomicsClient,
    packaged_parameters,
    radiomics_client,
    store_image,
    store_mask,
)
from rtpipeline.scheduling.resources import Resources
from rtpipeline.structures import Structure, as_columns, completeness_columns, selected
from rtpipeline.structures.selection import is_named
from rtpipeline.tables.definitions.radiomics import (
    RADIOMICS_CT,
    RADIOMICS_DIAGNOSTICS,
    RADIOMICS_DOSE,
    RADIOMICS_LEDGER,
    RADIOMICS_MR,
    RADIOMICS_PET,
)
from rtpipeline.tables.excel import write_workbook
from rtpipeline.tables.parquet import read_parquet, write_parquet

_DIAGNOSED = ("pyradiomics", "numpy", "simpleitk", "pywavelets", "python")
"""Whose versions are diagnostics."""


@dataclass
class Case:
    """One structure on one image, and what became of it.

    Attributes:
        image: the image.
        structure: the structure.
        status: empty while it is to be extracted, then `ok`, `skipped`, `failed` or `timed out`.
        reason: why it has no features.
        columns: columns of its row that are known before the features.
        features: PyRadiomics' names → values.
        diagnostics: columns of its row in the table of diagnostics.
        notes: what was left out of the structure.
    """

    image: RadiomicsImage
    structure: Structure
    status: str = ""
    reason: str = ""
    columns: dict[str, object] = field(default_factory=dict)
    features: Mapping[str, float | None] = field(default_factory=dict)
    diagnostics: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def end(self, status: str, reason: str) -> None:
        """It gets no features."""
        self.status, self.reason = status, reason

    @property
    def is_open(self) -> bool:
        """Whether it is still to be extracted."""
        return not self.status

    @property
    def has_failed(self) -> bool:
        """Whether it should have features and has none."""
        return self.status in ("failed", "timed out")

    def identifiers(self, course: Course) -> dict[str, object]:
        """The columns that name its row."""
        return {
            **course.identifiers,
            **self.image.columns,
            **as_columns(self.structure),
        }


def run(course: Course, configuration: Configuration, resources: Resources) -> Outcome:
    """Extract features: `radiomics_ct`, `MR/radiomics_mr`, `PET/radiomics_pet`, `radiomics_dose` (Parquet and Excel).

    Beside them come the ledger, and each PET series in SUV as NIfTI with what the SUV were computed from.

    Raises:
        StageError: there is no working radiomics environment, a parameter file is refused, or a structure set or
            segmentation cannot be read.
    """
    images = radiomics_images(course, configuration)
    cases = [case for image in images for case in _cases(course, image, configuration)]
    asked = [case for case in cases if case.is_open]
    if not asked:
        return skipped(
            "no structure of this course is selected for radiomics (structures.radiomics, radiomics.skip_rois)"
        )
    client = radiomics_client(configuration, resources)
    jobs: list[tuple[Case, ExtractionJob]] = []
    image_problems: list[str] = []
    for image in images:
        image_cases = [case for case in asked if case.image is image]
        if not image_cases:
            continue
        try:
            jobs += _prepared(course, image, image_cases, client, configuration, resources)
        except (DicomError, UnsuitableImageError) as error:
            if not isinstance(error, NoDoseError):  # as for dose-volume curves: nothing is wrong with the course
                image_problems.append(f"{image.name}: {error}")
            for case in image_cases:
                case.end("failed" if isinstance(error, DicomError) else "skipped", str(error))
    out_of_memory = _extract(jobs, client, configuration.radiomics, resources)
    _write(course, cases, CourseFiles(resources.staging))
    failures = [f"{case.structure.roi_name} on {case.image.name}: {case.reason}" for case, _ in jobs if case.has_failed]
    return _outcome(cases, asked[0], image_problems + failures, out_of_memory, client.environment)


def _cases(course: Course, image: RadiomicsImage, configuration: Configuration) -> list[Case]:
    """Every structure of one image; those that the configuration leaves out are ended already."""
    structures = structures_of(image, course, configuration)
    taken = set(map(id, selected(structures, configuration.structures.radiomics)))
    cases = [Case(image, structure) for structure in structures]
    for case in cases:
        if id(case.structure) not in taken:
            case.end("skipped", "not selected (structures.radiomics)")
        elif is_named(case.structure, configuration.radiomics.skip_rois):
            case.end("skipped", "on the list of structures to skip (radiomics.skip_rois)")
    return cases


def _prepared(
    course: Course,
    image: RadiomicsImage,
    cases: Sequence[Case],
    client: RadiomicsClient,
    configuration: Configuration,
    resources: Resources,
) -> list[tuple[Case, ExtractionJob]]:
    """Store one image and the masks of its cases for the workers; cases without a usable mask are ended."""
    section = configuration.radiomics
    loaded = load(image, course, configuration)
    grid = loaded.volume.grid
    own = client.read_parameters(_parameter_file(image, section))
    parameters = with_padding(own, section.filter_padding, grid.spacing_mm)
    if image.suv_variant:
        write_suv(image, loaded, CourseFiles(resources.staging))
    versions = client.environment.versions
    columns = {
        "image_cropped": loaded.cropped,
        "intensity": loaded.intensity,
        "parameter_digest": short_digest(parameters),
        "filter_padding": section.filter_padding,
        "pyradiomics_version": versions["pyradiomics"],
        "numpy_version": versions["numpy"],
    }
    folder = resources.scratch / image.name
    stored = store_image(folder / "image.npy", loaded.volume)
    jobs = []
    for number, case in enumerate(cases):
        mask, case.notes = case.structure.mask_with_notes(grid)
        case.columns = {**columns, "voxel_count": mask.voxel_count, "volume_cm3": mask.volume_cm3}
        reason = case.structure.refusal or _unusable(mask, section)
        if image.modality == "RTDOSE":
            case.columns["dose_coverage_fraction"] = covered = covered_fraction(case.structure, grid)
            reason = _uncovered(covered, configuration.dvh.minimum_dose_coverage_fraction) or reason
        if reason:
            case.end("skipped", reason)
            continue
        case.columns |= completeness_columns(case.structure, case.structure.sides_at_edge(grid))
        key = f"{course.key} {image.name} {number} {case.structure.roi_name}"
        stored_mask = store_mask(folder / f"mask_{number}.npy", mask, grid)
        asked = parameters["setting"].get("additionalInfo", True)
        job = ExtractionJob(key, stored, stored_mask, parameters, mask.volume_cm3, diagnostics=asked)
        jobs.append((case, job))
    return jobs


def _parameter_file(image: RadiomicsImage, section: RadiomicsSection) -> Path:
    given = {
        "CT": section.params_file,
        "MR": section.mr_params_file,
        "PT": section.pet_params_file,
        "RTDOSE": section.dose_params_file,
    }
    return given[image.modality] or packaged_parameters(image.modality)


def _unusable(mask: Mask, section: RadiomicsSection) -> str:
    """Why a mask is not handed in; empty where it is."""
    count = mask.voxel_count
    if count == 0:
        return "no voxel of the image lies inside the structure"
    if count < section.min_voxels:
        return f"{count} voxels are fewer than radiomics.min_voxels ({section.min_voxels})"
    if count > section.max_voxels:
        return f"{count} voxels are more than radiomics.max_voxels ({section.max_voxels})"
    return ""


def _uncovered(fraction: float, least: float) -> str:
    """Why the features of a structure would be those of a part of it; empty where the dose covers it."""
    if fraction >= least:
        return ""
    return (
        f"the dose grid covers {100 * fraction:.1f} % of it, less than the {100 * least:g} % that "
        "dvh.minimum_dose_coverage_fraction asks for"
    )


def _extract(
    jobs: Sequence[tuple[Case, ExtractionJob]], client: RadiomicsClient, section: RadiomicsSection, resources: Resources
) -> bool:
    """Run the jobs and put their results into their cases; whether one failed for lack of memory."""
    case_of = {job.key: (case, job) for case, job in jobs}
    versions = client.environment.versions
    out_of_memory = False
    results = client.extract(
        [job for _, job in jobs],
        timeout_s=section.task_timeout_s,
        kept=resources.kept,
        report_progress=resources.report_progress,
        cancelled=resources.cancelled,
    )
    for result in results:
        case, job = case_of[result.key]
        case.end(result.status, result.reason)
        case.features = result.features
        case.diagnostics = _diagnostics(job, result, versions)
        out_of_memory = out_of_memory or result.memory_pressure
        if case.has_failed:
            resources.logger.warning("%s on %s: %s", case.structure.roi_name, case.image.name, result.reason)
    return out_of_memory


def _diagnostics(job: ExtractionJob, result: JobResult, versions: Mapping[str, str]) -> dict[str, object]:
    """Columns of the table of diagnostics; none where there are no diagnostics."""
    if not result.diagnostics:
        return {}
    parameters = job.parameters
    return {
        "setting": json.dumps(parameters["setting"]),
        "image_types": json.dumps(parameters["imageType"]),
        "feature_classes": json.dumps(parameters["featureClass"]),
        "image_sha1": job.image.digest,
        **{f"{name}_version": versions[name] for name in _DIAGNOSED},
        **result.diagnostics,
    }


def _write(course: Course, cases: Sequence[Case], files: CourseFiles) -> None:
    """Write the tables of the images that have features, and the ledger."""
    tables = {
        "CT": (RADIOMICS_CT, files.radiomics_ct),
        "MR": (RADIOMICS_MR, files.radiomics_mr),
        "PT": (RADIOMICS_PET, files.radiomics_pet),
        "RTDOSE": (RADIOMICS_DOSE, files.radiomics_dose),
    }
    for modality, (table, path) in tables.items():
        rows = [
            {**case.identifiers(course), **case.columns, **case.features}
            for case in cases
            if case.image.modality == modality and case.status == "ok"
        ]
        if rows:
            write_parquet(path, table, rows)
            write_workbook(files.workbook(path), {table.name: read_parquet(path)})
    diagnosed = [
        {**case.identifiers(course), "parameter_digest": case.columns["parameter_digest"], **case.diagnostics}
        for case in cases
        if case.diagnostics
    ]
    if diagnosed:
        write_parquet(files.radiomics_diagnostics, RADIOMICS_DIAGNOSTICS, diagnosed)
    write_parquet(files.radiomics_ledger, RADIOMICS_LEDGER, [_ledger_row(course, case) for case in cases])


def _ledger_row(course: Course, case: Case) -> dict[str, object]:
    undefined = sum(value is None for value in case.features.values())
    return {
        **case.identifiers(course),
        "status": case.status,
        "reason": case.reason,
        "voxel_count": case.columns.get("voxel_count"),
        "undefined_feature_count": undefined if case.status == "ok" else None,
        "notes": "; ".join(case.notes),
    }


def _outcome(
    cases: Sequence[Case],
    first: Case,
    problems: Sequence[str],
    out_of_memory: bool,
    environment: RadiomicsEnvironment,
) -> Outcome:
    """What the stage says.

    Args:
        cases: every structure on every image.
        first: the first of them that was to be extracted.
        problems: a sentence for each image and structure that should have features and has none.
        out_of_memory: one of them failed for lack of memory.
        environment: what computed.
    """
    counts = Counter(case.status for case in cases)
    described = {**environment.versions, "installed": dict(environment.installed)}
    details = {"structures": dict(sorted(counts.items())), "radiomics_environment": described}
    if not problems and counts["ok"]:
        return ok(**details)
    if counts["ok"]:
        return partial(f"{len(problems)} without features (see radiomics_ledger), the first: {problems[0]}", **details)
    if problems:
        return failed(f"no features: {problems[0]}", memory_pressure=out_of_memory, **details)
    return skipped(f"no structure can be used, the first: {first.structure.roi_name}: {first.reason}", **details)

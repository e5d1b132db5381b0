"""The one table of stages: running, planning, digests, state and commands all read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rtpipeline import (
    anatomical_cropping,
    auto_rtstruct,
    custom_models,
    dvh,
    metadata,
    quality_control,
    radiomics,
    segmentation,
)
from rtpipeline.config import Configuration
from rtpipeline.course import Course, CourseFiles
from rtpipeline.outcome import Outcome
from rtpipeline.radiomics_robustness import course as robustness
from rtpipeline.scheduling.budget import Parallelization
from rtpipeline.scheduling.resources import Resources

StageRun = Callable[[Course, Configuration, Resources], Outcome]


@dataclass(frozen=True)
class Stage:
    """One kind of work on one course.

    Attributes:
        name: as in `--stage`, state files and reports.
        label: as in progress lines.
        run: does the work (see `scheduling.resources.Resources` for what it is given).
        needs: stages whose outcome must be known before.
        inputs: files and folders of the course that the result depends on; absent ones count as absent.
        external_inputs: files and folders outside the course that the result depends on.
        configuration_keys: keys that the result depends on; never worker counts.
        enabled: whether the configuration asks for it.
        tokens: CPU tokens it asks for.
        slots: the pool of devices it takes one from, or None.
        sentinel: the file in the course folder that marks it done for people and workflows, or None.
        aliases: other names for `--stage`.
        method_version: raised when the same inputs give other results than before.
    """

    name: str
    label: str
    run: StageRun
    needs: tuple[str, ...]
    inputs: Callable[[CourseFiles], tuple[Path, ...]]
    configuration_keys: tuple[str, ...]
    enabled: Callable[[Configuration], bool]
    tokens: Callable[[Configuration, Parallelization], int]
    external_inputs: Callable[[Configuration], tuple[Path, ...]] = lambda configuration: ()
    slots: str | None = None
    sentinel: str | None = None
    aliases: tuple[str, ...] = ()
    method_version: int = 1


def _one(configuration: Configuration, parallelization: Parallelization) -> int:
    return 1


def _segmentation_tokens(configuration: Configuration, parallelization: Parallelization) -> int:
    """On a GPU what pre- and postprocessing really use; on the CPU one course's share of the budget."""
    section = configuration.segmentation
    if section.thread_limit is not None:
        return section.thread_limit
    if section.device == "cpu":
        return parallelization.threads_per_course
    return max(
        section.nr_threads_resample,
        section.nr_threads_save,
        section.num_proc_preprocessing,
        section.num_proc_export,
    )


def _robustness_tokens(configuration: Configuration, parallelization: Parallelization) -> int:
    scheduler = configuration.scheduler
    return scheduler.robustness_threads_per_job or scheduler.radiomics_threads_per_job


def _given(*paths: Path | None) -> tuple[Path, ...]:
    return tuple(path for path in paths if path is not None)


def _structure_inputs(files: CourseFiles) -> tuple[Path, ...]:
    return (
        files.description,
        files.structure_set,
        files.totalsegmentator,
        *files.custom_model_segmentations,
        files.custom_structure_set,
        files.cropping,
        files.given_segmentations,
        files.registrations_dicom,
    )


STAGES: tuple[Stage, ...] = (
    Stage(
        name="segmentation",
        label="Segmentation",
        run=segmentation.run,
        needs=(),
        inputs=lambda files: (files.ct_dicom, files.mr_dicom, files.registrations_dicom),
        external_inputs=segmentation.weight_folders,
        configuration_keys=(
            "segmentation.fast",
            "segmentation.roi_subset",
            "segmentation.extra_models",
            "segmentation.mr",
            "segmentation.force_split",
            "segmentation.binary_masks",
            "segmentation.postprocessing",
        ),
        enabled=lambda configuration: configuration.segmentation.enabled,
        tokens=_segmentation_tokens,
        slots="segmentation",
        sentinel=".segmentation_done",
        method_version=3,
    ),
    Stage(
        name="custom_models",
        label="Custom models",
        run=custom_models.run,
        needs=("segmentation",),
        inputs=lambda files: (files.ct_dicom, files.body_regions),
        external_inputs=custom_models.model_inputs,
        configuration_keys=("custom_models.models", "custom_models.postprocessing"),
        enabled=lambda configuration: configuration.custom_models.enabled,
        tokens=_segmentation_tokens,
        slots="custom_models",
        sentinel=".custom_models_done",
        method_version=2,
        aliases=("segmentation_custom", "segmentation_custom_models"),
    ),
    Stage(
        name="auto_rtstruct",
        label="Structure sets",
        run=auto_rtstruct.run,
        needs=("segmentation", "custom_models"),
        inputs=lambda files: (
            files.ct_dicom,
            files.structure_set,
            files.body_regions,
            files.totalsegmentator,
            *files.custom_model_segmentations,
            files.given_segmentations,
            files.registrations_dicom,
        ),
        external_inputs=lambda configuration: _given(configuration.custom_structures, configuration.structures.names),
        configuration_keys=(
            "segmentation.export_dicom_seg",
            "segmentation.smooth_contours",
            "custom_structure_templates",
            "structures.priority",
        ),
        enabled=lambda configuration: True,
        tokens=_one,
        sentinel=".auto_rtstruct_done",
        method_version=5,
    ),
    Stage(
        name="anatomical_cropping",
        label="Cropping",
        run=anatomical_cropping.run,
        needs=("auto_rtstruct",),
        inputs=lambda files: (
            files.ct_dicom,
            files.structure_set,
            files.automatic_structure_set,
            files.custom_structure_set,
            *files.custom_model_structure_sets,
            files.totalsegmentator,
        ),
        configuration_keys=(
            "ct_cropping.region",
            "ct_cropping.superior_margin_cm",
            "ct_cropping.inferior_margin_cm",
        ),
        enabled=lambda configuration: configuration.ct_cropping.enabled,
        tokens=_one,
        sentinel=".crop_ct_done",
        method_version=3,
        aliases=("crop_ct",),
    ),
    Stage(
        name="dvh",
        label="DVH",
        run=dvh.run,
        needs=("auto_rtstruct", "anatomical_cropping"),
        inputs=lambda files: (
            *_structure_inputs(files),
            files.dose,
            files.plan,
            files.ct_dicom,
            files.doses_dicom,
        ),
        external_inputs=lambda configuration: _given(configuration.structures.names),
        configuration_keys=(
            "structures.dvh",
            "dvh.minimum_dose_coverage_fraction",
            "dvh.metrics",
            "dvh.alpha_beta_gy",
            "ct_cropping.enabled",
            "ct_cropping.use_cropped_for_dvh",
        ),
        enabled=lambda configuration: configuration.dvh.enabled,
        tokens=lambda configuration, parallelization: configuration.scheduler.dvh_threads_per_job,
        method_version=5,
        sentinel=".dvh_done",
    ),
    Stage(
        name="metadata",
        label="Metadata",
        run=metadata.run,
        needs=(),
        inputs=lambda files: (files.description, *files.organized_dicom),
        configuration_keys=("metadata.include_identifiers",),
        enabled=lambda configuration: configuration.metadata.enabled,
        tokens=_one,
        sentinel=".metadata_done",
        method_version=3,
    ),
    Stage(
        name="radiomics",
        label="Radiomics",
        run=radiomics.run,
        needs=("auto_rtstruct", "anatomical_cropping"),
        inputs=lambda files: (*_structure_inputs(files), files.dicom, files.dose),
        external_inputs=lambda configuration: _given(
            configuration.structures.names,
            configuration.radiomics.params_file,
            configuration.radiomics.mr_params_file,
            configuration.radiomics.pet_params_file,
            configuration.radiomics.dose_params_file,
        ),
        configuration_keys=(
            "structures.radiomics",
            "radiomics.skip_rois",
            "radiomics.filter_padding",
            "radiomics.min_voxels",
            "radiomics.max_voxels",
            "radiomics.suv_variants",
            "radiomics.dose",
            "dvh.minimum_dose_coverage_fraction",
            "ct_cropping.enabled",
            "ct_cropping.use_cropped_for_radiomics",
        ),
        enabled=lambda configuration: configuration.radiomics.enabled,
        tokens=lambda configuration, parallelization: configuration.scheduler.radiomics_threads_per_job,
        sentinel=".radiomics_done",
        method_version=8,
    ),
    Stage(
        name="radiomics_robustness",
        label="Robustness",
        run=robustness.run,
        needs=("radiomics",),
        inputs=lambda files: (*_structure_inputs(files), files.ct_dicom),
        external_inputs=lambda configuration: _given(
            configuration.structures.names, configuration.radiomics.params_file
        ),
        configuration_keys=(
            "structures.robustness",
            "radiomics.filter_padding",
            "radiomics_robustness.base_seed",
            "radiomics_robustness.segmentation_perturbation",
        ),
        enabled=lambda configuration: configuration.radiomics_robustness.enabled,
        tokens=_robustness_tokens,
        sentinel=".radiomics_robustness_done",
        method_version=7,
    ),
    Stage(
        name="quality_control",
        label="Quality control",
        run=quality_control.run,
        needs=("dvh",),
        inputs=lambda files: (
            *_structure_inputs(files),
            files.dicom,
            files.dose,
            files.plan,
            files.automatic_structure_set,
            files.dvh_metrics,
            files.dvh_curves,
            files.dvh_status,
        ),
        external_inputs=lambda configuration: _given(configuration.structures.names),
        configuration_keys=(),
        enabled=lambda configuration: configuration.qc.enabled,
        tokens=lambda configuration, parallelization: configuration.scheduler.qc_threads_per_job,
        sentinel=".qc_done",
        aliases=("qc",),
        method_version=8,
    ),
)

STAGE_NAMES = ("organize", *(stage.name for stage in STAGES), "aggregate", "report")
"""With the stages that work on the whole cohort, before and after those of the courses."""


def stage_named(name: str) -> Stage:
    """The course stage of this name or alias.

    Raises:
        KeyError: there is none.
    """
    return {known: stage for stage in STAGES for known in (stage.name, *stage.aliases)}[name]


def canonical_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names and aliases of stages, also separated by commas, as names in the order of the graph.

    Raises:
        ValueError: a name is unknown; the message lists the known ones.
    """
    aliases = {alias: stage.name for stage in STAGES for alias in stage.aliases}
    wanted = set()
    for name in (part.strip() for text in names for part in text.split(",")):
        canonical = aliases.get(name, name)
        if canonical not in STAGE_NAMES:
            raise ValueError(f"unknown stage {name!r}; the stages are {', '.join(STAGE_NAMES)}")
        wanted.add(canonical)
    return tuple(name for name in STAGE_NAMES if name in wanted)

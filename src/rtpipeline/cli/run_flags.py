"""The flags of `run` and `plan`, and what they mean for the configuration and for the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from rtpipeline.cli.console import usage_error
from rtpipeline.cli.flags import (
    INPUT,
    MACHINE,
    METHODS,
    STAGES,
    Clinical,
    Config,
    Cores,
    DicomRoot,
    MaxWorkers,
    OutDir,
    TotalsegFast,
    TotalsegWeights,
)
from rtpipeline.pipeline.run import RunOptions
from rtpipeline.pipeline.stages import STAGE_NAMES, canonical_names

DEVICES = ("gpu", "cpu", "mps")
MERGE_CRITERIA = ("same_ct_study", "frame_of_reference")


# For shell completion.


def _stage_names() -> list[str]:
    return list(STAGE_NAMES)


def _devices() -> list[str]:
    return list(DEVICES)


def _merge_criteria() -> list[str]:
    return list(MERGE_CRITERIA)


@dataclass(frozen=True)
class RunFlags:
    """What a user typed; None (or False) where a flag was not typed."""

    dicom_root: DicomRoot = None
    outdir: OutDir = None
    logs: Annotated[Path | None, typer.Option(help="Folder for logs [OUTDIR/Logs].", rich_help_panel=INPUT)] = None
    config: Config = None
    course_filter: Annotated[
        list[str] | None,
        typer.Option(metavar="PATIENT[/COURSE]", help="Only these; repeatable.", rich_help_panel=INPUT),
    ] = None
    clinical: Clinical = None
    pseudonymize: Annotated[
        Path | None,
        typer.Option(
            metavar="KEYFILE",
            help="Replace identifiers by pseudonyms of this key file, made where it is missing.",
            rich_help_panel=INPUT,
        ),
    ] = None
    merge_criteria: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(MERGE_CRITERIA),
            help="What plans of one course have in common.",
            autocompletion=_merge_criteria,
            rich_help_panel=INPUT,
        ),
    ] = None
    max_days: Annotated[
        int | None, typer.Option(help="Plans further apart are different courses.", rich_help_panel=INPUT)
    ] = None
    stage: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE",
            help="Run only this stage; repeatable.",
            autocompletion=_stage_names,
            rich_help_panel=STAGES,
        ),
    ] = None
    force: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE",
            help="Do this stage again; repeatable.",
            autocompletion=_stage_names,
            rich_help_panel=STAGES,
        ),
    ] = None
    force_redo: Annotated[bool, typer.Option("--force-redo", help="Do every stage again.", rich_help_panel=STAGES)] = (
        False
    )
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed/--no-retry-failed", help="Try failed stages again.", rich_help_panel=STAGES),
    ] = True
    no_segmentation: Annotated[
        bool, typer.Option("--no-segmentation", help="Leave automatic segmentation out.", rich_help_panel=STAGES)
    ] = False
    no_dvh: Annotated[
        bool, typer.Option("--no-dvh", help="Leave dose-volume histograms out.", rich_help_panel=STAGES)
    ] = False
    no_metadata: Annotated[
        bool, typer.Option("--no-metadata", help="Leave case metadata out.", rich_help_panel=STAGES)
    ] = False
    no_qc: Annotated[bool, typer.Option("--no-qc", help="Leave quality control out.", rich_help_panel=STAGES)] = False
    no_radiomics: Annotated[
        bool, typer.Option("--no-radiomics", help="Leave radiomics out.", rich_help_panel=STAGES)
    ] = False
    no_robustness: Annotated[
        bool, typer.Option("--no-robustness", help="Leave robustness out.", rich_help_panel=STAGES)
    ] = False
    no_report: Annotated[
        bool, typer.Option("--no-report", "--no-visualize", help="Leave the reports out.", rich_help_panel=STAGES)
    ] = False
    cores: Cores = None
    max_workers: MaxWorkers = None
    seg_workers: Annotated[int | None, typer.Option(min=1, help="Segmentations at once.", rich_help_panel=MACHINE)] = (
        None
    )
    seg_proc_threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of one segmentation.", rich_help_panel=MACHINE)
    ] = None
    radiomics_proc_threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of one radiomics worker.", rich_help_panel=MACHINE)
    ] = None
    sequential_radiomics: Annotated[
        bool, typer.Option("--sequential-radiomics", help="One ROI after another.", rich_help_panel=MACHINE)
    ] = False
    totalseg_device: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(DEVICES),
            help="Where segmentation computes; `cuda` is `gpu`.",
            autocompletion=_devices,
            rich_help_panel=MACHINE,
        ),
    ] = None
    totalseg_fast: TotalsegFast = False
    totalseg_weights: TotalsegWeights = None
    custom_models_root: Annotated[
        Path | None, typer.Option(help="Folder of nnU-Net models; turns them on.", rich_help_panel=METHODS)
    ] = None
    custom_structures: Annotated[
        Path | None, typer.Option(help="YAML of structures made from others.", rich_help_panel=METHODS)
    ] = None
    radiomics_params: Annotated[Path | None, typer.Option(help="PyRadiomics YAML for CT.", rich_help_panel=METHODS)] = (
        None
    )
    radiomics_params_mr: Annotated[
        Path | None, typer.Option(help="PyRadiomics YAML for MR.", rich_help_panel=METHODS)
    ] = None

    def configuration_values(self) -> dict[str, Any]:
        """What was typed, by dotted key of the configuration; None where it was not.

        Raises:
            typer.Exit: with code 2, where `--cores` is no number.
        """
        return {
            "dicom_root": self.dicom_root,
            "output_dir": self.outdir,
            "logs_dir": self.logs,
            "organize.course_filter": tuple(self.course_filter) if self.course_filter else None,
            "organize.pseudonymize": self.pseudonymize,
            "organize.merge_criteria": self.merge_criteria,
            "organize.max_days_between_plans": self.max_days,
            "aggregation.clinical": self.clinical,
            "cores": core_count(self.cores),
            "max_workers": self.max_workers,
            "segmentation.max_workers": self.seg_workers,
            "segmentation.thread_limit": self.seg_proc_threads,
            "segmentation.device": self.totalseg_device,
            "segmentation.fast": self.totalseg_fast or None,
            "segmentation.weights": self.totalseg_weights,
            "custom_models.root": self.custom_models_root,
            "custom_models.enabled": True if self.custom_models_root else None,
            "custom_structures": self.custom_structures,
            "radiomics.thread_limit": self.radiomics_proc_threads,
            "radiomics.sequential": self.sequential_radiomics or None,
            "radiomics.params_file": self.radiomics_params,
            "radiomics.mr_params_file": self.radiomics_params_mr,
            "segmentation.enabled": False if self.no_segmentation else None,
            "dvh.enabled": False if self.no_dvh else None,
            "metadata.enabled": False if self.no_metadata else None,
            "qc.enabled": False if self.no_qc else None,
            "radiomics.enabled": False if self.no_radiomics else None,
            "radiomics_robustness.enabled": False if self.no_robustness else None,
        }

    def options(self) -> RunOptions:
        """What was asked of this one run.

        Raises:
            typer.Exit: with code 2, where no stage has a name that was typed.
        """
        try:
            stages = canonical_names(self.stage) if self.stage else None
            forced = canonical_names(self.force) if self.force else ()
        except ValueError as error:
            raise usage_error(str(error)) from error
        if self.no_report:
            stages = tuple(name for name in stages or STAGE_NAMES if name != "report")
        return RunOptions(stages, frozenset(STAGE_NAMES if self.force_redo else forced), self.retry_failed)


def core_count(value: str | None) -> int | str | None:
    """What `--cores` means for the configuration, where `auto` is all; None where it was not typed.

    Raises:
        typer.Exit: with code 2, where it is neither `all` nor a positive number.
    """
    if value is None or value == "all":
        return "auto" if value else None
    if not value.isdigit() or int(value) < 1:
        raise usage_error(f"--cores {value}: expected a positive number, or `all`")
    return int(value)

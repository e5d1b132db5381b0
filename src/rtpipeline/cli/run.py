"""`rtpipeline run`: the whole job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from rtpipeline.cli.console import configuration_from, explained_errors, start_logging, usage_error
from rtpipeline.cli.live_display import live_display
from rtpipeline.cli.plan import print_plan
from rtpipeline.config import Configuration
from rtpipeline.course import CohortFiles
from rtpipeline.pipeline.run import RunOptions, RunResult, input_folder, run
from rtpipeline.pipeline.stages import STAGE_NAMES, canonical_names

INPUT = "Input and output"
STAGES = "Stages"
MACHINE = "Machine"
METHODS = "Methods"


def command(
    dicom_root: Annotated[Path | None, typer.Option(help="Folder of the DICOM export.", rich_help_panel=INPUT)] = None,
    outdir: Annotated[Path | None, typer.Option(help="Folder for courses and results.", rich_help_panel=INPUT)] = None,
    logs: Annotated[Path | None, typer.Option(help="Folder for logs [OUTDIR/Logs].", rich_help_panel=INPUT)] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(help="YAML file, or KEY=VALUE for one key; repeatable.", rich_help_panel=INPUT),
    ] = None,
    course_filter: Annotated[
        list[str] | None,
        typer.Option(help="Only PATIENT or PATIENT/COURSE; repeatable.", rich_help_panel=INPUT),
    ] = None,
    clinical: Annotated[
        Path | None, typer.Option(help="CSV to join to the analysis table.", rich_help_panel=INPUT)
    ] = None,
    pseudonymize: Annotated[
        Path | None,
        typer.Option(
            metavar="KEYFILE",
            help="Replace identifiers by pseudonyms of this key file, made where it is missing.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    merge_criteria: Annotated[
        str | None, typer.Option(help="same_ct_study or frame_of_reference.", rich_help_panel=INPUT)
    ] = None,
    max_days: Annotated[
        int | None, typer.Option(help="Plans further apart are different courses.", rich_help_panel=INPUT)
    ] = None,
    stage: Annotated[
        list[str] | None, typer.Option(help="Run only this stage; repeatable.", rich_help_panel=STAGES)
    ] = None,
    force: Annotated[
        list[str] | None, typer.Option(help="Do this stage again; repeatable.", rich_help_panel=STAGES)
    ] = None,
    force_redo: Annotated[
        bool, typer.Option("--force-redo", help="Do every stage again.", rich_help_panel=STAGES)
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed/--no-retry-failed", help="Try failed stages again.", rich_help_panel=STAGES),
    ] = True,
    no_segmentation: Annotated[
        bool, typer.Option("--no-segmentation", help="Leave automatic segmentation out.", rich_help_panel=STAGES)
    ] = False,
    no_dvh: Annotated[
        bool, typer.Option("--no-dvh", help="Leave dose-volume histograms out.", rich_help_panel=STAGES)
    ] = False,
    no_metadata: Annotated[
        bool, typer.Option("--no-metadata", help="Leave case metadata out.", rich_help_panel=STAGES)
    ] = False,
    no_qc: Annotated[bool, typer.Option("--no-qc", help="Leave quality control out.", rich_help_panel=STAGES)] = False,
    no_radiomics: Annotated[
        bool, typer.Option("--no-radiomics", help="Leave radiomics out.", rich_help_panel=STAGES)
    ] = False,
    no_robustness: Annotated[
        bool, typer.Option("--no-robustness", help="Leave robustness out.", rich_help_panel=STAGES)
    ] = False,
    no_report: Annotated[
        bool, typer.Option("--no-report", "--no-visualize", help="Leave the reports out.", rich_help_panel=STAGES)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show the plan only.", rich_help_panel=STAGES)
    ] = False,
    cores: Annotated[str | None, typer.Option(help="Cores for the run, or `all`.", rich_help_panel=MACHINE)] = None,
    max_workers: Annotated[
        int | None, typer.Option(min=1, help="Largest worker budget.", rich_help_panel=MACHINE)
    ] = None,
    seg_workers: Annotated[
        int | None, typer.Option(min=1, help="Segmentations at once.", rich_help_panel=MACHINE)
    ] = None,
    seg_proc_threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of one segmentation.", rich_help_panel=MACHINE)
    ] = None,
    radiomics_proc_threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of one radiomics worker.", rich_help_panel=MACHINE)
    ] = None,
    sequential_radiomics: Annotated[
        bool, typer.Option("--sequential-radiomics", help="One ROI after another.", rich_help_panel=MACHINE)
    ] = False,
    totalseg_device: Annotated[str | None, typer.Option(help="gpu, cpu or mps.", rich_help_panel=MACHINE)] = None,
    totalseg_fast: Annotated[
        bool, typer.Option("--totalseg-fast", help="The 3 mm model.", rich_help_panel=METHODS)
    ] = False,
    totalseg_weights: Annotated[
        Path | None, typer.Option(help="Folder of TotalSegmentator's weights.", rich_help_panel=METHODS)
    ] = None,
    custom_models_root: Annotated[
        Path | None, typer.Option(help="Folder of nnU-Net models; turns them on.", rich_help_panel=METHODS)
    ] = None,
    custom_structures: Annotated[
        Path | None, typer.Option(help="YAML of structures made from others.", rich_help_panel=METHODS)
    ] = None,
    radiomics_params: Annotated[
        Path | None, typer.Option(help="PyRadiomics YAML for CT.", rich_help_panel=METHODS)
    ] = None,
    radiomics_params_mr: Annotated[
        Path | None, typer.Option(help="PyRadiomics YAML for MR.", rich_help_panel=METHODS)
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details.", rich_help_panel=INPUT)] = False,
) -> None:
    """Organize, segment, measure: from a DICOM export to cohort tables."""
    flags: dict[str, Any] = {
        "dicom_root": dicom_root,
        "output_dir": outdir,
        "logs_dir": logs,
        "organize.course_filter": tuple(course_filter) if course_filter else None,
        "organize.pseudonymize": pseudonymize,
        "organize.merge_criteria": merge_criteria,
        "organize.max_days_between_plans": max_days,
        "aggregation.clinical": clinical,
        "cores": _cores(cores),
        "max_workers": max_workers,
        "segmentation.max_workers": seg_workers,
        "segmentation.thread_limit": seg_proc_threads,
        "segmentation.device": totalseg_device,
        "segmentation.fast": True if totalseg_fast else None,
        "segmentation.weights": totalseg_weights,
        "custom_models.root": custom_models_root,
        "custom_models.enabled": True if custom_models_root else None,
        "custom_structures": custom_structures,
        "radiomics.thread_limit": radiomics_proc_threads,
        "radiomics.sequential": True if sequential_radiomics else None,
        "radiomics.params_file": radiomics_params,
        "radiomics.mr_params_file": radiomics_params_mr,
        "segmentation.enabled": False if no_segmentation else None,
        "dvh.enabled": False if no_dvh else None,
        "metadata.enabled": False if no_metadata else None,
        "qc.enabled": False if no_qc else None,
        "radiomics.enabled": False if no_radiomics else None,
        "radiomics_robustness.enabled": False if no_robustness else None,
    }
    configuration, file = configuration_from(config or [], flags, os.environ)
    options = _options(stage, force, force_redo=force_redo, retry_failed=retry_failed, no_report=no_report)
    if dry_run:
        with explained_errors():
            print_plan(configuration, options)
        return
    with explained_errors():
        result = run_and_say(configuration, options, configuration_file=file, verbose=verbose)
    raise typer.Exit(result.exit_code)


def run_and_say(
    configuration: Configuration, options: RunOptions, *, configuration_file: Path | None, verbose: bool = False
) -> RunResult:
    """Run the pipeline with its log, and say at the end what came out and where."""
    if options.wants("organize"):
        input_folder(configuration)  # before anything is written
    logger = start_logging(configuration.logs, verbose=verbose)
    if configuration_file is not None:
        logger.info("configuration: %s", configuration_file)
    if configuration.organize.pseudonymize is None and not CohortFiles(configuration.output_dir).pseudonyms.is_file():
        logger.info("folders below %s carry the PatientID as it is in the files", configuration.output_dir)
    with live_display(logger) as show:
        result = run(configuration, options, logger=logger, show=show)
    for (course, stage), outcome in result.outcomes.items():
        if outcome.status in ("failed", "partial"):
            logger.warning("%s %s %s: %s", course or "cohort", stage, outcome.status, outcome.reason)
    logger.info("%s (exit code %d)", result.message, result.exit_code)
    return result


def _options(
    stage: list[str] | None, force: list[str] | None, *, force_redo: bool, retry_failed: bool, no_report: bool
) -> RunOptions:
    try:
        stages = canonical_names(stage) if stage else None
        forced = canonical_names(force) if force else ()
    except ValueError as error:
        raise usage_error(str(error)) from error
    if no_report:
        stages = tuple(name for name in stages or STAGE_NAMES if name != "report")
    return RunOptions(stages, frozenset(STAGE_NAMES if force_redo else forced), retry_failed)


def _cores(value: str | None) -> int | None:
    if value is None or value == "all":
        return None
    if not value.isdigit() or int(value) < 1:
        raise usage_error(f"--cores {value}: expected a positive number, or `all`")
    return int(value)

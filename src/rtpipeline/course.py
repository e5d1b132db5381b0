"""What a course is, and where each of its files lives: the only module that knows file names.

A course folder is `<outdir>/<patient>/<course>/`. A stage reads from `Course.files` and writes below the staging
folder it is given, which mirrors the course folder; both are `CourseFiles`, so a name is written down once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

COURSE_DESCRIPTION_VERSION = 1
CT_KEY = "CT"


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in path:
        raise ValueError(f"{path!r} leads out of the course folder")
    return path


RelativePath = Annotated[str, AfterValidator(_inside)]
"""A path below the folder that it is given in, with `/`."""


class CourseError(ValueError):
    """What organizing left cannot be used; the message says which file, why, and what to do."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageSeries(_Record):
    """One image series of a course, copied below the course folder."""

    key: str
    """`CT` for the planning CT; `MR_<digest>` or `PT_<digest>` (of the series UID) for every other series."""
    modality: Literal["CT", "MR", "PT"]
    folder: RelativePath
    """Relative to the course folder, for example `DICOM/CT` or `DICOM/MR/MR_1a2b3c4d`."""
    series_instance_uid: str
    study_instance_uid: str
    frame_of_reference_uid: str = ""
    series_description: str = ""
    date: str = ""
    instance_count: int
    series_class: str = ""
    """What kind of image it is: `planning_ct`, `pet_ct`, `anatomical_mr`, `functional_mr`, `pet`, …"""
    class_reason: str = ""
    link: str = ""
    """How the series came to this course: `structure set reference`, `frame of reference`, `registration`, …"""


class StructureSet(_Record):
    """One manual RTSTRUCT of a course."""

    file: RelativePath
    sop_instance_uid: str
    label: str = ""
    date: str = ""
    image_key: str = ""
    """The `ImageSeries.key` it was drawn on; empty when that series is not in the course."""
    frame_of_reference_uid: str = ""
    primary: bool = False
    """The one that `RS.dcm` is a copy of: the plan's, or the newest on the planning images."""


class NamedSegment(_Record):
    """One segment of a DICOM segmentation, as its header names it."""

    number: int
    label: str


class SegmentationObject(_Record):
    """One DICOM segmentation (SEG) of the export that belongs to a course."""

    file: RelativePath
    sop_instance_uid: str
    label: str = ""
    """`ContentLabel`."""
    series_description: str = ""
    date: str = ""
    image_key: str = ""
    """The `ImageSeries.key` it was made on; empty when that series is not in the course."""
    frame_of_reference_uid: str = ""
    segments: tuple[NamedSegment, ...] = ()


class TargetPrescription(_Record):
    """One prescription of a plan, as the plan states it."""

    description: str = ""
    roi_number: int | None = None
    dose_gy: float
    source: str
    """The attribute it was read from, for example `TargetPrescriptionDose`."""


class Plan(_Record):
    """One RTPLAN of a course."""

    file: RelativePath
    sop_instance_uid: str
    label: str = ""
    name: str = ""
    date: str = ""
    approval_status: str = ""
    intent: str = ""
    fractions_planned: int | None = None
    prescriptions: tuple[TargetPrescription, ...] = ()
    referenced_structure_set_uid: str = ""


class Dose(_Record):
    """One RTDOSE of a course."""

    file: RelativePath
    sop_instance_uid: str
    summation_type: str = ""
    units: str = ""
    dose_type: str = ""
    referenced_plan_uids: tuple[str, ...] = ()
    frame_of_reference_uid: str = ""
    used: bool = False
    """Part of `RD.dcm`."""


class DoseDecision(_Record):
    """Which doses stand for the course, and why."""

    label: str
    """`single_dose`, `dose_grids_joined`, `plan_sum_used`, `beam_doses_summed`, `fraction_doses_summed`,
    `plans_summed`, `replan_first`, `approved_plan`, `override`, `ambiguous` or `no_dose`."""
    reason: str = ""
    used_dose_uids: tuple[str, ...] = ()
    used_plan_uids: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    """One sentence for each dose that was left out, and for each plan that is another one exported again."""


class Prescription(_Record):
    """The prescribed dose of the course, from the plans that its dose decision uses."""

    total_dose_gy: float | None = None
    fractions: int | None = None
    source: str = ""
    targets: tuple[TargetPrescription, ...] = ()


class CourseDescription(_Record):
    """Everything that organizing found out about a course: the content of `course.json`."""

    version: int = COURSE_DESCRIPTION_VERSION
    patient: str
    """Folder name of the patient (safe)."""
    course: str
    """Folder name of the course (safe)."""
    patient_id: str
    """PatientID as in the files."""
    kind: Literal["plan", "structures", "images"]
    start_date: str = ""
    """`YYYY-MM-DD` of the first treatment plan, else of the images; empty when nothing is dated."""
    frame_of_reference_uid: str = ""
    images: tuple[ImageSeries, ...] = ()
    structure_sets: tuple[StructureSet, ...] = ()
    segmentations: tuple[SegmentationObject, ...] = ()
    plans: tuple[Plan, ...] = ()
    doses: tuple[Dose, ...] = ()
    treatment_record_files: tuple[RelativePath, ...] = ()
    registration_files: tuple[RelativePath, ...] = ()
    dose_decision: DoseDecision
    prescription: Prescription = Prescription()
    links: tuple[str, ...] = ()
    """One sentence for each link that is not an explicit reference (a fallback), with its reason."""
    warnings: tuple[str, ...] = ()

    @property
    def planning_ct(self) -> ImageSeries | None:
        """The planning CT, or None."""
        return next((image for image in self.images if image.key == CT_KEY), None)


@dataclass(frozen=True)
class CourseFiles:
    """Where each file of a course lives below `folder` (the course folder, or a staging folder that mirrors it)."""

    folder: Path

    # organize
    @property
    def description(self) -> Path:
        return self.folder / "course.json"

    @property
    def dicom(self) -> Path:
        return self.folder / "DICOM"

    @property
    def organized_dicom(self) -> tuple[Path, ...]:
        """The folders of `dicom` that organizing made."""
        return tuple(folder for folder in sorted(self.dicom.glob("*")) if folder != self.cropped_ct_dicom)

    @property
    def given_segmentations(self) -> Path:
        """Folder of the DICOM segmentations of the export."""
        return self.dicom / "SEG"

    @property
    def structure_set(self) -> Path:
        """The primary manual RTSTRUCT."""
        return self.folder / "RS.dcm"

    @property
    def plan(self) -> Path:
        return self.folder / "RP.dcm"

    @property
    def dose(self) -> Path:
        """The dose of the course: a copy of its only dose, or the sum; absent when the decision is `ambiguous`."""
        return self.folder / "RD.dcm"

    # segmentation, custom models
    @property
    def nifti(self) -> Path:
        return self.folder / "NIFTI"

    def image_nifti(self, image_key: str) -> Path:
        return self.nifti / f"{image_key}.nii.gz"

    @property
    def totalsegmentator(self) -> Path:
        return self.folder / "Segmentation_TotalSegmentator"

    def segmentation(self, image_key: str, task: str) -> Path:
        """Multilabel NIfTI of one TotalSegmentator task on one image; its label map is `label_map(...)`."""
        return self.totalsegmentator / f"{image_key}--{task}.nii.gz"

    def carried_segmentation(self, image_key: str, task: str) -> Path:
        """The same on the voxels of the planning CT, carried there from another image."""
        return self.segmentation(CT_KEY, f"{image_key}--{task}")

    def binary_masks(self, image_key: str, task: str) -> Path:
        """Folder of the binary NIfTI files of single structures, where they are asked for."""
        return self.totalsegmentator / f"{image_key}--{task}"

    @property
    def body_regions(self) -> Path:
        """Which regions of the body the planning CT shows."""
        return self.folder / "qc_reports" / "body_regions.json"

    @property
    def custom_models(self) -> Path:
        return self.folder / "Segmentation_CustomModels"

    def custom_model_segmentation(self, model: str) -> Path:
        return self.custom_models / model / "segmentation.nii.gz"

    def custom_model_structure_set(self, model: str) -> Path:
        return self.custom_models / model / "rtstruct.dcm"

    @property
    def custom_model_segmentations(self) -> tuple[Path, ...]:
        """Every custom model's segmentation that is there, with its label map; nothing that is made from them."""
        return (
            *sorted(self.custom_models.glob("*/segmentation.nii.gz")),
            *sorted(self.custom_models.glob("*/segmentation.json")),
        )

    @property
    def custom_model_structure_sets(self) -> tuple[Path, ...]:
        """Every custom model's structure set that is there."""
        return tuple(sorted(self.custom_models.glob("*/rtstruct.dcm")))

    @staticmethod
    def label_map(segmentation: Path) -> Path:
        """The JSON beside a multilabel NIfTI: `{"labels": {"1": "spleen", …}, "voxel_counts": …, …}`."""
        return segmentation.with_name(segmentation.name.removesuffix(".nii.gz") + ".json")

    # auto_rtstruct, cropping
    @property
    def automatic_structure_set(self) -> Path:
        return self.folder / "RS_auto.dcm"

    def segmentation_object(self, task: str = "") -> Path:
        """DICOM segmentation of the automatic structures; tasks but the first have one of their own."""
        return self.folder / (f"SEG_auto--{task}.dcm" if task else "SEG_auto.dcm")

    @property
    def custom_structure_set(self) -> Path:
        return self.folder / "RS_custom.dcm"

    @property
    def custom_structure_warnings(self) -> Path:
        return self.folder / "metadata" / "custom_structure_warnings.json"

    @property
    def cropping(self) -> Path:
        """What was cut and why."""
        return self.folder / "cropping_metadata.json"

    @property
    def cropped_ct(self) -> Path:
        return self.nifti / "CT_cropped.nii.gz"

    @property
    def cropped_ct_dicom(self) -> Path:
        return self.dicom / "CT_cropped"

    @staticmethod
    def cropped(structure_set: Path) -> Path:
        """`RS.dcm` → `RS_cropped.dcm`."""
        return structure_set.with_stem(structure_set.stem + "_cropped")

    # dvh
    @property
    def dvh_metrics(self) -> Path:
        return self.folder / "dvh_metrics.parquet"

    @property
    def dvh_curves(self) -> Path:
        return self.folder / "dvh_curves.parquet"

    @property
    def dvh_status(self) -> Path:
        """One row per ROI: ok, empty, outside, failed, with the reason."""
        return self.folder / "dvh_status.parquet"

    @property
    def prescriptions(self) -> Path:
        return self.folder / "prescriptions.parquet"

    # metadata, quality control
    @property
    def case_metadata(self) -> Path:
        return self.folder / "metadata" / "case_metadata.json"

    @property
    def case_metadata_table(self) -> Path:
        return self.folder / "metadata" / "case_metadata.parquet"

    @property
    def fractions(self) -> Path:
        return self.folder / "metadata" / "fractions.parquet"

    @property
    def quality_control(self) -> Path:
        return self.folder / "qc_reports" / "quality_control.parquet"

    @property
    def quality_control_json(self) -> Path:
        return self.folder / "qc_reports" / "quality_control.json"

    @property
    def structure_comparison(self) -> Path:
        return self.folder / "qc_reports" / "structure_comparison.parquet"

    @property
    def structure_comparison_dose(self) -> Path:
        return self.folder / "qc_reports" / "structure_comparison_dose.parquet"

    # radiomics
    @property
    def radiomics_ct(self) -> Path:
        return self.folder / "radiomics_ct.parquet"

    @property
    def radiomics_mr(self) -> Path:
        return self.folder / "MR" / "radiomics_mr.parquet"

    @property
    def radiomics_pet(self) -> Path:
        return self.folder / "PET" / "radiomics_pet.parquet"

    def suv_image(self, name: str) -> Path:
        """A PET series in SUV; `name` has the image's key and what the SUV are normalised by."""
        return self.folder / "PET" / f"{name}.nii.gz"

    def suv_provenance(self, name: str) -> Path:
        """From what the SUV of `suv_image` were computed."""
        return self.folder / "PET" / f"{name}.json"

    @property
    def radiomics_dose(self) -> Path:
        return self.folder / "radiomics_dose.parquet"

    @property
    def radiomics_diagnostics(self) -> Path:
        """One row per image × source × ROI with features: what PyRadiomics says of image and mask."""
        return self.folder / "radiomics_diagnostics.parquet"

    @property
    def radiomics_ledger(self) -> Path:
        """One row per image × source × ROI: ok, skipped or failed, with the reason."""
        return self.folder / "radiomics_ledger.parquet"

    @property
    def radiomics_robustness(self) -> Path:
        return self.folder / "radiomics_robustness_ct.parquet"

    @property
    def radiomics_robustness_ledger(self) -> Path:
        return self.folder / "radiomics_robustness_ledger.parquet"

    # report
    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    # state
    def state(self, stage: str) -> Path:
        return self.folder / "state" / f"{stage}.json"

    def lock(self, stage: str) -> Path:
        """Held while a stage is at work; it says who works."""
        return self.state(stage).with_suffix(".lock")

    @staticmethod
    def workbook(table: Path) -> Path:
        """The Excel export beside a Parquet table."""
        return table.with_suffix(".xlsx")


@dataclass(frozen=True)
class Course:
    """One patient's treatment course: its folder and what `course.json` says of it."""

    files: CourseFiles
    description: CourseDescription

    @property
    def key(self) -> str:
        """`<patient>/<course>`, unique in an output folder, and the name used in logs."""
        return f"{self.description.patient}/{self.description.course}"

    @property
    def identifiers(self) -> dict[str, str]:
        """The columns that every table of a course begins with."""
        return {"patient_id": self.description.patient_id, "course_id": self.description.course}

    def path(self, relative: str) -> Path:
        """The file or folder that a description names by its path relative to the course folder."""
        return self.files.folder / relative

    @classmethod
    def load(cls, folder: Path) -> Course:
        """Read the course in `folder`.

        Raises:
            FileNotFoundError: `folder` has no `course.json`.
            CourseError: `course.json` is not what this version writes.
        """
        files = CourseFiles(folder)
        try:
            return cls(files, CourseDescription.model_validate_json(files.description.read_bytes()))
        except ValidationError as error:
            first = error.errors()[0]
            what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise CourseError(
                f"{files.description}: not what this version writes ({what}); run again with --force organize"
            ) from error


@dataclass(frozen=True)
class CohortFiles:
    """Where the files of a whole output folder live."""

    folder: Path

    @property
    def courses(self) -> Path:
        return self.folder / "_COURSES"

    @property
    def manifest(self) -> Path:
        """The list of courses: patient, course, path, slice count, kind."""
        return self.courses / "manifest.json"

    @property
    def index(self) -> Path:
        """One row per input file: path, size, mtime_ns and the header tags that organizing needs."""
        return self.courses / "index.parquet"

    @property
    def pseudonyms(self) -> Path:
        """Says that this folder holds pseudonyms, and of which key, without giving the key away."""
        return self.courses / "pseudonyms.json"

    def state(self, stage: str) -> Path:
        """State of a stage that works on the whole cohort (`organize`, `aggregate`, `report`)."""
        return self.courses / "state" / f"{stage}.json"

    @property
    def lock(self) -> Path:
        return self.courses / "orchestrator.lock"

    @property
    def results(self) -> Path:
        return self.folder / "_RESULTS"

    def table(self, name: str, suffix: str = ".parquet") -> Path:
        """A cohort table, for example `table("dvh_metrics")` or `table("dvh_metrics", ".xlsx")`."""
        return self.results / f"{name}{suffix}"

    @property
    def report(self) -> Path:
        return self.results / "report.html"

    @property
    def run_report(self) -> Path:
        return self.results / "run_report.json"

    @property
    def provenance(self) -> Path:
        return self.results / "provenance.json"

    @property
    def effective_configuration(self) -> Path:
        return self.results / "effective_config.yaml"

    def manifest_courses(self) -> list[Course]:
        """The courses of the manifest, in its order.

        Raises:
            FileNotFoundError: nothing was organized in this folder yet.
            CourseError: the manifest names a folder that is not there or lies outside of this one, or a course is not
                what this version writes.
        """
        manifest: dict[str, Any] = json.loads(self.manifest.read_text(encoding="utf-8"))
        try:
            folders = [self.folder / _inside(entry["path"]) for entry in manifest["courses"]]
            return [Course.load(folder) for folder in folders]
        except FileNotFoundError as error:
            raise CourseError(f"{error.filename}: the manifest names it, and it is not there; run again") from error
        except CourseError:
            raise
        except ValueError as error:
            raise CourseError(f"{self.manifest}: {error}; run again with --force organize") from error

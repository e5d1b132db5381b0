"""Where each file of a course lives.

A course folder is `<outdir>/<patient>/<course>/`. A stage reads from `Course.files` and writes below the staging
folder it is given, which mirrors the course folder; both are `CourseFiles`, so a name is written down once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rtpipeline.course.description import CT_KEY


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
    def ct_dicom(self) -> Path:
        return self.dicom / "CT"

    @property
    def mr_dicom(self) -> Path:
        return self.dicom / "MR"

    @property
    def doses_dicom(self) -> Path:
        return self.dicom / "RTDOSE"

    @property
    def registrations_dicom(self) -> Path:
        return self.dicom / "REG"

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

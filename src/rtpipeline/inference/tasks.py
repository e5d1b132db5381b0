"""TotalSegmentator's tasks: which models each one loads, which options it takes, and where its weights lie.

TotalSegmentator holds this knowledge inside one function; it is written down here so that options are checked and
missing weights are noticed before anything is started (a test compares the table with the installed version).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

FEWEST_PLANES_TO_SPLIT = 58
"""With fewer planes at the model's spacing, TotalSegmentator's split into three overlapping parts does not add up."""


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        models: numbers of its nnU-Net datasets.
        fast_models: those of its fast variant; empty where it has none.
        crop_models: further datasets that it runs first to find where to look; empty where it looks everywhere.
        plane_spacing_mm: spacing of the planes that its models work at; None for the image's own.
        modality: the kind of image it was trained on.
        licensed: needs a licence number from TotalSegmentator's authors.
    """

    models: tuple[int, ...]
    fast_models: tuple[int, ...] = ()
    crop_models: tuple[int, ...] = ()
    plane_spacing_mm: float | None = 1.5
    modality: str = "CT"
    licensed: bool = False


_CT_CROP = (298,)
_CT_ROBUST_CROP = (297,)
_MR_CROP = (852,)
_BODY_CROP = (300,)  # the fast variant of the task `body`
_FAST_PLANE_SPACING_MM = {"total": 3.0, "total_mr": 3.0, "body": 6.0, "body_mr": 6.0}

TASKS: Mapping[str, Task] = {
    "total": Task((291, 292, 293, 294, 295), fast_models=(297,)),
    "total_mr": Task((850, 851), fast_models=(852,), modality="MR"),
    "body": Task((299,), fast_models=(300,)),
    "body_mr": Task((597,), fast_models=(598,), modality="MR"),
    "vertebrae_mr": Task((756,), modality="MR"),
    "lung_vessels": Task((258,), crop_models=_CT_CROP, plane_spacing_mm=None),
    "cerebral_bleed": Task((150,), crop_models=_CT_CROP, plane_spacing_mm=None),
    "hip_implant": Task((260,), crop_models=_CT_CROP, plane_spacing_mm=None),
    "pleural_pericard_effusion": Task((315,), crop_models=_CT_CROP, plane_spacing_mm=None),
    "liver_vessels": Task((8,), crop_models=_CT_CROP, plane_spacing_mm=None),
    "head_glands_cavities": Task((775,), crop_models=_CT_CROP, plane_spacing_mm=1.0),
    "headneck_bones_vessels": Task((776,), crop_models=_CT_CROP, plane_spacing_mm=1.0),
    "head_muscles": Task((777,), crop_models=_CT_CROP, plane_spacing_mm=1.0),
    "headneck_muscles": Task((778, 779), crop_models=_CT_CROP, plane_spacing_mm=1.0),
    "oculomotor_muscles": Task((351,), crop_models=_CT_CROP, plane_spacing_mm=0.85),
    "lung_nodules": Task((913,), crop_models=_CT_CROP),
    "kidney_cysts": Task((789,), crop_models=_CT_CROP),
    "breasts": Task((527,)),
    "ventricle_parts": Task((552,), crop_models=_CT_CROP, plane_spacing_mm=1.0),
    "liver_segments": Task((570,), crop_models=_CT_CROP),
    "liver_segments_mr": Task((576,), crop_models=_MR_CROP, plane_spacing_mm=3.0, modality="MR"),
    "craniofacial_structures": Task((115,), crop_models=_CT_CROP, plane_spacing_mm=0.5),
    "abdominal_muscles": Task((952,), crop_models=_BODY_CROP, plane_spacing_mm=1.0),
    "teeth": Task((113,), crop_models=(115, *_CT_CROP), plane_spacing_mm=0.5),
    "trunk_cavities": Task((343,)),
    "brain_aneurysm": Task((615,), plane_spacing_mm=0.5, modality="MR"),
    "vertebrae_body": Task((305,), licensed=True),
    "heartchambers_highres": Task((301,), crop_models=_CT_ROBUST_CROP, plane_spacing_mm=None, licensed=True),
    "appendicular_bones": Task((304,), licensed=True),
    "appendicular_bones_mr": Task((855,), modality="MR", licensed=True),
    "tissue_types": Task((481,), licensed=True),
    "tissue_types_mr": Task((925,), modality="MR", licensed=True),
    "tissue_4_types": Task((485,), licensed=True),
    "face": Task((303,), licensed=True),
    "face_mr": Task((856,), modality="MR", licensed=True),
    "brain_structures": Task((409,), crop_models=_CT_CROP, plane_spacing_mm=1.0, licensed=True),
    "thigh_shoulder_muscles": Task((857,), licensed=True),
    "thigh_shoulder_muscles_mr": Task((857,), modality="MR", licensed=True),
    "coronary_arteries": Task((507,), crop_models=_CT_CROP, plane_spacing_mm=0.7, licensed=True),
    "aortic_sinuses": Task((920,), crop_models=_CT_CROP, plane_spacing_mm=0.7, licensed=True),
}


@dataclass(frozen=True)
class TaskOptions:
    """A task with the options that it really takes.

    Attributes:
        task: a name of `TASKS`.
        fast: run the fast variant.
        roi_subset: segment these structures only; empty for all.
        body_only: find the body first and look for structures there alone.
    """

    task: str
    fast: bool
    roi_subset: tuple[str, ...] = ()
    body_only: bool = False

    @property
    def models(self) -> tuple[int, ...]:
        """Numbers of all nnU-Net datasets that are loaded."""
        task = TASKS[self.task]
        chosen = task.fast_models if self.fast else task.models
        subset_crop = () if not self.roi_subset else _MR_CROP if task.modality == "MR" else _CT_CROP
        body_crop = _BODY_CROP if self.body_only else ()
        return tuple(dict.fromkeys((*chosen, *task.crop_models, *subset_crop, *body_crop)))

    def within_the_body(self) -> TaskOptions:
        """The same, looking in the body alone where the task has no other way to find where to look.

        That is for cone-beam CT, of which a large part is air and artefacts.
        """
        task = TASKS[self.task]
        return self if task.crop_models or self.roi_subset or task.modality != "CT" else replace(self, body_only=True)

    def can_split(self, height_mm: float) -> bool:
        """Whether an image of this height (number of planes times their spacing) can be split into three parts.

        An image that TotalSegmentator crops first is not split, because its height is not known before.
        """
        task = TASKS[self.task]
        if task.crop_models or self.roi_subset or self.body_only or task.plane_spacing_mm is None:
            return False
        spacing_mm = _FAST_PLANE_SPACING_MM[self.task] if self.fast else task.plane_spacing_mm
        return round(height_mm / spacing_mm) >= FEWEST_PLANES_TO_SPLIT


FIND_THE_BODY = TaskOptions("body", fast=True)
"""What TotalSegmentator runs first where it shall look in the body alone."""


@dataclass(frozen=True)
class NeededTask:
    """A task whose weights a configuration needs.

    Attributes:
        task: with its options.
        weights: the folder of its weights.
        without: what happens without them, where that is not that the whole segmentation fails.
        sometimes: only some images need them.
    """

    task: TaskOptions
    weights: Path
    without: str = ""
    sometimes: bool = False

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of the nnU-Net datasets that the weights folder lacks."""
        return missing_models(self.weights, self.task)

    @property
    def message(self) -> str:
        """What is missing, and what to do."""
        variant = f"{self.task.task} (fast)" if self.task.fast else self.task.task
        consequence = f", without which {self.without}" if self.without else ""
        return (
            f"weights of task {variant} (datasets {', '.join(map(str, self.missing))}) are not in "
            f"{self.weights}{consequence}; run `rtpipeline weights` where there is a network, or name the folder that "
            "has them with segmentation.weights"
        )


def options(task: str, *, fast: bool = False, roi_subset: tuple[str, ...] | None = None) -> TaskOptions:
    """The options that `task` takes out of those that are asked for: `fast` where it has a fast variant, and
    `roi_subset` for `total` and `total_mr` only.

    Raises:
        KeyError: there is no such task.
    """
    takes_subset = task in ("total", "total_mr")
    return TaskOptions(
        task=task,
        fast=fast and bool(TASKS[task].fast_models),
        roi_subset=(roi_subset or ()) if takes_subset else (),
    )


def labels_of(task: TaskOptions) -> dict[str, str]:
    """Label number as text → name of the structures that a task looks for; empty where its subset has none of them."""
    from totalsegmentator.map_to_binary import class_map

    wanted = set(task.roi_subset)
    return {str(label): name for label, name in class_map[task.task].items() if not wanted or name in wanted}


def weights_folder(configured: Path | None) -> Path:
    """Where TotalSegmentator's weights lie: the configured folder, else where TotalSegmentator itself looks
    (`TOTALSEG_WEIGHTS_PATH`, else `nnunet/results` in `TOTALSEG_HOME_DIR`, else in `~/.totalsegmentator`).
    """
    if configured is not None:
        return configured.expanduser().absolute()
    if from_environment := os.environ.get("TOTALSEG_WEIGHTS_PATH"):
        return Path(from_environment).absolute()
    return user_home() / "nnunet" / "results"


def user_home() -> Path:
    """TotalSegmentator's folder of this user, where a licence number is kept."""
    from_environment = os.environ.get("TOTALSEG_HOME_DIR")
    return Path(from_environment).absolute() if from_environment else Path.home() / ".totalsegmentator"


def dataset_folder(weights: Path, model: int) -> Path | None:
    """The folder of one nnU-Net dataset among the weights, or None."""
    found = sorted(weights.glob(f"Dataset{model:03d}_*"))
    return found[0] if found else None


def dataset_folders(weights: Path, task: TaskOptions) -> tuple[Path, ...]:
    """The folders of the nnU-Net datasets that a task needs, those that are there."""
    return tuple(folder for model in task.models if (folder := dataset_folder(weights, model)))


def dataset_place(weights: Path, model: int) -> Path:
    """The folder of one nnU-Net dataset among the weights; where it is missing, where it would be."""
    return dataset_folder(weights, model) or weights / f"Dataset{model:03d}"


def missing_models(weights: Path, task: TaskOptions) -> tuple[int, ...]:
    """Numbers of the nnU-Net datasets that a task needs and the weights folder lacks."""
    return tuple(model for model in task.models if dataset_folder(weights, model) is None)

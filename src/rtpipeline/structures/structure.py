"""One structure of a course, whether it was drawn or segmented."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import find_objects

from rtpipeline.imaging.contours import rasterise_with_notes
from rtpipeline.imaging.edges import reached_sides, touched_sides
from rtpipeline.imaging.grid import FloatArray, Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.nifti import read_nifti
from rtpipeline.imaging.resampling import resample
from rtpipeline.outcome import StageError

TARGET_TYPES = ("GTV", "CTV", "PTV")
TARGET_PREFIXES = ("GTV", "CTV", "ITV", "PTV", "IGTV", "ICTV")


@dataclass(frozen=True, eq=False)
class LabelledVoxels(ABC):
    """Structures as labels of voxels.

    Attributes:
        path: the file that they are read from.
    """

    path: Path

    @property
    @abstractmethod
    def volume(self) -> Volume:
        """The labels (z, y, x); 0 is background.

        Raises:
            StageError: the file cannot be read.
        """

    @cached_property
    def boxes(self) -> list[tuple[slice, slice, slice] | None]:
        """Bounding box of label 1, 2, … (None where no voxel has it)."""
        return find_objects(self.volume.values)

    def box(self, label: int) -> tuple[slice, slice, slice] | None:
        """Bounding box of a label; None where no voxel has it."""
        return self.boxes[label - 1] if 0 < label <= len(self.boxes) else None

    def mask(self, label: int, grid: Grid) -> Mask:
        """The voxels with `label` on `grid`: exactly where the grids are the same, else by nearest neighbour."""
        box = self.box(label)
        if box is None:
            return Mask.cropped(grid, np.zeros(grid.shape, dtype=np.bool_))
        values = self.volume.values[box] == label
        if self.volume.grid.same_as(grid):
            whole = (slice(0, grid.planes), box[1], box[2]) if not grid.is_uniform else box
            return Mask(grid.crop(*whole), np.ascontiguousarray(self.volume.values[whole] == label))
        part = Volume(self.volume.grid.crop(*box), values)
        return Mask.cropped(grid, resample(part, grid, interpolation="nearest", outside=False).values)

    def notes_on(self, grid: Grid) -> tuple[str, ...]:
        """What a reader should know about `mask` on this grid."""
        return ()


@dataclass(frozen=True, eq=False)
class LabelVolume(LabelledVoxels):
    """A multilabel segmentation, read once for all of its structures.

    Attributes:
        path: the multilabel NIfTI.
        label_map: the JSON beside it.
    """

    label_map: Path

    @cached_property
    def names(self) -> dict[int, str]:
        """Label → name, for the labels that some voxel has.

        Raises:
            StageError: the label map is missing or not what the segmentation stages write.
        """
        try:
            content = self._content
            names = {int(label): str(name) for label, name in content["labels"].items()}
            counts = {int(label): int(count) for label, count in content.get("voxel_counts", {}).items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StageError(f"{self.label_map} is not a label map ({error}); run the segmentation again") from error
        return {label: name for label, name in sorted(names.items()) if counts.get(label, 1) > 0}

    @property
    def carried_by(self) -> str:
        """How it was carried onto the planning CT from another image; empty where it was made on its own image."""
        return str(self._content.get("carried_by", ""))

    @cached_property
    def remarks(self) -> dict[int, tuple[str, ...]]:
        """Label → a sentence for everything that may be missing of a structure; empty for most segmentations."""
        return {int(label): tuple(said) for label, said in self._content.get("remarks", {}).items()}

    @property
    def version(self) -> str:
        """Version of TotalSegmentator that made it; empty where the label map does not say."""
        return str(self._content.get("versions", {}).get("TotalSegmentator", ""))

    @cached_property
    def _content(self) -> dict[str, Any]:
        """The label map; whether it is one shows in `names`, without which nobody asks for more."""
        content: dict[str, Any] = json.loads(self.label_map.read_text(encoding="utf-8"))
        return content

    @cached_property
    def volume(self) -> Volume:
        """The labels (z, y, x).

        Raises:
            StageError: the file cannot be read.
        """
        try:
            volume = read_nifti(self.path)
        except ValueError as error:
            raise StageError(f"{error}; run the segmentation again") from error
        if not np.issubdtype(volume.values.dtype, np.integer):
            return Volume(volume.grid, np.rint(volume.values).astype(np.int32))
        return volume


@dataclass(frozen=True, eq=False)
class Structure:
    """One structure, from one source.

    Attributes:
        source: `manual`, `auto`, `custom`, `custom_model:<name>`, `auto_mr:<image key>` or `seg:<name>`.
        roi_number: ROINumber in its structure set, or label (SegmentNumber) in its segmentation.
        roi_name: as drawn, or as the segmentation names it.
        standard_name: TG-263 name, or empty.
        interpreted_type: RTROIInterpretedType, or empty.
        contours: (n, 3) closed planar contours in world mm; None for a structure of a segmentation.
        labels: the segmentation it is part of; None for a drawn structure.
        notes: a sentence for everything that was left out when it was read.
        refusal: why it cannot be used, which then has no contours; empty if it can.
        partial: a custom structure that lacks some of what it is made of.
    """

    source: str
    roi_number: int
    roi_name: str
    standard_name: str
    interpreted_type: str = ""
    contours: tuple[FloatArray, ...] | None = None
    labels: LabelledVoxels | None = None
    notes: tuple[str, ...] = field(default=())
    refusal: str = ""
    partial: bool = False

    @property
    def is_target(self) -> bool:
        """Whether it is a target volume, by its type or its name."""
        names = (self.roi_name.strip().upper(), self.standard_name.upper())
        return self.interpreted_type.upper() in TARGET_TYPES or any(name.startswith(TARGET_PREFIXES) for name in names)

    def mask(self, grid: Grid) -> Mask:
        """The voxels of `grid` whose centre lies inside; a segmentation's own voxels, never through contours."""
        return self.mask_with_notes(grid)[0]

    def mask_with_notes(self, grid: Grid) -> tuple[Mask, tuple[str, ...]]:
        """`mask`, and what a reader of the result should know about how it came about (with `notes`)."""
        if self.labels is not None:
            return self.labels.mask(self.roi_number, grid), self.notes + self.labels.notes_on(grid)
        mask, notes = rasterise_with_notes(self.contours or (), grid)
        return mask, self.notes + notes

    def sides_at_edge(self, grid: Grid) -> tuple[str, ...]:
        """Sides of the patient at which it reaches the outermost voxels of an image, where it may go on; sorted."""
        if self.labels is not None:
            return touched_sides(self.mask(grid), grid)
        if not self.contours:
            return ()
        index = grid.world_to_index(np.concatenate(self.contours))
        return reached_sides(index.min(axis=0), index.max(axis=0), grid)


def as_columns(structure: Structure) -> dict[str, object]:
    """The columns that name a structure in every table (`tables.schema.STRUCTURE_COLUMNS`)."""
    return {
        "segmentation_source": structure.source,
        "roi_number": structure.roi_number,
        "roi_name": structure.roi_name,
        "standard_name": structure.standard_name,
    }


def completeness_columns(structure: Structure, edge_sides: Sequence[str] | None) -> dict[str, object]:
    """The columns that say whether it may be less than the organ (`tables.schema.COMPLETENESS_COLUMNS`).

    Args:
        structure: the structure.
        edge_sides: from `Structure.sides_at_edge`; None where that is not known, or nothing of it is there.
    """
    return {
        "structure_touches_edge": None if edge_sides is None else bool(edge_sides),
        "edge_sides": ", ".join(edge_sides or ()) or None,
        "structure_partial": structure.partial,
    }

"""The stage that cuts a course's planning CT and structure sets to a region of the anatomy.

Only whole planes are cut off. The range is found in patient coordinates (LPS: superior is +z, whatever the patient's
position) from landmarks of the automatic segmentation.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from rtpipeline.config import Configuration, CroppingSection
from rtpipeline.course import CT_KEY, Course, CourseFiles
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import SeriesGeometry, load_image, read_geometry
from rtpipeline.dicom.nifti_conversion import write_image_nifti
from rtpipeline.dicom.rtstruct_cropping import crop_structure_set
from rtpipeline.imaging.grid import POSITION_TOLERANCE_MM, FloatArray, Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.nifti import read_nifti
from rtpipeline.outcome import Outcome, StageError, failed, ok, skipped
from rtpipeline.scheduling.resources import Resources

TASK = "total"
"""The segmentation whose structures are the landmarks."""

SMALLEST_LANDMARK_CM3 = 1.0
"""A structure smaller than this is taken for noise of the segmentation."""

MOST_TILT = 0.9
"""Cosine of the largest angle between the planes and axial ones, at which cutting planes off is still a cut in z."""

FEMORAL_HEAD_MM = 50.0
"""Height of a femoral head: its diameter in adults is 43 to 52 mm. The head is the uppermost part of a femur."""

Edge = Literal["top", "bottom", "head_bottom"]


@dataclass(frozen=True)
class Landmark:
    """An edge of one or several structures; of those that are there, the outermost counts.

    `head_bottom` is the lower edge of femoral heads, `FEMORAL_HEAD_MM` below the top of a femur: the bottom of a femur
    is where the scan ends.
    """

    edge: Edge
    structures: tuple[str, ...]


@dataclass(frozen=True)
class Region:
    """Where a region ends: for each side the landmarks in order of preference, and the margin beyond them."""

    superior: tuple[Landmark, ...]
    superior_margin_cm: float
    inferior: tuple[Landmark, ...]
    inferior_margin_cm: float


_UPPER_LOBES = ("lung_upper_lobe_left", "lung_upper_lobe_right")
_LUNGS = (*_UPPER_LOBES, "lung_middle_lobe_right", "lung_lower_lobe_left", "lung_lower_lobe_right")

REGIONS: Mapping[str, Region] = {
    "pelvis": Region(
        superior=(Landmark("top", ("vertebrae_L1",)),),
        superior_margin_cm=0.0,
        inferior=(Landmark("head_bottom", ("femur_left", "femur_right")),),
        inferior_margin_cm=10.0,
    ),
    "thorax": Region(
        superior=(Landmark("top", ("vertebrae_C7",)), Landmark("top", _UPPER_LOBES)),
        superior_margin_cm=2.0,
        inferior=(Landmark("bottom", ("vertebrae_L1",)), Landmark("bottom", _LUNGS)),
        inferior_margin_cm=2.0,
    ),
    "abdomen": Region(
        superior=(
            Landmark("top", ("vertebrae_T12",)),
            Landmark("top", ("vertebrae_L1",)),
            Landmark("top", ("liver",)),
        ),
        superior_margin_cm=2.0,
        inferior=(Landmark("bottom", ("vertebrae_L5",)),),
        inferior_margin_cm=2.0,
    ),
    "head_neck": Region(
        superior=(Landmark("top", ("brain",)), Landmark("top", ("skull",))),
        superior_margin_cm=2.0,
        inferior=(
            Landmark("bottom", ("vertebrae_C7",)),
            Landmark("bottom", ("clavicula_left", "clavicula_right")),
        ),
        inferior_margin_cm=2.0,
    ),
    "brain": Region(
        superior=(Landmark("top", ("brain",)),),
        superior_margin_cm=1.0,
        inferior=(Landmark("bottom", ("brain",)),),
        inferior_margin_cm=1.0,
    ),
}


@dataclass(frozen=True)
class CropRange:
    """The planes that are kept, and why.

    Attributes:
        planes: indices along the grid's planes.
        metadata: JSON-ready: landmarks, margins, requested and applied limits in patient z (mm), what was clamped.
    """

    planes: range
    metadata: Mapping[str, Any]


def run(course: Course, configuration: Configuration, resources: Resources) -> Outcome:
    """Cut the planning CT and its structure sets to the configured region.

    Writes `NIFTI/CT_cropped.nii.gz`, copies of the kept slices in `DICOM/CT_cropped/`, a `…_cropped.dcm` beside each
    of `RS.dcm`, `RS_auto.dcm`, `RS_custom.dcm` and the custom models' structure sets that is there, and
    `cropping_metadata.json`. Without the landmarks the course stays as it is.
    """
    if not configuration.ct_cropping.enabled:
        return skipped("disabled in the configuration")
    ct = course.description.planning_ct
    if ct is None:
        return skipped("the course has no planning CT")
    labels = course.files.segmentation(CT_KEY, TASK)
    if not labels.is_file():
        return skipped(f"not cropped: there is no automatic segmentation ({labels.name}) to find the landmarks in")
    try:
        geometry = read_geometry(course.path(ct.folder))
        segmented = read_nifti(labels)
        if not segmented.grid.same_as(geometry.grid):
            return failed("the automatic segmentation does not lie on the planning CT; segment the course again")
        extents = structure_extents(segmented, _landmark_labels(labels, REGIONS[configuration.ct_cropping.region]))
        found = crop_range(geometry.grid, extents, configuration.ct_cropping)
        if isinstance(found, str):
            return skipped(f"not cropped: {found}")
        counts = _write(course, geometry, found.planes, CourseFiles(resources.staging))
    except (DicomError, ValueError) as error:
        return failed(f"the planning CT cannot be cropped: {error}")
    metadata = {**found.metadata, "contours_before_and_kept": counts}
    target = CourseFiles(resources.staging).cropping
    target.write_text(json.dumps(metadata, indent=1) + "\n", encoding="utf-8")
    return ok(planes_before=geometry.grid.planes, planes_kept=len(found.planes), region=found.metadata["region"])


def structure_extents(labels: Volume, names: Mapping[int, str]) -> dict[str, tuple[float, float]]:
    """From where to where (patient z in mm, outer faces of the planes) each landmark structure reaches.

    Of each structure only the largest connected part counts, because a stray voxel far away would move the edge;
    structures of which that part is smaller than `SMALLEST_LANDMARK_CM3` are left out.
    """
    z_mm, half_mm = _plane_positions(labels.grid)
    extents = {}
    for label, name in names.items():
        mask = Mask.cropped(labels.grid, labels.values == label)
        parts, count = ndimage.label(mask.values)
        if count == 0:
            continue
        sizes = np.bincount(parts.ravel())[1:]
        if sizes.max() * labels.grid.voxel_volume_cm3 >= SMALLEST_LANDMARK_CM3:
            planes = np.flatnonzero((parts == sizes.argmax() + 1).any(axis=(1, 2))) + mask.box_on(labels.grid)[0].start
            there = z_mm[planes]
            extents[name] = (float(there.min() - half_mm), float(there.max() + half_mm))
    return extents


def crop_range(grid: Grid, extents: Mapping[str, tuple[float, float]], section: CroppingSection) -> CropRange | str:
    """The planes of `grid` that the configured region keeps, or a sentence why there is no such range.

    Args:
        grid: of the CT.
        extents: see `structure_extents`.
        section: region, and margins in cm (None: the region's own).
    """
    if abs(grid.direction[2, 2]) < MOST_TILT:
        return "the planes of the CT are not axial"
    region = REGIONS[section.region]
    limits: dict[str, Any] = {}
    metadata: dict[str, Any] = {"region": section.region}
    sides = (
        ("superior", 1.0, region.superior, region.superior_margin_cm, section.superior_margin_cm),
        ("inferior", -1.0, region.inferior, region.inferior_margin_cm, section.inferior_margin_cm),
    )
    for side, sign, landmarks, default_cm, configured_cm in sides:
        found = _landmark(landmarks, extents)
        if found is None:
            wanted = " or ".join("/".join(landmark.structures) for landmark in landmarks)
            return f"the {side} landmark of the {section.region} ({wanted}) was not found"
        names, z_mm = found
        margin_cm = default_cm if configured_cm is None else configured_cm
        limits[side] = z_mm + sign * 10.0 * margin_cm
        metadata[side] = {"landmarks": names, "landmark_z_mm": round(z_mm, 3), "margin_cm": margin_cm}
    return _planes_between(grid, limits["inferior"], limits["superior"], metadata)


def _landmark(
    landmarks: tuple[Landmark, ...], extents: Mapping[str, tuple[float, float]]
) -> tuple[list[str], float] | None:
    """Names and z of the first landmark of which a structure is there."""
    for landmark in landmarks:
        there = [name for name in landmark.structures if name in extents]
        if there and landmark.edge == "top":
            return there, max(extents[name][1] for name in there)
        if there and landmark.edge == "head_bottom":
            return there, min(extents[name][1] for name in there) - FEMORAL_HEAD_MM
        if there:
            return there, min(extents[name][0] for name in there)
    return None


def _planes_between(grid: Grid, inferior_mm: float, superior_mm: float, metadata: dict[str, Any]) -> CropRange | str:
    z_mm, half_mm = _plane_positions(grid)
    if inferior_mm >= superior_mm:
        return f"its landmarks lie the wrong way round ({superior_mm:.1f} mm is not above {inferior_mm:.1f} mm)"
    inside = np.flatnonzero(
        (z_mm >= inferior_mm - POSITION_TOLERANCE_MM) & (z_mm <= superior_mm + POSITION_TOLERANCE_MM)
    )
    if len(inside) < 2:
        return f"fewer than two planes lie between {inferior_mm:.1f} and {superior_mm:.1f} mm"
    scanned = float(z_mm.min() - half_mm), float(z_mm.max() + half_mm)
    clamped = [
        side
        for side, beyond in (("inferior", inferior_mm < scanned[0]), ("superior", superior_mm > scanned[1]))
        if beyond
    ]
    kept = range(int(inside.min()), int(inside.max()) + 1)
    metadata = {
        **metadata,
        "requested_z_mm": [round(inferior_mm, 3), round(superior_mm, 3)],
        "applied_z_mm": [
            round(float(z_mm[list(kept)].min() - half_mm), 3),
            round(float(z_mm[list(kept)].max() + half_mm), 3),
        ],
        "scanned_z_mm": [round(scanned[0], 3), round(scanned[1], 3)],
        "clamped_to_the_scan": clamped,
        "planes_before": grid.planes,
        "planes_kept": len(kept),
        "first_plane_kept": kept.start,
    }
    return CropRange(kept, metadata)


def _plane_positions(grid: Grid) -> tuple[FloatArray, float]:
    """Patient z in mm of the centre of each plane, and half of the planes' spacing along z."""
    centre = np.array([(grid.columns - 1) / 2, (grid.rows - 1) / 2, 0.0])
    index = np.tile(centre, (grid.planes, 1))
    index[:, 2] = np.arange(grid.planes)
    spacing_mm = grid.plane_offsets_mm[-1] / max(grid.planes - 1, 1) if grid.planes > 1 else grid.plane_thickness_mm
    return grid.index_to_world(index)[:, 2], float(spacing_mm * abs(grid.direction[2, 2])) / 2


def _landmark_labels(labels: Path, region: Region) -> dict[int, str]:
    """Label number → name of the structures that are landmarks of a region."""
    label_map = json.loads(CourseFiles.label_map(labels).read_text(encoding="utf-8"))
    wanted = {name for landmark in (*region.superior, *region.inferior) for name in landmark.structures}
    return {int(label): name for label, name in label_map["labels"].items() if name in wanted}


def _write(course: Course, geometry: SeriesGeometry, kept: range, target: CourseFiles) -> dict[str, Any]:
    """Write what is kept; returns, per structure set, the contours before and after.

    Raises:
        DicomError: an image or a structure set cannot be read.
        StageError: slices cannot be copied one by one.
    """
    files = [geometry.planes[plane].file for plane in kept]
    if len({plane.file for plane in geometry.planes}) != geometry.grid.planes:
        raise StageError("the planning CT has several planes in one file; cropping needs one file a plane")
    ct = course.description.planning_ct
    assert ct is not None
    volume = load_image(course.path(ct.folder))
    part = (slice(kept.start, kept.stop), slice(0, volume.grid.rows), slice(0, volume.grid.columns))
    write_image_nifti(target.cropped_ct, Volume(volume.grid.crop(*part), volume.values[part]))
    target.cropped_ct_dicom.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, target.cropped_ct_dicom / file.name)
    counts: dict[str, Any] = {}
    for source in _structure_sets(course.files):
        name = CourseFiles.cropped(source).relative_to(course.files.folder)
        counts[name.as_posix()] = crop_structure_set(source, target.folder / name, geometry, kept)
    return counts


def _structure_sets(files: CourseFiles) -> list[Path]:
    """The structure sets of the planning CT that are there: manual, automatic, custom, and those of custom models."""
    own = (files.structure_set, files.automatic_structure_set, files.custom_structure_set)
    return [*(file for file in own if file.is_file()), *files.custom_model_structure_sets]

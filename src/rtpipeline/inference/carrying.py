"""Labels of an MR series → the planning CT's voxels."""

from __future__ import annotations

import json

import numpy as np
from scipy.ndimage import find_objects

from rtpipeline.course import CT_KEY, Course, CourseFiles, ImageSeries
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import read_geometry
from rtpipeline.imaging.edges import reached_sides
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.nifti import read_nifti, write_nifti
from rtpipeline.imaging.resampling import resample
from rtpipeline.inference.label_volumes import read_label_map
from rtpipeline.provenance import file_digest
from rtpipeline.structures.links import Link, NotCarriedError


def carry(course: Course, image: ImageSeries, task: str, link: Link, staging: CourseFiles) -> int:
    """Write the labels of an MR series' task on the voxels of the planning CT, with a label map.

    A voxel of the CT gets the label of the voxel of the MR that its centre lies in.

    Args:
        course: has the planning CT.
        image: the MR series.
        task: of which `staging` has the labels.
        link: from the MR to the CT.
        staging: where to write.

    Returns:
        The number of structures that have a voxel of the CT.

    Raises:
        NotCarriedError: the planning CT cannot be read, or its planes are not equally spaced.
    """
    made = staging.segmentation(image.key, task)
    label_map = read_label_map(made)
    planning_ct = course.description.planning_ct
    if label_map is None or planning_ct is None:
        raise ValueError(f"{made} has no label map, or the course no planning CT")
    try:
        grid = read_geometry(course.path(planning_ct.folder)).grid
    except DicomError as error:
        raise NotCarriedError(f"the planning CT cannot be read: {error}") from error
    if not grid.is_uniform:
        raise NotCarriedError("the planes of the planning CT are not equally spaced")
    segmented = read_nifti(made)
    moved = Volume(segmented.grid.moved(link.matrix), segmented.values)
    labels = resample(moved, grid, interpolation="nearest", outside=0).values
    target = staging.carried_segmentation(image.key, task)
    write_nifti(target, Volume(grid, labels))
    counts = np.bincount(labels.ravel(), minlength=256)
    carried = {
        **label_map,
        "carried_from": image.key,
        "carried_by": link.how,
        "carried_from_digest": label_map["segmentation_digest"],
        "transform": [[round(float(value), 9) for value in row] for row in link.matrix],
        "remarks": _remarks(segmented, moved, grid),
        "voxel_volume_cm3": grid.voxel_volume_cm3,
        "voxel_counts": {label: int(counts[int(label)]) for label in label_map["labels"]},
        "segmentation_digest": file_digest(target),
        "image_key": CT_KEY,
    }
    CourseFiles.label_map(target).write_text(json.dumps(carried, indent=1) + "\n", encoding="utf-8")
    return sum(count > 0 for count in carried["voxel_counts"].values())


def _remarks(segmented: Volume, moved: Volume, grid: Grid) -> dict[str, list[str]]:
    """Label → what of the structure may be missing on `grid`: what the MR does not show, and what the CT does not.

    Args:
        segmented: the labels on the MR's voxels.
        moved: the same, carried to the CT.
        grid: of the CT.
    """
    remarks: dict[str, list[str]] = {}
    last = np.array([grid.columns, grid.rows, grid.planes]) - 0.5
    for label, box in enumerate(find_objects(segmented.values), start=1):
        if box is None:
            continue
        said = []
        low, high = np.array([[part.start, part.stop - 1] for part in reversed(box)], float).T
        if sides := reached_sides(low, high, segmented.grid):
            said.append(f"it reaches the edge of the MR series ({', '.join(sides)}) and may go on there")
        voxels = np.argwhere(segmented.values[box] == label)[:, ::-1] + low
        index = grid.world_to_index(moved.grid.index_to_world(voxels))
        percent = 100.0 * ((index >= -0.5) & (index <= last)).all(axis=-1).mean()
        if percent < 100.0:
            said.append(f"{percent:.1f} % of it lies on the planning CT")
        if said:
            remarks[str(label)] = said
    return remarks

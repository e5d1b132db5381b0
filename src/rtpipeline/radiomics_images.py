"""The images of a course that features are extracted from: planning CT, MR, PET in SUV, and the dose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np

from rtpipeline.atomic import write_text
from rtpipeline.config import Configuration, SuvVariant
from rtpipeline.course import CT_KEY, Course, CourseFiles, ImageSeries
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import load_image
from rtpipeline.dicom.rtdose import read_dose
from rtpipeline.dicom.suv import suv_conversion
from rtpipeline.imaging.grid import FloatArray, Grid, Volume
from rtpipeline.imaging.nifti import read_nifti, write_nifti
from rtpipeline.structures import Structure, course_structures, image_structures

DOSE_KEY = "DOSE"


class UnsuitableImageError(Exception):
    """Nothing is extracted from an image, although it can be read; the message says why."""


class NoDoseError(UnsuitableImageError):
    """The course has no dose that stands for it."""


@dataclass(frozen=True)
class RadiomicsImage:
    """One image that features are extracted from.

    Attributes:
        key: of the image series, or `DOSE`.
        modality: CT, MR, PT or RTDOSE.
        series: the image series; None for the dose.
        suv_variant: what the SUV of a PET series are normalised by; empty for other images.
    """

    key: str
    modality: Literal["CT", "MR", "PT", "RTDOSE"]
    series: ImageSeries | None = None
    suv_variant: SuvVariant | Literal[""] = ""

    @property
    def name(self) -> str:
        """For people and file names: the key, and the variant where there is one."""
        return f"{self.key}_SUV_{self.suv_variant}" if self.suv_variant else self.key

    @property
    def columns(self) -> dict[str, object]:
        """The columns that name it."""
        columns: dict[str, object] = {
            "image_key": self.key,
            "modality": self.modality,
            "series_instance_uid": self.series.series_instance_uid if self.series else "",
        }
        return {**columns, "suv_variant": self.suv_variant} if self.modality == "PT" else columns


@dataclass(frozen=True)
class LoadedImage:
    """An image's values.

    Attributes:
        volume: the values on a uniform grid.
        intensity: what they are: the unit, and where it is from.
        cropped: the image was cut to a region of the anatomy before.
        provenance: of SUV: from what the factors were computed; JSON-ready.
    """

    volume: Volume
    intensity: str
    cropped: bool = False
    provenance: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


def radiomics_images(course: Course, configuration: Configuration) -> tuple[RadiomicsImage, ...]:
    """The images of a course, a PET series once for each configured variant of SUV, and the dose where it is asked for.

    The dose is among them where the course has none too, so that its structures are in the ledger.
    """
    images: list[RadiomicsImage] = []
    for series in course.description.images:
        if series.modality == "PT":
            variants = configuration.radiomics.suv_variants
            images += [RadiomicsImage(series.key, "PT", series, variant) for variant in variants]
        else:
            images.append(RadiomicsImage(series.key, series.modality, series))
    if configuration.radiomics.dose:
        images.append(RadiomicsImage(DOSE_KEY, "RTDOSE"))
    return tuple(images)


def structures_of(image: RadiomicsImage, course: Course, configuration: Configuration) -> tuple[Structure, ...]:
    """The structures of an image; those of the planning CT for the dose.

    Raises:
        StageError: a structure set, segmentation or label map that is there cannot be read.
    """
    if image.series is None:
        return course_structures(course, configuration)
    return image_structures(course, image.series, configuration)


def load(image: RadiomicsImage, course: Course, configuration: Configuration) -> LoadedImage:
    """An image in the unit that its features are of, on its own grid.

    Raises:
        DicomError: it cannot be read.
        UnsuitableImageError: there is none, its planes are not equally spaced, or its values cannot be made SUV.
    """
    loaded = _loaded(image, course, configuration)
    if not loaded.volume.grid.is_uniform:
        raise UnsuitableImageError("the planes of the image are not equally spaced (missing slices?)")
    return loaded


def _loaded(image: RadiomicsImage, course: Course, configuration: Configuration) -> LoadedImage:
    cropped, cropping = course.files.cropped_ct, configuration.ct_cropping
    if image.series is None:
        return _dose(course)
    if image.key == CT_KEY and cropping.enabled and cropping.use_cropped_for_radiomics and cropped.exists():
        return LoadedImage(read_nifti(cropped), "HU", cropped=True)
    volume = load_image(course.path(image.series.folder))
    if not image.suv_variant:
        return LoadedImage(volume, "HU" if image.modality == "CT" else "arbitrary units")
    try:
        conversion = suv_conversion(course.path(image.series.folder), image.suv_variant)
    except DicomError as error:
        raise UnsuitableImageError(str(error)) from error
    return LoadedImage(
        Volume(volume.grid, (volume.values * conversion.factors[:, None, None]).astype(np.float32)),
        f"SUV by {image.suv_variant.replace('_', ' ')} in {conversion.unit}: {'; '.join(conversion.decisions)}",
        provenance={"series_instance_uid": image.series.series_instance_uid, **conversion.provenance},
    )


def _dose(course: Course) -> LoadedImage:
    if not course.files.dose.exists():
        decision = course.description.dose_decision
        reason = f" ({decision.label}{': ' + decision.reason if decision.reason else ''})"
        raise NoDoseError(f"the course has no dose{reason}")
    return LoadedImage(read_dose(course.files.dose), "Gy")


def write_suv(image: RadiomicsImage, loaded: LoadedImage, files: CourseFiles) -> None:
    """Write the SUV of a PET series as NIfTI, with a JSON beside it that says from what they were computed."""
    path = files.suv_image(image.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, loaded.volume)
    write_text(files.suv_provenance(image.name), json.dumps(dict(loaded.provenance), indent=1) + "\n")


def covered_fraction(structure: Structure, grid: Grid) -> float:
    """Which part of a structure lies within `grid`: voxels on it, of those on its lattice without an end.

    0 where the structure has no voxel at all.
    """
    points = _points_around(structure)
    if points is None:
        return 0.0
    index = grid.world_to_index(points)
    size = np.array([grid.columns, grid.rows, grid.planes])
    first = np.minimum(np.floor(index.min(axis=0)) - 1, 0).astype(int)
    last = np.maximum(np.ceil(index.max(axis=0)) + 1, size - 1).astype(int)
    columns, rows, planes = (int(count) for count in last - first + 1)
    lattice = Grid.uniform(
        grid.index_to_world(first.astype(float)), grid.spacing_mm, (columns, rows, planes), grid.direction
    )
    mask = structure.mask(lattice)
    if mask.is_empty:
        return 0.0
    place = mask.box_on(lattice)
    # The part of the mask's own box that lies on the grid, axis by axis (z, y, x).
    inside = tuple(
        slice(max(0, -begin - part.start), max(0, -begin + count - part.start))
        for part, begin, count in zip(place, first[::-1].tolist(), grid.shape, strict=True)
    )
    return float(np.count_nonzero(mask.values[inside]) / mask.voxel_count)


def _points_around(structure: Structure) -> FloatArray | None:
    """World positions (n, 3) that a structure lies between; None where it has none."""
    if structure.labels is None:
        return np.concatenate(structure.contours) if structure.contours else None
    box = structure.labels.box(structure.roi_number)
    if box is None:
        return None
    planes, rows, columns = box
    corners = np.array(
        [
            [x, y, z]
            for x in (columns.start - 0.5, columns.stop - 0.5)
            for y in (rows.start - 0.5, rows.stop - 0.5)
            for z in (planes.start, planes.stop - 1)
        ]
    )
    return structure.labels.volume.grid.index_to_world(corners)

"""What is asked of the radiomics environment, and what it answers: shared by both sides, standard library alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class ImageOnDisk:
    """An image that every job on it reads by memory map.

    Attributes:
        file: `.npy`, float32, axes (z, y, x). Float also where the stored values are integers, because ITK
            truncates towards zero when it resamples integers.
        origin_mm: world position (x, y, z), DICOM patient coordinates, of the centre of the first voxel.
        spacing_mm: along (x, y, z).
        direction: the 3×3 matrix whose columns are the world directions of the index axes x, y, z; row by row.
        digest: SHA-1 of the values, as PyRadiomics' diagnostics have it.
    """

    file: Path
    origin_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    direction: tuple[float, ...]
    digest: str


@dataclass(frozen=True)
class MaskOnDisk:
    """A mask on an image's own grid, cut to a box around its voxels.

    Attributes:
        file: `.npy`, boolean, axes (z, y, x).
        offset: index (z, y, x) in the image of the mask's first voxel.
        digest: SHA-1 of the values.
    """

    file: Path
    offset: tuple[int, int, int]
    digest: str


@dataclass(frozen=True)
class Part:
    """What of a job is asked for; see `rtpipeline.extraction.parts`.

    Attributes:
        first: the features of shape, and diagnostics, are.
        image_types: the filtered images whose features are, like `imageType` of a parameter file.
    """

    first: bool
    image_types: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class ExtractionJob:
    """All features of one mask on one image.

    Attributes:
        key: names the job among those handed in together; the result carries it.
        image: the image.
        mask: the mask.
        parameters: a PyRadiomics parameter file, parsed (`setting`, `imageType`, `featureClass`, …).
        diagnostics: whether PyRadiomics' diagnostics are asked for too.
        size: how long the job takes, roughly: the volume of the structure in cm3. Larger ones are started first.
        part: what of it is asked for; None for all.
    """

    key: str
    image: ImageOnDisk
    mask: MaskOnDisk
    parameters: Mapping[str, Any]
    size: float
    diagnostics: bool = False
    part: Part | None = None

    def as_message(self) -> dict[str, Any]:
        """The job as JSON-ready values."""
        return {
            "key": self.key,
            "image": {
                "file": str(self.image.file),
                "origin_mm": self.image.origin_mm,
                "spacing_mm": self.image.spacing_mm,
                "direction": self.image.direction,
                "digest": self.image.digest,
            },
            "mask": {"file": str(self.mask.file), "offset": self.mask.offset, "digest": self.mask.digest},
            "parameters": dict(self.parameters),
            "size": self.size,
            "diagnostics": self.diagnostics,
            "part": vars(self.part) if self.part is not None else None,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> ExtractionJob:
        """The job that `as_message` described."""
        image, mask = message["image"], message["mask"]
        return cls(
            key=message["key"],
            image=ImageOnDisk(
                file=Path(image["file"]),
                origin_mm=tuple(image["origin_mm"]),
                spacing_mm=tuple(image["spacing_mm"]),
                direction=tuple(image["direction"]),
                digest=image["digest"],
            ),
            mask=MaskOnDisk(Path(mask["file"]), tuple(mask["offset"]), mask["digest"]),
            parameters=message["parameters"],
            size=message["size"],
            diagnostics=message["diagnostics"],
            part=Part(**message["part"]) if message["part"] is not None else None,
        )


JobStatus = Literal["ok", "skipped", "failed", "timed out"]


@dataclass(frozen=True)
class JobResult:
    """The answer to one job.

    Attributes:
        key: of the job.
        status: `ok`; `skipped` where the structure is too small for what is asked for; `failed` or `timed out`.
        features: PyRadiomics' feature names → values; None where a feature is undefined (NaN or infinite) for this
            ROI. Empty unless the status is `ok`.
        diagnostics: where they are asked for: PyRadiomics' names without `diagnostics_`, vectors as `…_x`, `…_y`,
            `…_z`.
        reason: why there are no features; empty when the status is `ok`.
        memory_pressure: it failed for lack of memory.
    """

    key: str
    status: JobStatus
    features: Mapping[str, float | None]
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    memory_pressure: bool = False

    def as_message(self) -> dict[str, Any]:
        """The result as JSON-ready values."""
        return {
            "key": self.key,
            "status": self.status,
            "features": dict(self.features),
            "diagnostics": dict(self.diagnostics),
            "reason": self.reason,
            "memory_pressure": self.memory_pressure,
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> JobResult:
        """The result that `as_message` described."""
        return cls(**message)

"""Dose-volume curves that a planning system stored in its RT Dose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from rtpipeline.dicom.reading import read_dataset
from rtpipeline.dicom.values import as_integer, as_number, as_text, as_uid, items, quietly
from rtpipeline.imaging.grid import FloatArray


@dataclass(frozen=True, eq=False)
class StoredDvh:
    """One item of DVHSequence (DICOM PS3.3 C.8.8.4), as a cumulative curve.

    Attributes:
        roi_number: the only ROI that it is of.
        dose_gy: (n,) lower edges of its bins.
        part: (n,) fraction of its volume that gets at least that dose.
        mean_gy: mean dose, from the bins; DVHMeanDose is not used, because systems write it in other units.
        volume_cm3: None where volumes are in percent.
    """

    roi_number: int
    dose_gy: FloatArray
    part: FloatArray
    mean_gy: float
    volume_cm3: float | None


@dataclass(frozen=True, eq=False)
class StoredDvhs:
    """What a dose says of its structures.

    Attributes:
        structure_set_uid: the structure set that ROI numbers refer to; empty where the dose does not say.
        curves: those that can be read; curves in relative dose and of several ROIs are left out.
    """

    structure_set_uid: str
    curves: tuple[StoredDvh, ...]


def read_stored_dvhs(path: Path) -> StoredDvhs:
    """Read the DVHSequence of an RT Dose; without one there are no curves.

    Raises:
        DicomError: the file cannot be read.
    """
    dataset = read_dataset(path, with_pixels=False)
    with quietly():
        references = items(dataset, "ReferencedStructureSetSequence")
        uid = as_uid(references[0], "ReferencedSOPInstanceUID") if references else ""
        curves = (_curve(item) for item in items(dataset, "DVHSequence"))
        return StoredDvhs(uid, tuple(curve for curve in curves if curve is not None))


def _curve(item: Dataset) -> StoredDvh | None:
    """A curve in Gy of one ROI; None for everything else."""
    included = [
        as_integer(reference, "ReferencedROINumber")
        for reference in items(item, "DVHReferencedROISequence")
        if as_text(reference, "DVHROIContributionType").upper() != "EXCLUDED"
    ]
    kind = as_text(item, "DVHType").upper()
    data = np.array([float(value) for value in item.get("DVHData") or []])
    if as_text(item, "DoseUnits").upper() != "GY" or len(included) != 1 or included[0] is None:
        return None
    if kind not in ("CUMULATIVE", "DIFFERENTIAL") or len(data) < 4 or len(data) % 2:
        return None
    scaling = as_number(item, "DVHDoseScaling")
    widths, volumes = data[0::2] * (1.0 if scaling is None else scaling), data[1::2]
    if kind == "CUMULATIVE":
        bins = volumes - np.append(volumes[1:], 0.0)
    else:
        bins, volumes = volumes, np.cumsum(volumes[::-1])[::-1]
    if not volumes[0] > 0 or np.any(widths < 0):
        return None
    lower = np.cumsum(widths) - widths
    return StoredDvh(
        roi_number=included[0],
        dose_gy=lower,
        part=volumes / volumes[0],
        mean_gy=float((lower + 0.5 * widths) @ bins / bins.sum()),
        volume_cm3=float(volumes[0]) if as_text(item, "DVHVolumeUnits").upper() == "CM3" else None,
    )

"""How well a dose keeps to its target: conformity, gradient, coverage."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rtpipeline.dvh.curve import DoseVolumeCurve
from rtpipeline.dvh.histogram import DoseHistogram, SampledDose
from rtpipeline.dvh.metric import NOT_DEFINED, Metric
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask

REACHES_EDGE = "not known: the isodose reaches the end of the dose grid"
UNEVEN_PLANES = "not known: the planes of the dose are not equally spaced"
SMALLEST_PART_MM = 1.0


class IsodoseVolumes:
    """Volumes of whole isodoses, wherever they lie in the dose grid.

    Args:
        dose: of the course.
        lowest_gy: the lowest dose that is asked for.
    """

    def __init__(self, dose: Volume, lowest_gy: float) -> None:
        values = dose.values
        faces = (values[[0, -1]], values[:, [0, -1]], values[:, :, [0, -1]])
        self.at_edge_gy = max(float(face.max()) for face in faces)
        # Planes at unequal distances are rare, and boxes between them have no grid of their own.
        self.unknown = "" if dose.grid.is_uniform else UNEVEN_PLANES
        boxes = _boxes_with(values, lowest_gy)
        self._curve: DoseVolumeCurve | None = None
        if boxes.any() and not self.unknown:
            mask = Mask.cropped(_between(dose.grid), boxes)
            sizes = np.array([*dose.grid.pixel_spacing_mm, float(np.diff(dose.grid.plane_offsets_mm).max())])
            parts = np.maximum(np.ceil(sizes / SMALLEST_PART_MM - 1e-6), 1).astype(int)
            histogram = DoseHistogram(SampledDose(dose))
            histogram.add_mask(mask, (int(parts[0]), int(parts[1]), int(parts[2])))
            self._curve = histogram.curve(histogram.volume_mm3 / 1000.0, 0.0)

    def why_unknown(self, dose_gy: float) -> str:
        """Why the volume of an isodose is not known; empty where it is."""
        return self.unknown or (REACHES_EDGE if self.at_edge_gy >= dose_gy else "")

    def above(self, dose_gy: float) -> float:
        """Volume in cm³ that gets at least `dose_gy`."""
        return self._curve.volume_at(dose_gy) if self._curve is not None else 0.0


def conformity_metrics(target: DoseVolumeCurve, isodoses: IsodoseVolumes, prescription_gy: float) -> Iterator[Metric]:
    """Indices of one target at its prescribed dose.

    With V the volume of the target, P that of the prescription isodose, T their common volume, and H the volume of
    half the prescription: coverage T/V; CI_RTOG P/V (Shaw et al., Int J Radiat Oncol Biol Phys 27, 1993); CI_Paddick
    T²/(V P) (Paddick, J Neurosurg 93, 2000); GI H/P (Paddick and Lippitz, J Neurosurg 105, 2006). P and H are those
    of the whole dose grid: of several targets, each isodose includes those around the others.
    """
    volume = target.volume_total_cm3
    common = target.volume_at(prescription_gy)
    yield Metric("Coverage", "", common / volume)
    unknown = isodoses.why_unknown(prescription_gy)
    if unknown:
        yield from (Metric(name, "", None, unknown) for name in ("CI_RTOG", "CI_Paddick", "GI"))
        return
    isodose = isodoses.above(prescription_gy)
    yield Metric("CI_RTOG", "", isodose / volume)
    yield _ratio("CI_Paddick", common**2 / volume, isodose)
    unknown = isodoses.why_unknown(0.5 * prescription_gy)
    yield Metric("GI", "", None, unknown) if unknown else _ratio("GI", isodoses.above(0.5 * prescription_gy), isodose)


def _ratio(name: str, numerator: float, denominator: float) -> Metric:
    return Metric(name, "", numerator / denominator) if denominator > 0 else Metric(name, "", None, NOT_DEFINED)


def _boxes_with(values: np.ndarray, dose_gy: float) -> np.ndarray:
    """Which boxes between eight voxel centres have a corner with at least `dose_gy`."""
    high = values >= dose_gy
    for axis in range(3):
        low, up = [slice(None)] * 3, [slice(None)] * 3
        low[axis], up[axis] = slice(0, -1), slice(1, None)
        high = high[tuple(low)] | high[tuple(up)]
    return high


def _between(grid: Grid) -> Grid:
    """The grid whose voxels are the boxes between the voxel centres of `grid`."""
    offsets = grid.plane_offsets_mm
    middles = 0.5 * (offsets[1:] + offsets[:-1])
    return Grid(
        origin_mm=grid.index_to_world(np.array([0.5, 0.5, 0.0])) + middles[0] * grid.direction[:, 2],
        direction=grid.direction,
        pixel_spacing_mm=grid.pixel_spacing_mm,
        plane_offsets_mm=middles - middles[0],
        columns=grid.columns - 1,
        rows=grid.rows - 1,
        plane_thickness_mm=float(offsets[1] - offsets[0]),
    )

"""Dose-volume curves against closed forms and a planning system, with dicompyler-core 0.5.6 beside.

Solids of 24 mm in a linear dose after Nelms et al., Medical Physics 42 (2015): volume, mean, D99, D95, D5, D1 and
D0.03cc, counted where they are more than 3 % off. Test 1: contours every 0.2 mm, dose voxels of 0.4 × 0.2 × 0.4, 1, 2
and 3 mm. Test 2: contours as far apart as dose voxels, 1, 2 and 3 mm; here also beside the exact curve of the contour
stack as it is drawn, because drawing at such a distance costs something by itself. Then a sphere drawn on many CT
spacings, a Gaussian dose, and the structures of a real plan beside its planning system's own curves.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import RTDoseStorage, RTStructureSetStorage

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parent / "peers"))
from dicompyler_process import Dicompyler

from analytic_solids import CENTRE_GY, SOLIDS, Solid, circle
from rtpipeline.dicom.rtdose import read_dose
from rtpipeline.dicom.rtstruct import read_structure_set
from rtpipeline.dvh.curve import DoseVolumeCurve
from rtpipeline.dvh.histogram import DoseHistogram, SampledDose
from rtpipeline.dvh.refinement import curve_of_slabs
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.slabs import slab_stack

FloatArray = np.ndarray
METRICS = ("mean", "D99", "D95", "D5", "D1", "D0.03cc")
AXES = {"y": 1, "z": 2}
LIMIT = 0.03
BREAST_SLABS_CM3 = {
    "Heart": 439.699,
    "Breast": 400.047,
    "Lt Lung": 2005.111,
    "Tumor Bed": 13.159,
    "Tumor Bed Block": 63.831,
}
"""Volumes of the drawn polygons times their slabs, calculated independently."""


@dataclass(frozen=True)
class Case:
    """A solid drawn every `contour_mm` in a dose along an axis on voxels of (x, y, z) mm."""

    solid: Solid
    direction: str
    contour_mm: float
    dose_mm: tuple[float, float, float]

    @property
    def name(self) -> str:
        sizes = " × ".join(f"{size:g}" for size in dict.fromkeys(self.dose_mm))
        return f"{self.solid.name}, along {self.direction}, contours {self.contour_mm:g}, dose {sizes} mm"

    @property
    def counts_volume(self) -> bool:
        return self.direction == "y"

    def truth(self) -> dict[str, float]:
        """Volume in cm3 and doses of the solid in closed form."""
        above = self.solid.above_y if self.direction == "y" else self.solid.above_z
        return values_of(lambda t: above(t, self.contour_mm), self.contour_mm)

    def as_drawn(self) -> dict[str, float]:
        """The same of the contour stack: slabs of one contour spacing, polygons cut at a height along the dose."""
        contours = self.solid.contours(self.contour_mm)

        def above(t: float) -> float:
            if self.direction == "z":
                heights = [np.clip(c[0, 2] + self.contour_mm / 2 - t, 0, self.contour_mm) for c in contours]
                return float(sum(area(c) * height for c, height in zip(contours, heights, strict=True)))
            return sum(area_above(c, t) for c in contours) * self.contour_mm

        return values_of(above, self.contour_mm)

    def dose(self) -> Volume:
        low, high = -18.0, 18.0
        size = [int(np.ceil((high - low) / step)) + 1 for step in self.dose_mm]
        grid = Grid.uniform((low, low, low), self.dose_mm, (size[0], size[1], size[2]))
        along = (
            grid.origin_mm[AXES[self.direction]]
            + np.indices(grid.shape)[2 - AXES[self.direction]] * (self.dose_mm[AXES[self.direction]])
        )
        return Volume(grid, CENTRE_GY + along + 4.0)  # never negative; 4 Gy are taken off again

    def ours(self) -> dict[str, float]:
        stack = slab_stack(self.solid.contours(self.contour_mm), self.contour_mm)
        curve = curve_of_slabs(stack, SampledDose(self.dose()))
        doses = {metric: dose_of(curve, metric) - 4.0 for metric in METRICS}
        return {"volume": curve.volume_total_cm3, **doses}

    def peer(self, peer: Dicompyler, folder: Path) -> dict[str, float]:
        structure_set, dose = folder / "RS.dcm", folder / "RD.dcm"
        write_structure_set(structure_set, self.solid.contours(self.contour_mm))
        write_dose(dose, self.dose())
        found = peer.ask(structure_set, dose, ("volume", *METRICS))["rois"]["1"]
        return {metric: value if metric == "volume" else value - 4.0 for metric, value in found.items()}


def values_of(above_mm3: Callable[[float], float], spacing: float) -> dict[str, float]:
    """Volume (cm3), mean and doses (Gy) from the volume above each distance from the centre."""
    t = np.linspace(-16.0, 16.0, 641)
    volumes = np.array([above_mm3(value) for value in t])
    total = volumes[0]
    found = {"volume": total / 1000, "mean": CENTRE_GY - 16.0 + float(np.trapezoid(volumes, t)) / total}
    for metric in METRICS[1:]:
        wanted = 30.0 if metric.endswith("cc") else float(metric[1:]) / 100 * total
        low, high = -16.0, 16.0
        for _ in range(40):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if above_mm3(middle) > wanted else (low, middle)
        found[metric] = CENTRE_GY + 0.5 * (low + high)
    return found


def area(polygon: FloatArray) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))


def area_above(polygon: FloatArray, level: float) -> float:
    """Area of the part of a polygon with y above `level`: edges below it run along it instead."""
    start, end = polygon[:, :2], np.roll(polygon[:, :2], -1, axis=0)
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    from_y = np.clip(start[:, 1], level, None)
    to_y = np.clip(end[:, 1], level, None)
    rise = np.where(high > low, end[:, 1] - start[:, 1], 1.0)
    x_from = start[:, 0] + (from_y - start[:, 1]) / rise * (end[:, 0] - start[:, 0])
    x_to = start[:, 0] + (to_y - start[:, 1]) / rise * (end[:, 0] - start[:, 0])
    kept = (high > level) & (high > low)
    return abs(float(np.sum((0.5 * (x_from + x_to) * (to_y - from_y))[kept])))


def dose_of(curve: DoseVolumeCurve, metric: str) -> float:
    if metric == "mean":
        return curve.mean_gy
    if metric.endswith("cc"):
        return curve.dose_at(float(metric[1:-2]))
    return curve.dose_at(float(metric[1:]) / 100 * curve.covered_cm3)


def write_structure_set(path: Path, contours: list[FloatArray]) -> None:
    dataset = new_dataset(RTStructureSetStorage, "RTSTRUCT")
    roi, drawn = Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = 1, "solid", "1.2.3"
    drawn.ReferencedROINumber = 1
    drawn.ContourSequence = []
    for contour in contours:
        item = Dataset()
        item.ContourGeometricType = "CLOSED_PLANAR"
        item.NumberOfContourPoints = len(contour)
        item.ContourData = [f"{value:.5f}" for value in contour.ravel()]
        drawn.ContourSequence.append(item)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [roi], [drawn]
    dataset.RTROIObservationsSequence = []
    dataset.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)


def write_dose(path: Path, dose: Volume) -> None:
    dataset = new_dataset(RTDoseStorage, "RTDOSE")
    grid = dose.grid
    dataset.ImagePositionPatient = [f"{value:.6g}" for value in grid.origin_mm]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [grid.pixel_spacing_mm[1], grid.pixel_spacing_mm[0]]
    dataset.GridFrameOffsetVector = [f"{value:.6g}" for value in grid.plane_offsets_mm]
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = grid.shape
    dataset.DoseUnits, dataset.DoseType, dataset.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    dataset.DoseGridScaling = "1e-6"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 32, 32, 31, 0
    dataset.PixelData = np.rint(dose.values * 1e6).astype("<u4").tobytes()
    dataset.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)


def new_dataset(sop_class: str, modality: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4"
    dataset.Modality = modality
    dataset.FrameOfReferenceUID = "1.2.3"
    dataset.PatientID = "solid"
    return dataset


def deviations(found: dict[str, float], truth: dict[str, float], case: Case) -> dict[str, float]:
    metrics = ("volume", *METRICS) if case.counts_volume else METRICS
    return {metric: found[metric] / truth[metric] - 1 for metric in metrics}


def first_cases() -> Iterator[Case]:
    for solid in SOLIDS:
        for sizes in ((0.4, 0.2, 0.4), (1.0,) * 3, (2.0,) * 3, (3.0,) * 3):
            for direction in AXES:
                yield Case(solid, direction, 0.2, sizes)  # type: ignore[arg-type]


def second_cases() -> Iterator[Case]:
    for solid in SOLIDS:
        for spacing in (1.0, 2.0, 3.0):
            for direction in AXES:
                yield Case(solid, direction, spacing, (spacing,) * 3)


def analytic_set(name: str, cases: Iterator[Case]) -> dict[str, float]:
    """Counts of values that are more than 3 % off, and the largest deviation from the stack as drawn."""
    print(f"\n{name}: deviations in %, ours | dicompyler-core")
    counted, ours_off, peer_off, from_stack = 0, 0, 0, 0.0
    with Dicompyler() as peer, tempfile.TemporaryDirectory() as folder:
        for case in cases:
            truth, found = case.truth(), case.ours()
            own = deviations(found, truth, case)
            other = deviations(case.peer(peer, Path(folder)), truth, case)
            drawn = deviations(found, case.as_drawn(), case)
            from_stack = max(from_stack, *map(abs, drawn.values()))
            counted += len(own)
            ours_off += sum(bool(abs(value) > LIMIT) for value in own.values())
            peer_off += sum(not bool(abs(value) <= LIMIT) for value in other.values())
            cells = "  ".join(f"{metric} {100 * own[metric]:+.2f}|{100 * other[metric]:+.1f}" for metric in own)
            print(f"  {case.name:60} {cells}", flush=True)
    print(f"  of {counted} values more than 3 % off: {ours_off} | {peer_off}; from the stack: {100 * from_stack:.3f} %")
    return {"values": counted, "off": ours_off, "dicompyler_off": peer_off, "from_stack_percent": 100 * from_stack}


def spheres() -> dict[str, float]:
    """A sphere of 25 mm: largest deviations (%) of the sampled volume from the stack's own and from the sphere's."""
    radius, own, true, cases = 25.0, 0.0, 0.0, 0
    sphere = 4 / 3 * np.pi * radius**3
    for spacing in (0.8, 1.0, 1.25, 2.0, 2.5, 3.0):
        for shift in (0.0, 0.25, 0.5, 0.75):
            heights = np.arange(-np.ceil(radius / spacing), np.ceil(radius / spacing) + 1) * spacing + shift * spacing
            contours = [
                np.column_stack([circle(np.sqrt(radius**2 - z**2)), np.full(720, z)])
                for z in heights
                if abs(z) < radius - 1e-6
            ]
            drawn = sum(map(area, contours)) * spacing
            stack = slab_stack(contours, spacing)
            for planes in (2.0, 2.5, 3.0):
                for offset in (0.0, 0.3, 0.5):
                    size = int(64 / planes) + 1
                    grid = Grid.uniform((-31, -31, -31 - offset * planes), (2.5, 2.5, planes), (26, 26, size))
                    histogram = DoseHistogram(SampledDose(Volume(grid, np.indices(grid.shape)[0] + 1.0)))
                    histogram.add_slabs(stack, 1.0)
                    sampled = histogram.volume_mm3
                    own = max(own, abs(sampled / drawn - 1), abs(1000 * stack.volume_cm3 / drawn - 1))
                    true = max(true, abs(sampled / sphere - 1))
                    cases += 1
    print(f"\nSphere of 25 mm, {cases} combinations: volume at most {100 * own:.4f} % from its contours' own, and")
    print(f"  {100 * true:.3f} % from the sphere's")
    return {"sphere_from_contours_percent": 100 * own, "sphere_from_truth_percent": 100 * true}


def gaussian() -> float:
    """A Gaussian dose around a sphere: largest deviation (%) of the doses that volumes of 4 to 10 mm radius get."""
    centre, width, worst = 50.0, 15.0, 0.0
    stack = slab_stack(SOLIDS[0].contours(0.2), 0.2)
    for spacing in (0.5, 1.0, 2.0):
        size = int(32 / spacing) + 1
        grid = Grid.uniform((-16, -16, -16), (spacing,) * 3, (size, size, size))
        z, y, x = spacing * np.indices(grid.shape) - 16.0
        dose = Volume(grid, centre * np.exp(-(x**2 + y**2 + z**2) / (2 * width**2)))
        curve = curve_of_slabs(stack, SampledDose(dose))
        for reach in (4.0, 6.0, 8.0, 10.0):
            truth = centre * np.exp(-(reach**2) / (2 * width**2))
            worst = max(worst, abs(curve.dose_at(4 / 3 * np.pi * reach**3 / 1000) / truth - 1))
    print(f"\nGaussian dose in a sphere: doses at most {100 * worst:.2f} % from the closed form")
    return 100 * worst


def real_plan() -> dict[str, float]:
    """The structures of `breast-tps` beside the exact slabs, the planning system and dicompyler-core."""
    paths = {}
    for path in sorted((Path(os.environ["RTPIPELINE_TEST_DATA"]) / "breast-tps").rglob("*.dcm")):
        paths.setdefault(pydicom.dcmread(path, stop_before_pixels=True).Modality, path)
    stored = {
        int(item.DVHReferencedROISequence[0].ReferencedROINumber): item
        for item in pydicom.dcmread(paths["RTDOSE"]).DVHSequence
    }
    dose = SampledDose(read_dose(paths["RTDOSE"]))
    with Dicompyler() as peer:
        others = peer.ask(paths["RTSTRUCT"], paths["RTDOSE"], ("volume", "mean"))["rois"]
    slab, volume, mean = 0.0, 0.0, 0.0
    print("\nbreast-tps: volume (cm3) and mean (Gy), ours | planning system | dicompyler-core")
    for roi in read_structure_set(paths["RTSTRUCT"]).rois:
        if not roi.contours:
            continue
        stack = slab_stack(roi.contours, 3.0)
        histogram = DoseHistogram(dose)
        histogram.add_slabs(stack, 1.0)
        curve = curve_of_slabs(stack, dose)
        exact = BREAST_SLABS_CM3.get(roi.name, stack.volume_cm3)
        slab = max(slab, abs(histogram.volume_mm3 / 1000 / exact - 1), abs(stack.volume_cm3 / exact - 1))
        doses, volumes = np.array(stored[roi.number].DVHData, float).reshape(-1, 2).T
        differential = volumes - np.append(volumes[1:], 0.0)
        planned = float((np.cumsum(doses) * float(stored[roi.number].DVHDoseScaling)) @ differential / volumes[0])
        other = others[str(roi.number)]
        print(
            f"  {roi.name:16} {curve.volume_total_cm3:10.3f} | {volumes[0]:10.3f} | {other['volume']:10.3f}"
            f"    {curve.mean_gy:8.4f} | {planned:8.4f} | {other['mean']:8.4f}"
        )
        if volumes[0] > 20 and roi.name != "BODY":
            volume = max(volume, abs(curve.volume_total_cm3 / volumes[0] - 1))
            mean = max(mean, abs(curve.mean_gy - planned))
    return {"breast_slab_percent": 100 * slab, "breast_volume_percent": 100 * volume, "breast_mean_gy": mean}


def main() -> None:
    first = analytic_set("Test 1", first_cases())
    second = analytic_set("Test 2", second_cases())
    figures = {f"test_1_{name}": value for name, value in first.items()}
    figures |= {f"test_2_{name}": value for name, value in second.items()}
    figures |= spheres() | {"gaussian_percent": gaussian()} | real_plan()
    limits = {
        "test_1_off": 0,
        "test_2_off": 10,
        "test_2_from_stack_percent": 0.5,
        "sphere_from_contours_percent": 0.1,
        "sphere_from_truth_percent": 1.0,
        "gaussian_percent": 1.0,
        "breast_slab_percent": 0.1,
        "breast_volume_percent": 2.5,
        "breast_mean_gy": 0.06,
    }
    complete = figures["test_1_values"] == 260 and figures["test_2_values"] == 195
    bars = {
        name: {"value": float(figures[name]), "at_most": limit, "ok": bool(complete and figures[name] <= limit)}
        for name, limit in limits.items()
    }
    print()
    for name, bar in bars.items():
        print(f"  {name:32} {bar['value']:8.3f}  at most {bar['at_most']:g}  {'ok' if bar['ok'] else 'NOT MET'}")
    ok = all(bar["ok"] for bar in bars.values())
    print(
        json.dumps(
            {
                "name": "dvh_accuracy",
                "figures": {name: float(value) for name, value in figures.items()},
                "bars": bars,
                "ok": ok,
            }
        )
    )


if __name__ == "__main__":
    main()

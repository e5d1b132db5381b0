"""Standardized uptake values: what the stored values of a PET series are multiplied with.

SUV = activity concentration [Bq/ml] · body size / injected activity [Bq], both activities at the same moment
(Kinahan and Fletcher, Seminars in Ultrasound, CT and MRI 31(6):496-505, 2010; attributes: DICOM PS3.3 C.8.9.1; which
of them hold with which vendor: the vendor-neutral pseudo-code of QIBA's FDG-PET/CT profile). A series whose attributes
do not settle the answer is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from rtpipeline.config import SuvVariant
from rtpipeline.dicom import pet_times
from rtpipeline.dicom.body_size import (
    Sex,
    body_surface_area_cm2,
    lean_body_mass_james_kg,
    lean_body_mass_janmahasatian_kg,
)
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import read_geometry
from rtpipeline.dicom.pet_values import PHILIPS_PRIVATE, plausible_number, private_text, same_text, tracer
from rtpipeline.dicom.values import quietly
from rtpipeline.imaging.grid import FloatArray

UNITS: Mapping[SuvVariant, str] = MappingProxyType(
    {
        "body_weight": "g/ml",
        "lean_body_mass_james": "g/ml",
        "lean_body_mass_janmahasatian": "g/ml",
        "body_surface_area": "cm2/ml",
    }
)
STORED_AS: Mapping[str, SuvVariant] = MappingProxyType(
    {
        "BW": "body_weight",
        "LBMJAMES128": "lean_body_mass_james",
        "LBMJANMA": "lean_body_mass_janmahasatian",
        "BSA": "body_surface_area",
    }
)
"""SUVType → what it says. `LBM` is not here: it does not say by which formula."""

PLAUSIBLE_ACTIVITY_BQ = (1e6, 1e11)
"""An injected activity outside of this is not in Bq."""
PLAUSIBLE_HALF_LIFE_S = (60.0, 1e7)
PLAUSIBLE_WEIGHT_KG = (0.5, 400.0)
PLAUSIBLE_HEIGHT_M = (0.3, 2.5)


@dataclass(frozen=True, eq=False)
class SuvConversion:
    """What makes SUV of a PET series' rescaled values.

    Attributes:
        variant: what the values are normalised by.
        factors: (planes,) in the order of the image's planes: SUV = rescaled value · factor.
        inputs: every number, text and time that the factors were computed from, JSON-ready.
        decisions: how the attributes were read, one sentence each, in order.
    """

    variant: SuvVariant
    factors: FloatArray
    inputs: Mapping[str, object]
    decisions: tuple[str, ...]

    @property
    def unit(self) -> str:
        """g/ml or cm2/ml."""
        return UNITS[self.variant]

    @property
    def provenance(self) -> dict[str, object]:
        """JSON-ready: enough to compute the factors again by hand."""
        same = bool(np.all(self.factors == self.factors[0]))
        return {
            "variant": self.variant,
            "unit": self.unit,
            "formula": "SUV = (stored value * RescaleSlope + RescaleIntercept) * factor",
            "factors": float(self.factors[0]) if same else [float(factor) for factor in self.factors],
            "inputs": dict(self.inputs),
            "decisions": list(self.decisions),
        }


@dataclass
class _Record:
    """What was used on the way, in the order in which it was."""

    inputs: dict[str, object] = field(default_factory=dict)
    decisions: list[str] = field(default_factory=list)

    def use(self, **values: object) -> None:
        self.inputs.update(values)


def suv_conversion(folder: Path, variant: SuvVariant = "body_weight") -> SuvConversion:
    """The factors for the PET series in `folder`, one for each plane of `load_image(folder)`.

    - Units `GML`, `CM2ML`: SUV already, normalised as SUVType says (a missing one means body weight, or body surface
      area with CM2ML); where another variant is wanted, body sizes are exchanged.
    - `BQML`: with DecayCorrection `ADMIN` the injected activity is taken as it is; with `START` it decays until the
      scan's start (see `pet_times.scan_start`); with `NONE` until each frame's moment of average activity.
    - `CNTS` of Philips: by the private factor to SUV by body weight (7053,xx00), else by that to Bq/ml (7053,xx09).

    Args:
        folder: the files of one series.
        variant: what to normalise by.

    Raises:
        DicomError: it cannot be known; the message says why.
    """
    with quietly():
        geometry = read_geometry(folder)
        headers = {
            file: pydicom.dcmread(file, stop_before_pixels=True, force=True)
            for file in dict.fromkeys(plane.file for plane in geometry.planes)
        }
        record = _Record()
        factors = dict(zip(headers, _factors(list(headers.values()), variant, record), strict=True))
    per_plane = np.array([factors[plane.file] for plane in geometry.planes])
    return SuvConversion(variant, per_plane, MappingProxyType(record.inputs), tuple(record.decisions))


def _factors(headers: Sequence[Dataset], variant: SuvVariant, record: _Record) -> list[float]:
    """One factor for each header."""
    units = same_text(headers, "Units")
    record.use(units=units)
    if units in ("GML", "CM2ML"):
        return [_from_suv(headers, units, variant, record)] * len(headers)
    _refuse_without(headers, "ATTN")
    if units == "BQML":
        return _from_activity(headers, variant, record)
    if units == "CNTS":
        return _from_philips_counts(headers, variant, record)
    raise DicomError(f"PET: Units {units or '(missing)'} cannot be converted to SUV")


def _from_suv(headers: Sequence[Dataset], units: str, variant: SuvVariant, record: _Record) -> float:
    kind = same_text(headers, "SUVType") or ("BW" if units == "GML" else "BSA")
    record.use(suv_type=kind)
    if kind not in STORED_AS or (UNITS[STORED_AS[kind]] == "cm2/ml") != (units == "CM2ML"):
        raise DicomError(f"PET: values are stored as SUV of type {kind} in {units}, whose formula is not known")
    stored = STORED_AS[kind]
    record.decisions.append(f"stored as SUV by {stored.replace('_', ' ')} (Units {units})")
    return _exchanged(headers, stored, variant, record)


def _exchanged(headers: Sequence[Dataset], stored: SuvVariant, wanted: SuvVariant, record: _Record) -> float:
    """What makes SUV of one variant those of another."""
    if stored == wanted:
        return 1.0
    record.decisions.append(f"exchanged {stored.replace('_', ' ')} for {wanted.replace('_', ' ')}")
    return _body_size(headers, wanted, record) / _body_size(headers, stored, record)


def _from_activity(headers: Sequence[Dataset], variant: SuvVariant, record: _Record) -> list[float]:
    """Of values in Bq/ml."""
    size = _body_size(headers, variant, record)
    tracers = [tracer(header) for header in headers]
    activity_bq = plausible_number(tracers, "RadionuclideTotalDose", PLAUSIBLE_ACTIVITY_BQ, "Bq")
    correction = same_text(headers, "DecayCorrection")
    record.use(injected_activity_bq=activity_bq, decay_correction=correction)
    if correction not in ("ADMIN", "START", "NONE"):
        raise DicomError(f"PET: DecayCorrection {correction or '(missing)'} does not say when activities are compared")
    if correction != "NONE":
        _refuse_without(headers, "DECY")
    elif "DECY" in same_text(headers, "CorrectedImage").split("\\"):
        raise DicomError("PET: DecayCorrection is NONE, but CorrectedImage has DECY")
    if correction == "ADMIN":
        record.decisions.append("decay-corrected to the administration, so the injected activity is taken as it is")
        return [size / activity_bq] * len(headers)
    half_life_s = plausible_number(tracers, "RadionuclideHalfLife", PLAUSIBLE_HALF_LIFE_S, "s")
    record.use(half_life_s=half_life_s)
    uptakes_s = _uptakes_s(headers, tracers, half_life_s, correction, record)
    return [size / (activity_bq * 2.0 ** (-seconds / half_life_s)) for seconds in uptakes_s]


def _uptakes_s(
    headers: Sequence[Dataset], tracers: Sequence[Dataset], half_life_s: float, correction: str, record: _Record
) -> list[float]:
    """Seconds from the administration to the moment that each file's activities are of."""
    if correction == "START":
        scan = pet_times.scan_start(headers, half_life_s)
        record.decisions.append(f"decay-corrected to the start of the scan, which is from {scan.source}")
        moments = [scan.time] * len(headers)
    else:
        starts = [pet_times.acquisition_start(header) for header in headers]
        scan = pet_times.Moment(min(starts), "earliest AcquisitionTime")
        within_s = [
            pet_times.decay_during_frame_s(pet_times.frame_duration_s(header), half_life_s) for header in headers
        ]
        moments = [start + timedelta(seconds=part) for start, part in zip(starts, within_s, strict=True)]
        record.decisions.append("not decay-corrected, so each file is of the moment of its average activity")
    given = pet_times.administration(headers, tracers, scan, half_life_s)
    record.decisions.append(f"administered at the time in {given.source}")
    uptakes_s = [pet_times.uptake_s(given, moment, half_life_s) for moment in moments]
    record.use(
        scan_start=scan.time.isoformat(),
        administration=given.time.isoformat(),
        uptake_s=uptakes_s[0] if len(set(uptakes_s)) == 1 else uptakes_s,
    )
    return uptakes_s


def _from_philips_counts(headers: Sequence[Dataset], variant: SuvVariant, record: _Record) -> list[float]:
    _refuse_without(headers, "DECY")
    to_suv = [_private_factor(header, 0x00) for header in headers]
    if all(to_suv):
        record.use(philips_suv_factor=to_suv[0] if len(set(to_suv)) == 1 else to_suv)
        record.decisions.append("counts times the Philips factor (7053,xx00) are SUV by body weight")
        exchange = _exchanged(headers, "body_weight", variant, record)
        return [factor * exchange for factor in to_suv]
    to_activity = [_private_factor(header, 0x09) for header in headers]
    if all(to_activity):
        record.use(philips_activity_factor=to_activity[0] if len(set(to_activity)) == 1 else to_activity)
        record.decisions.append("counts times the Philips factor (7053,xx09) are Bq/ml")
        factors = _from_activity(headers, variant, record)
        return [factor * own for factor, own in zip(factors, to_activity, strict=True)]
    raise DicomError("PET: Units CNTS cannot be converted to SUV without the private factors of Philips (7053,xx00/09)")


def _private_factor(header: Dataset, element: int) -> float:
    """A private factor of Philips; 0 where it is missing, not a number or not positive."""
    text = private_text(header, PHILIPS_PRIVATE, element)
    try:
        factor = float(text or 0)
    except ValueError:
        return 0.0
    return factor if 0 < factor < float("inf") else 0.0


def _refuse_without(headers: Sequence[Dataset], correction: str) -> None:
    if correction not in same_text(headers, "CorrectedImage").split("\\"):
        raise DicomError(f"PET: CorrectedImage lacks {correction}")


def _body_size(headers: Sequence[Dataset], variant: SuvVariant, record: _Record) -> float:
    """What SUV are normalised by, in g or cm²."""
    weight_kg = plausible_number(headers, "PatientWeight", PLAUSIBLE_WEIGHT_KG, "kg")
    record.use(weight_kg=weight_kg)
    if variant == "body_weight":
        return weight_kg * 1000.0
    height_m = plausible_number(headers, "PatientSize", PLAUSIBLE_HEIGHT_M, "m")
    record.use(height_m=height_m)
    if variant == "body_surface_area":
        area_cm2 = body_surface_area_cm2(weight_kg, height_m * 100.0)
        record.use(body_surface_area_cm2=area_cm2)
        return area_cm2
    sex = _sex(headers)
    record.use(sex=sex)
    formula = lean_body_mass_james_kg if variant == "lean_body_mass_james" else lean_body_mass_janmahasatian_kg
    try:
        lean_kg = formula(weight_kg, height_m * 100.0, sex)
    except ValueError as error:
        raise DicomError(f"PET: {error}") from error
    record.use(**{f"{variant}_kg": lean_kg})
    return lean_kg * 1000.0


def _sex(headers: Sequence[Dataset]) -> Sex:
    text = same_text(headers, "PatientSex")
    if text == "M":
        return "M"
    if text == "F":
        return "F"
    raise DicomError(f"PET: PatientSex is {text or 'missing'}; formulas of lean body mass are for M and F")

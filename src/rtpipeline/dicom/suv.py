"""Standardized uptake values by body weight: what a stored PET value is multiplied with.

SUVbw = activity concentration [Bq/ml] · body weight [g] / injected activity [Bq], both activities at the same time
(Kinahan and Fletcher, Seminars in Ultrasound, CT and MRI 31(6), 2010; attributes: DICOM PS3.3 C.8.9.1). A series whose
attributes do not settle the answer is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydicom.dataset import Dataset

from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.image_series import read_geometry
from rtpipeline.dicom.reading import read_dataset
from rtpipeline.dicom.values import as_number, as_text, items, quietly

PLAUSIBLE_ACTIVITY_BQ = (1e6, 1e11)
"""An injected activity outside of this is not in Bq."""
PLAUSIBLE_WEIGHT_KG = (0.5, 400.0)
LONGEST_UPTAKE = timedelta(hours=24)
NEEDED_CORRECTIONS = ("ATTN", "DECY")


@dataclass(frozen=True)
class SuvFactor:
    """What makes SUVbw of a PET series' rescaled values.

    Attributes:
        factor: SUVbw = rescaled value · factor.
        explanation: from what it was computed, in words without identifiers.
    """

    factor: float
    explanation: str


def suv_factor(folder: Path) -> SuvFactor:
    """The factor for the PET series in `folder`.

    Units `GML` with SUV type BW (the standard's meaning of a missing type) are SUVbw already. `BQML` is converted
    where decay correction is to the start of the scan (START) or to the administration (ADMIN), and weight, injected
    activity, half-life and times are there and agree.

    Raises:
        DicomError: it cannot be known; the message says why.
    """
    with quietly():
        files = dict.fromkeys(plane.file for plane in read_geometry(folder).planes)
        headers = [read_dataset(file, with_pixels=False) for file in files]
        units = _same(headers, "Units")
        if units == "GML":
            kind = _same(headers, "SUVType") or "BW"
            if kind != "BW":
                raise DicomError(f"PET: SUV normalised by {kind}, not by body weight")
            return SuvFactor(1.0, "stored as SUV by body weight (Units GML)")
        if units != "BQML":
            raise DicomError(f"PET: Units {units or '(missing)'} cannot be converted to SUV")
        return _from_activity(headers)


def _from_activity(headers: Sequence[Dataset]) -> SuvFactor:
    corrections = _same(headers, "CorrectedImage").split("\\")
    missing = [name for name in NEEDED_CORRECTIONS if name not in corrections]
    if missing:
        raise DicomError(f"PET: CorrectedImage lacks {', '.join(missing)}")
    weight_kg = _plausible(headers, "PatientWeight", PLAUSIBLE_WEIGHT_KG, "kg")
    tracers = [_tracer(header) for header in headers]
    activity_bq = _plausible(tracers, "RadionuclideTotalDose", PLAUSIBLE_ACTIVITY_BQ, "Bq")
    correction = _same(headers, "DecayCorrection")
    factor = weight_kg * 1000.0 / activity_bq
    if correction == "ADMIN":
        return SuvFactor(factor, f"BQML, decay-corrected to administration; {weight_kg:g} kg, {activity_bq:g} Bq")
    if correction != "START":
        raise DicomError(f"PET: DecayCorrection {correction or '(missing)'} does not say when activities are compared")
    half_life_s = _plausible(tracers, "RadionuclideHalfLife", (60.0, 1e7), "s")
    uptake_s = (_scan_start(headers) - _administration(headers, tracers)).total_seconds()
    if not 0 <= uptake_s <= LONGEST_UPTAKE.total_seconds():
        raise DicomError(f"PET: the scan starts {uptake_s:.0f} s after the administration")
    return SuvFactor(
        factor * 2.0 ** (uptake_s / half_life_s),
        f"BQML, decay-corrected to scan start; {weight_kg:g} kg, {activity_bq:g} Bq, half-life {half_life_s:g} s, "
        f"{uptake_s:g} s from administration to scan start",
    )


def _scan_start(headers: Sequence[Dataset]) -> datetime:
    """SeriesDate and SeriesTime, where every frame's own reference time agrees with them.

    Reconstructions made later often carry the time of the reconstruction there. FrameReferenceTime (ms after the time
    that decay is corrected to) lies within the frame, so AcquisitionTime - FrameReferenceTime is at most a frame's
    duration before that time.
    """
    start = _moment(_same(headers, "SeriesDate"), _same(headers, "SeriesTime"), "SeriesTime")
    for header in headers:
        acquired = _moment(as_text(header, "AcquisitionDate"), as_text(header, "AcquisitionTime"), "AcquisitionTime")
        reference_ms = as_number(header, "FrameReferenceTime")
        duration_ms = as_number(header, "ActualFrameDuration")
        if reference_ms is None or duration_ms is None:
            raise DicomError("PET: FrameReferenceTime or ActualFrameDuration is missing")
        early_s = (start - acquired).total_seconds() + reference_ms / 1000.0
        if not -1.0 <= early_s <= duration_ms / 1000.0 + 1.0:
            raise DicomError(
                "PET: SeriesTime is not the time that decay is corrected to: it disagrees with AcquisitionTime and "
                f"FrameReferenceTime by {early_s:.0f} s"
            )
    return start


def _administration(headers: Sequence[Dataset], tracers: Sequence[Dataset]) -> datetime:
    """When the tracer was given; in the scanner's own time."""
    complete = _same(tracers, "RadiopharmaceuticalStartDateTime")
    if complete:
        moment, zone = re.match(r"([0-9.]*)(.*)", complete).groups()  # type: ignore[union-attr]
        if zone and zone != _same(headers, "TimezoneOffsetFromUTC"):
            raise DicomError("PET: RadiopharmaceuticalStartDateTime has another time zone than the series")
        return _moment(moment[:8], moment[8:], "RadiopharmaceuticalStartDateTime")
    return _moment(_same(headers, "SeriesDate"), _same(tracers, "RadiopharmaceuticalStartTime"), "start time")


def _tracer(header: Dataset) -> Dataset:
    tracers = items(header, "RadiopharmaceuticalInformationSequence")
    if len(tracers) != 1:
        raise DicomError(f"PET: {len(tracers)} radiopharmaceuticals in the header; exactly one is needed")
    return tracers[0]


def _moment(date: str, time: str, name: str) -> datetime:
    """A DICOM date (DA) and time (TM) as a moment without a time zone."""
    match = re.fullmatch(r"(\d{2})(\d{2})(\d{2})?(\.\d{1,6})?", time)
    if match is None or not re.fullmatch(r"\d{8}", date):
        raise DicomError(f"PET: {name} is missing or not a date and time")
    hours, minutes, seconds = (int(part or 0) for part in match.groups()[:3])
    try:
        day = datetime.strptime(date, "%Y%m%d")
    except ValueError as error:
        raise DicomError(f"PET: {name} is not a date") from error
    return day + timedelta(hours=hours, minutes=minutes, seconds=seconds + float(match.group(4) or 0))


def _same(datasets: Iterable[Dataset], keyword: str) -> str:
    """The text of an attribute that has to be the same in every file; empty when it is missing in all."""
    texts = {as_text(dataset, keyword) for dataset in datasets}
    if len(texts) > 1:
        raise DicomError(f"PET: {keyword} differs between the files of the series")
    return texts.pop()


def _plausible(datasets: Sequence[Dataset], keyword: str, limits: tuple[float, float], unit: str) -> float:
    _same(datasets, keyword)
    number = as_number(datasets[0], keyword)
    if number is None or not limits[0] <= number <= limits[1]:
        raise DicomError(f"PET: {keyword} is missing or not plausible in {unit} (found {number})")
    return number

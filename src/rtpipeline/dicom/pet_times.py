"""When a tracer was given, and which moment the activities of a PET series are of.

The rules are those of the vendor-neutral pseudo-code for SUV of the Quantitative Imaging Biomarkers Alliance (QIBA
Profile FDG-PET/CT as an Imaging Biomarker Measuring Response to Cancer Therapy, appendix G), with a check of every
time that the header allows: the SeriesTime of a series that was reconstructed or edited later is that of the
reconstruction, and would change SUV by a tenth and more without a sign.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydicom.dataset import Dataset

from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.pet_values import GE_PRIVATE, private_text, same_text
from rtpipeline.dicom.values import as_number, as_text

ROUNDING_S = 2.0
"""Times are often whole seconds, rounded or cut."""
DECAY_FACTOR_TOLERANCE = 0.005
"""Relative: of DecayFactor, which some write with three digits."""
LONGEST_UPTAKE_HALF_LIVES = 10.0
LONGEST_DATELESS_HALF_LIFE_S = 4 * 3600.0
"""Tracers that live longer are also imaged on later days, so a time without a date says nothing."""
LONGEST_UPTAKE_ACROSS_MIDNIGHT_S = 6 * 3600.0
_SAME_TIME_S = 60.0


@dataclass(frozen=True)
class Moment:
    """A moment of the scanner's own clock, and which attributes it is from."""

    time: datetime
    source: str


def decay_during_frame_s(duration_s: float, half_life_s: float) -> float:
    """Seconds from the start of a frame to the moment whose activity is the frame's average.

    `ln(λT / (1 - exp(-λT))) / λ` with λ = ln 2 / half-life: a little before the middle.
    """
    decay = math.log(2.0) / half_life_s * duration_s
    return duration_s * math.log(decay / -math.expm1(-decay)) / decay if decay > 0 else 0.0


def acquisition_start(header: Dataset) -> datetime:
    """When the acquisition of one file's frame began.

    Raises:
        DicomError: AcquisitionDate or AcquisitionTime is missing.
    """
    return _date_and_time(as_text(header, "AcquisitionDate"), as_text(header, "AcquisitionTime"), "AcquisitionTime")


def frame_duration_s(header: Dataset) -> float:
    """ActualFrameDuration.

    Raises:
        DicomError: it is missing or not positive.
    """
    duration_ms = as_number(header, "ActualFrameDuration")
    if duration_ms is None or duration_ms <= 0:
        raise DicomError("PET: ActualFrameDuration is missing or not positive")
    return duration_ms / 1000.0


def scan_start(headers: Sequence[Dataset], half_life_s: float) -> Moment:
    """The moment that decay was corrected to, where DecayCorrection is START.

    Taken is the first of these that agrees with DecayFactor and FrameReferenceTime of every file, as far as they are
    there (both say how long after the scan's start a moment within the frame is):
    1. SeriesDate and SeriesTime, when they are not after the earliest acquisition;
    2. the scan's start in GE's private attributes (0009,xx0D);
    3. computed back from AcquisitionTime and FrameReferenceTime, or DecayFactor;
    4. the earliest AcquisitionTime, where there is neither FrameReferenceTime nor DecayFactor.

    Raises:
        DicomError: none of them can be had, or they contradict one another.
    """
    frames = [_Frame.of(header, half_life_s) for header in headers]
    earliest = min(frame.start for frame in frames)
    candidates: list[Callable[[], Moment | None]] = [
        lambda: _series_start(headers, earliest),
        lambda: _ge_scan_start(headers),
    ]
    for candidate in candidates:
        moment = candidate()
        if moment is not None and all(frame.agrees(moment.time) for frame in frames):
            return moment
    if all(frame.reference_s is None and frame.decayed_s is None for frame in frames):
        return Moment(earliest, "earliest AcquisitionTime, because SeriesTime is later than it")
    return _computed_back(headers, frames)


def _series_start(headers: Sequence[Dataset], earliest: datetime) -> Moment | None:
    date, time = same_text(headers, "SeriesDate"), same_text(headers, "SeriesTime")
    if not date or not time:
        return None
    series = _date_and_time(date, time, "SeriesTime")
    late = series > earliest + timedelta(seconds=ROUNDING_S)
    return None if late else Moment(series, "SeriesDate and SeriesTime")


def _ge_scan_start(headers: Sequence[Dataset]) -> Moment | None:
    texts = {private_text(header, GE_PRIVATE, 0x0D) for header in headers}
    if texts == {""}:
        return None
    if len(texts) > 1:
        raise DicomError("PET: GE's private scan time (0009,xx0D) differs between the files of the series")
    return Moment(_complete(texts.pop(), "(0009,xx0D)")[0], "GE private scan time (0009,xx0D)")


@dataclass(frozen=True)
class _Frame:
    """The times of one file, in seconds.

    Attributes:
        start: of the acquisition.
        duration_s: of it; 0 where it is not known.
        average_s: from its start to the moment of its average activity.
        reference_s: FrameReferenceTime; None where it is missing.
        decayed_s: time in which the activity falls by DecayFactor; None where it is missing.
    """

    start: datetime
    duration_s: float
    average_s: float
    reference_s: float | None
    decayed_s: float | None
    half_life_s: float

    @classmethod
    def of(cls, header: Dataset, half_life_s: float) -> _Frame:
        duration_s = (as_number(header, "ActualFrameDuration") or 0.0) / 1000.0
        reference_ms, factor = as_number(header, "FrameReferenceTime"), as_number(header, "DecayFactor")
        return cls(
            start=acquisition_start(header),
            duration_s=duration_s,
            average_s=decay_during_frame_s(duration_s, half_life_s),
            reference_s=None if not reference_ms or reference_ms < 0 else reference_ms / 1000.0,
            decayed_s=None if factor is None or factor <= 1.0 else half_life_s * math.log2(factor),
            half_life_s=half_life_s,
        )

    @property
    def decayed_tolerance_s(self) -> float:
        return ROUNDING_S + DECAY_FACTOR_TOLERANCE * self.half_life_s / math.log(2.0)

    def agrees(self, scan: datetime) -> bool:
        """Whether what the file says about the scan's start puts it there, give or take its own duration.

        FrameReferenceTime is to the frame's start with GE and to its average with Siemens, so a moment anywhere
        within the frame agrees.
        """
        begin_s = (self.start - scan).total_seconds()
        said = ((self.reference_s, ROUNDING_S), (self.decayed_s, self.decayed_tolerance_s))
        return all(
            seconds is None or begin_s - slack <= seconds <= begin_s + self.duration_s + slack
            for seconds, slack in said
        )

    def scan_start(self, *, ge: bool) -> datetime:
        """The scan's start after this file alone."""
        if self.reference_s is None:
            if self.decayed_s is None:
                raise DicomError("PET: FrameReferenceTime is missing in a file of the series")
            return self.start + timedelta(seconds=self.average_s - self.decayed_s)
        to_average = not ge
        if self.decayed_s is not None:
            errors = [abs(self.reference_s - self.decayed_s), abs(self.reference_s + self.average_s - self.decayed_s)]
            if min(errors) > self.decayed_tolerance_s:
                raise DicomError("PET: FrameReferenceTime and DecayFactor contradict one another")
            to_average = errors[0] <= errors[1]
        within_s = self.average_s if to_average else 0.0
        return self.start + timedelta(seconds=within_s - self.reference_s)


def _computed_back(headers: Sequence[Dataset], frames: Sequence[_Frame]) -> Moment:
    if any(frame.duration_s <= 0 for frame in frames):
        raise DicomError("PET: SeriesTime is not the scan's start, and ActualFrameDuration is missing or not positive")
    ge = same_text(headers, "Manufacturer").upper().startswith("GE")
    starts = [frame.scan_start(ge=ge) for frame in frames]
    first = min(starts)
    seconds = [(start - first).total_seconds() for start in starts]
    limit_s = max(ROUNDING_S, *(frame.decayed_tolerance_s for frame in frames if frame.reference_s is None), 0.0)
    if max(seconds) > limit_s:
        raise DicomError(
            "PET: the time that decay is corrected to is not known: SeriesTime is not it, and AcquisitionTime with "
            f"FrameReferenceTime or DecayFactor give times that are up to {max(seconds):.0f} s apart"
        )
    start = first + timedelta(seconds=round(statistics.median(seconds), 3))
    return Moment(
        start,
        "AcquisitionTime, ActualFrameDuration and FrameReferenceTime or DecayFactor, because SeriesTime disagrees",
    )


def administration(headers: Sequence[Dataset], tracers: Sequence[Dataset], scan: Moment, half_life_s: float) -> Moment:
    """When the tracer was given, by the clock of the scanner.

    RadiopharmaceuticalStartDateTime; else GE's private time of administration (0009,xx3B); else
    RadiopharmaceuticalStartTime on the day of the scan, or the day before where it is later than the scan.

    Raises:
        DicomError: it is missing, contradicts itself, or its day or time zone is not known.
    """
    time = same_text(tracers, "RadiopharmaceuticalStartTime")
    complete, name = same_text(tracers, "RadiopharmaceuticalStartDateTime"), "RadiopharmaceuticalStartDateTime"
    if not complete:
        texts = {private_text(header, GE_PRIVATE, 0x3B) for header in headers}
        complete, name = (texts.pop() if len(texts) == 1 else ""), "GE private administration time (0009,xx3B)"
    if complete:
        moment, zone = _complete(complete, name)
        moment += _to_scanner_time(zone, same_text(headers, "TimezoneOffsetFromUTC"), moment, time)
        if time and _apart_s(moment, _date_and_time("20000101", time, "RadiopharmaceuticalStartTime")) > _SAME_TIME_S:
            raise DicomError(f"PET: {name} and RadiopharmaceuticalStartTime are different times of the day")
        return Moment(moment, name)
    start = _date_and_time(scan.time.strftime("%Y%m%d"), time, "RadiopharmaceuticalStartTime")
    if half_life_s > LONGEST_DATELESS_HALF_LIFE_S:
        raise DicomError(
            f"PET: RadiopharmaceuticalStartTime has no date, and a tracer with a half-life of {half_life_s / 3600:.0f} "
            "h can be imaged days later"
        )
    if start <= scan.time:
        return Moment(start, "RadiopharmaceuticalStartTime on the day of the scan")
    start -= timedelta(days=1)
    uptake_s = (scan.time - start).total_seconds()
    if uptake_s > LONGEST_UPTAKE_ACROSS_MIDNIGHT_S:
        raise DicomError(f"PET: RadiopharmaceuticalStartTime is {86400 - uptake_s:.0f} s after the start of the scan")
    return Moment(start, "RadiopharmaceuticalStartTime on the day before the scan")


def uptake_s(given: Moment, reference: datetime, half_life_s: float) -> float:
    """Seconds from the administration to `reference`.

    Raises:
        DicomError: it was given later, or so long before that nothing would be left.
    """
    seconds = (reference - given.time).total_seconds()
    if not 0 <= seconds <= LONGEST_UPTAKE_HALF_LIVES * half_life_s:
        raise DicomError(
            f"PET: the scan starts {seconds:.0f} s after the administration, which is not between 0 and "
            f"{LONGEST_UPTAKE_HALF_LIVES:g} half-lives"
        )
    return seconds


def _to_scanner_time(zone: str, scanner_zone: str, moment: datetime, time: str) -> timedelta:
    """What makes scanner time of a date and time with a zone of its own."""
    if not zone or zone == scanner_zone:
        return timedelta()
    if scanner_zone:
        return _offset(scanner_zone) - _offset(zone)
    if time and _apart_s(moment, _date_and_time("20000101", time, "RadiopharmaceuticalStartTime")) <= _SAME_TIME_S:
        return timedelta()
    raise DicomError(
        "PET: RadiopharmaceuticalStartDateTime has a time zone, and that of the series (TimezoneOffsetFromUTC) is "
        "missing"
    )


def _apart_s(one: datetime, other: datetime) -> float:
    """Seconds between two times of the day, the short way around the clock."""
    seconds = abs((one - other).total_seconds()) % 86400.0
    return min(seconds, 86400.0 - seconds)


def _offset(zone: str) -> timedelta:
    match = re.fullmatch(r"([+-])(\d{2})(\d{2})", zone)
    if match is None:
        raise DicomError(f"PET: {zone!r} is not a time zone")
    offset = timedelta(hours=int(match.group(2)), minutes=int(match.group(3)))
    return -offset if match.group(1) == "-" else offset


def _complete(text: str, name: str) -> tuple[datetime, str]:
    """A DICOM date and time (DT), and its time zone or nothing."""
    moment, zone = re.match(r"([0-9.]*)(.*)", text).groups()  # type: ignore[union-attr]
    return _date_and_time(moment[:8], moment[8:], name), zone.strip()


def _date_and_time(date: str, time: str, name: str) -> datetime:
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

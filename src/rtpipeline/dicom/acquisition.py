"""How an image series was acquired, and of whom, as its headers say it.

Attributes are those of DICOM PS3.3 C.7.1 (Patient), C.7.2.2 (Patient Study), C.8.2.1 (CT Image), C.8.15.3.2 (CT
Acquisition Details) and C.7.6.4 (Contrast/Bolus).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from rtpipeline.dicom.reading import read_dataset
from rtpipeline.dicom.values import as_date, as_number, as_numbers, as_text, items, quietly

_PATIENT_KEYWORDS = [
    "SpecificCharacterSet",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientWeight",
    "PatientSize",
]


@dataclass(frozen=True)
class Patient:
    """Whom an object is of.

    Attributes:
        name: PatientName; a direct identifier.
        birth_date: PatientBirthDate, `YYYY-MM-DD`; a direct identifier.
        sex: PatientSex.
        age_years: PatientAge in years, as the object has it; None where it is not given.
        weight_kg: PatientWeight; None where it is not given or zero.
        height_m: PatientSize; None where it is not given or zero.
    """

    name: str
    birth_date: str
    sex: str
    age_years: float | None
    weight_kg: float | None
    height_m: float | None


@dataclass(frozen=True)
class Acquisition:
    """How one image was made; numbers are None and texts empty where they are not given.

    Attributes:
        manufacturer: Manufacturer.
        model: ManufacturerModelName.
        institution: InstitutionName.
        date: AcquisitionDate, else SeriesDate, else StudyDate, `YYYY-MM-DD`.
        series_description: SeriesDescription.
        protocol: ProtocolName.
        body_part: BodyPartExamined.
        patient_position: PatientPosition.
        kvp: KVP, kV.
        tube_current_ma: XRayTubeCurrent (enhanced: XRayTubeCurrentInmA), mA.
        exposure_mas: Exposure (enhanced: ExposureInmAs), mAs.
        exposure_time_ms: ExposureTime (enhanced: ExposureTimeInms), ms.
        revolution_time_s: RevolutionTime, s.
        spiral_pitch_factor: SpiralPitchFactor.
        convolution_kernel: ConvolutionKernel.
        convolution_kernel_group: ConvolutionKernelGroup.
        filter_type: FilterType.
        reconstruction_algorithm: ReconstructionAlgorithm, else ReconstructionMethod.
        slice_thickness_mm: SliceThickness, mm.
        reconstruction_diameter_mm: ReconstructionDiameter, mm.
        rows: Rows.
        columns: Columns.
        pixel_spacing_mm: PixelSpacing, (between rows, between columns).
        contrast_agent: ContrastBolusAgent.
        contrast_route: ContrastBolusRoute.
        contrast_volume_ml: ContrastBolusVolume, ml.
        contrast_total_dose_ml: ContrastBolusTotalDose (of the undiluted agent), ml.
        contrast_flow_rate_ml_per_s: ContrastFlowRate, ml/s.
    """

    manufacturer: str
    model: str
    institution: str
    date: str
    series_description: str
    protocol: str
    body_part: str
    patient_position: str
    kvp: float | None
    tube_current_ma: float | None
    exposure_mas: float | None
    exposure_time_ms: float | None
    revolution_time_s: float | None
    spiral_pitch_factor: float | None
    convolution_kernel: str
    convolution_kernel_group: str
    filter_type: str
    reconstruction_algorithm: str
    slice_thickness_mm: float | None
    reconstruction_diameter_mm: float | None
    rows: int | None
    columns: int | None
    pixel_spacing_mm: tuple[float, ...]
    contrast_agent: str
    contrast_route: str
    contrast_volume_ml: float | None
    contrast_total_dose_ml: float | None
    contrast_flow_rate_ml_per_s: float | None


def read_patient(path: Path) -> Patient:
    """Whom the DICOM object in a file is of.

    Raises:
        DicomError: the file cannot be read.
    """
    return patient_of(read_dataset(path, with_pixels=False, keywords=_PATIENT_KEYWORDS))


def patient_of(dataset: Dataset) -> Patient:
    """Whom a DICOM object is of."""
    with quietly():
        return Patient(
            name=as_text(dataset, "PatientName"),
            birth_date=as_date(dataset, "PatientBirthDate"),
            sex=as_text(dataset, "PatientSex").upper(),
            age_years=_age_years(as_text(dataset, "PatientAge")),
            weight_kg=as_number(dataset, "PatientWeight") or None,
            height_m=as_number(dataset, "PatientSize") or None,
        )


def acquisition_of(dataset: Dataset) -> Acquisition:
    """How a CT image (or another tomographic one, as far as it says so) was made.

    An attribute is looked for in the object itself, then, of an enhanced multi-frame image, in its shared functional
    groups and in those of its first frame (C.7.6.16).
    """
    with quietly():
        places = _places(dataset)
        image = places[0]
        return Acquisition(
            manufacturer=as_text(image, "Manufacturer"),
            model=as_text(image, "ManufacturerModelName"),
            institution=as_text(image, "InstitutionName"),
            date=next(
                (found for key in ("Acquisition", "Series", "Study") if (found := as_date(image, f"{key}Date"))), ""
            ),
            series_description=as_text(image, "SeriesDescription"),
            protocol=as_text(image, "ProtocolName"),
            body_part=_text(places, "BodyPartExamined"),
            patient_position=as_text(image, "PatientPosition").upper(),
            kvp=_number(places, "KVP"),
            tube_current_ma=_number(places, "XRayTubeCurrent", "XRayTubeCurrentInmA"),
            exposure_mas=_number(places, "Exposure", "ExposureInmAs"),
            exposure_time_ms=_number(places, "ExposureTime", "ExposureTimeInms"),
            revolution_time_s=_number(places, "RevolutionTime"),
            spiral_pitch_factor=_number(places, "SpiralPitchFactor"),
            convolution_kernel=_text(places, "ConvolutionKernel"),
            convolution_kernel_group=_text(places, "ConvolutionKernelGroup"),
            filter_type=_text(places, "FilterType"),
            reconstruction_algorithm=_text(places, "ReconstructionAlgorithm", "ReconstructionMethod"),
            slice_thickness_mm=_number(places, "SliceThickness"),
            reconstruction_diameter_mm=_number(places, "ReconstructionDiameter"),
            rows=_count(image, "Rows"),
            columns=_count(image, "Columns"),
            pixel_spacing_mm=next((pair for place in places if (pair := as_numbers(place, "PixelSpacing"))), ()),
            contrast_agent=_text(places, "ContrastBolusAgent"),
            contrast_route=_text(places, "ContrastBolusRoute"),
            contrast_volume_ml=_number(places, "ContrastBolusVolume"),
            contrast_total_dose_ml=_number(places, "ContrastBolusTotalDose"),
            contrast_flow_rate_ml_per_s=_number(places, "ContrastFlowRate"),
        )


def _places(dataset: Dataset) -> list[Dataset]:
    """The object, then each functional group that holds for all frames, then each of the first frame."""
    groups = (
        items(dataset, "SharedFunctionalGroupsSequence")[:1] + items(dataset, "PerFrameFunctionalGroupsSequence")[:1]
    )
    macros = [element.value[0] for group in groups for element in group if element.VR == "SQ" and element.value]
    return [dataset, *macros]


def _number(places: Sequence[Dataset], *keywords: str) -> float | None:
    found = (as_number(place, keyword) for keyword in keywords for place in places)
    return next((number for number in found if number is not None), None)


def _text(places: Sequence[Dataset], *keywords: str) -> str:
    return next((text for keyword in keywords for place in places if (text := as_text(place, keyword))), "")


def _count(dataset: Dataset, keyword: str) -> int | None:
    number = as_number(dataset, keyword)
    return None if number is None else int(number)


def _age_years(text: str) -> float | None:
    """Years of a DICOM age string: three digits and D, W, M or Y (PS3.5 6.2)."""
    days = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}.get(text[-1:].upper())
    if days is None or not text[:-1].isdigit():
        return None
    return round(int(text[:-1]) * days / 365.25, 2)

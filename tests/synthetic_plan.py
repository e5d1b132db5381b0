"""A course in which every attribute that case_metadata reads is given, and the row that it must give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from dicom_factory import Patient
from rtpipeline.dicom.identifiers import derived_uid

PERSON = {
    "PatientName": "Beispiel^Eva",
    "PatientBirthDate": "19501231",
    "PatientSex": "F",
    "PatientWeight": "64",
    "PatientSize": "1.6",
}


def item(**attributes: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def write_course(folder: Path) -> None:
    """CT, contours, a plan of an arc, a field and a set-up field, its dose, three records, REG, MR and PET."""
    patient = Patient(folder)
    patient.make_series(
        modality="CT",
        description="Thorax plan",
        **PERSON,
        Manufacturer="Scanners Inc",
        ManufacturerModelName="Turbo 64",
        InstitutionName="Musterklinik",
        ProtocolName="Thorax RT",
        BodyPartExamined="CHEST",
        PatientPosition="HFS",
        AcquisitionDate="20240105",
        PixelSpacing=["1.5", "1.25"],
        KVP="120",
        XRayTubeCurrent="250",
        Exposure="125",
        ExposureTime="500",
        RevolutionTime=0.5,
        SpiralPitchFactor=0.9,
        ConvolutionKernel="B30f",
        ConvolutionKernelGroup="SOFT_TISSUE",
        FilterType="WEDGE_3",
        ReconstructionAlgorithm="FILTER_BACK_PROJ",
        ReconstructionDiameter="500",
        ContrastBolusAgent="Iohexol",
        ContrastBolusRoute="INTRAVENOUS",
        ContrastBolusVolume="90",
        ContrastBolusTotalDose="80",
        ContrastFlowRate="2.5",
    )
    patient.make_series("mr", modality="MR", study="mr-study", frame="mr-frame", **PERSON)
    patient.make_series("pet", modality="PT", **PERSON)
    patient.make_registration("reg", fixed="frame", moving="mr-frame", **PERSON, RegistrationSequence=[_registration()])
    patient.make_structure_set(**PERSON, **_structures())
    patient.make_plan(**PERSON, **_plan())
    patient.make_dose(dose_gy=60.0, **PERSON, DoseType="PHYSICAL")
    for name, date, fraction in (("r1", "20240115", 1), ("r2", "20240115", 2), ("r3", "20240117", 3)):
        patient.make_record(name, date=date, fraction=fraction, **PERSON)


def _registration() -> Dataset:
    matrix = item(
        FrameOfReferenceTransformationMatrixType="RIGID",
        FrameOfReferenceTransformationMatrix=[
            "1",
            "0",
            "0",
            "5",
            "0",
            "1",
            "0",
            "-6",
            "0",
            "0",
            "1",
            "7",
            "0",
            "0",
            "0",
            "1",
        ],
    )
    return item(
        FrameOfReferenceUID=derived_uid("P1", "mr-frame"),
        MatrixRegistrationSequence=[item(MatrixSequence=[matrix])],
    )


def _structures() -> dict[str, Any]:
    names = ("GTV", "CTV left", "PTV 60", "PTV 50", "Heart")
    kinds = ("GTV", "CTV", "PTV", "PTV", "ORGAN")
    frame = derived_uid("P1", "frame")
    square = item(
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=4,
        ContourData=["0", "0", "3", "4", "0", "3", "4", "4", "3", "0", "4", "3"],
    )
    return {
        "StructureSetLabel": "final",
        "StructureSetROISequence": [
            item(ROINumber=number, ROIName=name, ROIGenerationAlgorithm="MANUAL", ReferencedFrameOfReferenceUID=frame)
            for number, name in enumerate(names, start=1)
        ],
        "ROIContourSequence": [item(ReferencedROINumber=number, ContourSequence=[square]) for number in range(1, 6)],
        "RTROIObservationsSequence": [
            item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType=kind, ROIInterpreter="")
            for number, kind in enumerate(kinds, start=1)
        ],
    }


def _plan() -> dict[str, Any]:
    return {
        "RTPlanLabel": "SIB",
        "RTPlanName": "Thorax SIB",
        "RTPlanTime": "120000",
        "PlanIntent": "CURATIVE",
        "ApprovalStatus": "APPROVED",
        "ReviewDate": "20240111",
        "ReviewTime": "090000",
        "ReviewerName": "Muster^Max",
        "ManufacturerModelName": "Planner 1",
        "DoseReferenceSequence": [
            item(
                DoseReferenceNumber=number,
                DoseReferenceStructureType="VOLUME",
                DoseReferenceType="TARGET",
                DoseReferenceDescription=description,
                ReferencedROINumber=roi,
                TargetPrescriptionDose=dose,
            )
            for number, description, roi, dose in ((1, "high", 3, "60"), (2, "low", 4, "50"))
        ]
        + [
            item(
                DoseReferenceNumber=3,
                DoseReferenceStructureType="VOLUME",
                DoseReferenceType="ORGAN_AT_RISK",
                ReferencedROINumber=5,
                OrganAtRiskMaximumDose="45",
            )
        ],
        "BeamSequence": [
            _beam(1, "arc", "TREATMENT", [(181.0, "CW", 10), (179.0, "NONE", 20)], energy="6", couch="0"),
            _beam(2, "field", "TREATMENT", [(90.0, "NONE", 10), (90.0, "NONE", 10)], energy="10", couch="10"),
            _beam(3, "cbct", "SETUP", [(0.0, "NONE", 10), (0.0, "NONE", 10)], energy="6", couch="0"),
        ],
        "FractionGroupSequence": [
            item(
                FractionGroupNumber=1,
                NumberOfFractionsPlanned=30,
                NumberOfBeams=3,
                ReferencedBeamSequence=[
                    item(ReferencedBeamNumber=1, BeamMeterset="321.5", BeamDose="1.5"),
                    item(ReferencedBeamNumber=2, BeamMeterset="78.5", BeamDose="0.5"),
                    item(ReferencedBeamNumber=3),
                ],
            )
        ],
    }


def _beam(
    number: int, name: str, delivery: str, points: list[tuple[float, str, int]], *, energy: str, couch: str
) -> Dataset:
    """A beam; each point has a gantry angle, a direction, and how far the jaws are open."""
    sequence = [
        item(
            ControlPointIndex=index,
            GantryAngle=angle,
            GantryRotationDirection=direction,
            BeamLimitingDevicePositionSequence=[
                item(RTBeamLimitingDeviceType="ASYMX", LeafJawPositions=[-opening, opening])
            ],
        )
        for index, (angle, direction, opening) in enumerate(points)
    ]
    sequence[0].NominalBeamEnergy = energy
    sequence[0].BeamLimitingDeviceAngle = "30"
    sequence[0].PatientSupportAngle = couch
    sequence[0].IsocenterPosition = ["2", "2", "4.5"]
    return item(
        BeamNumber=number,
        BeamName=name,
        BeamType="DYNAMIC",
        RadiationType="PHOTON",
        TreatmentDeliveryType=delivery,
        TreatmentMachineName="LINAC 3",
        PrimaryDosimeterUnit="MU",
        ControlPointSequence=sequence,
    )


EXPECTED: dict[str, Any] = {
    "patient_id": "P1",
    "course_kind": "plan",
    "course_start_date": "2024-01-10",
    "patient_sex": "F",
    "patient_age_at_plan_years": 73.0,
    "patient_weight_kg": 64.0,
    "patient_height_m": 1.6,
    "patient_bmi": 25.0,
    "patient_name": "Beispiel^Eva",
    "patient_birth_date": "1950-12-31",
    "staff": "ReviewerName: Muster^Max",
    "plan_count": 1,
    "plans_used_count": 1,
    "plan_sop_uids": derived_uid("P1", "plan"),
    "plan_label": "SIB",
    "plan_name": "Thorax SIB",
    "plan_date": "2024-01-10",
    "plan_time": "120000",
    "plan_intent": "CURATIVE",
    "plan_approval_status": "APPROVED",
    "plan_review_date": "2024-01-11",
    "plan_review_time": "090000",
    "planning_system": "Planner 1",
    "technique_inferred": "VMAT+static",
    "radiation_types": "PHOTON",
    "beam_energies": "6; 10",
    "treatment_machines": "LINAC 3",
    "beams_count": 2,
    "setup_beams_count": 1,
    "arcs_count": 1,
    "gantry_angles_deg": "181 90",
    "collimator_angles_deg": "30",
    "couch_angles_deg": "0; 10",
    "isocentres_mm": "2.00 2.00 4.50",
    "meterset_by_beam": "arc: 321.5; field: 78.5",
    "total_meterset": 400.0,
    "meterset_unit": "MU",
    "total_prescription_gy": 60.0,
    "prescription_source": "TargetPrescriptionDose",
    "prescriptions": "high; PTV 60: 60 Gy (TargetPrescriptionDose); low; PTV 50: 50 Gy (TargetPrescriptionDose)",
    "planned_fractions": 30,
    "delivered_fractions": 3,
    "treatment_records_count": 3,
    "first_treatment_date": "2024-01-15",
    "last_treatment_date": "2024-01-17",
    "treatment_days": 3,
    "most_fractions_per_day": 2,
    "dose_count": 1,
    "dose_decision": "single_dose",
    "dose_sop_uids": derived_uid("P1", "dose"),
    "dose_summation_type": "PLAN",
    "dose_units": "GY",
    "dose_type": "PHYSICAL",
    "dose_grid_columns": 4,
    "dose_grid_rows": 4,
    "dose_grid_planes": 4,
    "dose_grid_spacing_x_mm": 2.0,
    "dose_grid_spacing_y_mm": 2.0,
    "dose_grid_spacing_z_mm": 3.0,
    "dose_grid_origin_mm": "0.00 0.00 0.00",
    "dose_grid_scaling": 0.001,
    "dose_minimum_gy": 60.0,
    "dose_maximum_gy": 60.0,
    "dose_mean_gy": 60.0,
    "ct_series_uid": derived_uid("P1", "ct"),
    "ct_study_uid": derived_uid("P1", "study"),
    "ct_date": "2024-01-05",
    "ct_manufacturer": "Scanners Inc",
    "ct_model": "Turbo 64",
    "ct_institution": "Musterklinik",
    "ct_series_description": "Thorax plan",
    "ct_protocol": "Thorax RT",
    "ct_body_part": "CHEST",
    "ct_patient_position": "HFS",
    "ct_kvp": 120.0,
    "ct_tube_current_ma": 250.0,
    "ct_exposure_mas": 125.0,
    "ct_exposure_time_ms": 500.0,
    "ct_rotation_time_s": 0.5,
    "ct_pitch_factor": 0.9,
    "ct_convolution_kernel": "B30f",
    "ct_convolution_kernel_group": "SOFT_TISSUE",
    "ct_filter_type": "WEDGE_3",
    "ct_reconstruction_algorithm": "FILTER_BACK_PROJ",
    "ct_slice_thickness_mm": 3.0,
    "ct_slice_increment_mm": 3.0,
    "ct_slices": 4,
    "ct_rows": 4,
    "ct_columns": 4,
    "ct_pixel_spacing_x_mm": 1.25,
    "ct_pixel_spacing_y_mm": 1.5,
    "ct_field_of_view_mm": 500.0,
    "ct_contrast_agent": "Iohexol",
    "ct_contrast_route": "INTRAVENOUS",
    "ct_contrast_volume_ml": 90.0,
    "ct_contrast_total_dose_ml": 80.0,
    "ct_contrast_flow_rate_ml_per_s": 2.5,
    "structure_set_sop_uid": derived_uid("P1", "rs"),
    "structure_set_label": "final",
    "structure_set_date": "2024-01-08",
    "roi_count": 5,
    "gtv_count": 1,
    "ctv_count": 1,
    "ptv_count": 2,
    "organ_count": 1,
    "roi_names": "GTV; CTV left; PTV 60; PTV 50; Heart",
    "mr_series_count": 1,
    "pet_series_count": 1,
    "registrations_count": 1,
    "registration_transforms": (
        f"RIGID {derived_uid('P1', 'mr-frame')} -> {derived_uid('P1', 'frame')}: 1 0 0 5 0 1 0 -6 0 0 1 7 0 0 0 1"
    ),
}
"""What stands in the files above, column by column."""

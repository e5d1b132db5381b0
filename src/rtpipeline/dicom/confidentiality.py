"""What may stay in a copy without identifiers, and how, by value representation and attribute.

The Basic Application Level Confidentiality Profile (PS3.15 E.2 and Table E.1-1) lists attributes to take out. Here what
may stay is listed instead, so that an attribute that nobody thought of is taken out too.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


METHOD_CODES = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
    ("113111", "Retain Safe Private Option"),
)
"""PS3.16 CID 7050, coding scheme DCM."""

REMOVED_GROUPS = frozenset({0x0032, 0x0038, 0x0088, 0x0400, 0x4008, *range(0x5000, 0x5100), *range(0x6000, 0x6100)})
"""Requests, visits, storage and icons, digital signatures and original attributes, reports, curves, overlays."""
REMOVED = _names(
    """
    AcquisitionContextSequence ContentSequence DataSetTrailingPadding DeviceSettingDescription
    EncapsulatedDocument FlowIdentifier FlowIdentifierSequence FrameOriginTimestamp GPSAltitude GPSAltitudeRef
    GPSAreaInformation GPSDOP GPSDestBearing GPSDestBearingRef GPSDestDistance GPSDestDistanceRef
    GPSDestLatitude GPSDestLatitudeRef GPSDestLongitude GPSDestLongitudeRef GPSDifferential GPSImgDirection
    GPSImgDirectionRef GPSLatitude GPSLatitudeRef GPSLongitude GPSLongitudeRef GPSMeasureMode
    GPSProcessingMethod GPSSpeed GPSSpeedRef GPSStatus GPSTrack GPSTrackRef GPSVersionID
    GraphicAnnotationSequence IconImageSequence InstanceOriginStatus LensSpecification MakerNote
    ModifiedAttributesSequence ModifyingDeviceID NonconformingDataElementValue OtherPatientIDsSequence
    PatientBirthDateInAlternativeCalendar PatientBirthTime PatientDeathDateInAlternativeCalendar
    PatientSexNeutered PrescriptionNotesSequence ROICreatorSequence ROIInterpreterSequence
    ReferencedPatientAliasSequence ReferencedPatientPhotoSequence ReferencedPatientSequence
    ReferencedPerformedProcedureStepSequence RequestAttributesSequence SelectorASValue SelectorOBValue
    SelectorUNValue SourceIdentifier SpecimenPreparationSequence TransducerIdentificationSequence UDISequence
    """
)
"""Attributes that go although their value representation, by itself, could stay."""
EMPTIED = _names(
    """
    AccessionNumber OperatorsName PatientBirthDate PositionReferenceIndicator ReferringPhysicianName StudyID
    """
)
"""Attributes that their modules require, if only without a value (type 2)."""
DESCRIPTORS = _names(
    """
    AccessoryCode ApplicationSetupName ApplicatorDescription ApplicatorID AttenuationCorrectionMethod BeamName
    BlockName BlockTrayID BolusID BrachyAccessoryDeviceID CodeMeaning CodeValue CodingSchemeDesignator
    CodingSchemeVersion CompensatorID ContrastBolusAgent ConvolutionKernel
    DoseReferenceDescription FilterType ImagedNucleus LongCodeValue Manufacturer ManufacturerModelName
    MaterialID PatientSetupLabel ProtocolName ROIName ROIObservationLabel ROIPhysicalPropertyValue RTPlanLabel
    RTPlanName Radiopharmaceutical RandomsCorrectionMethod RangeModulatorID
    RangeShifterID ReceiveCoilName ReconstructionAlgorithm ReconstructionMethod RescaleType
    ScatterCorrectionMethod SegmentLabel SequenceName SeriesDescription SnoutID SoftwareVersions
    SourceIsotopeName SpecificCharacterSet StructureSetLabel StructureSetName TimezoneOffsetFromUTC
    ToleranceTableLabel TransmitCoilName WedgeID
    """
)
"""Texts that research needs or that their modules require a value of; words that identify somebody are taken out."""
CODED = {"TreatmentMachineName": "machine"}
"""Names of devices: a keyed code tells them apart without saying where they stand."""
CODES_KEPT = _names(
    """
    AdministrationRouteCodeSequence AnatomicRegionModifierSequence AnatomicRegionSequence
    ContrastBolusAgentSequence DerivationCodeSequence MeasurementUnitsCodeSequence
    PatientGantryRelationshipCodeSequence PatientOrientationCodeSequence PatientOrientationModifierCodeSequence
    PrimaryAnatomicStructureSequence PurposeOfReferenceCodeSequence RTROIIdentificationCodeSequence
    RadionuclideCodeSequence RadiopharmaceuticalCodeSequence RegistrationTypeCodeSequence
    SegmentedPropertyCategoryCodeSequence SegmentedPropertyTypeCodeSequence
    TherapeuticRoleCategoryCodeSequence TherapeuticRoleTypeCodeSequence ViewCodeSequence
    """
)
"""Sequences of codes that describe anatomy, tracers and geometry; others may name an institution or a person."""
PRIVATE_KEPT = {("Philips PET Private Group", 0x7053, 0x00): "DS", ("Philips PET Private Group", 0x7053, 0x09): "DS"}
"""SUV factor and activity concentration factor (PS3.15 Table E.3.10-1), by creator, group and last byte of element."""

BINARY = frozenset(
    [
        *("AT", "FD", "FL", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "US", "UV"),
        *("US or SS", "OB or OW", "US or SS or OW", "US or OW"),
    ]
)
"""Numbers and bulk data."""
NUMERIC_TEXT = {"AS": b"0123456789DWMY", "DS": b"0123456789+-.eE\\", "IS": b"0123456789+-\\", "TM": b"0123456789.:\\"}
"""Numbers, ages and times of day, which are written as text, and the characters that they consist of."""
TEXTS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})

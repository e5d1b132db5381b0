"""What an RT treatment record says was delivered.

Attributes are those of DICOM PS3.3 C.8.8.17 (RT General Treatment Record), C.8.8.21 (RT Beams Session Record),
C.8.8.22 (RT Brachy Session Record) and C.8.8.26 (RT Ion Beams Session Record). A treatment summary record tells
nothing of single fractions and has no deliveries.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import (
    RTBeamsTreatmentRecordStorage,
    RTBrachyTreatmentRecordStorage,
    RTIonBeamsTreatmentRecordStorage,
    RTTreatmentSummaryRecordStorage,
)

from rtpipeline.dicom.reading import read_dataset
from rtpipeline.dicom.rtplan import NOT_TREATING
from rtpipeline.dicom.values import as_date, as_integer, as_number, as_text, as_uid, items, quietly

RECORD_CLASSES = (
    RTBeamsTreatmentRecordStorage,
    RTBrachyTreatmentRecordStorage,
    RTTreatmentSummaryRecordStorage,
    RTIonBeamsTreatmentRecordStorage,
)
SESSION_SEQUENCES = (
    "TreatmentSessionBeamSequence",
    "TreatmentSessionIonBeamSequence",
    "TreatmentSessionApplicationSetupSequence",
)
"""Where a record lists what was delivered in its session."""


@dataclass(frozen=True)
class Delivery:
    """One beam or application setup of a record.

    Attributes:
        fraction_number: CurrentFractionNumber; None where it is not given.
        beam_number: ReferencedBeamNumber.
        delivery_type: TreatmentDeliveryType: TREATMENT, CONTINUATION, SETUP, …
        termination_status: TreatmentTerminationStatus: NORMAL, OPERATOR, MACHINE, UNKNOWN.
        verification_status: TreatmentVerificationStatus.
        meterset_specified: SpecifiedPrimaryMeterset.
        meterset_delivered: DeliveredPrimaryMeterset.
    """

    fraction_number: int | None
    beam_number: int | None
    delivery_type: str
    termination_status: str
    verification_status: str
    meterset_specified: float | None
    meterset_delivered: float | None

    @property
    def treats(self) -> bool:
        """Whether it was a treatment, not an image for set-up."""
        return self.delivery_type not in NOT_TREATING


@dataclass(frozen=True)
class TreatmentRecord:
    """What a record says.

    Attributes:
        sop_instance_uid: SOPInstanceUID.
        date: TreatmentDate, `YYYY-MM-DD`; empty where it is not given.
        time: TreatmentTime, `HH:MM:SS`; empty where it is not given.
        plan_uid: SOP Instance UID of the (first) plan that was treated.
        machine: TreatmentMachineName.
        meterset_unit: PrimaryDosimeterUnit.
        deliveries: its beams or application setups.
    """

    sop_instance_uid: str
    date: str
    time: str
    plan_uid: str
    machine: str
    meterset_unit: str
    deliveries: tuple[Delivery, ...]


def read_treatment_record(path: Path) -> TreatmentRecord:
    """Read an RT treatment record.

    Raises:
        DicomError: the file cannot be read, or is something else.
    """
    dataset = read_dataset(path, kind="an RT treatment record", classes=RECORD_CLASSES)
    with quietly():
        plans = items(dataset, "ReferencedRTPlanSequence")
        machines = items(dataset, "TreatmentMachineSequence")
        return TreatmentRecord(
            sop_instance_uid=as_uid(dataset, "SOPInstanceUID"),
            date=as_date(dataset, "TreatmentDate"),
            time=_time(as_text(dataset, "TreatmentTime")),
            plan_uid=as_uid(plans[0], "ReferencedSOPInstanceUID") if plans else "",
            machine=as_text(machines[0], "TreatmentMachineName") if machines else "",
            meterset_unit=as_text(dataset, "PrimaryDosimeterUnit").upper(),
            deliveries=tuple(_delivery(item) for keyword in SESSION_SEQUENCES for item in items(dataset, keyword)),
        )


def _delivery(item: Dataset) -> Delivery:
    return Delivery(
        fraction_number=as_integer(item, "CurrentFractionNumber"),
        beam_number=as_integer(item, "ReferencedBeamNumber"),
        delivery_type=as_text(item, "TreatmentDeliveryType").upper(),
        termination_status=as_text(item, "TreatmentTerminationStatus").upper(),
        verification_status=as_text(item, "TreatmentVerificationStatus").upper(),
        meterset_specified=as_number(item, "SpecifiedPrimaryMeterset"),
        meterset_delivered=as_number(item, "DeliveredPrimaryMeterset"),
    )


def _time(text: str) -> str:
    """`HH:MM:SS` of a DICOM time (HHMMSS.FFFFFF, its end may be missing); empty when it is none."""
    digits = text.split(".")[0].replace(":", "")
    if not digits.isdigit() or len(digits) not in (2, 4, 6):
        return ""
    padded = digits.ljust(6, "0")
    hour, minute, second = padded[:2], padded[2:4], padded[4:]
    return f"{hour}:{minute}:{second}" if int(hour) < 24 and int(minute) < 60 and int(second) < 61 else ""

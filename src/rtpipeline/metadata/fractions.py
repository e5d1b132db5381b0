"""Treatment records put together to fractions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rtpipeline.dicom.rtrecord import Delivery, TreatmentRecord

Row = dict[str, object]


@dataclass(frozen=True, order=True)
class _Key:
    """What is one fraction: of one plan, on one day, with one number (-1 where the record gives none)."""

    date: str
    plan_uid: str
    number: int


def fraction_rows(records: Iterable[TreatmentRecord], plan_labels: Mapping[str, str]) -> list[Row]:
    """One row per delivered fraction; a record may hold beams of several, and a fraction may have several records.

    Two fractions on one day are told apart by CurrentFractionNumber; without one, the records of a plan on one day
    count as one fraction, whose number is empty. Beams that only make images are no deliveries.

    Args:
        records: all records of the course; copies (the same SOPInstanceUID) count once.
        plan_labels: RTPlanLabel by SOPInstanceUID of the course's plans.
    """
    distinct = {record.sop_instance_uid: record for record in records}
    parts: dict[_Key, list[tuple[TreatmentRecord, Delivery]]] = {}
    for _, record in sorted(distinct.items()):
        for delivery in record.deliveries:
            if delivery.treats:
                number = -1 if delivery.fraction_number is None else delivery.fraction_number
                parts.setdefault(_Key(record.date, record.plan_uid, number), []).append((record, delivery))
    return [_row(key, parts[key], plan_labels) for key in sorted(parts)]


def delivery_summary(rows: Sequence[Row]) -> Row:
    """Number of fractions, first and last date, and the most fractions on one day; empty without fractions.

    A fraction that was interrupted and finished on another day has two rows of one plan and number, and counts once.
    """
    if not rows:
        return {}
    numbered = {(row["plan_sop_uid"], row["fraction_number"]) for row in rows if row["fraction_number"] is not None}
    without_number = sum(row["fraction_number"] is None for row in rows)
    dates = sorted(str(row["treatment_date"]) for row in rows if row["treatment_date"])
    return {
        "delivered_fractions": len(numbered) + without_number,
        "first_treatment_date": dates[0] if dates else None,
        "last_treatment_date": dates[-1] if dates else None,
        "most_fractions_per_day": max(Counter(dates).values()) if dates else None,
    }


def _row(key: _Key, parts: Sequence[tuple[TreatmentRecord, Delivery]], plan_labels: Mapping[str, str]) -> Row:
    records = list({record.sop_instance_uid: record for record, _ in parts}.values())
    deliveries = [delivery for _, delivery in parts]
    times = sorted(record.time for record in records if record.time)
    return {
        "treatment_date": key.date or None,
        "fraction_number": None if key.number < 0 else key.number,
        "plan_sop_uid": key.plan_uid or None,
        "plan_label": plan_labels.get(key.plan_uid) or None,
        "first_time": times[0] if times else None,
        "last_time": times[-1] if times else None,
        "treatment_machine": _joined(record.machine for record in records),
        "beams_delivered": len(deliveries),
        "meterset_delivered": _sum(delivery.meterset_delivered for delivery in deliveries),
        "meterset_specified": _sum(delivery.meterset_specified for delivery in deliveries),
        "meterset_unit": _joined(record.meterset_unit for record in records),
        "termination_status": _joined(delivery.termination_status for delivery in deliveries),
        "verification_status": _joined(delivery.verification_status for delivery in deliveries),
        "records_count": len(records),
        "record_sop_uids": "; ".join(sorted(record.sop_instance_uid for record in records)),
    }


def _joined(texts: Iterable[str]) -> str | None:
    return "; ".join(sorted({text for text in texts if text})) or None


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum, or None where a part is not known."""
    known = list(values)
    return None if any(value is None for value in known) else sum(value for value in known if value is not None)

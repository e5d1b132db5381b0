"""Checks of whether the objects of a course are there and belong together."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from rtpipeline.course import Course, Dose, Plan
from rtpipeline.dicom.errors import DicomError
from rtpipeline.dicom.rtplan import read_plan
from rtpipeline.quality_control.check import Check, Severity, Status, each_or_pass

HIGHEST_TOTAL_GY = 100.0
HIGHEST_FRACTION_GY = 34.0
LOWEST_FRACTION_GY = 0.5
SUMMED_TYPES = ("PLAN", "MULTI_PLAN", "PLAN_OVERVIEW", "PLAN_SUM")


def presence(course: Course) -> Iterator[Check]:
    """Plan, dose and structures: missing ones fail in a course with a plan or dose, and warn in any other."""
    description = course.description
    status: Status = "FAIL" if description.kind == "plan" else "WARNING"
    decision = description.dose_decision
    for name, found, missing in (
        ("plan_present", bool(description.plans), "the course has no plan"),
        ("structures_present", course.files.structure_set.exists(), "the course has no manual structure set"),
        (
            "dose_present",
            course.files.dose.exists(),
            f"no dose stands for the course ({decision.label}): {decision.reason}",
        ),
    ):
        yield Check(name, "PASS", "high", "it is there") if found else Check(name, status, "high", missing)


def frames_of_reference(course: Course) -> Check:
    """Whether CT, structure set, plans and doses have one frame of reference, so that coordinates can be compared."""
    frames: dict[str, str] = {}
    description = course.description
    if description.planning_ct is not None:
        frames["CT"] = description.planning_ct.frame_of_reference_uid
    for structure_set in description.structure_sets:
        if structure_set.primary:
            frames["structure set"] = structure_set.frame_of_reference_uid
    for dose in (dose for dose in description.doses if dose.used):
        frames[f"dose {dose.file}"] = dose.frame_of_reference_uid
    for plan in description.used_plans:
        frames[f"plan {plan.file}"] = _plan_frame(course, plan.file)
    if len(frames) < 2:
        return Check("frame_of_reference", "NOT_APPLICABLE", "high", "there are no two objects to compare")
    unknown = sorted(name for name, uid in frames.items() if not uid)
    if len({uid for uid in frames.values() if uid}) > 1:
        found = "; ".join(f"{name}: {uid or 'none'}" for name, uid in frames.items())
        return Check("frame_of_reference", "FAIL", "high", f"objects have different frames of reference: {found}")
    if unknown:
        return Check("frame_of_reference", "WARNING", "high", f"without a frame of reference: {', '.join(unknown)}")
    return Check("frame_of_reference", "PASS", "high", f"{', '.join(frames)} agree")


def references(course: Course) -> Iterator[Check]:
    """Whether dose → plan → structure set → CT refer to one another."""
    description = course.description
    plans = {plan.sop_instance_uid for plan in description.plans}
    used = [dose for dose in description.doses if dose.used]
    yield from each_or_pass(
        "dose_references_plan",
        "high",
        (finding for dose in used if (finding := _dose_reference(dose, plans))),
        "every dose that is used names plans of the course",
        bool(used),
    )
    drawn = {entry.sop_instance_uid for entry in description.structure_sets}
    primary = {entry.sop_instance_uid for entry in description.structure_sets if entry.primary}
    yield from each_or_pass(
        "plan_references_structure_set",
        "medium",
        (
            _plan_reference(plan, drawn)
            for plan in description.used_plans
            if plan.referenced_structure_set_uid not in primary
        ),
        "the structure set is the one that the plan names",
        bool(description.used_plans) and bool(primary),
    )
    ct = description.planning_ct
    yield from each_or_pass(
        "structure_set_references_ct",
        "high",
        (
            Check(
                "structure_set_references_ct",
                "WARNING",
                "high",
                "it was not drawn on the planning CT",
                subject=entry.file,
            )
            for entry in description.structure_sets
            if ct is not None and entry.primary and entry.image_key != ct.key
        ),
        "the structure set was drawn on the planning CT",
        ct is not None and bool(primary),
    )


def dose_attributes(course: Course) -> Iterator[Check]:
    """Units, type and summation of the doses that are used, and doses that were left out."""
    description = course.description
    used = [dose for dose in description.doses if dose.used]
    yield from _attribute("dose_units", "high", {dose.file: dose.units for dose in used}, ("GY",), "FAIL")
    yield from _attribute("dose_type", "medium", {dose.file: dose.dose_type for dose in used}, ("PHYSICAL",), "WARNING")
    summation = {dose.file: dose.summation_type for dose in used}
    allowed = (*SUMMED_TYPES, "BEAM") if len(used) > 1 else SUMMED_TYPES
    yield from _attribute("dose_summation_type", "high", summation, allowed, "WARNING")
    yield from each_or_pass(
        "doses_left_out",
        "medium",
        (Check("doses_left_out", "WARNING", "medium", sentence) for sentence in description.dose_decision.left_out),
        "every dose of the course is used",
        bool(description.doses),
    )


def prescription(course: Course) -> Iterator[Check]:
    """Whether there is a prescription, and whether total and fraction dose are possible."""
    found = course.description.prescription
    if not course.description.plans:
        yield Check("prescription_present", "NOT_APPLICABLE", "medium", "the course has no plan")
        return
    if not found.total_dose_gy:
        known = (
            "no plan says what was prescribed" if course.description.used_plans else "it is not known which plans count"
        )
        yield Check("prescription_present", "WARNING", "medium", known)
        return
    total = found.total_dose_gy
    yield Check("prescription_present", "PASS", "medium", f"{total:g} Gy ({found.source})", value=total, unit="Gy")
    yield Check(
        "prescription_total",
        "PASS" if total <= HIGHEST_TOTAL_GY else "WARNING",
        "medium",
        f"{total:g} Gy in total",
        value=total,
        limit=HIGHEST_TOTAL_GY,
        unit="Gy",
    )
    if not found.fractions:
        yield Check("prescription_fraction_dose", "NOT_APPLICABLE", "medium", "the number of fractions is not known")
        return
    fraction = total / found.fractions
    low = fraction < LOWEST_FRACTION_GY
    yield Check(
        "prescription_fraction_dose",
        "WARNING" if low or fraction > HIGHEST_FRACTION_GY else "PASS",
        "medium",
        f"{total:g} Gy in {found.fractions} fractions",
        value=fraction,
        limit=LOWEST_FRACTION_GY if low else HIGHEST_FRACTION_GY,
        unit="Gy",
    )


def _plan_frame(course: Course, file: str) -> str:
    try:
        return read_plan(course.path(file)).frame_of_reference_uid
    except DicomError:
        return ""  # reported as a plan without a frame of reference; what is wrong with it, by the metadata stage


def _plan_reference(plan: Plan, drawn: Collection[str]) -> Check:
    """What is found of a plan that does not name the structure set that is used; `drawn`: UIDs of all of the course."""
    if not plan.referenced_structure_set_uid:
        found = "it names no structure set"
    elif plan.referenced_structure_set_uid in drawn:
        found = "its structure set is in the course, but another one is used"
    else:
        found = "its structure set is not in the course"
    return Check("plan_references_structure_set", "WARNING", "medium", found, subject=plan.file)


def _dose_reference(dose: Dose, plans: set[str]) -> Check | None:
    if not dose.referenced_plan_uids:
        return Check("dose_references_plan", "WARNING", "high", "it names no plan", subject=dose.file)
    absent = [uid for uid in dose.referenced_plan_uids if uid not in plans]
    if absent:
        message = f"it is of plans that are not in the course: {', '.join(absent)}"
        return Check("dose_references_plan", "WARNING", "high", message, subject=dose.file)
    return None


def _attribute(
    check: str, severity: Severity, values: dict[str, str], allowed: tuple[str, ...], status: Status
) -> list[Check]:
    findings = (
        Check(check, status, severity, f"it is {value or 'missing'}; expected {' or '.join(allowed)}", subject=file)
        for file, value in values.items()
        if value.upper() not in allowed
    )
    return each_or_pass(check, severity, findings, " or ".join(sorted(set(values.values()))), bool(values))

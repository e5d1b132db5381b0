"""The one row of a course in `case_metadata`, and its full account as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import numpy as np

from rtpipeline.course import Course
from rtpipeline.dicom.rtplan import PlanBeam, PlanContent
from rtpipeline.dicom.rtstruct import Roi, StructureSetContent
from rtpipeline.imaging.grid import Grid
from rtpipeline.metadata.fractions import Row, delivery_summary
from rtpipeline.metadata.sources import CourseContent
from rtpipeline.structures.structure import TARGET_TYPES

ORGAN_TYPES = ("ORGAN", "AVOIDANCE")


def case_row(course: Course, content: CourseContent, fractions: Sequence[Row], *, identifiers: bool) -> Row:
    """The row of a course in `case_metadata`; what is not known is None.

    Args:
        course: what organizing found out.
        content: what its files say.
        fractions: rows of its `fractions` table.
        identifiers: whether direct identifiers (names, birth date, institution) are wanted.
    """
    return {
        **course.identifiers,
        "course_kind": course.description.kind,
        "course_start_date": course.description.start_date or None,
        **_patient(course, content, identifiers=identifiers),
        **_plans(course, content, identifiers=identifiers),
        **_prescription(course, content),
        "treatment_records_count": len(content.records),
        **delivery_summary(fractions),
        "treatment_days": _days(fractions),
        **_dose(course, content),
        **_ct(course, content, identifiers=identifiers),
        **_structures(course, content.structure_set),
        "mr_series_count": sum(image.modality == "MR" for image in course.description.images),
        "pet_series_count": sum(image.modality == "PT" for image in course.description.images),
        "registrations_count": len(course.description.registration_files),
        "registration_transforms": joined(_transforms(content)),
        "warnings": joined([*course.description.warnings, *content.problems]),
    }


def case_account(course: Course, content: CourseContent, fractions: Sequence[Row], *, identifiers: bool) -> Any:
    """Everything that is known of a course, nested, ready for JSON."""
    patient = dataclasses.asdict(content.patient)
    acquisition = dataclasses.asdict(content.acquisition) if content.acquisition else None
    plans = [dataclasses.asdict(plan) for plan in content.plans.values()]
    if not identifiers:
        patient = {key: value for key, value in patient.items() if key not in ("name", "birth_date")}
        plans = [{key: value for key, value in plan.items() if key != "staff"} for plan in plans]
        if acquisition is not None:
            del acquisition["institution"]
    return {
        "course": course.description.model_dump(mode="json"),
        "patient": patient,
        "plans": plans,
        "fractions": list(fractions),
        "prescriptions": _prescriptions(course, content),
        "registrations": [dataclasses.asdict(registration) for registration in content.registrations],
        "dose_grid": _grid_row(content.dose.grid) if content.dose else None,
        "ct_acquisition": acquisition,
        "ct_grid": _grid_row(content.ct.grid) if content.ct else None,
        "structures": [_roi(roi) for roi in content.structure_set.rois] if content.structure_set else [],
        "problems": list(content.problems),
    }


def joined(texts: Iterable[str]) -> str | None:
    """Distinct texts in their order, joined by `; `; None where there is none."""
    return "; ".join(dict.fromkeys(text for text in texts if text)) or None


def age_in_years(birth_date: str, on: str) -> int | None:
    """Completed years from one ISO date to another; None where one is missing or they are in the wrong order."""
    if not birth_date or not on:
        return None
    born, then = date.fromisoformat(birth_date), date.fromisoformat(on)
    years = then.year - born.year - ((then.month, then.day) < (born.month, born.day))
    return years if years >= 0 else None


def _patient(course: Course, content: CourseContent, *, identifiers: bool) -> Row:
    patient = content.patient
    plan_date = next((plan.date for plan in content.plans.values() if plan.date), course.description.start_date)
    age = age_in_years(patient.birth_date, plan_date)
    weight, height = patient.weight_kg, patient.height_m
    row: Row = {
        "patient_sex": patient.sex or None,
        "patient_age_at_plan_years": patient.age_years if age is None else float(age),
        "patient_weight_kg": weight,
        "patient_height_m": height,
        "patient_bmi": weight / height**2 if weight and height else None,
    }
    if identifiers:
        staff = (f"{keyword}: {name}" for plan in content.plans.values() for keyword, name in plan.staff.items())
        row |= {
            "patient_name": patient.name or None,
            "patient_birth_date": patient.birth_date or None,
            "staff": joined(staff),
        }
    return row


def _plans(course: Course, content: CourseContent, *, identifiers: bool) -> Row:
    uids = [plan.sop_instance_uid for plan in course.description.used_plans]
    used = [content.plans[uid] for uid in uids if uid in content.plans]
    row: Row = {"plan_count": len(course.description.plans), "plans_used_count": len(used)}
    if not used:
        return row
    beams = [beam for plan in used for beam in plan.treatment_beams]
    return {
        **row,
        "plan_sop_uids": joined(plan.sop_instance_uid for plan in used),
        "plan_label": joined(plan.label for plan in used),
        "plan_name": joined(plan.name for plan in used),
        "plan_date": joined(plan.date for plan in used),
        "plan_time": joined(plan.time for plan in used),
        "plan_intent": joined(plan.intent for plan in used),
        "plan_approval_status": joined(plan.approval_status for plan in used),
        "plan_review_date": joined(plan.review_date for plan in used),
        "plan_review_time": joined(plan.review_time for plan in used),
        "planning_system": joined(plan.planning_system for plan in used),
        "technique_inferred": joined(plan.technique for plan in used),
        **_beams(beams, used),
    }


def _beams(beams: Sequence[PlanBeam], plans: Sequence[PlanContent]) -> Row:
    metersets = [beam.meterset for beam in beams]
    units = {beam.meterset_unit for beam in beams} - {""}
    known = beams and all(meterset is not None for meterset in metersets) and len(units) < 2
    isocentres = (" ".join(f"{value:.2f}" for value in position) for beam in beams for position in beam.isocentres_mm)
    return {
        "radiation_types": joined(beam.radiation_type for beam in beams),
        "beam_energies": joined(f"{energy:g}" for beam in beams for energy in beam.energies),
        "treatment_machines": joined(beam.machine for beam in beams),
        "beams_count": len(beams),
        "setup_beams_count": sum(not beam.treats for plan in plans for beam in plan.beams),
        "arcs_count": sum(beam.is_arc for beam in beams),
        "gantry_angles_deg": " ".join(f"{beam.gantry_angles_deg[0]:g}" for beam in beams if beam.gantry_angles_deg)
        or None,
        "collimator_angles_deg": joined(_angles(beam.collimator_angles_deg for beam in beams)),
        "couch_angles_deg": joined(_angles(beam.couch_angles_deg for beam in beams)),
        "isocentres_mm": joined(isocentres),
        "meterset_by_beam": "; ".join(
            f"{beam.name or beam.number}: {'unknown' if beam.meterset is None else f'{beam.meterset:g}'}"
            for beam in beams
        )
        or None,
        "total_meterset": sum(value for value in metersets if value is not None) if known else None,
        "meterset_unit": joined(sorted(units)),
    }


def _angles(of_beams: Iterable[Sequence[float]]) -> Iterable[str]:
    return (f"{angle:g}" for angles in of_beams for angle in angles)


def _prescriptions(course: Course, content: CourseContent) -> list[Row]:
    """Every prescription of the plans that are used, with the name of its target where the structure set tells it."""
    structure_set = content.structure_set
    rows: list[Row] = []
    for plan in course.description.used_plans:
        is_drawn = structure_set is not None and plan.referenced_structure_set_uid == structure_set.sop_instance_uid
        names = {roi.number: roi.name for roi in structure_set.rois} if structure_set is not None and is_drawn else {}
        for target in plan.prescriptions:
            name = names.get(target.roi_number) if target.roi_number is not None else None
            rows.append({"plan_sop_uid": plan.sop_instance_uid, **target.model_dump(), "roi_name": name})
    return rows


def _prescription(course: Course, content: CourseContent) -> Row:
    prescription = course.description.prescription
    targets = (
        f"{joined([str(row['description']), str(row['roi_name'] or '')]) or 'target'}: {row['dose_gy']:g} Gy "
        f"({row['source']})"
        for row in _prescriptions(course, content)
    )
    return {
        "total_prescription_gy": prescription.total_dose_gy,
        "prescription_source": prescription.source or None,
        "prescriptions": joined(targets),
        "planned_fractions": prescription.fractions,
    }


def _transforms(content: CourseContent) -> Iterable[str]:
    """Each matrix as `KIND from -> to: sixteen numbers by rows`."""
    for registration in content.registrations:
        if registration.deformable:
            yield f"deformation field in {registration.sop_instance_uid}"
        for one in registration.transforms:
            numbers = " ".join(f"{value:.9g}" for value in one.matrix)
            yield f"{one.kind} {one.from_frame_uid} -> {one.to_frame_uid}: {numbers}"


def _days(fractions: Sequence[Row]) -> int | None:
    dates = sorted(str(row["treatment_date"]) for row in fractions if row["treatment_date"])
    return (date.fromisoformat(dates[-1]) - date.fromisoformat(dates[0])).days + 1 if dates else None


def _dose(course: Course, content: CourseContent) -> Row:
    description = course.description
    used = [dose for dose in description.doses if dose.used]
    row: Row = {
        "dose_count": len(description.doses),
        "dose_decision": description.dose_decision.label,
        "dose_decision_reason": description.dose_decision.reason or None,
        "dose_sop_uids": joined(dose.sop_instance_uid for dose in used),
        "dose_summation_type": joined(dose.summation_type for dose in used),
        "dose_units": joined(dose.units for dose in used),
        "dose_type": joined(dose.dose_type for dose in used),
    }
    if content.dose is None:
        return row
    grid = {f"dose_grid_{name}": value for name, value in _grid_row(content.dose.grid).items()}
    values = content.dose.values
    return {
        **row,
        **grid,
        "dose_grid_origin_mm": " ".join(f"{value:.2f}" for value in content.dose.grid.origin_mm),
        "dose_grid_scaling": content.dose_scaling,
        "dose_minimum_gy": float(values.min()),
        "dose_maximum_gy": float(values.max()),
        "dose_mean_gy": float(values.mean()),
    }


def _grid_row(grid: Grid) -> Row:
    gaps = np.diff(grid.plane_offsets_mm)
    return {
        "columns": grid.columns,
        "rows": grid.rows,
        "planes": grid.planes,
        "spacing_x_mm": grid.pixel_spacing_mm[0],
        "spacing_y_mm": grid.pixel_spacing_mm[1],
        "spacing_z_mm": float(np.median(gaps)) if len(gaps) else None,
    }


def _ct(course: Course, content: CourseContent, *, identifiers: bool) -> Row:
    series, geometry, acquisition = course.description.planning_ct, content.ct, content.acquisition
    if series is None:
        return {}
    row: Row = {"ct_series_uid": series.series_instance_uid, "ct_study_uid": series.study_instance_uid}
    if geometry is None or acquisition is None:
        return row
    grid = _grid_row(geometry.grid)
    return {
        **row,
        "ct_date": acquisition.date or None,
        "ct_manufacturer": acquisition.manufacturer or None,
        "ct_model": acquisition.model or None,
        "ct_institution": (acquisition.institution or None) if identifiers else None,
        "ct_series_description": acquisition.series_description or None,
        "ct_protocol": acquisition.protocol or None,
        "ct_body_part": acquisition.body_part or None,
        "ct_patient_position": acquisition.patient_position or None,
        "ct_kvp": acquisition.kvp,
        "ct_tube_current_ma": acquisition.tube_current_ma,
        "ct_exposure_mas": acquisition.exposure_mas,
        "ct_exposure_time_ms": acquisition.exposure_time_ms,
        "ct_rotation_time_s": acquisition.revolution_time_s,
        "ct_pitch_factor": acquisition.spiral_pitch_factor,
        "ct_convolution_kernel": acquisition.convolution_kernel or None,
        "ct_convolution_kernel_group": acquisition.convolution_kernel_group or None,
        "ct_filter_type": acquisition.filter_type or None,
        "ct_reconstruction_algorithm": acquisition.reconstruction_algorithm or None,
        "ct_slice_thickness_mm": acquisition.slice_thickness_mm,
        "ct_slice_increment_mm": grid["spacing_z_mm"],
        "ct_slices": grid["planes"],
        "ct_rows": grid["rows"],
        "ct_columns": grid["columns"],
        "ct_pixel_spacing_x_mm": grid["spacing_x_mm"],
        "ct_pixel_spacing_y_mm": grid["spacing_y_mm"],
        "ct_field_of_view_mm": acquisition.reconstruction_diameter_mm,
        "ct_contrast_agent": acquisition.contrast_agent or None,
        "ct_contrast_route": acquisition.contrast_route or None,
        "ct_contrast_volume_ml": acquisition.contrast_volume_ml,
        "ct_contrast_total_dose_ml": acquisition.contrast_total_dose_ml,
        "ct_contrast_flow_rate_ml_per_s": acquisition.contrast_flow_rate_ml_per_s,
    }


def _structures(course: Course, content: StructureSetContent | None) -> Row:
    primary = next((entry for entry in course.description.structure_sets if entry.primary), None)
    if primary is None or content is None:
        return {}
    kinds = [_target_kind(roi) for roi in content.rois]
    return {
        "structure_set_sop_uid": primary.sop_instance_uid,
        "structure_set_label": primary.label or None,
        "structure_set_date": primary.date or None,
        "roi_count": len(content.rois),
        **{f"{kind.lower()}_count": kinds.count(kind) for kind in TARGET_TYPES},
        "organ_count": sum(_is_organ(roi) for roi in content.rois),
        "roi_names": joined(roi.name for roi in content.rois),
    }


def _target_kind(roi: Roi) -> str:
    """GTV, CTV, PTV or empty: by the type where that is one of them, else by how the name begins."""
    kind = roi.interpreted_type.strip().upper()
    if kind in TARGET_TYPES:
        return kind
    name = roi.name.strip().upper()
    return next((target for target in TARGET_TYPES if name.startswith(target)), "")


def _is_organ(roi: Roi) -> bool:
    return roi.interpreted_type.strip().upper() in ORGAN_TYPES and not _target_kind(roi)


def _roi(roi: Roi) -> dict[str, Any]:
    return {
        "number": roi.number,
        "name": roi.name,
        "interpreted_type": roi.interpreted_type,
        "algorithm": roi.algorithm,
        "contours": len(roi.contours),
        "ignored_contours": list(roi.ignored_contours),
    }

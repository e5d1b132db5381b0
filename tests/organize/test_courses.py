"""Which courses an export becomes.

What must hold:
- every patient of a mixed cohort is kept: plans, structures only, images only, plans without dose, side by side;
  layouts of folders decide nothing, and folders named like series hide no plan;
- the structure set is the one that the plan names, in any order of files and whatever study it lies in; one of another
  frame of reference is refused;
- the CT is the one that the structure set names, even if smaller or in another study; of several the one with most
  slices, then the lowest UID; an unresolved reference never gets the largest CT instead; without references the
  largest;
- a registration goes to its own course, with its images; fallbacks are sentences in `course.json`;
- `course_filter`: nothing named is everything; what it leaves out is listed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pydicom
import pytest

from dicom_factory import Patient
from organized import Organize, Organized


def kinds(made: Organized) -> list[str]:
    return sorted(course.description.kind for course in made.result.courses)


def test_a_whole_course(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    patient.make_record("rt", place="records")
    made = organized()
    course = made.only
    text = course.description
    assert (text.kind, text.patient, text.start_date) == ("plan", "P1", "2024-01-10")
    assert text.course.startswith("2024-01_")
    assert text.planning_ct is not None
    assert text.planning_ct.instance_count == 4
    assert (text.prescription.total_dose_gy, text.prescription.fractions) == (60.0, 30)
    assert text.dose_decision.label == "single_dose"
    assert text.links == ()
    assert text.warnings == ()
    assert [one.primary for one in text.structure_sets] == [True]
    for file in (course.files.structure_set, course.files.plan, course.files.dose, course.files.description):
        assert file.is_file()
    for relative in (*text.treatment_record_files, text.plans[0].file, text.doses[0].file):
        assert course.path(relative).is_file()
    assert made.unused == {}


@pytest.mark.parametrize("attributes", [{}, {"InstanceNumber": 1}, {"InstanceNumber": None}], ids=str)
def test_slices_are_named_in_the_order_of_their_planes(
    patient: Patient, organized: Organize, attributes: dict[str, int | None]
) -> None:
    slices = patient.make_series(slices=5, **attributes)
    folder = organized().only.path("DICOM/CT")
    assert [path.name for path in sorted(folder.iterdir())] == [f"CT_{number:04d}.dcm" for number in range(1, 6)]
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == [path.read_bytes() for path in slices]


def test_mixed_cohort_keeps_every_patient(export: Path, organized: Organize) -> None:
    Patient(export / "a", "A").make_course()
    Patient(export / "b", "B").make_series()
    Patient(export / "b", "B").make_structure_set()
    Patient(export / "c", "C").make_series()
    no_dose = Patient(export / "d", "D")
    no_dose.make_series()
    no_dose.make_plan(structure_set=None)
    made = organized()
    found = {course.description.patient: course.description.kind for course in made.result.courses}
    assert found == {"A": "plan", "B": "structures", "C": "images", "D": "plan"}
    assert made.unused == {}


def test_patient_study_layout_keeps_plans_doses_and_structures(export: Path, organized: Organize) -> None:
    patient = Patient(export / "P1")
    for make in (patient.make_series, patient.make_structure_set, patient.make_plan, patient.make_dose):
        make(place="Study")
    assert organized().only.files.dose.is_file()


@pytest.mark.parametrize("names", [("a_other", "b_right"), ("b_other", "a_right")])
def test_structure_set_of_the_plan_in_any_order(patient: Patient, organized: Organize, names: tuple[str, str]) -> None:
    other, right = names
    patient.make_series()
    patient.make_structure_set(other, place=other, date="20240201")
    patient.make_structure_set(right, place=right, study="another study", date="20240101")
    patient.make_plan(structure_set=right)
    patient.make_dose()
    course = organized().only
    primary = [one.sop_instance_uid for one in course.description.structure_sets if one.primary]
    assert primary == [patient.uid(right)]
    assert course.files.structure_set.read_bytes() == (patient.folder / right / f"{right}.dcm").read_bytes()


def test_plan_and_dose_in_another_study_than_ct_and_structures(patient: Patient, organized: Organize) -> None:
    patient.make_series()
    patient.make_structure_set()
    patient.make_plan(study="plans", frame="")
    patient.make_dose(study="plans", frame="")
    text = organized().only.description
    assert (text.kind, text.dose_decision.label, text.links) == ("plan", "single_dose", ())


def test_structure_set_of_another_frame_is_refused(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    patient.make_series("other", frame="other frame", study="other")
    patient.make_structure_set("rs2", series=("other",), frame="other frame", study="other")
    patient.make_plan("plan2", structure_set="rs2")
    courses = organized().result.courses
    texts = {course.description.kind: course.description for course in courses}
    assert {one.sop_instance_uid for one in texts["plan"].plans} == {patient.uid("plan"), patient.uid("plan2")}
    assert [one.sop_instance_uid for one in texts["structures"].structure_sets] == [patient.uid("rs2")]
    assert any("another frame of reference" in sentence for sentence in texts["plan"].links)


def test_referenced_ct_is_chosen_even_if_smaller(patient: Patient, organized: Organize) -> None:
    patient.make_series("ct", slices=4, place="a")
    patient.make_series("contrast", slices=9, place="b")
    patient.make_structure_set()
    made = organized()
    assert made.only.description.planning_ct is not None
    assert made.only.description.planning_ct.series_instance_uid == patient.uid("ct")
    assert len(made.unused) == 9
    assert all("another CT series" in reason for _, reason in made.unused.values())


def test_of_several_referenced_cts_the_one_with_most_slices_then_the_lowest_uid(
    patient: Patient, organized: Organize
) -> None:
    for name, slices in (("few", 4), ("many a", 6), ("many b", 6)):
        patient.make_series(name, slices=slices, place=name)
    patient.make_structure_set(series=("few", "many a", "many b"))
    planning_ct = organized().only.description.planning_ct
    assert planning_ct is not None
    assert planning_ct.series_instance_uid == min(patient.uid("many a"), patient.uid("many b"))


def test_unresolved_reference_takes_no_other_ct(patient: Patient, organized: Organize) -> None:
    patient.make_series("contrast", slices=9)
    patient.make_structure_set(series=("not exported",))
    text = organized().only.description
    assert text.images == ()
    assert any("not in the input" in warning for warning in text.warnings)


def test_without_reference_the_largest_ct_of_the_frame_and_a_sentence(patient: Patient, organized: Organize) -> None:
    patient.make_series("small", slices=4, place="a")
    patient.make_series("large", slices=6, place="b")
    patient.make_structure_set(series=())
    text = organized().only.description
    assert text.planning_ct is not None
    assert text.planning_ct.series_instance_uid == patient.uid("large")
    assert any("names no images" in sentence for sentence in text.links)


def test_contour_images_link_a_structure_set_that_names_no_series(patient: Patient, organized: Organize) -> None:
    patient.make_series("small", slices=4, place="a")
    patient.make_series("large", slices=6, place="b")
    patient.make_structure_set(series=(), images=("small 1",))
    text = organized().only.description
    assert text.planning_ct is not None
    assert text.planning_ct.series_instance_uid == patient.uid("small")
    assert text.links == ()


def test_images_of_one_frame_are_one_course_with_their_structure_sets(patient: Patient, organized: Organize) -> None:
    for modality, name in (("CT", "ct"), ("MR", "mr"), ("PT", "pet")):
        patient.make_series(name, modality=modality, study=f"study of {name}", place=name)
        patient.make_structure_set(f"rs {name}", series=(name,), study=f"study of {name}")
    text = organized().only.description
    assert [image.modality for image in text.images] == ["CT", "MR", "PT"]
    assert {one.sop_instance_uid: one.image_key for one in text.structure_sets} == {
        patient.uid("rs ct"): "CT",
        patient.uid("rs mr"): text.images[1].key,
        patient.uid("rs pet"): text.images[2].key,
    }
    assert [one.sop_instance_uid for one in text.structure_sets if one.primary] == [patient.uid("rs ct")]


@pytest.mark.parametrize(("fixed", "moving"), [("frame2", "mr frame"), ("mr frame", "frame2")])
def test_registration_brings_its_images_to_its_own_course(
    patient: Patient, organized: Organize, fixed: str, moving: str
) -> None:
    patient.make_course("1", date="20240110")
    patient.make_course("2", date="20240310")
    patient.make_series("mr", modality="MR", frame="mr frame", study="mr study", place="mr")
    patient.make_registration("reg", fixed=fixed, moving=moving)
    made = organized()
    by_plan = {course.description.plans[0].sop_instance_uid: course.description for course in made.result.courses}
    first, second = by_plan[patient.uid("plan1")], by_plan[patient.uid("plan2")]
    assert (len(first.registration_files), len(second.registration_files)) == (0, 1)
    assert [(image.modality, image.link) for image in second.images if image.key != "CT"] == [("MR", "registration")]
    assert [image.key for image in first.images] == ["CT"]
    assert made.unused == {}


def test_structure_set_brings_further_images_that_it_names(patient: Patient, organized: Organize) -> None:
    patient.make_series()
    patient.make_series("mr", modality="MR", frame="mr frame", study="mr study", place="mr")
    patient.make_structure_set(series=("ct", "mr"))
    text = organized().only.description
    assert [(image.modality, image.link) for image in text.images] == [
        ("CT", "structure set reference"),
        ("MR", "structure set reference"),
    ]
    assert text.structure_sets[0].image_key == "CT"


def test_structures_on_mr_alone(patient: Patient, organized: Organize) -> None:
    patient.make_series("mr", modality="MR")
    patient.make_structure_set(series=("mr",))
    course = organized().only
    text = course.description
    assert (text.kind, text.planning_ct, text.structure_sets[0].image_key) == ("structures", None, text.images[0].key)
    assert course.files.structure_set.is_file()


def test_structure_set_of_registered_mr_comes_with_it(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    patient.make_series("mr", modality="MR", frame="mr frame", study="mr study", place="mr")
    patient.make_structure_set("rs mr", series=("mr",), frame="mr frame", study="mr study")
    patient.make_registration("reg", fixed="frame", moving="mr frame")
    text = organized().only.description
    assert {one.sop_instance_uid: one.image_key for one in text.structure_sets} == {
        patient.uid("rs"): "CT",
        patient.uid("rs mr"): text.images[1].key,
    }


def test_ct_that_is_registered_gives_its_pet_and_is_listed(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    for modality, name in (("CT", "low dose ct"), ("PT", "pet")):
        patient.make_series(name, modality=modality, frame="pet frame", study="pet study", place=name)
    patient.make_registration("reg", fixed="frame", moving="pet frame")
    made = organized()
    assert [(image.modality, image.link) for image in made.only.description.images] == [
        ("CT", "structure set reference"),
        ("PT", "registration"),
    ]
    assert {path.split("/")[0] for path in made.unused} == {"low dose ct"}
    assert all("registered with a course" in reason for _, reason in made.unused.values())


def test_unlinked_images_are_a_course_of_their_own(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    patient.make_series("diagnostic", frame="other", study="other", place="diagnostic", date="20230501")
    assert kinds(organized()) == ["images", "plan"]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"slices": 2}, "only 2 slices"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "a localizer"),
        ({"description": "C_localizer"}, "a localizer"),
        ({"description": "Dose Report"}, "a report or screen capture"),
        ({"ManufacturerModelName": "Halcyon - PVA"}, "a cone-beam CT for positioning"),
        ({"description": "4D 50% ex"}, "a phase of a 4D CT"),
    ],
)
def test_useless_series_are_listed_with_the_reason(
    patient: Patient, organized: Organize, attributes: dict[str, object], reason: str
) -> None:
    patient.make_course()
    patient.make_series("x", frame="other", study="other", place="x", **attributes)  # type: ignore[arg-type]
    made = organized()
    assert kinds(made) == ["plan"]
    assert {why for _, why in made.unused.values()} == {reason}


def test_a_single_slice_that_a_structure_set_names_is_used_with_a_warning(
    patient: Patient, organized: Organize
) -> None:
    patient.make_series(slices=1)
    patient.make_structure_set()
    patient.make_plan()
    patient.make_dose()
    text = organized().only.description
    assert (text.kind, text.images[0].instance_count, text.dose_decision.label) == ("plan", 1, "single_dose")
    assert any("too few slices" in warning for warning in text.warnings)


def test_localizers_inside_a_series_are_left_out_when_enough_remains(patient: Patient, organized: Organize) -> None:
    patient.make_series(slices=10)
    scout = Patient(patient.folder)
    scout.make_series(
        "scout",
        slices=1,
        place="scout",
        image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"),
        SeriesInstanceUID=patient.uid("ct"),
    )
    made = organized()
    assert made.only.description.images[0].instance_count == 10
    assert [reason for _, reason in made.unused.values()] == ["a localizer inside an image series"]


def test_one_phase_of_a_series_with_several_images_per_position(patient: Patient, organized: Organize) -> None:
    patient.make_series("phase 1", slices=5, place="1", SeriesInstanceUID=patient.uid("4d"), AcquisitionNumber=1)
    patient.make_series("phase 2", slices=5, place="2", SeriesInstanceUID=patient.uid("4d"), AcquisitionNumber=2)
    made = organized()
    assert made.only.description.images[0].instance_count == 5
    assert {path[:2] for path in made.unused} == {"2/"}


def test_dose_without_its_plan_is_linked_and_says_so(patient: Patient, organized: Organize) -> None:
    patient.make_series()
    patient.make_structure_set()
    patient.make_dose(plans=("not exported",))
    course = organized().only
    assert course.files.dose.is_file()
    assert course.description.prescription.total_dose_gy is None
    assert any("its plan is not in the input" in sentence for sentence in course.description.links)


@pytest.mark.parametrize(
    ("plans", "used"), [(("plan",), True), (("not exported",), False), (("plan", "not exported"), False)]
)
def test_a_dose_of_a_missing_plan_has_no_prescription(
    tmp_path: Path, patient: Patient, organized: Organize, plans: tuple[str, ...], used: bool
) -> None:
    patient.make_series()
    patient.make_structure_set()
    patient.make_plan()
    patient.make_dose(plans=plans)
    made = organized().only
    assert made.files.dose.is_file()
    assert len(made.description.used_plans) == used
    assert (made.description.prescription.total_dose_gy == 60) == used
    assert (
        any(f"not in the input ({patient.uid('not exported')})" in warning for warning in made.description.warnings)
        != used
    )
    overrides = tmp_path / "overrides.yaml"
    overrides.write_text(f'"{made.key}": {{doses: ["{patient.uid("dose")}"], plans: ["{patient.uid("plan")}"]}}\n')
    named = organized(overrides=overrides).only.description
    assert (len(named.used_plans), named.prescription.total_dose_gy) == (1, 60)


@pytest.mark.parametrize(
    ("made_on", "plan"), [("20240112", "plan1"), ("20240501", "plan2"), ("20230101", None), ("", None)]
)
def test_dose_without_references_goes_to_the_last_plan_before_it(
    patient: Patient, organized: Organize, made_on: str, plan: str | None
) -> None:
    patient.make_course("1", date="20240110")
    patient.make_course("2", date="20240310")
    for suffix in "12":
        (patient.folder / suffix / f"dose{suffix}.dcm").unlink()
    patient.make_dose(plans=(), frame="", study="dose study", date="", InstanceCreationDate=made_on)
    made = organized()
    with_dose = [course.description for course in made.result.courses if course.description.doses]
    if plan is None:
        assert with_dose == []
        assert list(made.unused) == ["dose.dcm"]
    else:
        (text,) = with_dose
        assert text.plans[0].sop_instance_uid == patient.uid(plan)
        assert any("names no plan; linked by its patient and date" in sentence for sentence in text.links)


def test_dose_of_an_unknown_frame_goes_nowhere_whatever_its_date(patient: Patient, organized: Organize) -> None:
    patient.make_course("1", date="20240110")
    patient.make_dose(plans=(), frame="elsewhere", study="elsewhere", InstanceCreationDate="20240112")
    assert list(organized().unused) == ["dose.dcm"]


@pytest.mark.parametrize(("date", "suffix"), [("20240109", "1"), ("20240401", "2")])
def test_plan_without_references_goes_to_the_last_images_before_it(
    patient: Patient, organized: Organize, date: str, suffix: str
) -> None:
    for one, day in (("1", "20240105"), ("2", "20240305")):
        patient.make_series(f"ct{one}", study=f"study{one}", frame=f"frame{one}", date=day, place=one)
    patient.make_plan(structure_set=None, frame="", study="plan study", date=date)
    (text,) = (course.description for course in organized().result.courses if course.description.plans)
    assert text.planning_ct is not None
    assert text.planning_ct.series_instance_uid == patient.uid(f"ct{suffix}")
    assert any("linked by its patient and date" in sentence for sentence in text.links)


@pytest.mark.parametrize(("date", "suffix"), [("20240109", "1"), ("20240401", "2")])
def test_date_tells_courses_of_one_frame_apart(patient: Patient, organized: Organize, date: str, suffix: str) -> None:
    for one, day in (("1", "20240105"), ("2", "20240305")):
        patient.make_series(f"ct{one}", study=f"study{one}", date=day, place=one)
    patient.make_plan(structure_set=None, study="plan study", date=date)
    (text,) = (course.description for course in organized().result.courses if course.description.plans)
    assert text.planning_ct is not None
    assert text.planning_ct.series_instance_uid == patient.uid(f"ct{suffix}")
    assert any("linked by its frame of reference and date" in sentence for sentence in text.links)


def test_empty_references_join_nothing(export: Path, organized: Organize) -> None:
    """References that are there without a UID, and plans and doses of other patients, are no links."""
    for name in ("A", "B"):
        patient = Patient(export / name, name)
        patient.make_series()
        patient.make_plan(structure_set="", frame="plan frame", study="plan study")
        patient.make_dose(plans=("",), frame="dose frame", study="dose study")
        for path in (patient.folder / "plan.dcm", patient.folder / "dose.dcm"):
            dataset = pydicom.dcmread(path)
            for keyword in ("ReferencedStructureSetSequence", "ReferencedRTPlanSequence"):
                for item in dataset.get(keyword, ()):
                    item.ReferencedSOPInstanceUID = ""
            dataset.save_as(path)
    made = organized()
    assert sorted(made.unused) == ["A/dose.dcm", "B/dose.dcm"]
    assert kinds(made) == ["images", "images", "plan", "plan"]
    for course in made.result.courses:
        assert (course.description.doses, len(course.description.plans)) == ((), course.description.kind == "plan")


def test_orphans_are_listed(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    patient.make_dose("far", plans=("not exported",), frame="far frame", study="far study")
    patient.make_record("old", plan="not exported")
    patient.make_registration("reg", fixed="far frame", moving="farther frame")
    reasons = organized().unused
    assert {path: kind for path, (kind, _) in reasons.items()} == dict.fromkeys(
        ("far.dcm", "old.dcm", "reg.dcm"), "unlinked"
    )


def test_course_of_late_plans_on_the_same_images(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    alone = organized().only.description.course
    patient.make_plan("later", date="20260301", prescriptions_gy=(30.0,))
    patient.make_dose("later dose", plans=("later",), dose_gy=30.0)
    made = organized()
    totals = {
        course.description.course: course.description.prescription.total_dose_gy for course in made.result.courses
    }
    assert totals[alone] == 60.0
    assert sorted(totals.values(), key=str) == [30.0, 60.0]
    assert {course.description.dose_decision.label for course in made.result.courses} == {"single_dose"}


def test_max_days_between_plans(patient: Patient, organized: Organize) -> None:
    patient.make_course()
    patient.make_plan("boost", date="20240301", prescriptions_gy=(16.0,), fractions=8)
    patient.make_dose("boost dose", plans=("boost",), dose_gy=16.0)
    assert organized().only.description.prescription.total_dose_gy == 76.0
    assert len(organized(out="other", max_days_between_plans=20).result.courses) == 2


@pytest.mark.parametrize(("criterion", "courses"), [("same_ct_study", 2), ("frame_of_reference", 1)])
def test_merge_criteria(patient: Patient, organized: Organize, criterion: str, courses: int) -> None:
    patient.make_course()
    patient.make_series("ct2", study="study2", place="2")
    patient.make_structure_set("rs2", series=("ct2",), study="study2")
    patient.make_plan("plan2", structure_set="rs2", study="study2", prescriptions_gy=(10.0,), label="boost")
    patient.make_dose("dose2", plans=("plan2",), study="study2", dose_gy=10.0)
    assert len(organized(merge_criteria=criterion).result.courses) == courses


def test_course_filter_lists_what_it_leaves_out(export: Path, organized: Organize) -> None:
    Patient(export / "a", "A").make_series()
    Patient(export / "b", "B").make_series()
    made = organized(course_filter=["A*"])
    assert made.only.description.patient == "A"
    assert {kind for kind, _ in made.unused.values()} == {"filtered"}
    assert len(made.unused) == 4


@pytest.mark.parametrize(
    ("wanted", "courses"),
    [
        ([], ["A", "B"]),
        (["A"], ["A"]),
        (["A/*"], ["A"]),
        (["nobody"], []),
        (["nobody", "B"], ["B"]),
        (["../A"], []),
        (["/etc"], []),
        (["link to B"], []),
    ],
    ids=str,
)
def test_filter_looks_at_the_whole_input_wherever_files_lie(
    export: Path, organized: Organize, wanted: list[str], courses: list[str]
) -> None:
    """Files of A lie flat, below a centre, in a folder named B, and in a hidden one; a link names another folder."""
    for name, places in (("A", ("A", "centre/A", "B", ".hidden")), ("B", ("centre/B",))):
        patient = Patient(export, name)
        for number, place in enumerate(places):
            patient.make_series(f"{name}{number}", frame=f"{name}{number}", study=f"{name}{number}", place=place)
    (export / "link to B").symlink_to(export / "centre" / "B", target_is_directory=True)
    made = organized(course_filter=wanted)
    assert sorted({course.description.patient for course in made.result.courses}) == courses
    assert len(made.result.courses) == 4 * ("A" in courses) + ("B" in courses)
    assert sum(kind == "filtered" for kind, _ in made.unused.values()) == 20 - 4 * len(made.result.courses)
    assert made.result.files_total == 21
    unmatched = [one for one in wanted if f"no course of the input is called {one};" in " ".join(made.result.warnings)]
    assert unmatched == [one for one in wanted if one[0] not in courses]


@pytest.mark.parametrize(
    "layout", ["", "{patient}", "{patient}/Study", "centre/{patient}", "{patient}/{series}", ".x/y"]
)
def test_layouts_of_folders_decide_nothing(export: Path, organized: Organize, layout: str) -> None:
    for name in ("A", "B"):
        patient = Patient(export, name)

        def place(series: str, name: str = name, patient: Patient = patient) -> str:
            return layout.format(patient=name, series=patient.uid(series))

        patient.make_series(f"ct{name}", place=place(f"ct{name}"))
        patient.make_structure_set(f"rs{name}", series=(f"ct{name}",), place=place("rs"))
        patient.make_plan(f"plan{name}", structure_set=f"rs{name}", place=place("plan"))
        patient.make_dose(f"dose{name}", plans=(f"plan{name}",), place=place("dose"))
    made = organized()
    assert [len(course.description.doses) for course in made.result.courses] == [1, 1]
    assert [course.description.images[0].instance_count for course in made.result.courses] == [4, 4]
    assert made.unused == {}


def test_identifiers_that_differ_in_case_are_two_patients_and_said(export: Path, organized: Organize) -> None:
    for number, identifier in enumerate(("Pat1", "PAT1", " PAT1 ", "pat2")):
        Patient(export / str(number), identifier).make_series()
    made = organized()
    assert {course.description.patient_id for course in made.result.courses} == {"Pat1", "PAT1", "pat2"}
    assert "1 PatientIDs differ from another only in upper and lower case" in "".join(made.result.warnings)


def test_patients_without_identifier_stay_apart(export: Path, organized: Organize) -> None:
    for name in ("a", "b"):
        Patient(export / name, name).make_series(PatientID="")
    courses = organized().result.courses
    assert len({course.description.patient for course in courses}) == 2
    assert all(course.description.patient.startswith("unknown_") for course in courses)


def test_shuffled_and_renamed_input_gives_the_same_courses(
    tmp_path: Path, patient: Patient, organized: Organize
) -> None:
    patient.make_course("1", date="20240110")
    patient.make_course("2", date="20240120")
    patient.make_series("mr", modality="MR", frame="frame1", study="mr", place="mr")
    shuffled = tmp_path / "shuffled"
    for number, path in enumerate(sorted(patient.folder.rglob("*.dcm"), reverse=True)):
        target = shuffled / str(number % 3) / f"{(number * 7919) % 1000:04d}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    assert organized().snapshot() == organized(shuffled, out="shuffled out").snapshot()


@pytest.mark.parametrize(("date", "course"), [("20240115", "plan1"), ("20240401", "plan2"), ("20231201", None)])
def test_record_without_plan_goes_to_the_last_plan_before_it(
    patient: Patient, organized: Organize, date: str, course: str | None
) -> None:
    patient.make_course("1", date="20240110")
    patient.make_course("2", date="20240310")
    patient.make_record("rt", plan=None, date=date)
    made = organized()
    with_records = [one.description for one in made.result.courses if one.description.treatment_record_files]
    if course is None:
        assert with_records == []
        assert list(made.unused) == ["rt.dcm"]
    else:
        (text,) = with_records
        assert text.plans[0].sop_instance_uid == patient.uid(course)
        assert any("by its patient and date" in sentence for sentence in text.links)

"""What kind of image a series is.

What must hold:
- a CT that a structure set was drawn on is a planning CT, whatever its description says (a contoured cone-beam CT, a CT
  that a planning system derived), and even where a stray localizer lies in the series;
- without one it is a planning CT only if it is the only CT of the frame of reference of plans, doses or structures;
- 4D phases are not used, their average is; projections of CT, MR and PET are not used;
- vendors' names with underscores and run-together words are read (`DWI_b1500`, `T2W_TSE_sag`, `C_localizer`, `IsoDWI`,
  `mDIXON`), and diffusion stays functional where a name also says T2;
- what nothing tells about is not used, and says so; what is left out stays listed with its reason.
"""

from __future__ import annotations

from typing import Any

import pytest

from dicom_factory import Patient
from organized import Organize
from rtpipeline.organize.series_classes import RULES

ORIGINAL = ("ORIGINAL", "PRIMARY", "AXIAL")
DERIVED = ("DERIVED", "SECONDARY", "OTHER")

SERIES = [
    # modality, description, further attributes, class, used
    ("CT", "Thorax 3.0", {}, "diagnostic_ct", True),
    ("CT", "ASIR 40% thorax", {}, "diagnostic_ct", True),
    ("CT", "", {"image_type": DERIVED}, "unknown", False),
    ("CT", "", {"image_type": DERIVED, "Manufacturer": "SIEMENS"}, "diagnostic_ct", True),
    ("CT", "", {"image_type": DERIVED, "Manufacturer": "Nobody"}, "unknown", False),
    ("CT", "Topogram 0.6", {}, "localizer", False),
    ("CT", "C_localizer", {}, "localizer", False),
    ("CT", "Scout", {"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "localizer", False),
    ("CT", "Dose Report", {}, "report", False),
    ("CT", "Patient Protocol", {"slices": 1}, "report", False),
    ("CT", "Thorax", {"slices": 2}, "incomplete", False),
    ("CT", "MIP(coronal)", {}, "projection", False),
    ("CT", "Lung", {"image_type": ("DERIVED", "SECONDARY", "MIP")}, "projection", False),
    ("CT", "CBCT fraction 3", {}, "cone_beam_ct", False),
    ("CT", "pelvis", {"ManufacturerModelName": "On-Board Imager"}, "cone_beam_ct", False),
    ("CT", "pelvis", {"ManufacturerModelName": "XVI"}, "cone_beam_ct", False),
    ("CT", "pelvis", {"Manufacturer": "ELEKTA"}, "cone_beam_ct", False),
    ("CT", "", {"ManufacturerModelName": "Halcyon - PVA"}, "cone_beam_ct", False),
    ("CT", "", {"ManufacturerModelName": "RDS - PVA"}, "cone_beam_ct", False),
    ("CT", "", {"ManufacturerModelName": "Acuity Cone-beam CT"}, "cone_beam_ct", False),
    ("CT", "4D 50% ex", {}, "4d_phase", False),
    ("CT", "T=0%", {}, "4d_phase", False),
    ("CT", "Gated, 70.0%", {}, "4d_phase", False),
    ("CT", "4D average", {}, "4d_average", True),
    ("CT", "Ave-IP", {}, "4d_average", True),
    ("MR", "T2W_TSE_sag", {"ScanningSequence": None}, "anatomical_mr", True),
    ("MR", "mDIXON", {"ScanningSequence": None}, "anatomical_mr", True),
    ("MR", "t1_vibe_fs", {"ScanningSequence": None}, "anatomical_mr", True),
    ("MR", "", {"ScanningSequence": "SE"}, "anatomical_mr", True),
    ("MR", "", {"ScanningSequence": None}, "unknown", False),
    ("MR", "", {"ScanningSequence": "RM"}, "unknown", False),
    ("MR", "DWI_b1500", {"ScanningSequence": None}, "functional_mr", True),
    ("MR", "IsoDWI", {"ScanningSequence": None}, "functional_mr", True),
    ("MR", "ep2d t2 diff ADC", {"ScanningSequence": "SE"}, "functional_mr", True),
    ("MR", "t1_twist_dyn", {"ScanningSequence": "GR"}, "functional_mr", True),
    ("MR", "", {"ScanningSequence": ["EP", "SE"]}, "functional_mr", True),
    ("MR", "x", {"image_type": ("DERIVED", "PRIMARY", "DIFFUSION", "ADC")}, "functional_mr", True),
    ("MR", "survey", {}, "localizer", False),
    ("MR", "MIP t1", {}, "projection", False),
    ("PT", "", {}, "pet", True),
    ("PT", "WB 3D MIP", {}, "projection", False),
    ("PT", "NAC", {}, "pet_uncorrected", False),
    ("PT", "", {"CorrectedImage": ["DECY", "RAN"]}, "pet_uncorrected", False),
    ("PT", "", {"CorrectedImage": ["DECY", "ATTN"]}, "pet", True),
    ("PT", "", {"image_type": ("DERIVED", "SECONDARY")}, "pet_processed", False),
    ("PT", "oncology reading", {}, "report", False),
]


@pytest.mark.parametrize(("modality", "description", "attributes", "kind", "used"), SERIES)
def test_kind_of_a_series(
    patient: Patient,
    organized: Organize,
    modality: str,
    description: str,
    attributes: dict[str, Any],
    kind: str,
    used: bool,
) -> None:
    patient.make_series("x", modality=modality, description=description, **attributes)
    made = organized()
    if used:
        (image,) = made.only.description.images
        assert image.series_class == kind
        assert image.class_reason
        assert made.unused == {}
    else:
        assert made.result.courses == ()
        reasons = {rule.reason.format(slices=attributes.get("slices", 4)) for rule in RULES if rule.kind == kind}
        assert {reason for _, reason in made.unused.values()} <= reasons


def test_every_rule_is_tried() -> None:
    assert {kind for *_, kind, _ in SERIES} | {"planning_ct", "pet_ct", "unplaced", "overlaid"} == {
        rule.kind for rule in RULES
    }


def test_nothing_is_used_by_default() -> None:
    assert (RULES[-1].kind, RULES[-1].used) == ("unknown", False)


@pytest.mark.parametrize(
    "attributes",
    [
        {"description": "4D 50%"},
        {"description": "MIP"},
        {"image_type": DERIVED, "Manufacturer": "Nobody", "description": ""},
        {"slices": 2},
    ],
    ids=str,
)
def test_what_a_structure_set_was_drawn_on_is_a_planning_ct(
    patient: Patient, organized: Organize, attributes: dict[str, Any]
) -> None:
    patient.make_series(**attributes)
    patient.make_structure_set()
    image = organized().only.description.planning_ct
    assert image is not None
    assert (image.series_class, image.class_reason) == ("planning_ct", "a structure set was drawn on it")


def test_a_cone_beam_ct_that_a_structure_set_was_drawn_on_is_the_planning_ct_and_says_what_it_is(
    patient: Patient, organized: Organize
) -> None:
    patient.make_series(description="CBCT")
    patient.make_structure_set()
    image = organized().only.description.planning_ct
    assert image is not None
    assert (image.series_class, image.class_reason) == ("cone_beam_ct", RULES[1].reason)


@pytest.mark.parametrize("modality", ["MR", "PT"])
def test_other_images_that_a_structure_set_was_drawn_on_are_used(
    patient: Patient, organized: Organize, modality: str
) -> None:
    patient.make_series(modality=modality, description="MIP", ScanningSequence=None)
    patient.make_structure_set()
    (image,) = organized().only.description.images
    assert (image.modality, image.series_class) == (modality, "projection")


def test_cone_beam_ct_with_a_stray_localizer_is_kept_when_contoured(patient: Patient, organized: Organize) -> None:
    patient.make_series(slices=12, description="CBCT")
    patient.make_series(
        "scout",
        slices=1,
        image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"),
        SeriesInstanceUID=patient.uid("ct"),
    )
    patient.make_structure_set()
    text = organized().only.description
    assert text.planning_ct is not None
    assert text.planning_ct.instance_count == 12


@pytest.mark.parametrize("scouts", [1, 4])
def test_localizers_stay_where_fewer_than_ten_images_would_remain(
    patient: Patient, organized: Organize, scouts: int
) -> None:
    patient.make_series(slices=9)
    patient.make_series(
        "scout",
        slices=scouts,
        image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"),
        SeriesInstanceUID=patient.uid("ct"),
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
    )
    patient.make_structure_set()
    text = organized().only.description
    assert text.planning_ct is not None
    assert text.planning_ct.instance_count == 9


def test_only_ct_of_the_frame_of_a_plan(patient: Patient, organized: Organize) -> None:
    patient.make_series(image_type=DERIVED)
    patient.make_series("cbct", description="CBCT", place="cbct")
    patient.make_plan(structure_set=None)
    image = organized().only.description.planning_ct
    assert image is not None
    assert image.series_instance_uid == patient.uid("ct")
    assert image.class_reason == "the only CT in the frame of reference of radiotherapy objects"


def test_one_of_two_cts_of_the_frame_of_a_plan_is_no_planning_ct(patient: Patient, organized: Organize) -> None:
    patient.make_series("a", place="a")
    patient.make_series("b", place="b", slices=5)
    patient.make_plan(structure_set=None)
    text = organized().only.description
    assert text.planning_ct is not None
    assert text.planning_ct.series_class == "diagnostic_ct"
    assert any("no structure set names the planning CT" in sentence for sentence in text.links)


def test_ct_beside_a_pet(patient: Patient, organized: Organize) -> None:
    patient.make_series()
    patient.make_series("pet", modality="PT", place="pet")
    assert [image.series_class for image in organized().only.description.images] == ["pet_ct", "pet"]


def test_images_without_position_are_listed(patient: Patient, organized: Organize) -> None:
    patient.make_series(ImagePositionPatient=None)
    assert {reason for _, reason in organized().unused.values()} == {"images without a position in the patient"}

"""Which regions of the body an image shows."""

from __future__ import annotations

import pytest
from totalsegmentator.map_to_binary import class_map

from rtpipeline.inference.body_regions import REGIONS, body_regions, why_not


def test_every_structure_that_counts_is_one_that_totalsegmentator_finds() -> None:
    names = set(class_map["total"].values())
    for region in REGIONS.values():
        for name in (*region.vertebrae, *(organ for group, _ in region.organs for organ in group)):
            assert name in names


def test_without_any_structure_no_region_is_there() -> None:
    for region in body_regions({}).values():
        assert not region["present"]
        assert region["confidence"] == 0.0


@pytest.mark.parametrize(
    ("volumes", "present", "confidence"),
    [
        ({"vertebrae_T1": 20.0, "vertebrae_T2": 20.0, "vertebrae_T3": 20.0}, True, 0.7),
        ({"vertebrae_T1": 20.0, "vertebrae_T2": 20.0}, False, 0.467),
        ({"vertebrae_T1": 20.0, "vertebrae_T2": 0.9}, False, 0.233),
        ({"lung_upper_lobe_left": 120.0, "lung_lower_lobe_left": 80.0}, True, 0.3),
        ({"lung_upper_lobe_left": 199.0}, False, 0.0),
        ({"heart": 50.0, **{f"vertebrae_T{number}": 20.0 for number in range(1, 13)}}, True, 1.0),
    ],
)
def test_vertebrae_and_organs_speak_for_the_thorax(volumes: dict[str, float], present: bool, confidence: float) -> None:
    thorax = body_regions(volumes)["THORAX"]
    assert (thorax["present"], thorax["confidence"]) == (present, pytest.approx(confidence))


def test_a_gate_says_why_it_is_shut() -> None:
    shown = {"regions": body_regions({"lung_upper_lobe_left": 300.0})}
    assert why_not(shown, (), 0.5) == ""
    assert why_not(shown, ("THORAX",), 0.3) == ""
    assert "confidence 0.3, 0.5 is required" in why_not(shown, ("THORAX",), 0.5)
    assert why_not(shown, ("PELVIS", "THORAX"), 0.3) == "the CT does not show PELVIS"
    assert "nobody knows" in why_not(None, ("PELVIS",), 0.5)

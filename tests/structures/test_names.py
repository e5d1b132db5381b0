"""Standard names."""

from pathlib import Path

import pytest

from rtpipeline.outcome import StageError
from rtpipeline.structures.names import NameRule, load_rules, standard_name


@pytest.mark.parametrize(
    ("drawn", "standard"),
    [
        ("Lung-Left", "Lung_L"),
        ("Lung_L", "Lung_L"),
        ("LungLeft", "Lung_L"),
        ("Lt Lung", "Lung_L"),
        ("RT LUNG", "Lung_R"),
        ("Lungs", "Lungs"),
        ("kidney_right", "Kidney_R"),
        ("lung_upper_lobe_left", "Lung_LUL"),
        ("Spinal-Cord", "SpinalCord"),
        ("SpinalCord", "SpinalCord"),
        ("spinal_cord", "SpinalCord"),
        ("urinary_bladder", "Bladder"),
        ("clavicula_left", "Clavicle_L"),
        ("Heart", "Heart"),
        (" heart ", "Heart"),
        ("vertebrae_L5", "VB_L5"),
        ("rib_right_12", "Rib12_R"),
        ("GTV-1", "GTV1"),
        ("gtv", "GTV"),
        ("PTV_60", "PTV_6000"),
        ("PTV 60Gy", "PTV_6000"),
        ("PTV_6000", "PTV_6000"),
        ("PTV_5040cGy", "PTV_5040"),
        ("ptv1 54Gy", "PTV1_5400"),
        ("CTVn2", "CTVn2"),
        ("CTV n 2", "CTVn2"),
    ],
)
def test_names_that_a_rule_is_certain_of(drawn: str, standard: str) -> None:
    assert standard_name(drawn) == standard


@pytest.mark.parametrize(
    "drawn",
    [
        "",
        "lung",
        "Heart_opt",
        "heart left",
        "PTV10",
        "PTV_56.1",
        "PTV_60-2mm",
        "GTV_Mass",
        "not lung left",
        "Lung_L_R",
        "z_ring",
        "vertebrae_C9",
        "rib_left_13",
        "Borders",
        "12345",
        "心臓",
    ],
)
def test_nothing_where_no_rule_is_certain(drawn: str) -> None:
    assert standard_name(drawn) == ""


def test_a_standard_name_stays_what_it_is() -> None:
    for name in ("Lung_L", "Lungs", "SpinalCord", "PTV_6000", "PTV1_5400", "GTV1", "Glnd_Submand_L", "A_Aorta"):
        assert standard_name(name) == name


def test_the_users_rules_come_first_and_in_order(tmp_path: Path) -> None:
    file = tmp_path / "names.yaml"
    file.write_text('"parotis li*": Parotid_L\n"Heart*": Heart_PRV\n"*": ""\n', encoding="utf-8")
    rules = load_rules(file)
    assert rules[0] == NameRule("parotis li*", "Parotid_L")
    assert standard_name("Parotis links", rules) == "Parotid_L"
    assert standard_name("HEART", rules) == "Heart_PRV"
    assert standard_name("Lungs", rules) == ""


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: 1\n", "no: yes\n", "{", "text"])
def test_a_mapping_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "names.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(StageError, match=r"names\.yaml"):
        load_rules(file)

"""Standard names."""

import csv
from pathlib import Path

import openpyxl
import pytest

from rtpipeline.outcome import StageError
from rtpipeline.structures.name_mapping import NameRule, load_rules
from rtpipeline.structures.names import propose, standard_name
from rtpipeline.structures.standard_list import standard_names
from rtpipeline.structures.vocabulary import entries


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
    assert len(standard_names()) > 650
    for name in (
        *standard_names(),
        "Lung_L",
        "Lungs",
        "SpinalCord",
        "PTV_6000",
        "PTV1_5400",
        "GTV1",
        "Glnd_Submand_L",
        "A_Aorta",
    ):
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


SPELLINGS = list(csv.DictReader((Path(__file__).parent / "spellings.csv").read_text(encoding="utf-8").splitlines()))


def test_there_are_many_spellings_of_every_language() -> None:
    counts = {group: sum(row["group"] == group for row in SPELLINGS) for group in {row["group"] for row in SPELLINGS}}
    assert len(SPELLINGS) >= 300
    assert all(count >= 20 for count in counts.values()), counts
    assert sum(row["standard_name"] == "" for row in SPELLINGS) >= 80


@pytest.mark.parametrize("row", SPELLINGS, ids=lambda row: f"{row['group']}: {row['drawn']}")
def test_spellings_from_clinics(row: dict[str, str]) -> None:
    assert standard_name(row["drawn"]) == row["standard_name"]


@pytest.mark.parametrize(
    ("drawn", "standard", "confidence", "reason"),
    [
        ("Lung_L", "Lung_L", "certain", "a name of the standard"),
        ("Poumon G", "Lung_L", "certain", "French 'poumon', left"),
        ("Nerka P", "Kidney_R", "certain", "Polish 'nerka', right"),
        ("PTV_60", "PTV_6000", "certain", "target volume for 60 Gy"),
        ("Cord PRV 5mm", "SpinalCord_PRV05", "certain", "English 'cord', planning risk volume"),
        ("Heart_new", "Heart", "likely", "without 'new'"),
        ("PTV_56.1", "PTV_5610", "likely", "56.1 Gy"),
        ("GTV-T", "GTVp", "likely", "target"),
        ("L5", "VB_L5", "likely", "vertebra"),
        ("Espohagus", "Esophagus", "possible", "looks like"),
        ("lung", "", "none", "without a side"),
        ("heart left", "", "none", "no sides"),
        ("zRing", "", "none", "no rule"),
        ("Brain+5mm", "", "none", "margin"),
    ],
)
def test_every_proposal_says_why(drawn: str, standard: str, confidence: str, reason: str) -> None:
    proposal = propose(drawn)
    assert (proposal.standard_name, proposal.confidence) == (standard, confidence)
    assert reason in proposal.reason


def test_what_is_only_likely_stays_out_of_tables() -> None:
    assert standard_name("Heart_new") == standard_name("Espohagus") == ""


def test_a_word_of_one_language_means_one_organ() -> None:
    meanings: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    for entry in entries():
        meanings.setdefault((entry.language, tuple(sorted(entry.words))), set()).add(entry.standard_name)
    assert {words: names for words, names in meanings.items() if len(names) > 1} == {}


def test_the_names_that_words_stand_for_are_those_of_the_standard() -> None:
    """Three that it does not list are formed as its section 7 says."""
    names = {e.standard_name + side for e in entries() for side in (("_L", "_R") if e.kind == "pair" else ("",))}
    names |= {
        standard_name(f"vertebrae_{region}{n}")
        for region, last in (("C", 7), ("T", 12), ("L", 5))
        for n in range(1, last + 1)
    }
    names |= {standard_name(f"rib_left_{n}") for n in range(1, 13)}
    assert names - {""} - set(standard_names()) == {"Sternum", "Humerus_Head_L", "Humerus_Head_R", "Testes"}


def test_every_word_of_the_vocabulary_finds_its_organ() -> None:
    for entry in entries():
        name = " ".join(entry.words) + (" left" if entry.kind == "pair" else "")
        proposal = propose(name)
        expected = entry.standard_name + ("_L" if entry.kind == "pair" else "")
        assert proposal.standard_name == expected or "may be" in proposal.reason, (name, proposal)


@pytest.mark.parametrize("suffix", [".csv", ";.csv", ".xlsx"])
def test_the_edited_table_is_a_mapping(suffix: str, tmp_path: Path) -> None:
    rows = [["roi_name", "count", "standard_name"], ["Heart*", "3", "Heart_PRV"], ["Lunge li", "2", ""]]
    file = tmp_path / f"names{suffix[-5:].lstrip(';')}"
    if file.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(file)
    else:
        separator = ";" if suffix.startswith(";") else ","
        file.write_text("\ufeff" + "\r\n".join(separator.join(row) for row in rows), encoding="utf-8")
    rules = load_rules(file)
    assert standard_name("heart*", rules) == "Heart_PRV"
    assert standard_name("Heart", rules) == "Heart"
    assert standard_name("Lunge li", rules) == ""
    assert standard_name("Lunge re", rules) == "Lung_R"


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "names.csv"
    file.write_text("name,standard\n", encoding="utf-8")
    with pytest.raises(StageError, match="roi_name"):
        load_rules(file)

"""Structures that the user builds from others."""

from functools import reduce
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from totalsegmentator.map_to_binary import class_map

from rtpipeline.anatomical_cropping import REGIONS as CROPPED_TO
from rtpipeline.config import Configuration, load_configuration
from rtpipeline.custom_structures import (
    CustomResult,
    CustomStructure,
    CustomStructures,
    configured_structures,
    evaluate,
    expression_text,
    load_custom_structures,
)
from rtpipeline.custom_structures.grammar import BodyRegion
from rtpipeline.custom_structures.templates import TEMPLATES, template
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.polygons import outline
from rtpipeline.inference.body_regions import REGIONS, body_regions, why_not
from rtpipeline.outcome import StageError
from rtpipeline.structures import Structure
from rtpipeline.structures.names import standard_name
from rtpipeline.structures.priority import Priority
from structure_courses import GRID, GTV, HEART, LUNG_LEFT


def drawn(name: str, values: NDArray[np.bool_], source: str = "manual", grid: Grid = GRID) -> Structure:
    return Structure(source, 1, name, standard_name(name), contours=tuple(outline(Mask.cropped(grid, values))))


PRIORITY = Configuration().structures.priority
STRUCTURES = (drawn("GTV-1", GTV), drawn("Heart", HEART), drawn("lung_left", LUNG_LEFT, "auto"))


def build(
    yaml: str,
    folder: Path,
    structures: tuple[Structure, ...] = STRUCTURES,
    priority: Priority = PRIORITY,
    head: str = "",
) -> dict[str, CustomResult]:
    file = folder / "custom.yaml"
    file.write_text(f"{head}custom_structures:\n{yaml}", encoding="utf-8")
    return {result.name: result for result in evaluate(load_custom_structures(file), structures, GRID, priority)}


def values(result: CustomResult) -> NDArray[np.bool_]:
    assert result.mask is not None
    return result.mask.on(GRID)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("union", GTV | LUNG_LEFT | HEART),
        ("intersection", GTV & LUNG_LEFT & HEART),
        ("subtract", LUNG_LEFT & ~GTV & ~HEART),
        ("xor", GTV ^ LUNG_LEFT ^ HEART),
    ],
)
def test_operations(operation: str, expected: NDArray[np.bool_], tmp_path: Path) -> None:
    yaml = f"- {{name: A, operation: {operation}, source_structures: [lung_left, GTV-1, Heart]}}\n"
    result = build(yaml, tmp_path)["A"]
    if expected.any():
        assert np.array_equal(values(result), expected)
    else:
        assert (result.status, result.reason) == ("skipped", "the result has no voxel")


def test_margins_follow_the_patient(tmp_path: Path) -> None:
    yaml = """
- {name: all, source_structures: [GTV-1], margin: 5}
- {name: up, source_structures: [GTV-1], margin: {superior_mm: 5}}
- {name: most, source_structures: [GTV-1], margin: {uniform_mm: 3, posterior_mm: 0}}
- {name: less, source_structures: [GTV-1], margin: -1}
"""
    results = build(yaml, tmp_path)
    up = GTV.copy()
    up[10:12] |= GTV[8]
    assert np.array_equal(values(results["up"]), up)
    planes, rows, columns = (np.flatnonzero(values(results["all"]).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    assert (planes[0], planes[-1], rows[0], rows[-1], columns[0], columns[-1]) == (4, 11, 5, 20, 5, 20)
    rows = np.flatnonzero(values(results["most"]).any(axis=(0, 2)))
    assert (rows[0], rows[-1]) == (7, 15)
    assert values(results["less"]).sum() == 4 * 4 * 4


def test_entries_may_come_in_any_order(tmp_path: Path) -> None:
    yaml = """
- {name: ring, operation: subtract, source_structures: [GTV plus, GTV-1]}
- {name: GTV plus, source_structures: [GTV-1], margin: 3}
"""
    results = build(yaml, tmp_path)
    assert np.array_equal(values(results["ring"]), values(results["GTV plus"]) & ~GTV)


def test_a_source_that_is_missing_leaves_a_union_of_the_rest_and_says_so_down_the_line(tmp_path: Path) -> None:
    yaml = """
- {name: some, source_structures: [GTV-1, Liver]}
- {name: bigger, source_structures: [some], margin: 2}
- {name: none, operation: intersection, source_structures: [GTV-1, Liver]}
- {name: from none, source_structures: [none]}
"""
    results = build(yaml.replace("name: none", 'name: "none"').replace("[none]", '["none"]'), tmp_path)
    assert np.array_equal(values(results["some"]), GTV)
    assert results["some"].status == "partial"
    assert results["some"].missing_sources == ("Liver: there is no such structure",)
    assert results["bigger"].status == "partial"
    assert results["bigger"].missing_sources == ("some: Liver: there is no such structure",)
    assert results["none"].status == "skipped"
    assert "Liver: there is no such structure" in results["none"].reason
    assert results["from none"].reason == "missing sources (none: it could not be made)"


def test_an_empty_source_is_a_missing_one(tmp_path: Path) -> None:
    structures = (*STRUCTURES, drawn("Empty", np.zeros(GRID.shape, bool)))
    yaml = "- {name: A, operation: subtract, source_structures: [GTV-1, Empty]}\n"
    assert "Empty: it has no voxel" in build(yaml, tmp_path, structures)["A"].reason


@pytest.mark.parametrize("name", ["Heart", "heart", "HEART ", "lung left", "Lung_L", "gtv1"])
def test_sources_are_found_in_other_spelling_and_by_standard_name(name: str, tmp_path: Path) -> None:
    assert build(f'- {{name: A, source_structures: ["{name}"]}}\n', tmp_path)["A"].status == "ok"


@pytest.mark.parametrize("name", ["heart", "h-e-a-r-t", "Myokard"])
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ({"*": ["manual", "auto", "custom_model:*"]}, "manual"),
        ({"*": ["auto", "manual"]}, "auto"),
        ({"Heart": ["custom_model:x"], "*": ["manual"]}, "custom_model:x"),
        ({"Lung*": ["auto"], "HEART": ["custom_model:*"]}, "custom_model:x"),
        ({"*TV*": ["auto"]}, "manual"),
    ],
)
def test_one_table_says_which_source_counts(name: str, rows: Priority, expected: str, tmp_path: Path) -> None:
    """Also where another source has the very name, and where names differ but mean the same."""
    masks = {"manual": GTV, "auto": HEART, "custom_model:x": LUNG_LEFT}
    structures = (drawn("Herz", GTV), drawn("heart", HEART, "auto"), drawn("HEART", LUNG_LEFT, "custom_model:x"))
    aliases = "aliases: {Myokard: heart}\n"
    result = build(f"- {{name: A, source_structures: [{name}]}}\n", tmp_path, structures, rows, aliases)["A"]
    np.testing.assert_array_equal(values(result), masks[expected])
    assert result.used == (f"{expected} {({one.source: one.roi_name for one in structures})[expected]}",)


def test_a_structure_of_one_source_may_be_meant(tmp_path: Path) -> None:
    structures = (drawn("Heart", GTV), drawn("heart", HEART, "auto"))
    yaml = """
- {name: A, operation: subtract, source_structures: [{structure: Heart, source: auto}, Heart]}
- {name: B, source_structures: [{structure: Heart, source: "custom_model:*"}]}
"""
    results = build(yaml, tmp_path, structures)
    np.testing.assert_array_equal(values(results["A"]), HEART & ~GTV)
    assert results["A"].used == ("auto heart", "manual Heart")
    assert "Heart of custom_model:*: there is no such structure of custom_model:*" in results["B"].reason


def test_an_empty_structure_gives_way_to_the_next_source_and_it_is_said(tmp_path: Path) -> None:
    structures = (drawn("Heart", np.zeros(GRID.shape, bool)), drawn("heart", HEART, "auto"))
    result = build("- {name: A, source_structures: [Heart]}\n", tmp_path, structures)["A"]
    np.testing.assert_array_equal(values(result), HEART)
    assert result.remarks == ("Heart: that of manual has no voxel",)
    assert result.used == ("auto heart",)


def test_a_pattern_means_all_that_fit_as_one(tmp_path: Path) -> None:
    other = np.roll(GTV, 8, axis=2)
    structures = (
        drawn("GTV-1", GTV),
        drawn("gtv_n", other),
        drawn("GTV[x]", HEART),
        drawn("Herz", HEART),
        drawn("heart", LUNG_LEFT, "auto"),
    )
    yaml = """
- {name: both, source_structures: ["gtv?[1n]"]}
- {name: rest, operation: subtract, source_structures: [Heart, "GTV*"]}
- {name: by standard name, source_structures: ["Hear?"]}
- {name: with brackets, source_structures: ["GTV[x]"]}
- {name: none, source_structures: ["PTV*"]}
""".replace("name: none", 'name: "none"')
    results = build(yaml, tmp_path, structures)
    np.testing.assert_array_equal(values(results["both"]), GTV | other)
    assert results["both"].used == ("manual GTV-1", "manual gtv_n")
    assert results["rest"].reason == "the result has no voxel"
    np.testing.assert_array_equal(values(results["by standard name"]), HEART)
    np.testing.assert_array_equal(values(results["with brackets"]), HEART)
    assert "no structure fits the pattern" in results["none"].reason


def test_aliases_are_tried_in_their_order(tmp_path: Path) -> None:
    head = "aliases: {Target: [CTV, 'gtv*', Heart], Pump: Herz}\n"
    yaml = "- {name: A, source_structures: [target]}\n- {name: B, source_structures: [Pump]}\n"
    results = build(yaml, tmp_path, head=head)
    np.testing.assert_array_equal(values(results["A"]), GTV)
    np.testing.assert_array_equal(values(results["B"]), HEART)
    lacking = build(yaml, tmp_path, (drawn("CTV", np.zeros(GRID.shape, bool)),), head=head)["A"]
    assert "there is no such structure, CTV: it has no voxel, gtv*: no structure fits" in lacking.reason
    structures = (*STRUCTURES, drawn("Target", LUNG_LEFT))
    np.testing.assert_array_equal(values(build(yaml, tmp_path, structures, head=head)["A"]), LUNG_LEFT)


def test_expressions_lie_in_expressions(tmp_path: Path) -> None:
    yaml = """
- name: nested
  operation: subtract
  source_structures:
    - operation: union
      source_structures: [GTV-1, {source_structures: [Heart], margin: -2}]
      margin: 4
    - Later
  crop_to: {operation: union, source_structures: [lung_left, Heart]}
- name: Later
  operation: intersection
  source_structures: [{operation: xor, source_structures: [Heart, GTV-1]}, Heart]
- {name: step 1, source_structures: [Heart], margin: -2}
- {name: step 2, source_structures: [GTV-1, step 1], margin: 4}
- {name: step 3, operation: subtract, source_structures: [step 2, Heart]}
- {name: step 4, operation: intersection, source_structures: [step 3, {source_structures: [lung_left, Heart]}]}
"""
    results = build(yaml, tmp_path)
    np.testing.assert_array_equal(values(results["nested"]), values(results["step 4"]))
    assert expression_text(results["nested"].definition) == (
        "subtract of (union of GTV-1, (union of Heart, margin -2 mm), margin 4 mm), Later, cropped to (union of "
        "lung_left, Heart)"
    )


_ARRAYS = {"GTV-1": GTV, "Heart": HEART, "lung_left": LUNG_LEFT}
_SETS = {"union": np.logical_or, "intersection": np.logical_and, "xor": np.logical_xor, "subtract": np.greater}
_NAMES = st.sampled_from(sorted(_ARRAYS))
_TREES = st.recursive(
    _NAMES,
    lambda parts: st.fixed_dictionaries(
        {"operation": st.sampled_from(sorted(_SETS)), "source_structures": st.lists(parts, min_size=1, max_size=3)}
    ),
    max_leaves=6,
)


def _expected(tree: str | dict) -> NDArray[np.bool_]:
    """What set theory says."""
    if isinstance(tree, str):
        return _ARRAYS[tree]
    return reduce(_SETS[tree["operation"]], [_expected(part) for part in tree["source_structures"]])


def _has_an_empty_part(tree: str | dict) -> bool:
    return not _expected(tree).any() or any(
        _has_an_empty_part(part) for part in ([] if isinstance(tree, str) else tree["source_structures"])
    )


@settings(deadline=None, max_examples=60)
@given(tree=_TREES.filter(lambda tree: not _has_an_empty_part(tree)))
def test_any_expression_is_what_set_theory_says(tree: str | dict) -> None:
    entry = CustomStructure.model_validate({"name": "A", "source_structures": [tree]})
    (result,) = evaluate(CustomStructures((entry,)), STRUCTURES, GRID, PRIORITY)
    np.testing.assert_array_equal(values(result), _expected(tree))


def test_what_a_nested_expression_lacks_is_said_and_inherited(tmp_path: Path) -> None:
    yaml = """
- {name: A, source_structures: [GTV-1, {operation: intersection, source_structures: [Heart, Liver]}]}
- {name: B, operation: subtract, source_structures: [Heart, {source_structures: [GTV-1, Liver]}]}
- {name: C, operation: subtract, source_structures: [Heart, {source_structures: [Liver]}]}
- {name: D, source_structures: [A], margin: 2}
"""
    results = build(yaml, tmp_path)
    np.testing.assert_array_equal(values(results["A"]), GTV)
    (missing,) = results["A"].missing_sources
    assert missing.startswith("intersection of Heart, Liver: missing sources (Liver: there is no such structure")
    assert results["B"].status == "partial"
    assert results["B"].missing_sources == ("union of GTV-1, Liver: Liver: there is no such structure",)
    assert results["C"].status == "skipped"
    assert results["D"].missing_sources == (f"A: {missing}",)


def test_a_source_at_the_edge_of_the_image_is_said_down_the_line(tmp_path: Path) -> None:
    yaml = """
- {name: A, source_structures: [lung_left], margin: -3}
- {name: B, operation: intersection, source_structures: [A, {source_structures: [GTV-1], margin: 1}]}
"""
    results = build(yaml, tmp_path)
    for name in ("A", "B"):
        assert results[name].cropped_sides == ()
        assert results[name].remarks == ("lung_left touches the edge of the image (inferior)",)
        assert results[name].status == "ok"


def test_signed_margins_differ_by_side(tmp_path: Path) -> None:
    """Growing comes first; 5 mm are two planes of 2.5 mm, 2 mm are two rows."""
    margin = "{superior_mm: 5, inferior_mm: -2.5, left_mm: 3, posterior_mm: -2}"
    yaml = f"- {{name: A, source_structures: [GTV-1], margin: {margin}}}\n"
    planes, rows, columns = (
        np.flatnonzero(values(build(yaml, tmp_path)["A"]).any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))
    )
    assert (planes[0], planes[-1]) == (7, 11)
    assert (rows[0], rows[-1]) == (10, 13)
    assert (columns[0], columns[-1]) == (10, 18)


def test_a_name_that_means_two_structures_is_no_guess(tmp_path: Path) -> None:
    structures = (drawn("PTV", GTV), drawn("PTV", HEART))
    result = build("- {name: A, source_structures: [PTV]}\n", tmp_path, structures)["A"]
    assert "2 manual structures could be meant" in result.reason


def test_a_name_that_means_two_structures_does_not_give_way_to_an_alias(tmp_path: Path) -> None:
    structures = (drawn("CTV", GTV), drawn("CTV", HEART), drawn("Other", LUNG_LEFT))
    for names in ("{CTV: Other}", "{Target: [CTV, Other]}"):
        yaml = "- {name: A, source_structures: [Target]}\n- {name: B, source_structures: [CTV]}\n"
        results = build(yaml, tmp_path, structures, head=f"aliases: {names}\n")
        assert "2 manual structures could be meant" in results["B"].reason
        assert results["A"].mask is None


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("PTV+5", "PTV5"),
        ("PTV 5.0", "PTV_50"),
        ("Lungs-GTV", "Lungs+GTV"),
        ("Lung_L", "Lung~_L"),
        ("心臓", "肝臓"),
        ("+", "#"),
    ],
)
def test_signs_other_than_hyphens_spaces_and_underscores_make_another_name(
    asked: str, there: str, tmp_path: Path
) -> None:
    yaml = f'- {{name: A, source_structures: ["{asked}"]}}\n'
    assert "no such structure" in build(yaml, tmp_path, (drawn(there, GTV),))["A"].reason
    both = build(yaml, tmp_path, (drawn(there, GTV), drawn(asked, HEART)))["A"]
    np.testing.assert_array_equal(values(both), HEART)


@pytest.mark.parametrize(
    ("asked", "there"),
    [("ösophagus_mitte", "Ösophagus Mitte"), ("O\u0308sophagus Mitte", "\u00d6sophagus-Mitte"), ("Πνεύμων", "πνεύμων")],
)
def test_letters_of_any_alphabet_are_compared_without_regard_to_case(asked: str, there: str, tmp_path: Path) -> None:
    yaml = f'- {{name: A, source_structures: ["{asked}"]}}\n'
    np.testing.assert_array_equal(values(build(yaml, tmp_path, (drawn(there, GTV),))["A"]), GTV)


def test_an_entry_may_replace_the_structure_it_is_made_from(tmp_path: Path) -> None:
    result = build("- {name: Heart, source_structures: [Heart], margin: 1}\n", tmp_path)["Heart"]
    assert values(result).sum() > HEART.sum()


def test_sides_of_the_image_that_are_touched(tmp_path: Path) -> None:
    assert build("- {name: A, source_structures: [lung left]}\n", tmp_path)["A"].cropped_sides == ("inferior",)
    assert build("- {name: A, source_structures: [GTV-1]}\n", tmp_path)["A"].cropped_sides == ()


def test_a_margin_on_unequal_planes_is_refused_with_the_reason(tmp_path: Path) -> None:
    grid = Grid(np.zeros(3), np.eye(3), (1.0, 1.0), np.array([0.0, 3.0, 9.0, 12.0]), 8, 8)
    inside = np.zeros(grid.shape, bool)
    inside[1:3, 2:5, 2:5] = True
    file = tmp_path / "custom.yaml"
    file.write_text("custom_structures:\n- {name: A, source_structures: [G], margin: 2}\n")
    (result,) = evaluate(load_custom_structures(file), (drawn("G", inside, grid=grid),), grid, PRIORITY)
    assert (result.status, result.reason) == ("skipped", "a margin needs equally spaced planes")


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("- {name: A}\n", "source_structures"),
        ("- {name: A, source_structures: []}\n", "source_structures"),
        ("- {name: A, source_structures: [B], operation: add}\n", "operation"),
        ("- {name: A, source_structures: [B], margin: {upwards_mm: 3}}\n", "upwards_mm"),
        ("- {name: A, source_structures: [B], margin: '3'}\n", "margin"),
        ("- {name: A, source_structures: [B], margin: .nan}\n", "margin"),
        ("- {name: A, source_structures: [B], colour: red}\n", "colour"),
        ("- {name: no, source_structures: [B]}\n", "name"),
        ("- {name: A, source_structures: [B]}\n- {name: a, source_structures: [B]}\n", "several entries"),
        (
            "- {name: A, source_structures: [B]}\n- {name: B, source_structures: [A]}\n",
            "in a circle: (A → B → A|B → A → B)$",
        ),
        (
            "- {name: A, source_structures: [B]}\n- {name: B, source_structures: [C]}\n"
            "- {name: C, source_structures: [D, {source_structures: [E], crop_to: {source_structures: [a]}}]}\n",
            "in a circle: .*A → .*C",
        ),
        ("- {name: A, source_structures: [&e {source_structures: [*e]}]}\n", "cyclic reference"),
        ("- {name: A, source_structures: [{source_structures: []}]}\n", "0.source_structures.0.source_structures"),
        ("- {name: A, source_structures: [{structure: B}]}\n", "0.source_structures.0.source: Field required"),
        ("- {name: A, source_structures: [{name: B, source_structures: [C]}]}\n", "0.source_structures.0.name: Extra"),
        ("- {name: A, source_structures: ['']}\n", "0.source_structures.0: String should have at least 1"),
        ('- {name: "A\\0", source_structures: [B]}\n', "control characters"),
        ("- {name: A, source_structures: [7]}\n", "0.source_structures.0: Input should be a valid string"),
        ("- {name: A, source_structures: [B], required_body_regions: [CHEST]}\n", "required_body_regions.0"),
        ("- {name: A, source_structures: [B]}\naliases: {C: D, c: E}\n", "two aliases differ only in their spelling"),
    ],
)
def test_mistakes_in_the_file_are_named(yaml: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=message) as error:
        build(yaml, tmp_path)
    assert "custom.yaml" in str(error.value)


@pytest.mark.parametrize("content", ["", "- a", "{", "structures: []"])
def test_other_files_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "custom.yaml").write_text(content)
    with pytest.raises(StageError, match=r"custom\.yaml"):
        load_custom_structures(tmp_path / "custom.yaml")


def test_a_wall_is_what_the_margins_differ_by(tmp_path: Path) -> None:
    yaml = """
- {name: Out, source_structures: [Heart], margin: 6}
- {name: In, source_structures: [Heart], margin: -3}
- {name: Both, source_structures: [Heart], wall: {outward_mm: 6, inward_mm: 3}}
- {name: Ring, source_structures: [Heart], wall: {outward_mm: 6}}
- {name: Wall, source_structures: [Heart], wall: {inward_mm: 3}}
"""
    results = build(yaml, tmp_path)
    out, inner = values(results["Out"]), values(results["In"])
    assert inner.any()
    np.testing.assert_array_equal(values(results["Both"]), out & ~inner)
    np.testing.assert_array_equal(values(results["Ring"]), out & ~HEART)
    np.testing.assert_array_equal(values(results["Wall"]), HEART & ~inner)


def test_a_structure_is_cropped_to_another_also_to_an_entry(tmp_path: Path) -> None:
    yaml = """
- {name: PTV, source_structures: [GTV-1], margin: 9, crop_to: Allowed}
- {name: Grown, source_structures: [GTV-1], margin: 9}
- {name: Allowed, source_structures: [lung_left, GTV-1]}
"""
    results = build(yaml, tmp_path)
    grown = values(results["Grown"])
    assert (grown & ~(LUNG_LEFT | GTV)).any()
    np.testing.assert_array_equal(values(results["PTV"]), grown & (LUNG_LEFT | GTV))


def test_without_what_it_is_cropped_to_nothing_is_made(tmp_path: Path) -> None:
    result = build("- {name: A, source_structures: [Heart], crop_to: Liver}\n", tmp_path)["A"]
    assert result.status == "skipped"
    assert "Liver: there is no such structure" in result.reason


def test_a_wall_without_thickness_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="a wall needs outward_mm or inward_mm above 0"):
        build("- {name: A, source_structures: [Heart], wall: {}}\n", tmp_path)


def test_the_example_of_the_guide_does_what_it_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "custom_structures.md").read_text(encoding="utf-8")
    file = tmp_path / "example.yaml"
    file.write_text(page.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    cord = np.roll(GTV, 9, axis=1)
    right = np.roll(GTV, 20, axis=2)
    structures = (
        drawn("GTV-1", GTV),
        drawn("Spinal-Cord", cord),
        drawn("Lung-Left", LUNG_LEFT),
        drawn("Lung-Right", right),
        drawn("lung_upper_lobe_left", LUNG_LEFT, "auto"),
    )
    results = {result.name: result for result in evaluate(load_custom_structures(file), structures, GRID, PRIORITY)}
    assert {result.status for result in results.values()} == {"ok"}
    np.testing.assert_array_equal(values(results["Lungs"]), LUNG_LEFT | right)
    assert (values(results["Cord_PRV05"]) & cord).sum() == cord.sum() < values(results["Cord_PRV05"]).sum()
    assert not (values(results["Lungs_outside_target"]) & GTV).any()
    assert values(results["Lungs_outside_target"])[right].any()
    np.testing.assert_array_equal(values(results["Shell"]) & ~(LUNG_LEFT & ~GTV), np.zeros(GRID.shape, bool))


def test_there_is_a_template_for_every_region_that_can_be_cropped_to() -> None:
    assert set(TEMPLATES) == set(CROPPED_TO)


def test_regions_that_can_be_required_are_those_that_are_looked_for() -> None:
    assert set(get_args(BodyRegion)) == set(REGIONS)


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_name_structures_that_totalsegmentator_finds(name: str) -> None:
    entries = load_custom_structures(template(name)).entries
    known = {*class_map["total"].values(), *(entry.name for entry in entries)}
    assert {source for entry in entries for source in entry.names} <= known
    assert len({entry.required_body_regions for entry in entries}) == 1


def test_an_entry_of_two_templates_is_the_same_in_both() -> None:
    by_name: dict[str, set[str]] = {}
    for name in TEMPLATES:
        for entry in load_custom_structures(template(name)).entries:
            by_name.setdefault(entry.name, set()).add(expression_text(entry))
    assert {name: texts for name, texts in by_name.items() if len(texts) > 1} == {}


def test_templates_come_by_the_region_that_the_ct_shows(tmp_path: Path) -> None:
    shown = {"regions": body_regions({"sacrum": 200.0, "urinary_bladder": 90.0, "liver": 60.0})}

    def names(**options: object) -> tuple[set[str], tuple[str, ...]]:
        settings = load_configuration(overrides=options)
        found = configured_structures(settings, lambda regions: why_not(shown, regions, 0.5))
        return {entry.name for entry in found.definitions.entries}, found.left_out

    pelvis = {entry.name for entry in load_custom_structures(template("pelvis")).entries}
    by_region, left_out = names(custom_structure_templates="by_region")
    assert by_region == pelvis
    assert [sentence.split(" was left out")[0] for sentence in left_out] == [
        f"the template {name}" for name in ("thorax", "abdomen", "head_neck", "brain")
    ]
    everybody, left_out = names(custom_structure_templates=["pelvis", "brain"])
    assert everybody == pelvis | {entry.name for entry in load_custom_structures(template("brain")).entries}
    assert left_out == ()
    file = tmp_path / "own.yaml"
    file.write_text(
        "custom_structures:\n- {name: IliacNodes, source_structures: [IliacVessels], margin: 9}\n"
        "- {name: Hilum, source_structures: [Aorta], required_body_regions: [THORAX]}\n"
    )
    own, left_out = names(custom_structure_templates="by_region", custom_structures=str(file))
    assert own == pelvis
    assert left_out[-1] == "Hilum was left out: the CT does not show THORAX"
    settings = load_configuration(overrides={"custom_structure_templates": "by_region", "custom_structures": str(file)})
    found = configured_structures(settings, lambda regions: why_not(shown, regions, 0.5))
    nodes = next(entry for entry in found.definitions.entries if entry.name == "IliacNodes")
    assert nodes.margin == 9
    assert "IliacNodes" not in found.from_templates
    assert "IliacVessels" in found.from_templates

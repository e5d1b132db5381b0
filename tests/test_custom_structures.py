"""Structures that the user builds from others."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from totalsegmentator.map_to_binary import class_map

from rtpipeline.anatomical_cropping import REGIONS
from rtpipeline.custom_structures import CustomResult, evaluate, load_custom_structures
from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.mask import Mask
from rtpipeline.imaging.polygons import outline
from rtpipeline.outcome import StageError
from rtpipeline.structures import Structure
from rtpipeline.structures.names import standard_name
from structure_courses import GRID, GTV, HEART, LUNG_LEFT


def drawn(name: str, values: NDArray[np.bool_], source: str = "manual", grid: Grid = GRID) -> Structure:
    return Structure(source, 1, name, standard_name(name), contours=tuple(outline(Mask.cropped(grid, values))))


STRUCTURES = (drawn("GTV-1", GTV), drawn("Heart", HEART), drawn("lung_left", LUNG_LEFT, "auto"))


def build(yaml: str, folder: Path, structures: tuple[Structure, ...] = STRUCTURES) -> dict[str, CustomResult]:
    file = folder / "custom.yaml"
    file.write_text("custom_structures:\n" + yaml, encoding="utf-8")
    return {result.definition.name: result for result in evaluate(load_custom_structures(file), structures, GRID)}


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
    assert results["from none"].status == "skipped"


def test_an_empty_source_is_a_missing_one(tmp_path: Path) -> None:
    structures = (*STRUCTURES, drawn("Empty", np.zeros(GRID.shape, bool)))
    yaml = "- {name: A, operation: subtract, source_structures: [GTV-1, Empty]}\n"
    assert "Empty: it has no voxel" in build(yaml, tmp_path, structures)["A"].reason


@pytest.mark.parametrize("name", ["Heart", "heart", "HEART ", "lung left", "Lung_L", "gtv1"])
def test_sources_are_found_in_other_spelling_and_by_standard_name(name: str, tmp_path: Path) -> None:
    assert build(f'- {{name: A, source_structures: ["{name}"]}}\n', tmp_path)["A"].status == "ok"


def test_the_name_as_it_is_wins_and_manual_wins_over_automatic(tmp_path: Path) -> None:
    structures = (drawn("heart", HEART, "auto"), drawn("Heart", GTV), drawn("HEART", LUNG_LEFT, "custom_model:x"))
    manual_first = (structures[1], structures[0], structures[2])
    assert np.array_equal(
        values(build("- {name: A, source_structures: [heart]}\n", tmp_path, manual_first)["A"]), HEART
    )
    assert np.array_equal(
        values(build("- {name: A, source_structures: [h-e-a-r-t]}\n", tmp_path, manual_first)["A"]), GTV
    )


def test_a_name_that_means_two_structures_is_no_guess(tmp_path: Path) -> None:
    structures = (drawn("PTV", GTV), drawn("PTV", HEART))
    result = build("- {name: A, source_structures: [PTV]}\n", tmp_path, structures)["A"]
    assert "2 manual structures could be meant" in result.reason


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
    (result,) = evaluate(load_custom_structures(file), (drawn("G", inside, grid=grid),), grid)
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
        ("- {name: A, source_structures: [B]}\n- {name: B, source_structures: [A]}\n", "in a circle: "),
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


TEMPLATES = sorted((Path(__file__).parents[1] / "configs" / "custom_structures").glob("*.yaml"))


def test_there_is_a_template_for_every_region_that_can_be_cropped_to() -> None:
    assert {file.stem for file in TEMPLATES} == set(REGIONS)


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.stem)
def test_templates_name_structures_that_totalsegmentator_finds(file: Path) -> None:
    entries = load_custom_structures(file)
    known = {*class_map["total"].values(), *(entry.name for entry in entries)}
    assert {name for entry in entries for name in entry.needs} <= known

"""`rtpipeline rois` lists drawn names, and takes the edited list back."""

from __future__ import annotations

import json
from pathlib import Path

import openpyxl
import pytest
from typer.testing import CliRunner, Result

from rtpipeline.cli.app import app
from rtpipeline.course import CohortFiles
from structure_courses import box, make_course, write_manual

INSIDE = box((3, 6), (3, 6), (2, 5))


@pytest.fixture
def cohort(tmp_path: Path) -> CohortFiles:
    """Two courses: both with a heart, spelt in two ways, one with a name that only looks like one."""
    cohort = CohortFiles(tmp_path)
    names = ({"Herz": INSIDE, "PTV_60": INSIDE}, {"Herz": INSIDE, "Espohagus": INSIDE, "=PTV-1cm": INSIDE})
    paths = []
    for number, rois in enumerate(names):
        course = make_course(tmp_path / f"P{number}" / "course")
        write_manual(course, **rois)
        description = course.description.model_copy(update={"patient": f"P{number}", "course": "course"})
        course.files.description.write_text(description.model_dump_json(), encoding="utf-8")
        paths.append({"path": f"P{number}/course"})
    cohort.manifest.parent.mkdir(parents=True)
    cohort.manifest.write_text(json.dumps({"courses": paths}))
    return cohort


def rois(cohort: CohortFiles, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["rois", str(cohort.folder), *arguments])


def table(path: Path) -> dict[str, dict[str, object]]:
    header, *rows = openpyxl.load_workbook(path).worksheets[0].iter_rows(values_only=True)
    return {str(row[0]): dict(zip(header, row, strict=True)) for row in rows}


def test_every_drawn_name_is_listed_with_its_proposal(cohort: CohortFiles) -> None:
    ended = rois(cohort)
    assert ended.exit_code == 0, ended.output
    rows = table(cohort.table("structure_names", ".xlsx"))
    assert set(rows) == {"Herz", "PTV 60", "Espohagus", "=PTV-1cm"}
    assert (rows["Herz"]["courses"], rows["Herz"]["standard_name"]) == (2, "Heart")
    assert rows["Herz"]["reason"] == "German 'herz'"
    assert (rows["Espohagus"]["standard_name"] or "", rows["Espohagus"]["proposed_name"]) == ("", "Esophagus")
    assert rows["Espohagus"]["confidence"] == "possible"
    assert rows["=PTV-1cm"]["confidence"] == "none"


@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
def test_the_edited_table_is_used(cohort: CohortFiles, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"names{suffix}"
    assert rois(cohort, "--output", str(file)).exit_code == 0
    if suffix == ".xlsx":
        book = openpyxl.load_workbook(file)
        for row in book.worksheets[0].iter_rows(min_row=2):
            row[1].value = "Esophagus" if row[0].value == "Espohagus" else row[1].value
        book.save(file)
    else:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
        edited = [line.replace('"Espohagus",""', '"Espohagus","Esophagus"') for line in lines]
        assert edited != lines
        file.write_text("\n".join(edited), encoding="utf-8")
    again = tmp_path / "again.xlsx"
    assert rois(cohort, "--output", str(again), "--config", f"structures.names={file}").exit_code == 0
    rows = table(again)
    assert (rows["Espohagus"]["standard_name"], rows["Espohagus"]["confidence"]) == ("Esophagus", "certain")
    assert rows["Herz"]["standard_name"] == "Heart"
    assert not rows["=PTV-1cm"]["standard_name"]


def test_other_files_are_refused(cohort: CohortFiles, tmp_path: Path) -> None:
    assert rois(cohort, "--output", "names.txt").exit_code == 2
    assert rois(CohortFiles(tmp_path / "nothing")).exit_code == 2

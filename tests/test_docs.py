"""The documentation is in step with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rtpipeline.cli import reference
from rtpipeline.tables import reference as tables_reference

PROJECT = Path(__file__).parents[1]
PAGES = sorted([PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")])
ROOMS = sorted(
    path
    for path in (PROJECT / "src" / "rtpipeline").iterdir()
    if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file()
)


def page_name(page: Path) -> str:
    return page.relative_to(PROJECT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_commands_page_is_in_step() -> None:
    page = PROJECT / "docs" / "reference" / "commands.md"
    assert page.read_text(encoding="utf-8") == reference.markdown(), "run: python -m rtpipeline.cli.reference ."


def test_tables_page_is_in_step() -> None:
    page = PROJECT / "docs" / "reference" / "tables.md"
    expected = tables_reference.markdown()
    assert page.read_text(encoding="utf-8") == expected, "run: python -m rtpipeline.tables.reference ."


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_documented_flags_exist(page: Path) -> None:
    known = set(re.findall(r"--[a-z-]+", reference.markdown())) | {"--help", "--version"}
    calls = re.findall(r"(?:^|[`/ ])rtpipeline (?!pip )[a-z][^`\n]*", page.read_text(encoding="utf-8"))
    used = {flag for call in calls for flag in re.findall(r"--[a-z][a-z-]+", call)}
    assert used - known == set()


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: path.name)
def test_architecture_names_every_room(room: Path) -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"`{room.name}{'/' if room.is_dir() else ''}`" in text

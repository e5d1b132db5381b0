"""The documentation is in step with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from rtpipeline.cli import reference
from rtpipeline.config import Configuration, load_configuration
from rtpipeline.custom_structures import load_custom_structures
from rtpipeline.inference.model_description import read_model_file
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


YAML_EXAMPLES = [
    pytest.param(text, id=f"{page_name(page)}-{number}")
    for page in PAGES
    for number, text in enumerate(
        re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL), start=1
    )
]


@pytest.mark.parametrize("text", YAML_EXAMPLES)
def test_yaml_examples_load(text: str, tmp_path: Path) -> None:
    """As what they are: custom structures, a custom model, or a part of the configuration."""
    file = tmp_path / "example.yaml"
    file.write_text(text, encoding="utf-8")
    content = yaml.safe_load(text)
    if isinstance(content.get("custom_structures"), list):
        assert load_custom_structures(file).entries
    elif "nnunet" in content:
        assert read_model_file(file).nnunet.networks
    elif set(content) <= set(Configuration.model_fields):
        load_configuration(file)
    else:
        assert all(isinstance(name, str) and isinstance(meaning, (str, dict)) for name, meaning in content.items())


@pytest.mark.parametrize("room", ROOMS, ids=lambda path: path.name)
def test_architecture_names_every_room(room: Path) -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"`{room.name}{'/' if room.is_dir() else ''}`" in text

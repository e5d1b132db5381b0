"""The files in envs/ agree with pyproject.toml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomllib
import yaml
from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
BASE = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(texts: list[str]) -> dict[str, Requirement]:
    return {plain(requirement.name): requirement for requirement in map(Requirement, texts)}


def constraints(name: str) -> dict[str, Requirement]:
    lines = (PROJECT / "envs" / name).read_text(encoding="utf-8").splitlines()
    return requirements([line for line in lines if line and not line.startswith("#")])


@pytest.mark.parametrize(
    ("file", "needed"),
    [
        ("constraints.txt", [*BASE, *EXTRAS["segmentation"], *EXTRAS["development"]]),
        ("constraints-radiomics.txt", EXTRAS["radiomics"]),
    ],
)
def test_every_requirement_is_pinned_to_a_version_it_allows(file: str, needed: list[str]) -> None:
    pins = constraints(file)
    for name, requirement in requirements(needed).items():
        (pin,) = pins[name].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), (requirement, pin)


def test_no_pin_names_a_local_build() -> None:
    assert not [
        pin
        for file in ("constraints.txt", "constraints-radiomics.txt")
        for pin in constraints(file).values()
        if "+" in str(pin.specifier)
    ]


def test_torchvision_and_timm_stay_out() -> None:
    assert not {"torchvision", "torchaudio", "timm"} & set(constraints("constraints.txt"))


def conda_packages(name: str) -> dict[str, Requirement]:
    listed = yaml.safe_load((PROJECT / "envs" / name).read_text(encoding="utf-8"))["dependencies"]
    plain_entries = [entry for entry in listed if isinstance(entry, str)]
    pip_entries = [text for entry in listed if isinstance(entry, dict) for text in entry["pip"]]
    conda_style = [re.sub(r"^([\w.-]+)=([\d.]+)(\.\*)?$", r"\1==\2.*", entry) for entry in plain_entries]
    return requirements([*conda_style, *pip_entries])


def test_conda_main_environment_has_the_published_versions() -> None:
    packages = conda_packages("rtpipeline.yaml")
    expected = {
        "python": "==3.11.*",
        "pytorch": "==2.3.*",
        "pytorch-cuda": "==12.1.*",
        "torchvision": "==0.18.*",
        "torchaudio": "==2.3.*",
        "numpy": ">=2",
        "totalsegmentator": "==2.12.0",
    }
    assert {name: str(packages[name].specifier) for name in expected} == expected
    needed = set(requirements([*BASE, *EXTRAS["segmentation"]])) - {"torch"}
    assert needed <= set(packages)


def test_conda_radiomics_environment_has_the_published_versions() -> None:
    packages = conda_packages("rtpipeline-radiomics.yaml")
    expected = {"python": "==3.10.*", "numpy": "==1.26.*", "pingouin": "==0.6.1.*"}
    assert {name: str(packages[name].specifier) for name in expected} == expected
    assert set(requirements(EXTRAS["radiomics"])) - {"pyradiomics"} <= set(packages)
    text = (PROJECT / "envs" / "rtpipeline-radiomics.yaml").read_text(encoding="utf-8")
    assert "pyradiomics==3.0.1" in text

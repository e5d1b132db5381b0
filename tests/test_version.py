"""The version is stated once per place that needs it, and everywhere the same."""

from __future__ import annotations

import re
from pathlib import Path

import tomllib
import yaml

import rtpipeline

PROJECT = Path(__file__).parents[1]


def declared_version() -> str:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def test_package() -> None:
    assert rtpipeline.__version__ == declared_version()


def test_image_label() -> None:
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r'org\.opencontainers\.image\.version="([^"]*)"', dockerfile) == [declared_version()]


def test_compose_image() -> None:
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text(encoding="utf-8"))
    images = {service["image"] for service in compose["services"].values()}
    assert images == {f"rtpipeline:{declared_version()}"}


def test_changelog() -> None:
    newest = re.search(r"^## (\S+)", (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == declared_version()


def test_compose_starts_nothing_without_a_profile_and_opens_no_port() -> None:
    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert {name: service["profiles"] for name, service in compose["services"].items()} == {
        "gpu": ["gpu"],
        "cpu": ["cpu"],
    }
    assert not any("ports" in service for service in compose["services"].values())


def test_image_does_not_run_as_root() -> None:
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (\S+)", dockerfile, flags=re.MULTILINE)[-1] == "rtpipeline"
    assert 'ENTRYPOINT ["rtpipeline"]' in dockerfile

import json
import os
from pathlib import Path

import pytest

from rtpipeline import __version__
from rtpipeline.config import Configuration, keys, load_configuration
from rtpipeline.provenance import (
    NOT_RESULT_RELEVANT,
    configuration_digest,
    digest,
    file_digest,
    input_digest,
    package_versions,
    program,
    provenance,
    result_configuration,
    tree_digest,
)
from rtpipeline.tables.parquet import write_parquet
from rtpipeline.tables.schema import Column, Table


def test_file_digest_is_the_sha256_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    # the published test vector of SHA-256 (FIPS 180-2, appendix B.1)
    assert file_digest(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_tree_digest_depends_on_names_and_contents_and_not_on_times(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder / "sub").mkdir(parents=True)
        (tmp_path / folder / "sub" / "x").write_text("1")
        (tmp_path / folder / "y").write_text("2")
    os.utime(tmp_path / "b" / "y", (1, 1))
    assert tree_digest(tmp_path / "a") == tree_digest(tmp_path / "b")
    (tmp_path / "b" / "y").rename(tmp_path / "b" / "z")
    assert tree_digest(tmp_path / "a") != tree_digest(tmp_path / "b")


def test_digest_ignores_the_order_of_keys_and_refuses_what_json_cannot_hold() -> None:
    assert digest({"a": 1, "b": [2.5, None]}) == digest({"b": [2.5, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": "1"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(float("nan"))
    with pytest.raises(TypeError):
        digest({"path": Path("x")})


def test_every_irrelevant_key_is_a_key_of_the_schema() -> None:
    known = set(keys()) | {key.split(".")[0] for key in keys()}
    assert known >= NOT_RESULT_RELEVANT


@pytest.mark.parametrize(
    "overrides",
    [
        {"cores": 3, "max_workers": 2, "scheduler.reserved_cores": 0},
        {"output_dir": "elsewhere", "dicom_root": "there", "logs_dir": "logs"},
        {"segmentation.device": "cpu", "segmentation.thread_limit": 2, "radiomics.sequential": True},
        {"custom_models.root": "somewhere"},
    ],
)
def test_how_the_work_is_done_does_not_change_the_digest(overrides: dict[str, object]) -> None:
    assert configuration_digest(load_configuration(overrides=overrides)) == configuration_digest(Configuration())


@pytest.mark.parametrize(
    "overrides",
    [
        {"segmentation.fast": True},
        {"radiomics.min_voxels": 10},
        {"radiomics_robustness.base_seed": 43},
        {"structures.dvh.exclude": ["BODY"]},
        {"custom_structure_templates": "by_region"},
    ],
)
def test_what_changes_results_changes_the_digest(overrides: dict[str, object]) -> None:
    assert configuration_digest(load_configuration(overrides=overrides)) != configuration_digest(Configuration())


def test_the_order_of_patterns_changes_the_digest() -> None:
    def of(rows: dict[str, list[str]]) -> str:
        return configuration_digest(load_configuration(overrides={"structures.priority": rows}))

    assert of({"H*": ["auto"], "*": ["manual"]}) != of({"*": ["manual"], "H*": ["auto"]})


def test_files_that_the_configuration_names_count_with_their_content(tmp_path: Path) -> None:
    def of(path: Path) -> str:
        return configuration_digest(load_configuration(overrides={"radiomics.params_file": str(path)}))

    (tmp_path / "a.yaml").write_text("binWidth: 25")
    (tmp_path / "b.yaml").write_text("binWidth: 25")
    (tmp_path / "c.yaml").write_text("binWidth: 10")
    assert of(tmp_path / "a.yaml") == of(tmp_path / "b.yaml")
    assert len({of(tmp_path / name) for name in ("a.yaml", "c.yaml", "missing.yaml")}) == 3


def test_custom_models_count_with_their_content_when_they_are_on(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights.pth").write_bytes(b"1")
    overrides = {"custom_models.enabled": True, "custom_models.root": str(tmp_path)}
    before = configuration_digest(load_configuration(overrides=overrides))
    (model / "weights.pth").write_bytes(b"22")
    assert configuration_digest(load_configuration(overrides=overrides)) != before


def test_input_digest_does_not_depend_on_where_the_files_lie(tmp_path: Path) -> None:
    table = Table(
        "index",
        "One row per file.",
        (
            Column("path", "text", "Path."),
            Column("sop_instance_uid", "text", "UID."),
            Column("size_bytes", "integer", "Size."),
        ),
        ("path",),
    )
    files = [("a", "1.2.3", 5), ("b", "1.2.1", 7)]
    moved = [("z/a", "1.2.3", 5), ("b", "1.2.1", 7)]
    changed = [("a", "1.2.3", 5), ("b", "1.2.1", 8)]
    digests = []
    for rows in (files, moved, changed):
        named = [dict(zip(("path", "sop_instance_uid", "size_bytes"), row, strict=True)) for row in rows]
        write_parquet(tmp_path / "index.parquet", table, named)
        digests.append(input_digest(tmp_path / "index.parquet"))
    assert digests[0] == digests[1] != digests[2]


def test_provenance_is_json_and_the_same_each_time(tmp_path: Path) -> None:
    first = json.dumps(provenance(Configuration(), index=tmp_path / "none", radiomics_environment={"numpy": "1.26"}))
    assert first == json.dumps(provenance(Configuration(), radiomics_environment={"numpy": "1.26"}))
    content = json.loads(first)
    assert content["rtpipeline"]["version"] == __version__
    assert content["packages"]["numpy"]
    assert content["input_digest"] is None
    assert content["configuration"] == result_configuration(Configuration())


def test_packages_that_are_missing_are_left_out() -> None:
    assert set(package_versions(["numpy", "no-such-package-of-ours"])) == {"numpy"}


def test_program_names_the_commit_in_a_checkout() -> None:
    found = program()
    assert len(found["source_digest"]) == 64
    if (Path(__file__).resolve().parents[1] / ".git").exists():
        assert len(found["commit"].removesuffix("+changes")) == 40

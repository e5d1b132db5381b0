"""The table of tasks against the installed TotalSegmentator, and the options that a task takes."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtpipeline.inference.tasks import FEWEST_PLANES_TO_SPLIT, TASKS, missing_models, options, weights_folder


def _task_branches() -> dict[str, list[ast.stmt]]:
    """The body of each `if task == …` branch in TotalSegmentator's own source."""
    from totalsegmentator import python_api

    tree = ast.parse(inspect.getsource(python_api.totalsegmentator))
    branches: dict[str, list[ast.stmt]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Compare):
            left, right = node.test.left, node.test.comparators[0]
            if isinstance(left, ast.Name) and left.id == "task" and isinstance(right, ast.Constant):
                branches[str(right.value)] = node.body
    return branches


def _values(body: list[ast.stmt], name: str) -> list[Any]:
    """Every constant assigned to `name`, in the order of the source."""
    found = []
    for node in ast.walk(ast.Module(body, [])):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            found.append(ast.literal_eval(node.value))
    return found


def _models(value: int | list[int]) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def test_the_table_has_exactly_the_tasks_of_the_installed_version() -> None:
    assert set(TASKS) == set(_task_branches()) - {"test", "total_highres_test"}


@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_table_says_what_the_installed_version_does(name: str) -> None:
    body, task = _task_branches()[name], TASKS[name]
    models = [_models(value) for value in _values(body, "task_id")]
    assert task.models in models
    assert (task.fast_models in models) if task.fast_models else len(models) == 1
    spacings = [value[2] if isinstance(value, list) else value for value in _values(body, "resample")]
    assert any(spacing == pytest.approx(task.plane_spacing_mm, abs=0.001) for spacing in spacings)
    crops = [value for value in _values(body, "crop") if value is not None]
    assert bool(crops) == bool(task.crop_models)
    assert ("show_license_info" in ast.dump(ast.Module(body, []))) == task.licensed


def test_fast_and_roi_subset_go_only_to_tasks_that_take_them() -> None:
    assert options("total", fast=True, roi_subset=("liver",)).models == (297, 298)
    assert options("total", fast=False, roi_subset=None).models == (291, 292, 293, 294, 295)
    assert options("total_mr", fast=True, roi_subset=("liver",)).models == (852,)
    heart = options("heartchambers_highres", fast=True, roi_subset=("liver",))
    assert not heart.fast
    assert heart.roi_subset == ()
    assert heart.models == (301, 297)


def _split_adds_up(planes: int) -> bool:
    """TotalSegmentator's own three slices, put together again."""
    image = np.arange(planes)
    third, margin = planes // 3, 20
    parts = [image[: third + margin], image[third + 1 - margin : third * 2 + margin], image[third * 2 + 1 - margin :]]
    combined = np.full(planes, -1)
    try:
        combined[:third] = parts[0][:-margin]
        combined[third : third * 2] = parts[1][margin - 1 : -margin]
        combined[third * 2 :] = parts[2][margin - 1 :]
    except ValueError:
        return False
    return bool(np.array_equal(combined, image))


def test_images_are_split_exactly_where_the_split_adds_up() -> None:
    assert next(planes for planes in range(1, 200) if _split_adds_up(planes)) == FEWEST_PLANES_TO_SPLIT
    assert all(_split_adds_up(planes) for planes in range(FEWEST_PLANES_TO_SPLIT, 400))
    fast, full = (options("total", fast=fast, roi_subset=None) for fast in (True, False))
    assert not fast.can_split(57 * 3.0)
    assert fast.can_split(58 * 3.0)
    assert full.can_split(58 * 1.5)
    assert not options("total", fast=True, roi_subset=("liver",)).can_split(1000.0)
    assert not options("lung_nodules", fast=False, roi_subset=None).can_split(1000.0)


def test_weights_are_looked_for_where_totalsegmentator_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from totalsegmentator.config import get_weights_dir

    for variables in ({}, {"TOTALSEG_HOME_DIR": "/a/home"}, {"TOTALSEG_WEIGHTS_PATH": "/a/weights"}):
        for name in ("TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert weights_folder(None) == Path(get_weights_dir())
    assert weights_folder(tmp_path) == tmp_path


def test_missing_models_are_named(tmp_path: Path) -> None:
    task = options("total", fast=False, roi_subset=None)
    (tmp_path / "Dataset291_x").mkdir()
    (tmp_path / "Dataset295_x").mkdir()
    assert missing_models(tmp_path, task) == (292, 293, 294)

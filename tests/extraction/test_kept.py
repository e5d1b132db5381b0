"""Results that a run which was killed leaves to the next one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rtpipeline.extraction.jobs import ExtractionJob, ImageOnDisk, JobResult, MaskOnDisk, Part
from rtpipeline.extraction.kept import KeptResults
from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.radiomics_parallel import store_image, store_mask

ORIGIN = {"numpy": "1.26.4", "source": "abc"}
IMAGE = ImageOnDisk(Path("image.npy"), (0.0, 0.1, 0.2), (1.0, 1.0, 3.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1), "1a")
JOB = ExtractionJob("one", IMAGE, MaskOnDisk(Path("mask.npy"), (1, 2, 3), "2b"), {"setting": {"binWidth": 25}}, 7.0)
RESULT = JobResult("one", "ok", {"a": 0.1 + 0.2, "b": None}, {"Mask-original_VoxelNum": 9.0})


def test_digests_are_of_the_content_alone(tmp_path: Path) -> None:
    """Equal content has one digest wherever it lies; other content has another, be it the last bit of one voxel."""
    grid = Grid.uniform((0, 0, 0), (1, 1, 1), (4, 3, 2))
    values = np.arange(24, dtype=np.float32).reshape(grid.shape)
    changed = values.copy()
    changed[1, 2, 3] = np.nextafter(changed[1, 2, 3], np.float32(99))
    one, again, other = (
        store_image(tmp_path / f"image_{number}.npy", Volume(grid, content)).digest
        for number, content in enumerate((values, values.copy(), changed))
    )
    assert one == again != other

    square = Grid.uniform((0, 0, 0), (1, 1, 1), (6, 6, 6))
    flat, tall = (
        store_mask(tmp_path / f"{planes}.npy", Mask(square.crop(*box), np.ones((planes, rows, 1), bool)), square)
        for planes, rows in ((2, 3), (3, 2))
        for box in [(slice(0, planes), slice(0, rows), slice(0, 1))]
    )
    assert flat.digest != tall.digest, "the same bytes in another shape"


def test_a_result_is_there_for_the_same_job_under_any_name_and_at_any_place(tmp_path: Path) -> None:
    KeptResults(tmp_path / "new" / "kept", ORIGIN).add(JOB, RESULT)

    moved = replace(JOB, key="two", size=9.0, image=replace(IMAGE, file=Path("elsewhere.npy")))

    assert KeptResults(tmp_path / "new" / "kept", ORIGIN).of(moved) == replace(RESULT, key="two")


@pytest.mark.parametrize(
    "other",
    [
        replace(JOB, image=replace(IMAGE, digest="other values")),
        replace(JOB, image=replace(IMAGE, spacing_mm=(1.0, 1.0, 2.0))),
        replace(JOB, mask=replace(JOB.mask, offset=(1, 2, 4))),
        replace(JOB, mask=replace(JOB.mask, digest="other voxels")),
        replace(JOB, parameters={"setting": {"binWidth": 20}}),
        replace(JOB, part=Part(first=True, image_types={})),
        replace(JOB, diagnostics=True),
    ],
)
def test_another_image_mask_or_parameter_is_computed(tmp_path: Path, other: ExtractionJob) -> None:
    KeptResults(tmp_path / "kept", ORIGIN).add(JOB, RESULT)

    assert KeptResults(tmp_path / "kept", ORIGIN).of(other) is None


def test_another_version_computes_again(tmp_path: Path) -> None:
    KeptResults(tmp_path / "kept", ORIGIN).add(JOB, RESULT)

    assert KeptResults(tmp_path / "kept", {**ORIGIN, "numpy": "1.26.5"}).of(JOB) is None


def test_a_line_that_a_kill_left_half_written_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "kept"
    KeptResults(file, ORIGIN).add(JOB, RESULT)
    whole = file.read_bytes()
    file.write_bytes(whole + whole[: len(whole) // 2])
    other = replace(JOB, parameters={})

    kept = KeptResults(file, ORIGIN)
    kept.add(other, RESULT)

    again = KeptResults(file, ORIGIN)
    assert again.of(JOB) == RESULT
    assert again.of(other) == RESULT


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    KeptResults(tmp_path / "kept", ORIGIN).add(JOB, JobResult("one", "failed", {}, reason="no memory"))

    assert not (tmp_path / "kept").exists()

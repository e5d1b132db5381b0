"""Which jobs are divided, and which part a free worker does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rtpipeline.extraction.jobs import ExtractionJob, ImageOnDisk, MaskOnDisk
from rtpipeline.extraction.parts import in_parts, next_part, parts_of

IMAGE = ImageOnDisk(Path("image.npy"), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1), "1a")
CT: dict[str, Any] = {
    "setting": {},
    "imageType": {"Original": {}, "LoG": {"sigma": [1.0, 2.0, 3.0, 5.0]}, "Wavelet": {}},
    "featureClass": {"shape": [], "glcm": []},
}


def job(key: str, size: float, parameters: dict[str, Any] = CT) -> ExtractionJob:
    return ExtractionJob(key, IMAGE, MaskOnDisk(Path("mask.npy"), (0, 0, 0), key), parameters, size)


def test_only_what_would_keep_one_worker_busy_alone_is_divided() -> None:
    jobs = [job("lung", 3000), job("other lung", 2300), job("ball", 300), job("tumour", 150), job("cord", 45)]

    assert [len(parts) for parts in in_parts(jobs, workers=2)] == [14, 14, 1, 1, 1]
    assert [len(parts) for parts in in_parts(jobs, workers=1)] == [1] * 5
    assert [len(parts) for parts in in_parts([job("small", 29), job("smaller", 20)], workers=2)] == [1, 1]


def test_parts_are_shape_and_every_image_once() -> None:
    first, *others = parts_of(job("lung", 2800))

    assert first.part is not None
    assert (first.part.first, first.part.image_types) == (True, {})
    bands = ("LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH", "LLL")
    assert [other.part.image_types for other in others if other.part is not None] == [
        {"Original": {}},
        *({"LoG": {"sigma": [sigma]}} for sigma in (1.0, 2.0, 3.0, 5.0)),
        *({"Wavelet": {"band": band}} for band in bands),
    ]
    assert sum(part.size for part in (first, *others)) == pytest.approx(2800)


@pytest.mark.parametrize(
    ("waiting", "last", "under_way", "chosen"),
    [
        ("AAAB", "", (), 0),
        ("AAAB", "B", ("A",), 3),  # it has the image and mask of B at hand
        ("AAAB", "C", ("A",), 3),  # nobody has begun with B
        ("AAA", "C", ("A",), 0),  # enough is left of A to help
        ("AA", "C", ("A",), None),  # who is at A is done sooner
        ("AA", "A", (), 0),
    ],
)
def test_a_worker_stays_with_its_structure_then_begins_another_then_helps(
    waiting: str, last: str, under_way: tuple[str, ...], chosen: int | None
) -> None:
    assert next_part([job(key, 1.0) for key in waiting], last, under_way) == chosen

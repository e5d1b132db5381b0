"""A job in parts, so that several workers can share one large structure: its shape, and each filtered image.

Every number comes out of one part alone, and parts are joined in the order in which an undivided job has its features;
so neither the values nor their order depend on who computed what.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rtpipeline.extraction.jobs import ExtractionJob, JobResult, Part

PARTS_A_WORKER = 8
"""A job is divided where it is more than one in so many of a worker's share of all jobs."""

WORTH_SHARING = 3
"""How many parts of a job must be left for another worker to help: to resample takes as long as one or two of them."""

SMALLEST_CM3 = 30.0
"""Smaller structures are done sooner than it takes two workers to resample them twice."""


def in_parts(jobs: Sequence[ExtractionJob], workers: int) -> list[list[ExtractionJob]]:
    """For each job its parts: several where it would keep one worker busy while the others have nothing to do."""
    share = sum(job.size for job in jobs) / workers / PARTS_A_WORKER
    return [parts_of(job) if workers > 1 and job.size > max(share, SMALLEST_CM3) else [job] for job in jobs]


def parts_of(job: ExtractionJob) -> list[ExtractionJob]:
    """The job as one for its shape and diagnostics, and one for each filtered image; of equal size."""
    parts = [Part(first=True, image_types={})]
    if any(not name.startswith("shape") for name in job.parameters["featureClass"]):
        parts += [Part(first=False, image_types=one) for one in _single_images(job.parameters)]
    return [replace(job, part=part, size=job.size / len(parts)) for part in parts]


def next_part(waiting: Sequence[ExtractionJob], last: str, under_way: Collection[str]) -> int | None:
    """Which part a worker that is free does: of its own job, of the next job, or of one that others are at.

    Args:
        waiting: in the order of their jobs, the largest first; not empty.
        last: key of the job whose part it did last.
        under_way: keys of the jobs that other workers are at.

    Returns:
        Its index; None where others are done with what is left sooner than this one has resampled the structure.
    """
    keys = [part.key for part in waiting]
    if last in keys:
        return keys.index(last)
    fresh = (index for index, key in enumerate(keys) if key not in under_way)
    shared = (index for index, key in enumerate(keys) if keys.count(key) >= WORTH_SHARING)
    return next(fresh, next(shared, None))


def joined(results: Sequence[JobResult]) -> JobResult:
    """The result of a job from those of its parts, in their order; the first that is not ok stands for all."""
    for result in results:
        if result.status != "ok":
            return result
    features = {name: value for result in results for name, value in result.features.items()}
    return replace(results[0], features=features)


def _single_images(parameters: Mapping[str, Any]) -> Iterator[dict[str, dict[str, Any]]]:
    """`imageType` of a parameter file as several that make one image each, where that can be told from it."""
    for image_type, own in parameters["imageType"].items():
        setting = {**parameters["setting"], **own}
        if image_type == "LoG" and "sigma" in own:
            yield from ({image_type: {**own, "sigma": [sigma]}} for sigma in own["sigma"])
        elif image_type == "Wavelet" and setting.get("level", 1) == 1 and setting.get("start_level", 0) == 0:
            yield from ({image_type: {**own, "band": band}} for band in _bands(2 if setting.get("force2D") else 3))
        else:
            yield {image_type: dict(own)}


def _bands(axes: int) -> list[str]:
    """PyRadiomics' names of the bands in its order: the approximation last."""
    approximation, *details = map("".join, itertools.product("LH", repeat=axes))
    return [*details, approximation]

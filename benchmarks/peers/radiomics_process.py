"""One side of the radiomics benchmark, run by the radiomics environment's interpreter: `plain` or `ours`.

Standard input: a line of JSON for each job (`ExtractionJob.as_message`). Standard output: a line for each with the
seconds of processor time, the features, and the peak memory of the process so far in bytes.
"""

import json
import logging
import resource
import sys
import time
from functools import lru_cache

import numpy as np
import SimpleITK as sitk
from radiomics.featureextractor import RadiomicsFeatureExtractor

from rtpipeline.extraction.engine import extract
from rtpipeline.extraction.jobs import ExtractionJob, ImageOnDisk


@lru_cache(maxsize=1)
def whole_image(image: ImageOnDisk) -> sitk.Image:
    return with_geometry(np.load(image.file), image)


def with_geometry(values: np.ndarray, image: ImageOnDisk) -> sitk.Image:
    volume = sitk.GetImageFromArray(values)
    volume.SetOrigin(image.origin_mm)
    volume.SetSpacing(image.spacing_mm)
    volume.SetDirection(image.direction)
    return volume


def whole_mask(job: ExtractionJob) -> sitk.Image:
    part = np.load(job.mask.file)
    values = np.zeros(np.load(job.image.file, mmap_mode="r").shape, np.uint8)
    box = tuple(slice(first, first + size) for first, size in zip(job.mask.offset, part.shape, strict=True))
    values[box] = part
    return with_geometry(values, job.image)


def plain(job: ExtractionJob) -> tuple[float, dict[str, float]]:
    """PyRadiomics on image and mask in memory, without its diagnostics."""
    extractor = RadiomicsFeatureExtractor(**{**job.parameters["setting"], "additionalInfo": False, "label": 1})
    extractor.enabledImagetypes = job.parameters["imageType"]
    extractor.enabledFeatures = job.parameters["featureClass"]
    image, mask = whole_image(job.image), whole_mask(job)
    start = time.process_time()
    features = extractor.execute(image, mask)
    return time.process_time() - start, {name: float(value) for name, value in features.items()}


def ours(job: ExtractionJob) -> tuple[float, dict[str, float | None]]:
    """The engine, reading image and mask from the files that a stage hands over."""
    start = time.process_time()
    features = dict(extract(job).features)
    return time.process_time() - start, features


if __name__ == "__main__":
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    side = {"plain": plain, "ours": ours}[sys.argv[1]]
    for line in sys.stdin:
        seconds, features = side(ExtractionJob.from_message(json.loads(line)))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        sys.stdout.write(json.dumps({"seconds": seconds, "features": features, "peak_bytes": peak}) + "\n")
        sys.stdout.flush()

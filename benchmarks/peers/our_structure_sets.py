"""rtpipeline's own structure sets, in a process of its own like its peer; see `rt_utils_process.py`.

Prints also how many voxels differ between what was written and what was read.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from phantom_masks import masks, names

from rtpipeline.dicom.image_series import read_geometry
from rtpipeline.dicom.rtstruct import RoiToWrite, read_structure_set, write_structure_set
from rtpipeline.imaging.contours import rasterise
from rtpipeline.imaging.keyholes import keyholed_outline
from rtpipeline.imaging.mask import Mask


def main(images: Path, path: Path) -> None:
    start = time.process_time()
    grid = read_geometry(images).grid
    seconds = time.process_time() - start
    rois = []
    for name, mask in zip(names(), masks(), strict=True):
        start = time.process_time()
        rois.append(RoiToWrite(name, keyholed_outline(Mask.cropped(grid, mask))))
        seconds += time.process_time() - start
    start = time.process_time()
    write_structure_set(path, images, rois, label="benchmark")
    written = seconds + time.process_time() - start
    del rois
    start = time.process_time()
    grid = read_geometry(images).grid
    found = [rasterise(roi.contours, grid) for roi in read_structure_set(path).rois]
    read = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    different = sum(int(np.count_nonzero(mask.on(grid) != drawn)) for mask, drawn in zip(found, masks(), strict=True))
    print(json.dumps({"write_s": written, "read_s": read, "peak_bytes": peak, "different_voxels": different}))


main(Path(sys.argv[1]), Path(sys.argv[2]))

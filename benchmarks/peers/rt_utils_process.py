"""rt-utils in an environment of its own: writes and reads the structures of `phantom_masks`.

Arguments: folder of the images, structure set. Prints one JSON object: seconds of processor time to write and to read,
and the largest memory in bytes.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np
from phantom_masks import masks, names
from rt_utils import RTStructBuilder


def main(images: str, path: str) -> None:
    start = time.process_time()
    writer = RTStructBuilder.create_new(dicom_series_path=images)
    seconds = time.process_time() - start
    for name, mask in zip(names(), masks(), strict=True):
        turned = np.moveaxis(mask, 0, 2)
        start = time.process_time()
        writer.add_roi(mask=turned, name=name)
        seconds += time.process_time() - start
    start = time.process_time()
    writer.save(path)
    written = seconds + time.process_time() - start
    start = time.process_time()
    reader = RTStructBuilder.create_from(dicom_series_path=images, rt_struct_path=path)
    for name in names():
        reader.get_roi_mask_by_name(name)
    read = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"write_s": written, "read_s": read, "peak_bytes": peak}))


main(*sys.argv[1:])

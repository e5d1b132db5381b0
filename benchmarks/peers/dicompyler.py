"""dicompyler-core in an environment of its own; answers requests on its standard input, one JSON object a line.

Request: structure set, dose, and the metrics that are wanted (none: only the time counts). Answer: seconds of processor
time from the first file to the last curve, and the metrics of each ROI by its number.
"""

from __future__ import annotations

import json
import sys
import time
import warnings

from dicompylercore import dicomparser, dvhcalc


def answer(request: dict) -> dict:
    start = time.process_time()
    structure_set = dicomparser.DicomParser(request["structure_set"])
    dose = dicomparser.DicomParser(request["dose"])
    curves = {}
    for number in structure_set.GetStructures():
        if structure_set.GetStructureCoordinates(number):
            curves[number] = dvhcalc.get_dvh(structure_set.ds, dose.ds, number)
    seconds = time.process_time() - start
    return {
        "seconds": seconds,
        "rois": {number: values(curve, request["metrics"]) for number, curve in curves.items()},
    }


def values(curve, metrics: list[str]) -> dict[str, float]:
    found = {}
    for metric in metrics:
        if metric in ("volume", "mean"):
            found[metric] = float(getattr(curve, metric))
        else:
            found[metric] = float(curve.statistic(metric).value)
    return found


warnings.simplefilter("ignore")
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)

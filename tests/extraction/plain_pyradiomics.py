"""The oracle: plain PyRadiomics on a whole image and a whole mask, run by the radiomics environment's interpreter.

Standard input: `{"image": file.npy, "mask": file.npy, "origin": …, "spacing": …, "direction": …, "parameters": file}`.
Standard output: `features` and `diagnostics`: name → value.
"""

import json
import logging
import sys

import numpy as np
import SimpleITK as sitk
from radiomics.featureextractor import RadiomicsFeatureExtractor

logging.getLogger("radiomics").setLevel(logging.ERROR)
request = json.load(sys.stdin)
volumes = []
for file in (request["image"], request["mask"]):
    array = np.load(file)
    volume = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
    volume.SetOrigin(request["origin"])
    volume.SetSpacing(request["spacing"])
    volume.SetDirection(request["direction"])
    volumes.append(volume)
features = RadiomicsFeatureExtractor(request["parameters"]).execute(*volumes)
values = {name: float(value) for name, value in features.items() if not name.startswith("diagnostics_")}
diagnostics = {name: value for name, value in features.items() if name not in values}
sys.stdout.write(json.dumps({"features": values, "diagnostics": diagnostics}, default=float))

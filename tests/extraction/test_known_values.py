"""Features of the digital phantom against a table by plain PyRadiomics, whatever Python and libraries extract here.

`known_values.csv` was written once with plain PyRadiomics 3.0.1 (`plain_pyradiomics.py`) on Python 3.10, NumPy 1.26.4,
SimpleITK 2.5.7, PyWavelets 1.8.0.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from ibsi_reference import digital_phantom
from rtpipeline.extraction.jobs import ExtractionJob
from rtpipeline.radiomics_parallel import RadiomicsClient

pytestmark = pytest.mark.radiomics_environment

KNOWN_VALUES = Path(__file__).with_name("known_values.csv")
SOME_OF_EACH = (
    "{shape: [], firstorder: [Mean, Variance, Skewness, 90Percentile, Entropy], glcm: [Contrast, ClusterShade, MCC], "
    "glrlm: [RunEntropy], glszm: [ZoneEntropy], gldm: [DependenceEntropy], ngtdm: [Complexity]}"
)
CASES = {
    "as_it_is": "setting: {binWidth: 1}",
    "resampled_and_filtered": f"featureClass: {SOME_OF_EACH}\n"
    "imageType: {Original: {}, LoG: {sigma: [2.0]}, Wavelet: {}}\n"
    "setting: {binWidth: 1, resampledPixelSpacing: [1, 1, 1], interpolator: sitkBSpline}",
}


@pytest.mark.parametrize("case", CASES)
def test_features_are_those_that_plain_pyradiomics_had(
    case: str,
    tmp_path: Path,
    client: RadiomicsClient,
    make_job: Callable[..., ExtractionJob],
    plain_features: Callable[..., dict[str, float]],
) -> None:
    with KNOWN_VALUES.open(encoding="utf-8", newline="") as lines:
        known = {row["feature"]: float(row["value"]) for row in csv.DictReader(lines) if row["case"] == case}
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text(CASES[case], encoding="utf-8")
    volume, mask = digital_phantom()

    (result,) = client.extract([make_job(case, volume, mask, parameters)], timeout_s=600)

    assert len(known) == {"as_it_is": 14 + 93, "resampled_and_filtered": 14 + 10 * 12}[case]
    assert result.features == pytest.approx(known, rel=1e-10, abs=1e-12)
    assert plain_features(volume, mask, parameters) == pytest.approx(known, rel=1e-10, abs=1e-12)

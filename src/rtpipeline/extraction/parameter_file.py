"""Parameter files in PyRadiomics' format, validated by it, and by what its validation lets pass but cannot work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from radiomics.featureextractor import RadiomicsFeatureExtractor
from ruamel.yaml.error import YAMLError  # type: ignore[import-not-found]

_MAY_BE_EMPTY = frozenset(
    {
        # Without a value the library does not do, or look at, what they are about.
        *("binCount", "geometryTolerance", "interpolator", "label_channel", "minimumROISize", "removeOutliers"),
        *("resampledPixelSpacing", "resegmentRange", "weightingNorm"),
        # Empty is false.
        *("additionalInfo", "correctMask", "normalize", "preCrop", "resegmentShape", "symmetricalGLCM"),
    }
)
_TEXTS = frozenset({"interpolator", "lbp2DMethod", "resegmentMode", "wavelet", "weightingNorm"})
_LENGTHS = {
    "distances": (1, math.inf, "1 or more"),
    "resampledPixelSpacing": (3, 3, "3"),
    "resegmentRange": (1, 2, "1 or 2"),
}
"""Of lists: the fewest and the most values, and both in words."""


class ParameterError(ValueError):
    """A parameter file is not what PyRadiomics accepts."""


def read_parameters(file: Path) -> dict[str, Any]:
    """Read and validate a parameter file in PyRadiomics' format, with the library's own schema.

    Returns:
        `setting` (with the library's defaults filled in), `imageType` and `featureClass`, JSON-ready.

    Raises:
        ParameterError: the library refuses it (not YAML, an unknown class, feature or setting, a value of the wrong
            type), or would fail with it for every structure.
    """
    try:
        library = RadiomicsFeatureExtractor(str(file))
    except (OSError, ValueError, TypeError, RuntimeError, YAMLError) as error:
        raise ParameterError(f"{file}: {_sentence(error)}") from error
    problems = [*_problems("setting", library.settings)]
    for name, own in library.enabledImagetypes.items():
        problems += _problems(f"imageType/{name}", own)
    if problems:
        raise ParameterError(f"{file}: {'; '.join(problems)}")
    return {
        "setting": library.settings,
        "imageType": dict(library.enabledImagetypes),
        "featureClass": library.enabledFeatures,
    }


def _problems(where: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """What the library's schema does not see: values that are missing, numbers as text, lists of a wrong length."""
    for name, value in settings.items():
        values = value if isinstance(value, list) else [value]
        fewest, most, in_words = _LENGTHS.get(name, (0, math.inf, ""))
        if value is None and name not in _MAY_BE_EMPTY:
            yield f"{where}/{name} has no value"
        elif name not in _TEXTS and any(isinstance(one, str) for one in values):
            yield f"{where}/{name} is a text instead of a number: {value!r}"
        elif any(isinstance(one, float) and not math.isfinite(one) for one in values):
            yield f"{where}/{name} is not a finite number"
        elif value is not None and not fewest <= len(values) <= most:
            yield f"{where}/{name} has {len(values)} values instead of {in_words}"


def _sentence(error: Exception) -> str:
    """What the library, its schema's validator or its YAML reader says, in one line."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return f"{getattr(error, 'problem', error)} (line {mark.line + 1})"
    text = str(getattr(error, "msg", error))
    return " ".join(line.strip(" -") for line in text.splitlines())

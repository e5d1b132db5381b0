"""PyRadiomics' extractor with two differences: it is told its parameters, and its image and mask come prepared.

Everything after loading (mask checks, resegmentation, filters, discretisation, matrices, features) is the library's
own code, so its definitions and values are the library's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from radiomics.featureextractor import RadiomicsFeatureExtractor
from ruamel.yaml.error import YAMLError  # type: ignore[import-not-found]


class ParameterError(ValueError):
    """A parameter file is not what PyRadiomics accepts."""


def read_parameters(file: Path) -> dict[str, Any]:
    """Read and validate a parameter file in PyRadiomics' format, with the library's own schema.

    Returns:
        `setting` (with the library's defaults filled in), `imageType` and `featureClass`, JSON-ready.

    Raises:
        ParameterError: the library refuses it: not YAML, an unknown class, feature or setting, a value of the wrong
            type.
    """
    try:
        library = RadiomicsFeatureExtractor(str(file))
    except (OSError, ValueError, TypeError, RuntimeError, YAMLError) as error:
        raise ParameterError(f"{file}: {error}") from error
    return {
        "setting": library.settings,
        "imageType": {name: settings or {} for name, settings in library.enabledImagetypes.items()},
        "featureClass": library.enabledFeatures,
    }


class PreparedExtractor(RadiomicsFeatureExtractor):
    """Extracts from an image and a mask that are resampled and cut already."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        super().__init__(**{**parameters["setting"], "additionalInfo": False, "label": 1})
        self.enabledImagetypes = dict(parameters["imageType"])
        self.enabledFeatures = dict(parameters["featureClass"])

    @staticmethod
    def loadImage(image: sitk.Image, mask: sitk.Image, *_: Any, **__: Any) -> tuple[sitk.Image, sitk.Image]:  # noqa: N802  the library's name
        """Take image and mask as they are."""
        return image, mask

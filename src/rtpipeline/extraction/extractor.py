"""PyRadiomics' extractor with four differences: it is told its parameters, its image and mask come prepared, the
classes of features are this package's where they handle the settings, and it can be asked for a part of the features.

Mask checks, resegmentation, filters and every other class of features are the library's own code, and so are the
formulas of the features: ours replace what they are computed from. See `docs/explanation/radiomics.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from radiomics import getFeatureClasses, imageoperations
from radiomics.featureextractor import RadiomicsFeatureExtractor
from radiomics.imageoperations import checkMask, cropToTumorMask, resegmentMask

from rtpipeline.extraction.firstorder import FirstOrder
from rtpipeline.extraction.glcm import Glcm
from rtpipeline.extraction.gldm import Gldm
from rtpipeline.extraction.glrlm import Glrlm
from rtpipeline.extraction.glszm import Glszm
from rtpipeline.extraction.jobs import Part
from rtpipeline.extraction.ngtdm import Ngtdm
from rtpipeline.extraction.region import Place, Region
from rtpipeline.extraction.shape import Shape
from rtpipeline.extraction.usable import UnusableStructureError, require_usable
from rtpipeline.extraction.wavelet import wavelet_images

CLASSES = {"firstorder": FirstOrder, "glcm": Glcm, "glrlm": Glrlm, "glszm": Glszm, "gldm": Gldm, "ngtdm": Ngtdm}
"""PyRadiomics' names of classes → ours; each says which settings it handles."""


@dataclass(frozen=True)
class Checked:
    """An image and its masks, resampled, cut, found usable by PyRadiomics, and resegmented where that is asked for.

    Attributes:
        image: before any filter.
        whole_mask: the structure before resegmentation.
        shape_mask: of the features of shape.
        mask: of all other features.
        box: of `mask`, as PyRadiomics has it: lowest and highest index along x, y and z.
        is_resegmented: `mask` is not all of the structure.
    """

    image: sitk.Image
    whole_mask: sitk.Image
    shape_mask: sitk.Image
    mask: sitk.Image
    box: NDArray[np.int64]
    is_resegmented: bool = False


class PreparedExtractor(RadiomicsFeatureExtractor):
    """Extracts from an image and a mask that are resampled and cut already."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        super().__init__(**{**parameters["setting"], "additionalInfo": False, "label": 1})
        self.enabledImagetypes = dict(parameters["imageType"])
        self.enabledFeatures = dict(parameters["featureClass"])
        self._place: Place | None = None

    def check(self, image: sitk.Image, mask: sitk.Image) -> Checked:
        """PyRadiomics' checks of a mask, and its resegmentation; the box is that of the last mask, also for shape.

        Raises:
            UnusableStructureError: the mask is empty, too small or has too few dimensions, possibly after
                resegmentation.
        """
        setting = self.settings
        self._setTolerance()
        require_usable(mask, setting)
        box, _ = checkMask(image, mask, **setting)
        if setting.get("resegmentRange") is None:
            return Checked(image, mask, mask, mask, box)
        try:
            remaining = resegmentMask(image, mask, **setting)
        except ValueError as error:  # `read_parameters` has seen to its other reasons
            raise UnusableStructureError("it has no more than 1 voxel within resegmentRange") from error
        require_usable(remaining, setting, within="resegmentRange")
        box, _ = checkMask(image, remaining, **setting)
        shape_mask = remaining if setting.get("resegmentShape") else mask
        return Checked(image, mask, shape_mask, remaining, box, is_resegmented=True)

    def features(self, checked: Checked, part: Part | None) -> dict[str, Any]:
        """Features by PyRadiomics' names, in its order: those of `part`, or all.

        Raises:
            RuntimeError: ITK cannot filter the image.
        """
        part = part or Part(first=True, image_types=self.enabledImagetypes)
        values: dict[str, Any] = {}
        if part.first:
            values |= self.computeShape(checked.image, checked.shape_mask, checked.box, **self.settings)
        for image_type, own in part.image_types.items():
            library = getattr(imageoperations, f"get{image_type}Image")
            filtered = wavelet_images if image_type == "Wavelet" else library
            for image, name, setting in filtered(checked.image, checked.mask, **{**self.settings, **own, "label": 1}):
                region, mask = cropToTumorMask(image, checked.mask, checked.box)
                values |= self.computeFeatures(region, mask, name, **setting)
        return values

    def computeShape(  # noqa: N802  the library's name
        self,
        image: sitk.Image,
        mask: sitk.Image,
        boundingBox: NDArray[np.int64],  # noqa: N803
        **setting: Any,
    ) -> dict[str, Any]:
        """Shape features: those of three dimensions by our class, those of two by the library's."""
        values: dict[str, Any] = {}
        if "shape" in self.enabledFeatures:
            parts = cropToTumorMask(image, mask, boundingBox)
            values |= self._values("original_shape", Shape(*parts, **setting), self.enabledFeatures["shape"])
        if "shape2D" in self.enabledFeatures:
            library = copy(self)
            library.enabledFeatures = {"shape2D": self.enabledFeatures["shape2D"]}
            values |= RadiomicsFeatureExtractor.computeShape(library, image, mask, boundingBox, **setting)
        return values

    def computeFeatures(  # noqa: N802  the library's name
        self,
        image: sitk.Image,
        mask: sitk.Image,
        imageTypeName: str,  # noqa: N803
        **setting: Any,
    ) -> dict[str, Any]:
        """Features of one filtered image, both cut to the mask's box, in the order in which classes are asked for."""
        region = self._region(image, mask, setting)
        values: dict[str, Any] = {}
        for name, wanted in self.enabledFeatures.items():
            if name.startswith("shape"):
                continue
            ours = CLASSES.get(name)
            if ours is not None and ours.covers(region):  # type: ignore[attr-defined]
                features = ours(region)
            else:
                features = getFeatureClasses()[name](image, mask, **setting)
            values |= self._values(f"{imageTypeName}_{name}", features, wanted)
        return values

    @staticmethod
    def _values(prefix: str, features: Any, wanted: list[str] | None) -> dict[str, Any]:
        """The features that are wanted of a class; all that are not deprecated where none is named."""
        for name in wanted or ():
            features.enableFeatureByName(name)
        return {f"{prefix}_{name}": value for name, value in features.execute().items()}

    def _region(self, image: sitk.Image, mask: sitk.Image, setting: dict[str, Any]) -> Region:
        """What all classes of features share; the place is kept for the other filters of the same mask."""
        inside = sitk.GetArrayViewFromImage(mask) == setting.get("label", 1)
        pad = max(1, min(max(setting.get("distances", [1]), default=1), max(inside.shape)))
        if self._place is None or self._place.pad != pad or not np.array_equal(self._place.mask, inside):
            self._place = Place(inside, pad)
        values = sitk.GetArrayViewFromImage(image).reshape(-1)[self._place.inside]
        return Region(image, self._place, values, setting)

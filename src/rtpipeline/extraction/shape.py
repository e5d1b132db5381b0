"""Size and shape of the region (IBSI: morphological features), from its mesh and from its voxels' positions."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from radiomics.shape import RadiomicsShape

from rtpipeline.extraction.mesh import measure_mesh


class Shape(RadiomicsShape):
    """PyRadiomics' shape features of a mask that fills its box.

    Sums over the mesh are taken in another order than the library's, so values can differ in the last bits.
    """

    def _initSegmentBasedCalculation(self) -> None:  # noqa: N802  the library's name
        spacing = self.inputImage.GetSpacing()[::-1]
        inside = sitk.GetArrayViewFromImage(self.inputMask) == self.label
        self.pixelSpacing = np.array(spacing)
        self.maskArray = np.pad(inside, 1)
        self.labelledVoxelCoordinates = np.nonzero(self.maskArray)
        mesh = measure_mesh(self.maskArray, spacing)
        self.SurfaceArea, self.Volume, self.diameters = mesh.area_mm2, mesh.volume_mm3, mesh.diameters_mm
        covariance = _covariance(np.array(self.labelledVoxelCoordinates).T * self.pixelSpacing)
        self.eigenValues = np.linalg.eigvals(covariance)
        rounding = (self.eigenValues < 0) & (self.eigenValues > -1e-10)
        self.eigenValues[rounding] = 0
        self.eigenValues.sort()


def _covariance(positions_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of positions (n, 3), axis by axis in memory, in the library's order of operations.

    The smallest eigenvalue of a flat structure is what rounding leaves, and its root is visible.
    """
    positions_mm -= positions_mm.mean(axis=0)
    positions_mm /= np.sqrt(len(positions_mm))
    covariance: NDArray[np.float64] = positions_mm.T.copy() @ positions_mm  # a copy: else BLAS adds in another order
    return covariance

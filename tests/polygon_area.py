"""The area of a polygon, by a formula that the program itself does not use."""

import numpy as np
from numpy.typing import NDArray


def polygon_area_mm2(contour: NDArray[np.float64]) -> float:
    """Area of a closed planar polygon (n, 3) in mm: half the length of the sum of its vertices' cross products."""
    relative = contour - contour[0]
    return float(np.linalg.norm(np.cross(relative, np.roll(relative, -1, axis=0)).sum(axis=0)) / 2)

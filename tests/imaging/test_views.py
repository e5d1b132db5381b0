import numpy as np
import pytest

from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.resampling import resample
from rtpipeline.imaging.views import View, view_grid

ORIENTATIONS = {
    "head first supine": np.eye(3),
    "head first prone": np.diag([-1.0, -1.0, 1.0]),
    "feet first supine": np.diag([-1.0, 1.0, -1.0]),
    "coronal acquisition": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}


def volume(direction: np.ndarray) -> Volume:
    """Values are 100 x + 10 y + z of the world position, in cm."""
    grid = Grid.uniform((5.0, -20.0, 30.0), (2.0, 3.0, 4.0), (20, 16, 12), direction)
    columns, rows, planes = np.meshgrid(np.arange(20.0), np.arange(16.0), np.arange(12.0), indexing="ij")
    world = grid.index_to_world(np.stack([columns, rows, planes], axis=-1).transpose(2, 1, 0, 3))
    return Volume(grid, world @ np.array([10.0, 1.0, 0.1]))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize(
    ("view", "right", "down"), [("axial", 10.0, 1.0), ("coronal", 10.0, -0.1), ("sagittal", 1.0, -0.1)]
)
def test_pictures_show_the_patient_in_the_same_way_whatever_the_acquisition(
    orientation: str, view: View, right: float, down: float
) -> None:
    source = volume(ORIENTATIONS[orientation])
    middle = source.grid.index_to_world(np.array([9.5, 7.5, 5.5]))
    grid = view_grid(source.grid, view, middle)
    picture = resample(source, grid, interpolation="linear", outside=np.nan).values[0]
    assert not np.isnan(picture).any()
    np.testing.assert_allclose(np.diff(picture, axis=1), right, atol=1e-6)
    np.testing.assert_allclose(np.diff(picture, axis=0), down, atol=1e-6)
    world = grid.index_to_world(np.array([3.0, 4.0, 0.0]))
    assert picture[4, 3] == pytest.approx(float(world @ np.array([10.0, 1.0, 0.1])))

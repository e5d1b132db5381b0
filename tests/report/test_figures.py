import base64
import re

import numpy as np
import pytest

from rtpipeline.imaging.grid import Grid, Volume
from rtpipeline.imaging.mask import Mask
from rtpipeline.report.dvh_plot import Curve, cohort_dvh_figure, dvh_figure
from rtpipeline.report.figures import colours
from rtpipeline.report.slices import Outline, slices_figure

HOSTILE = '<script>alert("x")</script>&$\\frac{$'


def curve(name: str, end_gy: float = 70.0) -> Curve:
    dose = np.linspace(0, end_gy, 2000)
    return Curve(name, dose, 100 * np.exp(-((dose / 50) ** 8)))


def test_the_same_curves_give_the_same_figure_and_names_stay_text() -> None:
    curves = [curve(HOSTILE), curve("Lung_L")]
    first = dvh_figure(curves, 60.0, HOSTILE)
    assert first == dvh_figure(curves, 60.0, HOSTILE)
    assert first.startswith("<svg ")
    assert "<script" not in first
    assert "&lt;script&gt;alert" in first
    assert "prescribed 60 Gy" in first
    assert "<metadata" not in first


def test_a_figure_has_no_width_and_no_more_points_than_can_be_seen() -> None:
    figure = dvh_figure([curve("PTV")], None, "x")
    opening = re.match(r"<svg [^>]*>", figure)
    assert opening is not None
    assert "viewBox" in opening.group()
    assert not re.search(r'\s(width|height)="', opening.group())
    assert len(figure) < 40_000


def test_a_cohort_figure_has_a_median_only_of_enough_courses() -> None:
    assert "median" not in cohort_dvh_figure([curve("a")] * 4, "x")
    assert "median" in cohort_dvh_figure([curve("a", 60.0), curve("b", 50.0), *[curve("c")] * 3], "x")


def test_targets_are_red_and_colours_follow_the_names() -> None:
    found = colours(["Heart", "PTV", "gtv-1", "Lung"])
    assert found["PTV"] == "#d62728"
    assert found["gtv-1"] == "#e8590c"
    assert len(set(found.values())) == 4


@pytest.mark.parametrize("direction", [np.eye(3), np.diag([-1.0, -1.0, 1.0]), np.diag([-1.0, 1.0, -1.0])])
def test_slices_are_a_picture_of_any_orientation(direction: np.ndarray) -> None:
    grid = Grid.uniform((0.0, 0.0, 0.0), (2.0, 2.0, 3.0), (40, 36, 20), direction)
    values = np.full(grid.shape, -1000.0)
    values[4:16, 6:30, 8:32] = 40.0
    inside = np.zeros(grid.shape, bool)
    inside[8:12, 14:22, 16:24] = True
    mask = Mask.cropped(grid, inside)
    dose = Volume(grid, np.where(inside, 60.0, 5.0))
    picture = slices_figure(Volume(grid, values), dose, [Outline(HOSTILE, mask)], mask.centroid_mm, HOSTILE)
    assert picture == slices_figure(Volume(grid, values), dose, [Outline(HOSTILE, mask)], mask.centroid_mm, HOSTILE)
    found = re.fullmatch(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]*)">', picture)
    assert found is not None
    assert base64.b64decode(found.group(1)).startswith(b"\x89PNG")
    assert "<" not in found.group(2)


def test_slices_without_dose_and_without_body() -> None:
    grid = Grid.uniform((0.0, 0.0, 0.0), (2.0, 2.0, 3.0), (10, 10, 10))
    air = Volume(grid, np.full(grid.shape, -1000.0))
    assert slices_figure(air, None, [], np.array([9.0, 9.0, 14.0]), "x").startswith("<img ")


def test_an_image_of_one_plane_is_shown_although_the_target_lies_elsewhere() -> None:
    grid = Grid.uniform((0.0, 0.0, 50.0), (2.0, 2.0, 3.0), (20, 16, 1))
    image = Volume(grid, np.full(grid.shape, 40.0))
    assert slices_figure(image, None, [], np.array([9.0, 9.0, 14.0]), "x").startswith("<img ")


def test_an_oblique_image_is_shown() -> None:
    cosine, sine = np.cos(0.3), np.sin(0.3)
    direction = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    grid = Grid.uniform((0.0, 0.0, 0.0), (2.0, 2.0, 3.0), (20, 20, 20), direction)
    image = Volume(grid, np.full(grid.shape, 40.0))
    assert slices_figure(image, image, [], np.array([9.0, 9.0, 14.0]), "x").startswith("<img ")

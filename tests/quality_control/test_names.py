"""Names that occur twice, and sides that the place contradicts."""

from __future__ import annotations

import numpy as np
import pytest

from rtpipeline.imaging.grid import Grid
from rtpipeline.imaging.mask import Mask
from rtpipeline.quality_control.names import repeated_names, sides
from rtpipeline.structures import Structure

GRID = Grid.uniform((-50, -50, 0), (1.0, 1.0, 2.0), (100, 100, 5))


def block(name: str, x: int, source: str = "manual") -> tuple[Structure, Mask]:
    values = np.zeros(GRID.shape, dtype=bool)
    values[1:3, 40:50, 50 + x : 60 + x] = True
    return Structure(source, 1, name, name), Mask.cropped(GRID, values)


@pytest.mark.parametrize(
    ("left", "right", "status"),
    [(30, -40, "PASS"), (-40, 30, "FAIL"), (0, 4, "PASS"), (0, 12, "FAIL")],
)
def test_left_is_towards_larger_x(left: int, right: int, status: str) -> None:
    (found,) = sides([block("Lung_L", left), block("Lung_R", right)])
    assert found.status == status


def test_single_structures_and_other_sources_are_no_pair() -> None:
    (found,) = sides([block("Lung_L", -40), block("Lung_R", 30, source="auto"), block("Heart", 0)])
    assert found.status == "NOT_APPLICABLE"


def test_names_that_occur_twice() -> None:
    structures = [
        Structure("manual", 1, "PTV", ""),
        Structure("manual", 2, "ptv ", ""),
        Structure("auto", 1, "PTV", ""),
    ]
    (found,) = repeated_names(structures)
    assert (found.status, found.subject) == ("WARNING", "manual: ptv")
    assert repeated_names(structures[1:])[0].status == "PASS"

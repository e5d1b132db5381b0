"""The maximal correlation coefficient, against all eigenvalues of the matrix that defines it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtpipeline.extraction.maximal_correlation import EPSILON, maximal_correlation


def by_definition(matrix: np.ndarray) -> float:
    """Q summed over k as PyRadiomics documents it, and the root of its second largest eigenvalue."""
    p = matrix.sum(1)
    q = sum(np.outer(matrix[:, k], matrix[:, k]) / (p[:, None] * p[k] + EPSILON) for k in range(len(p)))
    return float(np.sqrt(np.sort(np.linalg.eigvals(q))[-2].real))


def symmetric(counts: np.ndarray) -> np.ndarray:
    both = counts + counts.T
    return both / both.sum()


@given(size=st.integers(2, 40), seed=st.integers(0, 10_000), voxels=st.integers(50, 100_000))
def test_it_is_the_second_eigenvalue(size: int, seed: int, voxels: int) -> None:
    random = np.random.default_rng(seed)
    levels = np.clip(random.normal(size / 2, size / 8, (2, voxels)) + random.normal(0, size / 6, voxels), 0, size - 1)
    counts = np.zeros((size, size))
    np.add.at(counts, tuple(levels.astype(int)), 1)
    matrix = symmetric(counts)

    assert maximal_correlation(matrix[None])[0] == pytest.approx(by_definition(matrix), abs=1e-9)


def test_levels_that_are_neighbours_of_themselves_alone_correlate_fully() -> None:
    """Two blocks: the second eigenvalue is one, and the one after it far away or just as large."""
    two = symmetric(np.kron(np.diag([1000.0, 1.0]), np.ones((2, 2))))
    identity = symmetric(np.eye(5))

    values = maximal_correlation(np.stack([np.pad(two, (0, 1)), identity]))

    assert values[0] == pytest.approx(by_definition(np.pad(two, (0, 1))), abs=1e-9)
    assert values == pytest.approx([1.0, 1.0], abs=1e-6)


def test_rare_levels_make_epsilon_count() -> None:
    """A single pair of a level in many millions: epsilon is a visible part of its denominator."""
    counts = np.diag([3e8, 1.0])
    matrix = symmetric(counts)

    assert 1 - by_definition(matrix) > 1e-7
    assert maximal_correlation(matrix[None])[0] == pytest.approx(by_definition(matrix), abs=1e-12)


@pytest.mark.parametrize("rare", [(3.0, 1.0), (1.0, 3.0), (1.0, 1.0, 7.0, 2.0)])
def test_of_several_levels_that_correlate_fully_epsilon_says_which_is_the_second(rare: tuple[float, ...]) -> None:
    matrix = symmetric(np.diag([3e6, *rare]))

    assert maximal_correlation(matrix[None])[0] == pytest.approx(by_definition(matrix), abs=1e-12)


def test_a_level_without_pairs_adds_nothing() -> None:
    matrix = symmetric(np.array([[5.0, 2.0, 0.0], [1.0, 7.0, 0.0], [0.0, 0.0, 0.0]]))

    assert maximal_correlation(matrix[None])[0] == pytest.approx(by_definition(matrix), abs=1e-12)

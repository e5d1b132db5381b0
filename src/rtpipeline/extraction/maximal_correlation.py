"""The maximal correlation coefficient of symmetric co-occurrence matrices, without all eigenvalues of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EPSILON = float(np.spacing(1))
"""What PyRadiomics adds to the denominator of Q."""

TOLERANCE = 1e-12
"""How far from an eigenvalue of Q an estimate may be before all eigenvalues are computed instead."""

_SHIFT = 1e-10
"""How far beside an eigenvalue the inverse iteration for its vector is, so that there is something to invert."""

_ITERATIONS = 2


def maximal_correlation(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """The square root of the second largest eigenvalue of Q, of each matrix.

        Q(i, j) = sum over k of P(i, k) P(j, k) / (p(i) p(k) + epsilon)      (Haralick 1973; PyRadiomics: MCC)

    Without epsilon, Q is similar to the square of S(i, j) = P(i, j) / sqrt(p(i) p(j)), which is symmetric: its
    eigenvalues are cheap, and so is the vector of one of them. Epsilon matters where grey levels are rare: it moves
    every eigenvalue by no more than the largest epsilon / (p(i) p(k)) where P(i, k) > 0 (Bauer and Fike, 1960; S has
    norm 1). Its effect is included to first order by the vector's quotient with Q. Where that is not enough, all of
    Q's eigenvalues are computed: where epsilon could change which eigenvalue is the second, and where what remains of
    the vector, squared, over the distance to the next eigenvalue, exceeds `TOLERANCE`.

    Args:
        matrices: symmetric probabilities (direction, level, level), at least two levels.

    Returns:
        One value per direction.
    """
    matrices = np.ascontiguousarray(matrices)
    marginal = matrices.sum(2)
    scale = np.sqrt(marginal)
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    similar = matrices * inverse[:, :, None]
    similar *= inverse[:, None, :]
    values = np.linalg.eigvalsh(similar)
    values = np.take_along_axis(values, np.argsort(np.abs(values), axis=1), axis=1)
    chosen = _vectors(similar, values[:, -2])

    weighted = marginal[:, :, None] * marginal[:, None, :]
    shift = EPSILON / np.where(matrices > 0, weighted, np.inf).min(axis=(1, 2))
    weighted += EPSILON
    np.divide(matrices, weighted, out=weighted)
    image = scale * _times(weighted, _times(matrices, chosen * inverse))
    left_image = inverse * _times(matrices, _times(weighted, chosen * scale))
    estimate = np.sum(chosen * image, axis=1)
    rest = np.linalg.norm(image - estimate[:, None] * chosen, axis=1)
    left_rest = np.linalg.norm(left_image - estimate[:, None] * chosen, axis=1)
    gap = np.abs(np.delete(values, -2, axis=1) ** 2 - values[:, -2:-1] ** 2).min(axis=1)
    enough = (gap > 4 * shift) & (rest * left_rest <= TOLERANCE * gap)
    for direction in np.flatnonzero(~enough):
        eigenvalues = np.linalg.eigvals(weighted[direction] @ matrices[direction].T)
        estimate[direction] = np.sort(eigenvalues)[-2].real
    correlation: NDArray[np.float64] = np.sqrt(estimate)
    return correlation


def _vectors(matrices: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The vector that belongs to an eigenvalue of each symmetric matrix, by inverse iteration from a fixed start.

    NaN where there is nothing to invert.
    """
    size = matrices.shape[1]
    shifted = matrices.copy()
    shifted[:, np.arange(size), np.arange(size)] -= (values + _SHIFT)[:, None]
    start = np.random.default_rng(0).normal(size=size)
    vectors = np.broadcast_to(start, (*values.shape, size))
    for _ in range(_ITERATIONS):
        try:
            vectors = np.linalg.solve(shifted, vectors[:, :, None])[:, :, 0]
        except np.linalg.LinAlgError:
            return np.full((*values.shape, size), np.nan)
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _times(matrices: NDArray[np.float64], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each matrix times its vector."""
    product: NDArray[np.float64] = np.einsum("aij,aj->ai", matrices, vectors)
    return product

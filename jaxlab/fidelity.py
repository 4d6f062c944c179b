"""How like real pictures made ones are, by what a trained network sees in them.

Numbers of one pair of sets alone mean little: they depend on the network, and on how many pictures there are. So they
are read beside the same numbers of two sets that are both real, and as large.
"""

# m of one set, n of another, d features, k neighbours

from collections.abc import Iterator

import numpy as np

NEIGHBOURS = 3  # k of precision and recall, as published
ROWS = 1000  # whose distances to all others are there at once


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the Fréchet distance of two sets of features, as if each were normally distributed (Heusel et al. 2017).

    |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 √(√Σ₁ Σ₂ √Σ₁)), with unbiased covariances, in float64. What stands below the root is
    symmetric, so its eigenvalues are all that is wanted of it, and those below 0 are rounding.

    Args:
      one, other: [m d] and [n d], two rows or more each.
    """
    one, other = one.astype(np.float64), other.astype(np.float64)
    assert min(len(one), len(other)) > 1 and one.shape[1] == other.shape[1], (one.shape, other.shape)
    first, second = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (one, other))
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    shift = one.mean(0) - other.mean(0)
    return float(max(shift @ shift + np.trace(first) + np.trace(second) - 2 * shared, 0.0))


def precision_recall(real: np.ndarray, made: np.ndarray, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Returns improved precision and recall (Kynkäänniemi et al. 2019).

    A set covers the balls around each of its features that reach to its k-th nearest neighbour in the same set.
    Precision is the share of made pictures that the real ones cover: how many look real. Recall is the share of real
    ones that the made ones cover: how much of what is real is made at all.

    Args:
      real, made: features, [m d] and [n d], more than k rows each.
      neighbours: k.
    """
    real, made = real.astype(np.float64), made.astype(np.float64)
    assert min(len(real), len(made)) > neighbours, f'{len(real)} and {len(made)} rows'
    return covered(real, made, neighbours), covered(made, real, neighbours)


def covered(by: np.ndarray, of: np.ndarray, neighbours: int) -> float:
    """Returns the share of `of` [n d] that lies in one of the balls of `by` [m d]."""
    # Of itself each has the distance 0, so it is its own nearest, and the k-th of the others is number k.
    reach = np.concatenate([np.partition(block, neighbours, axis=1)[:, neighbours] for block in squares(by, by)])
    return float(np.concatenate([(block <= reach).any(1) for block in squares(of, by)]).mean())


def squares(one: np.ndarray, other: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the squared distances of some rows of `one` to all of `other`, [rows m]."""
    sizes = np.square(other).sum(1)
    for begin in range(0, len(one), ROWS):
        rows = one[begin : begin + ROWS]
        yield np.clip(np.square(rows).sum(1)[:, None] + sizes - 2 * rows @ other.T, 0, None)

"""Convolution with fewer products (Winograd 1980; Lavin & Gray 2015, arXiv:1509.09308).

m outputs of a window with r taps, over m + r - 1 inputs, are all but the edges of a product of two polynomials, and a
product of polynomials is known from its values at as many points: n = m + r - 1 products instead of m · r. In two
dimensions that are n² products for a tile of m² outputs, 36 instead of 144 for 4 × 4 outputs and 3 × 3 taps. And since
every product is one between channels, each of the n² is one matrix product over all tiles.
"""

# b batch, y x tiles along height and width, i input channels, o output channels; m outputs and r taps make n points

import functools
import math
from collections.abc import Sequence
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.nn.windows import extent, fit, shifted, woven

# Where the polynomials are evaluated, by n; the last point is infinity (the leading coefficient). Lavin & Gray take
# 0, ±1, ±2 for n = 6; with these the error in float32 is half as large. That points together with their reciprocals
# do well is known from Barabasz et al. 2018, arXiv:1803.10986.
POINTS: dict[int, tuple[Fraction, ...]] = {
    4: (Fraction(0), Fraction(1), Fraction(-1)),
    6: (Fraction(0), Fraction(2, 3), Fraction(-2, 3), Fraction(3, 2), Fraction(-3, 2)),
}


@functools.cache
def matrices(outputs: int, taps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns A [m n], G [n r] and B [n n] of A ((G k) · (B x)) = the m outputs of r taps k over x [n]; float64.

    Toom and Cook's construction, in fractions, so that what is 0 is exactly 0.
    """
    points = POINTS[outputs + taps - 1]
    scale = [math.prod(p - q for q in points if q != p) for p in points]
    a = [[p**power for p in points] + [power == outputs - 1] for power in range(outputs)]
    g = [[p**power / s for power in range(taps)] for p, s in zip(points, scale)] + [[0] * (taps - 1) + [1]]
    b = [[*_from_roots([q for q in points if q != p]), 0] for p in points] + [_from_roots(points)]
    return np.array(a, float), np.array(g, float), np.array(b, float)


def _from_roots(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of the product of all (x - root), the constant one first."""
    coefficients = [Fraction(1)]
    for root in roots:
        times_x, times_root = [Fraction(0), *coefficients], [*(root * c for c in coefficients), Fraction(0)]
        coefficients = [one - other for one, other in zip(times_x, times_root)]
    return coefficients


def winograd(x: jax.Array, kernel: jax.Array, padding: Sequence[tuple[int, int]], points: int) -> jax.Array:
    """The convolution of x [b h w i] with kernel [r r i o], with stride 1 -> [b h' w' o].

    Args:
      x: float32 or float64: the transforms lose digits that bfloat16 does not have.
      kernel: of x's dtype.
      padding: zeros before and behind the height, and the width.
      points: n, 4 or 6. A tile has m = n - r + 1 outputs on a side, for which n² / m² products each are needed.

    In float32 its error, and those of its gradients, are as large as those of `lax.conv` for n = 4, and some two times
    as large for n = 6 (root mean squares).
    """
    n, r = points, kernel.shape[0]
    m = n - r + 1
    a, g, b = matrices(m, r)
    h, w = (size + sum(zeros) - r + 1 for size, zeros in zip(x.shape[1:3], padding))
    tiles = math.ceil(h / m), math.ceil(w / m)
    u = jnp.tensordot(np.einsum('np,mq->nmpq', g, g).astype(kernel.dtype), kernel, 2)  # [n n i o]

    # Written out, since XLA's CPU compiler makes fast matrix products of single ones and slow ones of a stack. The
    # width is padded between the two halves of the transform: a pad is where that compiler ends a loop, so the first
    # half is computed once and not n times.
    rows = shifted(fit(x, 1, padding[0][0], extent(n, tiles[0], m)), 1, n, tiles[0], m)
    rows = [fit(_mix(b[row], rows), 2, padding[1][0], extent(n, tiles[1], m)) for row in range(n)]
    outputs = []
    for row in range(n):
        columns = shifted(rows[row], 2, n, tiles[1], m)
        v = [_mix(b[column], columns).reshape(-1, x.shape[-1]) for column in range(n)]  # n × [b·y·x i]
        products = [(v[column] @ u[row, column]).reshape(-1, *tiles, kernel.shape[-1]) for column in range(n)]
        outputs.append(woven([_mix(a[place], products) for place in range(m)], 2)[:, :, :w])  # [b y w' o]
    return woven([_mix(a[place], outputs) for place in range(m)], 1)[:, :h]


def _mix(weights: np.ndarray, arrays: Sequence[jax.Array]) -> jax.Array:
    """The sum of arrays times weights, without a product where a weight is 0 or 1."""
    terms = [array if weight == 1 else weight.item() * array for weight, array in zip(weights, arrays) if weight]
    return sum(terms[1:], terms[0])

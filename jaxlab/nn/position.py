"""How a model knows where a token stands. (Learned positions are an `Embedding`: see `models/gpt.py`.)"""

# b batch, n heads, t time, k head width

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax.typing import Dtype, Initializer

SCALINGS = ('none', 'linear', 'llama3', 'yarn')


@dataclass(frozen=True)
class Rotary:
    """How fast the pairs of a head turn, and how a model that learned short texts was made to read long ones.

    scaling 'linear': all turn slower by `factor`: positions are interpolated (Chen et al. 2023).
    scaling 'llama3': pairs that make fewer than `slow` turns in `context` tokens do, those that make more than `fast`
      do not, and between the two it goes over by turns (Llama 3.1).
    scaling 'yarn': likewise, but it goes over by the number of the pair, and queries and keys are lengthened by
      `attention`; 0: 0.1 ln(factor) + 1 (Peng et al. 2023).
    """

    base: float = 10000.0  # longest wavelength over 2π
    scaling: str = 'none'
    factor: float = 1.0
    context: int = 0  # how many tokens the rows had before
    slow: float = 1.0
    fast: float = 4.0
    attention: float = 0.0

    def frequencies(self, width: int) -> np.ndarray:
        """Returns the radians by which each pair of a head turns from one token to the next: float64 [width / 2]."""
        assert self.scaling in SCALINGS, self.scaling
        half = width // 2
        own = self.base ** (-np.arange(half) / half)
        slower = own / self.factor
        match self.scaling:
            case 'linear':
                return slower
            case 'llama3':
                turns = self.context * own / (2 * np.pi)
                kept = np.clip((turns - self.slow) / (self.fast - self.slow), 0, 1)
                return kept * own + (1 - kept) * slower
            case 'yarn':
                # Pair i makes context / 2π · base^(-i/half) turns: the first of those that count, and the last.
                first = max(math.floor(half * self._logarithm(self.fast)), 0)
                last = min(math.ceil(half * self._logarithm(self.slow)), width - 1)
                kept = 1 - np.clip((np.arange(half) - first) / (last - first or 0.001), 0, 1)
                return kept * own + (1 - kept) * slower
        return own

    def _logarithm(self, turns: float) -> float:
        return math.log(self.context / (turns * 2 * math.pi)) / math.log(self.base)

    @property
    def length(self) -> float:
        """What queries and keys are multiplied by."""
        if self.scaling != 'yarn':
            return 1.0
        return self.attention or (0.1 * math.log(self.factor) + 1 if self.factor > 1 else 1.0)


def rotate(x: jax.Array, positions: jax.Array, rotary: Rotary = Rotary()) -> jax.Array:
    """Rotary position embedding (Su et al. 2021): x [b n t k] with k even, positions int [b t] or [1 t] -> [b n t k].

    Pair i of a head, (x[i], x[i + k/2]), turns by position · base^(-2i/k), so that the product of a query and a key
    depends on their distance alone. The two of a pair stand half a head apart, as in Llama's published safetensors;
    in its first release they were neighbours.
    """
    half = x.shape[-1] // 2
    dtype = jnp.promote_types(x.dtype, jnp.float32)  # in bfloat16 the positions above 256 would run into one another
    angle = positions[:, None, :, None].astype(dtype) * jnp.asarray(rotary.frequencies(x.shape[-1]), dtype)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    if rotary.length != 1:
        cos, sin = cos * rotary.length, sin * rotary.length
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def sinusoidal(scale: float) -> Initializer:
    """Returns an initializer of tables of positions [t d]: the waves of Vaswani et al. 2017.

    Their root mean square is `scale`. The two waves of a frequency stand side by side, the fastest first: of several
    heads that share the columns, the first have the fast ones.

    Rows that are a fixed number of places apart are a fixed rotation apart: a layer that looks at the token before
    learns that one rotation, where among random rows it would learn every place by itself.
    """

    def init(key: jax.Array, shape: tuple[int, int], dtype: Dtype = jnp.float32) -> jax.Array:
        rows, width = shape
        half = -(-width // 2)
        angles = jnp.arange(rows)[:, None] * 10000.0 ** (-jnp.arange(half) / half)
        waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=2).reshape(rows, -1)[:, :width]
        return (2**0.5 * scale * waves).astype(dtype)

    return init

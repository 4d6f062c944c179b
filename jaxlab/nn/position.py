"""How a model knows where a token stands. (Learned positions are an `Embedding`: see `models/gpt.py`.)"""

# b batch, n heads, t time, k head width

import jax
import jax.numpy as jnp


def rotate(x: jax.Array, positions: jax.Array, base: float = 10000.0) -> jax.Array:
    """Rotary position embedding (Su et al. 2021): x [b n t k] with k even, positions int [b t] or [1 t] -> [b n t k].

    Pair i of a head, (x[i], x[i + k/2]), turns by position · base^(-2i/k), so that the product of a query and a key
    depends on their distance alone. The two of a pair stand half a head apart, as in Llama's published safetensors;
    in its first release they were neighbours.
    """
    half = x.shape[-1] // 2
    dtype = jnp.promote_types(x.dtype, jnp.float32)  # in bfloat16 the positions above 256 would run into one another
    frequency = base ** (-jnp.arange(half, dtype=dtype) / half)
    angle = positions[:, None, :, None].astype(dtype) * frequency
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    first, second = x[..., :half], x[..., half:]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)

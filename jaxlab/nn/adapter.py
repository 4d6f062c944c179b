"""LoRA, low-rank adaptation (Hu et al. 2021, arXiv:2106.09685): a matrix W that stays as it is, and beside it a product
of two narrow ones that learns: W + scale · A B.

They are parameters like any other, beside the one they adapt: 'up/kernel', 'up/kernel_lora_a', 'up/kernel_lora_b',
'up/kernel_lora_scale' and, where some inputs are dropped in training, 'up/kernel_lora_dropout'. Where a model is given
them, it uses them; nothing else says that it is adapted.
"""

# l layers of a scanned stack, * leading axes (the window of a convolution), i inputs, o outputs, r rank

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxlab.errors import UserError
from jaxlab.nn.dropout import kept

A, B, SCALE, DROPOUT = '_lora_a', '_lora_b', '_lora_scale', '_lora_dropout'


class Parts(NamedTuple):
    """What stands beside a parameter: A, B, scale; and the share of its inputs that are dropped in training, where some
    are."""

    a: jax.Array
    b: jax.Array
    scale: jax.Array
    dropout: jax.Array | None = None


def of(module: nn.Module, name: str) -> Parts | None:
    """Returns what stands beside parameter `name` of a module, None where it is not adapted."""
    if not module.has_variable('params', name + A):
        return None
    has_dropout = module.has_variable('params', name + DROPOUT)
    return Parts(
        module.get_variable('params', name + A),
        module.get_variable('params', name + B),
        module.get_variable('params', name + SCALE),
        module.get_variable('params', name + DROPOUT) if has_dropout else None,
    )


def dropped(module: nn.Module, x: jax.Array, dropout: jax.Array | None) -> jax.Array:
    """Returns what the adapter sees of x [... i]: in training, which is where there is a key for dropout, some of its
    numbers are 0, and the others larger, so that the mean stays; else x."""
    if dropout is None or not module.has_rng('dropout'):
        return x
    some = kept(module.make_rng('dropout'), 1 - dropout, x.shape)
    return jnp.where(some, x / (1 - dropout).astype(x.dtype), 0)


def merged(module: nn.Module, name: str, w: jax.Array, parts: Parts) -> jax.Array:
    """Returns what `adapted` does, of parameter `name` of a module.

    Raises:
      UserError: inputs are to be dropped; of a sum of both matrices there is no saying which see them.
    """
    if parts.dropout is not None:
        raise no_dropout('/'.join([*module.path, name]))
    return adapted(w, parts.a, parts.b, parts.scale)


def no_dropout(name: str) -> UserError:
    """Returns what is said of a parameter that is used merged with its adapter, however it is trained."""
    return UserError(
        'config.adapters.dropout: {name} is no plain matrix product (it slides over its input, changes before it is'
        ' used, or is one of several experts), and its adapter has no input of its own: 0 is wanted, or'
        ' config.adapters.patterns without it.',
        name=name,
    )


def adapted(w: jax.Array, a: jax.Array, b: jax.Array, scale: jax.Array) -> jax.Array:
    """w [*i o], a [*i r], b [r o], scale [] -> [*i o]; of a stack all have a first axis l, of experts another."""
    if scale.ndim:
        return jax.vmap(adapted)(w, a, b, scale)
    return w + scale * jnp.tensordot(a, b, 1)

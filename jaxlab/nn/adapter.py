"""LoRA, low-rank adaptation (Hu et al. 2021, arXiv:2106.09685): a matrix W that stays as it is, and beside it a product
of two narrow ones that learns: W + scale · A B.

They are parameters like any other, beside the one they adapt: 'up/kernel', 'up/kernel_lora_a', 'up/kernel_lora_b' and
'up/kernel_lora_scale'. Where a model is given them, it uses them; nothing else says that it is adapted.
"""

# l layers of a scanned stack, * leading axes (the window of a convolution), i inputs, o outputs, r rank

import flax.linen as nn
import jax
import jax.numpy as jnp

A, B, SCALE = '_lora_a', '_lora_b', '_lora_scale'


def of(module: nn.Module, name: str) -> tuple[jax.Array, jax.Array, jax.Array] | None:
    """Returns A, B and scale of parameter `name` of a module, None where it is not adapted."""
    if not module.has_variable('params', name + A):
        return None
    return (
        module.get_variable('params', name + A),
        module.get_variable('params', name + B),
        module.get_variable('params', name + SCALE),
    )


def adapted(w: jax.Array, a: jax.Array, b: jax.Array, scale: jax.Array) -> jax.Array:
    """w [*i o], a [*i r], b [r o], scale [] -> [*i o]; of a stack all have a first axis l."""
    if scale.ndim:
        return jax.vmap(adapted)(w, a, b, scale)
    return w + scale * jnp.tensordot(a, b, 1)

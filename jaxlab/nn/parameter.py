"""How every layer makes its parameters: with a name for each axis."""

from typing import Any

import flax.linen as nn
import jax
from flax.typing import Dtype, Initializer


def parameter(
    module: nn.Module, name: str, init: Initializer, axes: tuple[str, ...], shape: tuple[int, ...], dtype: Dtype
) -> jax.Array:
    """Returns parameter `name` of `module`, made by `init(key, shape, dtype)` when the module is initialised.

    `model.init` gives it in a box with `axes`, one name for each axis of `shape` (`nn.LogicallyPartitioned`): sharding,
    weight decay and Muon go by them. `jaxlab.parallel.layout` reads the names and drops the boxes.
    """
    assert len(axes) == len(shape), (name, axes, shape)
    boxed: Any = nn.with_logical_partitioning(init, axes)
    return module.param(name, boxed, shape, dtype)


def as_it_is(module: nn.Module, kernel: jax.Array) -> jax.Array:
    """Returns the kernel: what a layer does that does not reparametrise it."""
    return kernel

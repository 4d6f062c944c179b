"""How every layer makes its parameters: with a name for each axis."""

from typing import Any

import flax.linen as nn
import jax
from flax.typing import Dtype, Initializer

from jaxlab.nn import adapter


def parameter(
    module: nn.Module, name: str, init: Initializer, axes: tuple[str, ...], shape: tuple[int, ...], dtype: Dtype
) -> jax.Array:
    """Returns parameter `name` of `module`, made by `init(key, shape, dtype)` when the module is initialised; with its
    adapter, where it has one.

    `model.init` gives it in a box with `axes`, one name for each axis of `shape` (`nn.LogicallyPartitioned`): sharding,
    weight decay and Muon go by them. `jaxlab.parallel.layout` reads the names and drops the boxes.

    Raises:
      UserError: the adapter is to see a part of its inputs alone, and is none of a layer that shows it them.
    """
    value, parts = bare_parameter(module, name, init, axes, shape, dtype)
    return value if parts is None else adapter.merged(module, name, value, parts)


def bare_parameter(
    module: nn.Module, name: str, init: Initializer, axes: tuple[str, ...], shape: tuple[int, ...], dtype: Dtype
) -> tuple[jax.Array, adapter.Parts | None]:
    """Returns a parameter as `parameter` does, and its adapter beside it, for a layer that has a cheaper way to use the
    two; None where it has none."""
    assert len(axes) == len(shape), (name, axes, shape)
    boxed: Any = nn.with_logical_partitioning(init, axes)
    return module.param(name, boxed, shape, dtype), adapter.of(module, name)


def as_it_is(module: nn.Module, kernel: jax.Array) -> jax.Array:
    """Returns the kernel: what a layer does that does not reparametrise it."""
    return kernel

"""What each module of a model gives back, and in which order: for those who compare two computations."""

# l layers of a scanned stack

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

SCANNED = (
    'layers'  # a module of this name is a scanned stack: what is in it has a leading axis; see `transformer.Stack`
)


def order(function: Callable[..., Any], *arguments: Any) -> list[str]:
    """Returns the paths of the modules that a function calls, as 'stack/layer_0/mlp/up', in the order in which they
    give back. Nothing is computed; arguments may be shapes."""
    found: dict[str, None] = {}

    def note(call: Any, arguments: Any, keywords: Any, context: Any) -> Any:
        given = call(*arguments, **keywords)
        if context.method_name == '__call__':
            found.setdefault('/'.join(context.module.path))
        return given

    with nn.intercept_methods(note):
        jax.eval_shape(lambda *arguments: function(*arguments), *arguments)  # a new function: traced anew
    return list(found)


def heard(model: nn.Module, variables: Any, *inputs: Any, **options: Any) -> tuple[Any, dict[str, jax.Array]]:
    """Returns what a model gives back, and the first array of floats that each of its modules does; in a scanned stack
    [l ...]."""
    given, changed = model.apply(variables, *inputs, capture_intermediates=True, mutable=['intermediates'], **options)
    found: dict[str, jax.Array] = {}

    def walk(tree: Any, path: tuple[str, ...]) -> None:
        for name, inner in tree.items():
            if name == '__call__':
                if (array := first_array(inner[0])) is not None:
                    found['/'.join(path)] = array
            elif hasattr(inner, 'items'):
                walk(inner, (*path, name))

    walk(changed['intermediates'], ())
    return given, found


def first_array(given: Any) -> jax.Array | None:
    """Returns the first array of floats among what a module gave back; None where there is none."""
    return next((leaf for leaf in jax.tree.leaves(given) if jnp.issubdtype(leaf.dtype, jnp.inexact)), None)


def layer_by_layer(names: list[str], layers: int) -> list[tuple[str, str, int | None]]:
    """Returns (name, path, place along the first axis) of what `order` and `heard` found: what lies in a scanned stack
    once for each of its layers, as 'stack/layer_3/…'; None: of no stack."""
    found: list[tuple[str, str, int | None]] = []
    inside = [path for path in names if SCANNED in path.split('/')]
    for path in names:
        if path not in inside:
            found.append((path, path, None))
        elif path == inside[0]:
            for i in range(layers):
                found += [(path.replace(f'/{SCANNED}', f'/layer_{i}', 1), path, i) for path in inside]
    return found

"""What an MLP's training step takes in JAX with nothing around it, for benchmarks that ask what could be faster.

No guard, no norm of the gradients, no schedule, no terms beside the loss: the products of the layers, their gradients
and AdamW, several steps in one call. What this takes, no step of ours can save.
"""

# s steps in a call, b batch, h height, w width, c channels

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax


def run_of(
    model: Any, params: Any, data: list[dict[str, np.ndarray]], most: int, learning_rate: float, decay: float
) -> Callable[[], list[float]]:
    """Returns a run through all of `data`, `most` steps in a call, which returns the last loss of each call."""
    assert len(data) % most == 0, f'{len(data)} steps, {most} in a call'
    matrices = jax.tree.map(lambda leaf: leaf.ndim > 1, params)
    optimizer = optax.adamw(learning_rate, b1=0.9, b2=0.95, eps=1e-8, weight_decay=decay, mask=matrices)

    def loss(params: Any, pictures: jax.Array, targets: jax.Array) -> jax.Array:
        logits = model.apply({'params': params}, pictures * (1 / (255 * 0.25)) - 0.5 / 0.25)  # as info() has it
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    def call(state: Any, pictures: jax.Array, targets: jax.Array) -> Any:
        def step(i: jax.Array, carry: Any) -> Any:
            params, moments, _ = carry
            value, gradients = jax.value_and_grad(loss)(params, pictures[i], targets[i])
            updates, moments = optimizer.update(gradients, moments, params)
            return optax.apply_updates(params, updates), moments, value

        return jax.lax.fori_loop(0, most, step, state)

    compiled = jax.jit(call, donate_argnums=0)
    state = (params, optimizer.init(params), jnp.zeros(()))
    calls = [
        tuple(np.stack([batch[name] for batch in data[start : start + most]]) for name in ('inputs', 'targets'))
        for start in range(0, len(data), most)
    ]

    def run() -> list[float]:
        nonlocal state
        losses = []
        for pictures, targets in calls:
            state = compiled(state, jax.device_put(pictures), jax.device_put(targets))
            losses.append(jnp.copy(state[2]))  # the state is donated to the next call
        return [float(value) for value in losses]

    return run

"""Recurrent layers: Elman's (1990), the GRU (Cho et al. 2014) and the LSTM (Hochreiter & Schmidhuber 1997).

A cell says what becomes of the state at one step. All else is the same for every cell, and written once: `recur` turns
it over time, `Recurrent` gives it parameters, `RecurrentStack` lays layers on each other, in one direction or in both.
"""

# b batch, t time, i input width, h width of the state, g gates of the cell

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer

from jaxlab.nn.parameter import parameter
from jaxlab.parallel.layout import constrain

States = tuple[jax.Array, ...]  # what a cell carries from step to step, [b h] each; the first is what others see of it


class Cell(NamedTuple):
    """A cell: what it makes of the input and of its own state.

    gates: g, how many vectors it wants of each.
    states: how many arrays it carries.
    step: (x [b g h], r [b g h], states) -> states; x comes from the input, r from the state.
    apart: whether x and r are used apart, so that r has a bias of its own; else they are added.
    """

    gates: int
    states: int
    step: Callable[[jax.Array, jax.Array, States], States]
    apart: bool = False


def vanilla_step(x: jax.Array, r: jax.Array, states: States) -> States:
    """h' = tanh(x + r)."""
    return (jnp.tanh(x[:, 0] + r[:, 0]),)


def gru_step(x: jax.Array, r: jax.Array, states: States) -> States:
    """Reset, update and candidate: h' = (1 - u) · tanh(x + reset · r) + u · h.

    The reset gate falls on what the kernel has made of the state, as in cuDNN, torch and Keras, not on the state
    itself, as in the paper: so all three gates are one matrix product.
    """
    (h,) = states
    reset, update = (jax.nn.sigmoid(x[:, gate] + r[:, gate]) for gate in (0, 1))
    candidate = jnp.tanh(x[:, 2] + reset * r[:, 2])
    return (candidate + update * (h - candidate),)


def lstm_step(x: jax.Array, r: jax.Array, states: States) -> States:
    """Input, forget, candidate and output: c' = f · c + i · tanh(…), h' = o · tanh(c') (with the forget gate of Gers,
    Schmidhuber & Cummins 2000)."""
    _, c = states
    s = x + r
    c = jax.nn.sigmoid(s[:, 1]) * c + jax.nn.sigmoid(s[:, 0]) * jnp.tanh(s[:, 2])
    return jax.nn.sigmoid(s[:, 3]) * jnp.tanh(c), c


CELLS = {
    'vanilla': Cell(1, 1, vanilla_step),
    'gru': Cell(3, 1, gru_step, apart=True),
    'lstm': Cell(4, 2, lstm_step),
}


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def recur(
    cell: Cell,
    reverse: bool,
    unroll: int,
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    start: States,
    moves: jax.Array,
    resets: jax.Array,
) -> tuple[jax.Array, States]:
    """Turns a cell over time. It has gradients by x, kernel, bias and start, and no forward mode (`jax.jvp`).

    The gradient of the kernel is one matrix product over all steps. Of a plain `lax.scan` it would be a sum that every
    step reads and writes whole; and on a mesh the devices would meet at every step to add up theirs.

    Args:
      cell: one of CELLS.
      reverse: whether time runs backwards, from the last step to the first.
      unroll: how many steps make one turn of the loop.
      x: [t b g h], what the cell gets of the input.
      kernel: [h g h], what makes r of the state; products are in its dtype.
      bias: [g h], of r.
      start: the states before the first step, [b h] each, float32 at least.
      moves: bool [t b]; where it is false, the state stands still and the output is 0: so the time behind the end of a
        text changes nothing, and backwards a text begins at its own end.
      resets: bool [t b]; where it is true, the state is 0 before the step.

    Returns:
      the outputs, [t b h], and the states after the last step.
    """
    return _forward(cell, reverse, unroll, x, kernel, bias, start, moves, resets)[0]


def _forward(
    cell: Cell,
    reverse: bool,
    unroll: int,
    x: jax.Array,
    kernel: jax.Array,
    bias: jax.Array,
    start: States,
    moves: jax.Array,
    resets: jax.Array,
) -> tuple[tuple[jax.Array, States], tuple[Any, ...]]:
    dtype = start[0].dtype
    resets &= moves

    def turn(states: States, item: tuple[jax.Array, ...]) -> tuple[States, tuple[Any, ...]]:
        x, moves, resets = item
        states = tuple(jnp.where(resets, 0, state) for state in states)
        h = states[0].astype(kernel.dtype)
        r = jnp.einsum('bi,igh->bgh', h, kernel, preferred_element_type=dtype) + bias
        new = cell.step(x.astype(dtype), r, states)
        kept = tuple(jnp.where(moves, one, old) for one, old in zip(new, states))
        return kept, (jnp.where(moves, new[0], 0), states, r)

    items = x, moves[..., None], resets[..., None]
    last, (y, before, r) = jax.lax.scan(turn, start, items, reverse=reverse, unroll=unroll)
    return (y, last), (*items, kernel, bias, before, r)


def _backward(
    cell: Cell, reverse: bool, unroll: int, kept: tuple[Any, ...], gradients: tuple[jax.Array, States]
) -> tuple[Any, ...]:
    x, moves, resets, kernel, bias, before, r = kept
    by_y, by_last = gradients
    dtype = by_last[0].dtype

    def turn(by_after: States, item: tuple[Any, ...]) -> tuple[States, tuple[jax.Array, jax.Array]]:
        x, moves, resets, states, r, by_y = item
        by_new = tuple(jnp.where(moves, by, 0) for by in by_after)
        by_new = (by_new[0] + jnp.where(moves, by_y, 0), *by_new[1:])
        by_x, by_r, by_states = jax.vjp(cell.step, x.astype(dtype), r, states)[1](by_new)
        by_h = jnp.einsum('bgh,igh->bi', by_r.astype(kernel.dtype), kernel, preferred_element_type=dtype)
        by_states = (by_states[0] + by_h, *by_states[1:])
        by_before = [by + jnp.where(moves, 0, by_kept) for by, by_kept in zip(by_states, by_after)]
        return tuple(jnp.where(resets, 0, by) for by in by_before), (by_x, by_r)

    items = x, moves, resets, before, r, by_y
    by_start, (by_x, by_r) = jax.lax.scan(turn, by_last, items, reverse=not reverse, unroll=unroll)
    h, by = before[0].astype(kernel.dtype), by_r.astype(kernel.dtype)
    by_kernel = jnp.einsum('tbi,tbgh->igh', h, by, preferred_element_type=dtype)
    by_bias = by_r.sum((0, 1))
    return by_x.astype(x.dtype), by_kernel.astype(kernel.dtype), by_bias.astype(bias.dtype), by_start, None, None


recur.defvjp(_forward, _backward)


def born(cell: str, width: int, dtype: Dtype, batch: int) -> States:
    """Returns the states before any step: zeros, [b h] each, of `dtype`, float32 at least."""
    return (jnp.zeros((batch, width), jnp.promote_types(dtype, jnp.float32)),) * CELLS[cell].states


def each_gate(init: Initializer) -> Initializer:
    """Returns the initializer that gives every gate, [i h], what `init` would give it alone: [g i h]."""

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        return jax.vmap(lambda key: init(key, shape[1:], dtype))(jax.random.split(key, shape[0]))

    return draw


class Recurrent(nn.Module):
    """One layer in one direction, [b t i] -> [b t h].

    `cell` is a name of CELLS. `reverse` and `unroll` are those of `recur`. The input's part of all steps is one matrix
    product before the loop. Kernels begin as Keras has them: Glorot & Bengio's for the input, orthogonal ones for the
    state (Saxe et al. 2013); an LSTM begins with a forget gate that is open (its bias is 1, Jozefowicz et al. 2015).
    """

    cell: str
    width: int
    reverse: bool = False
    unroll: int = 1
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, moves: jax.Array, resets: jax.Array, start: States | None = None
    ) -> tuple[jax.Array, States]:
        """Args:
          x: [b t i].
          moves, resets: bool [b t]; see `recur`.
          start: the states before the first step, as a call before returned them; None: zeros.

        Returns:
          the outputs, [b t h] in `dtype`, and the states after the last step, [b h] each, float32 at least.
        """
        cell, (b, t, i) = CELLS[self.cell], x.shape
        axes, shape = ('gates', 'embed', 'mlp'), (cell.gates, self.width)
        glorot, orthogonal = each_gate(nn.initializers.glorot_uniform()), each_gate(nn.initializers.orthogonal())
        kernel = parameter(self, 'input_kernel', glorot, axes, (cell.gates, i, self.width), self.param_dtype)
        by_state = (cell.gates, self.width, self.width)
        state_kernel = parameter(self, 'state_kernel', orthogonal, axes, by_state, self.param_dtype)
        bias = parameter(self, 'bias', self._bias_init, axes[::2], shape, self.param_dtype)
        state_bias = jnp.zeros(shape, self.param_dtype)
        if cell.apart:
            zeros = nn.initializers.zeros
            state_bias = parameter(self, 'state_bias', zeros, axes[::2], shape, self.param_dtype)

        def gathered(kernel: jax.Array) -> jax.Array:
            """[g i h] -> [i g h], as the products take it; where it is stored in parts, gathered once."""
            return constrain(kernel.astype(self.dtype).swapaxes(0, 1), 'embed', 'gates', 'mlp')

        rows = x.astype(self.dtype).reshape(b * t, i)  # see `nn.linear.product`
        x = jnp.einsum('ri,igh->rgh', rows, gathered(kernel)) + bias.astype(self.dtype)
        x = constrain(x.reshape(b, t, *shape).swapaxes(0, 1), 'length', 'batch', 'gates', 'mlp')
        if start is None:
            start = born(self.cell, self.width, self.dtype, b)
        start = tuple(constrain(state, 'batch', 'mlp') for state in start)
        bias = state_bias.astype(start[0].dtype)
        y, last = recur(
            cell, self.reverse, self.unroll, x, gathered(state_kernel), bias, start, moves.T, (resets & moves).T
        )
        y = y.astype(self.dtype).swapaxes(0, 1)
        return constrain(y, 'batch', 'length', 'embed'), last

    @nn.nowrap
    def _bias_init(self, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        del key
        bias = jnp.zeros(shape, dtype)
        return bias.at[1].set(1) if self.cell == 'lstm' else bias


class RecurrentStack(nn.Module):
    """Layers on each other, [b t i] -> [b t d]: d is the width, or twice as much where each layer reads both ways.

    Between layers, dropout falls on what one gives to the next (Zaremba et al. 2014), not on the state.
    """

    cell: str
    layers: int
    width: int
    bidirectional: bool = False
    dropout: float = 0.0
    unroll: int = 1
    dtype: Dtype = jnp.float32
    param_dtype: Dtype = jnp.float32

    def setup(self):
        layer = partial(Recurrent, self.cell, self.width, unroll=self.unroll)
        dtypes: dict[str, Any] = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        names = ('forward', 'backward') if self.bidirectional else ('forward',)
        self.directions = [
            [layer(reverse=name == 'backward', name=f'layer_{n}_{name}', **dtypes) for name in names]
            for n in range(self.layers)
        ]
        self.between = nn.Dropout(self.dropout)

    def __call__(
        self,
        x: jax.Array,
        moves: jax.Array,
        resets: jax.Array | None = None,
        start: tuple[States, ...] | None = None,
        *,
        train: bool = False,
    ) -> tuple[jax.Array, tuple[States, ...]]:
        """Args:
          x: [b t i].
          moves: bool [b t], which steps are there; the others change no state, and their outputs are 0.
          resets: bool [b t], where the state is 0 before the step; None: nowhere.
          start: the states of all layers before the first step; None: zeros.
          train: whether dropout is on; it then wants a key, `rngs={'dropout': key}`.

        Returns:
          the outputs of the last layer, [b t d], forward before backward; and the states of all layers after the
          last step: for each layer and each of its directions, [b h] each.
        """
        assert resets is None or not self.bidirectional, 'backwards, a text would have to be reset at its end'
        resets = jnp.zeros_like(moves) if resets is None else resets
        given, ends = iter(start or ()), []
        for n, layer in enumerate(self.directions):
            if n:
                x = self.between(x, deterministic=not train)
            outputs = []
            for direction in layer:
                y, end = direction(x, moves, resets, next(given, None))
                outputs.append(y)
                ends.append(end)
            x = jnp.concatenate(outputs, axis=-1)
        return x, tuple(ends)

    @nn.nowrap
    def born(self, batch: int) -> tuple[States, ...]:
        """The states of all layers before any step: zeros. Needs no parameters."""
        one = born(self.cell, self.width, self.dtype, batch)
        return (one,) * (self.layers * (2 if self.bidirectional else 1))

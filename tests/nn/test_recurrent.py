"""Recurrent layers against a numpy loop: every cell, both directions, unequal lengths, resets; and gradients."""

# b batch, t time, i input width, h width of the state, g gates

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.nn import recurrent
from jaxlab.nn.recurrent import CELLS, Recurrent, RecurrentStack
from jaxlab.parallel import layout

B, T, INPUT, H = 3, 7, 4, 5
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(B, T, INPUT))
LENGTHS = np.array([7, 3, 5])
MOVES = np.arange(T) < LENGTHS[:, None]
RESETS = np.zeros((B, T), bool)
RESETS[0, 3] = RESETS[1, 2] = RESETS[2, 0] = RESETS[2, 6] = True  # the last one where nothing moves


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(cell, params, x, moves, resets, reverse=False):
    """One row after another, one step after another: outputs [b t h], and the last states [b h]."""
    k, w = params['input_kernel'], params['state_kernel']
    out = np.zeros((len(x), x.shape[1], w.shape[-1]))
    ends = []
    for row in range(len(x)):
        h = c = np.zeros(w.shape[-1])
        for t in range(x.shape[1])[:: -1 if reverse else 1]:
            if not moves[row, t]:
                continue
            if resets[row, t]:
                h = c = np.zeros(w.shape[-1])
            a = [x[row, t] @ k[g] + params['bias'][g] for g in range(len(k))]
            r = [h @ w[g] for g in range(len(w))]
            if cell == 'vanilla':
                h = np.tanh(a[0] + r[0])
            elif cell == 'gru':
                r = [one + params['state_bias'][g] for g, one in enumerate(r)]
                reset, update = sigmoid(a[0] + r[0]), sigmoid(a[1] + r[1])
                h = (1 - update) * np.tanh(a[2] + reset * r[2]) + update * h
            else:
                c = sigmoid(a[1] + r[1]) * c + sigmoid(a[0] + r[0]) * np.tanh(a[2] + r[2])
                h = sigmoid(a[3] + r[3]) * np.tanh(c)
            out[row, t] = h
        ends.append((h, c) if cell == 'lstm' else (h,))
    return out, [np.stack(one) for one in zip(*ends, strict=True)]


def drawn(model, *inputs):
    """Parameters some way from birth, where biases are 0."""
    shapes = layout.unbox(jax.eval_shape(model.init, jax.random.key(0), *inputs))
    draw = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: draw.normal(0, 0.5, leaf.shape), shapes)


def double(cell, **others):
    return Recurrent(cell, H, dtype=jnp.float64, param_dtype=jnp.float64, **others)


@pytest.mark.parametrize('reverse', [False, True])
@pytest.mark.parametrize('cell', CELLS)
def test_a_layer_is_the_loop_of_its_formula(cell, reverse, float64):
    model = double(cell, reverse=reverse)
    params = drawn(model, X, MOVES, RESETS)
    found, ends = jax.jit(model.apply)(params, X, MOVES, RESETS)
    wanted, last = by_hand(cell, params['params'], X, MOVES, RESETS, reverse)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    for one, other in zip(ends, last, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize('cell', CELLS)
def test_behind_its_end_a_text_is_the_text_alone(cell, float64):
    model = double(cell, reverse=True)
    params = drawn(model, X, MOVES, RESETS)
    found, ends = jax.jit(model.apply)(params, X, MOVES, RESETS)
    for row, length in enumerate(LENGTHS):
        one = [array[row : row + 1, :length] for array in (X, MOVES, RESETS)]
        alone, end = model.apply(params, *one)
        np.testing.assert_allclose(found[row, :length], alone[0], atol=1e-13)
        np.testing.assert_allclose(ends[0][row], end[0][0], atol=1e-13)
    assert not np.any(np.asarray(found)[~MOVES])


@pytest.mark.parametrize('reverse', [False, True])
@pytest.mark.parametrize('unroll', [1, 3])
@pytest.mark.parametrize('cell', CELLS)
def test_gradients_are_those_of_the_plain_loop(cell, unroll, reverse, float64, monkeypatch):
    model = double(cell, reverse=reverse, unroll=unroll)
    params = drawn(model, X, MOVES, RESETS)
    start = tuple(DRAW.normal(size=(B, H)) for _ in range(CELLS[cell].states))
    weights = [DRAW.normal(size=(B, T, H)), *(DRAW.normal(size=(B, H)) for _ in start)]

    def total(params, x, start):
        y, ends = model.apply(params, x, MOVES, RESETS, start)
        return sum((weight * one).sum() for weight, one in zip(weights, (y, *ends), strict=True))

    found = jax.jit(jax.grad(total, (0, 1, 2)))(params, X, start)
    monkeypatch.setattr(recurrent, 'recur', lambda *arguments: recurrent._forward(*arguments)[0])
    wanted = jax.jit(lambda *arguments: jax.grad(total, (0, 1, 2))(*arguments))(params, X, start)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for (path, one), other in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        assert np.abs(other).max() > 1e-3 or 'start' in str(path)
        np.testing.assert_allclose(one, other, atol=1e-11, err_msg=str(path))


def test_what_was_read_can_be_gone_on_with(float64):
    model = RecurrentStack('lstm', 2, H, dtype=jnp.float64, param_dtype=jnp.float64)
    params = drawn(model, X, MOVES)
    whole, ends = model.apply(params, X, MOVES, RESETS)
    first, between = model.apply(params, X[:, :4], MOVES[:, :4], RESETS[:, :4], model.born(B))
    second, last = model.apply(params, X[:, 4:], MOVES[:, 4:], RESETS[:, 4:], between)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-13)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-13), last, ends)


def test_a_stack_is_its_layers(float64):
    model = RecurrentStack('gru', 2, H, bidirectional=True, dtype=jnp.float64, param_dtype=jnp.float64)
    params = drawn(model, X, MOVES)
    found, ends = model.apply(params, X, MOVES)
    x, nowhere, last = X, np.zeros_like(MOVES), []
    for n in range(2):
        each = [
            by_hand('gru', params['params'][f'layer_{n}_{name}'], x, MOVES, nowhere, name == 'backward')
            for name in ('forward', 'backward')
        ]
        x = np.concatenate([y for y, _ in each], axis=-1)
        last += [end for _, end in each]
    np.testing.assert_allclose(found, x, atol=1e-12)
    np.testing.assert_allclose(jax.tree.leaves(ends), np.concatenate(last), atol=1e-12)


def test_dropout_falls_between_layers_alone():
    one, two = (RecurrentStack('lstm', layers, H, dropout=0.5) for layers in (1, 2))
    for model, same in ((one, True), (two, False)):
        params = drawn(model, X, MOVES)
        plain, _ = model.apply(params, X, MOVES)
        dropped, _ = model.apply(params, X, MOVES, train=True, rngs={'dropout': jax.random.key(0)})
        assert np.array_equal(plain, dropped) == same


def test_every_gate_begins_as_it_would_alone():
    params = layout.unbox(
        Recurrent('lstm', 32).init(jax.random.key(0), np.ones((1, 2, 16)), MOVES[:1, :2], MOVES[:1, :2])
    )
    params = params['params']
    for kernel in params['state_kernel']:
        np.testing.assert_allclose(kernel @ kernel.T, np.eye(32), atol=1e-5)
    limit = np.sqrt(6 / (16 + 32))  # Glorot & Bengio's, of one gate
    assert 0.95 * limit < np.abs(params['input_kernel']).max() < limit
    assert len(np.unique(params['input_kernel'])) > 2000, 'no two gates alike'
    np.testing.assert_array_equal(params['bias'].mean(1), [0, 1, 0, 0])

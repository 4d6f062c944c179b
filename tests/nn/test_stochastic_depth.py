"""Stochastic depth: whole rows are lost, as often as they should be, and what is left has the same mean."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.nn.attention import Attention
from jaxlab.nn.mlp import MLP
from jaxlab.nn.norm import LayerNorm
from jaxlab.nn.stochastic_depth import StochasticDepth, rates
from jaxlab.nn.transformer import Block, Stack

ROWS = np.random.default_rng(0).normal(size=(2000, 3, 2)).astype(np.float32)


def test_rates_grow_evenly():
    np.testing.assert_allclose(rates(0.3, 4), [0, 0.1, 0.2, 0.3])
    assert rates(0.3, 1) == [0]


@pytest.mark.parametrize('rate', [0.25, np.float32(0.25)])
def test_whole_rows_are_lost(rate):
    found = StochasticDepth().apply({}, ROWS, rate, True, rngs={'dropout': jax.random.key(0)})
    lost = (found == 0).all((1, 2))
    np.testing.assert_allclose(found[~lost], ROWS[~lost] / 0.75, rtol=1e-6)
    assert abs(lost.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / len(ROWS))


def test_it_is_for_training():
    assert StochasticDepth().apply({}, ROWS, 0.25, False) is ROWS
    assert StochasticDepth().apply({}, ROWS, 0.0, True) is ROWS


@pytest.mark.parametrize('scan', [False, True])
def test_later_blocks_are_left_out_more_often(scan):
    """Each half of each of four blocks adds 1 where it is kept: rows say how many were."""
    ones = nn.initializers.ones

    class One(nn.Module):
        @nn.compact
        def __call__(self, x, *_):
            self.param('nothing', ones, (1,))
            return jnp.ones_like(x)

    class Pair(One):
        @nn.compact
        def __call__(self, x, *_):
            return jnp.ones_like(x), (x, x)

    stack = Stack(partial(Block, partial(LayerNorm), Pair, One), 4, scan, stochastic_depth=0.6)
    x, nothing = np.zeros((4000, 1, 2), np.float32), np.zeros((1, 1), np.int32)
    mask = np.ones((1, 1, 1), bool)
    variables = jax.eval_shape(stack.init, jax.random.key(0), x, nothing, mask)
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), nn.unbox(variables))
    key = {'dropout': jax.random.key(1)}
    found, _ = jax.jit(lambda x: stack.apply(variables, x, nothing, mask, train=True, rngs=key))(x)
    found = np.asarray(found)[:, 0, 0]
    # Kept halves of a block count 1 / (1 - rate): of the variance of their sum, each block has its share.
    np.testing.assert_allclose(found.mean(), 8, atol=0.15)
    wanted = 2 * sum(rate / (1 - rate) for rate in (0.2, 0.4, 0.6))
    np.testing.assert_allclose(found.var(), wanted, rtol=0.1)
    assert found.min() >= 2  # the first block is never left out
    still, _ = stack.apply(variables, x[:1], nothing, mask)
    assert (np.asarray(still) == 8).all()


@pytest.mark.parametrize('scan', [False, True])
def test_blocks_may_be_computed_again(scan):
    """What was lost the first time is lost the second time, or the gradient would be another."""
    parts = (LayerNorm, partial(Attention, 2, 2), partial(MLP, 8))
    x = np.random.default_rng(0).normal(size=(8, 3, 4)).astype(np.float32)
    mask = np.ones((1, 3, 3), bool)

    def gradient(remat):
        stack = Stack(partial(Block, *parts), 2, scan, remat, stochastic_depth=0.5)
        params = jax.jit(stack.init)(jax.random.key(0), x, np.arange(3)[None], mask)

        def loss(x):
            key = {'dropout': jax.random.key(1)}
            return jnp.sin(stack.apply(params, x, np.arange(3)[None], mask, train=True, rngs=key)[0]).sum()

        return jax.jit(jax.grad(loss))(x)

    np.testing.assert_allclose(gradient('full'), gradient('none'), rtol=1e-4, atol=1e-5)

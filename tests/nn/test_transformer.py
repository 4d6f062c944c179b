"""Block and Stack, out of parts so simple that the result is known."""

from functools import partial

import flax.linen as nn
import jax
import numpy as np
import pytest

from jaxlab.nn.transformer import Block, Stack

X = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
POSITIONS, MASK = np.arange(3)[None], np.ones((1, 3, 3), bool)


class Double(nn.Module):
    def __call__(self, x, *_):
        return 2 * x


class DoubleAttention(nn.Module):
    def __call__(self, x, positions, mask, cache, index):
        return 2 * x, (x, x)


class Scale(nn.Module):
    """x -> x + scale · x, with a scale of its own in every layer."""

    @nn.compact
    def __call__(self, x, positions, mask, cache=None, index=0, train=False):
        return x * (1 + self.param('scale', nn.initializers.ones, ())), (x, x)


def test_a_block_adds_both_halves_to_what_was_there():
    block = Block(norm=Double, attention=DoubleAttention, mlp=Double)
    y, _ = block.apply({}, X, POSITIONS, MASK)
    np.testing.assert_allclose(y, X * (1 + 2 * 2) * (1 + 2 * 2), rtol=1e-6)


def test_a_block_drops_what_its_halves_add_in_training_only():
    block = Block(norm=Double, attention=DoubleAttention, mlp=Double, dropout=0.999999)
    y, _ = block.apply({}, X, POSITIONS, MASK, train=True, rngs={'dropout': jax.random.key(0)})
    np.testing.assert_array_equal(y, X)
    y, _ = block.apply({}, X, POSITIONS, MASK)
    np.testing.assert_allclose(y, 25 * X, rtol=1e-6)


@pytest.mark.parametrize('scan', [False, True])
def test_a_stack_tells_its_blocks_that_this_is_training(scan):
    block = partial(Block, norm=Double, attention=DoubleAttention, mlp=Double, dropout=0.5)
    stack = Stack(block, layers=2, scan=scan)
    y, _ = stack.apply({}, X, POSITIONS, MASK, train=True, rngs={'dropout': jax.random.key(0)})
    # A half adds 4 x; in training 0 or, to make up for that, 8 x: each of the four multiplies by 1 or 9, for itself.
    factors = np.unique(np.round(y / X))
    assert set(factors) <= {1, 9, 81, 729, 6561} and {9, 729} & set(factors)  # an odd number: the layers disagree
    y, _ = stack.apply({}, X, POSITIONS, MASK)
    np.testing.assert_allclose(y, 25**2 * X, rtol=1e-6)


@pytest.mark.parametrize('remat', ['none', 'dots', 'full'])
@pytest.mark.parametrize('scan', [False, True])
def test_a_stack_runs_its_layers_in_order_each_with_its_own_parameters(scan, remat):
    stack = Stack(Scale, layers=3, scan=scan, remat=remat)
    scales = np.array([1.0, 2.0, 4.0], np.float32)
    params = {'layers': {'scale': scales}} if scan else {f'layer_{i}': {'scale': scales[i]} for i in range(3)}
    y, kept = stack.apply({'params': params}, X, POSITIONS, MASK)
    np.testing.assert_allclose(y, X * 2 * 3 * 5, rtol=1e-6)
    assert kept is None  # without a cache, no keys and values are kept
    pairs = (np.zeros((3, *X.shape)),) * 2 if scan else ((X, X),) * 3
    _, kept = stack.apply({'params': params}, X, POSITIONS, MASK, pairs, 0)
    keys = kept[0] if scan else [keys for keys, _ in kept]
    np.testing.assert_allclose(np.stack(keys), [X, 2 * X, 6 * X], rtol=1e-6)  # what each layer was given

"""Rotary positions."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.nn.position import Rotary, rotate


def test_pairs_turn_as_complex_numbers():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 8)).astype(np.float32)
    positions = np.array([[0, 1, 2, 0, 1], [7, 8, 9, 10, 300]])
    pairs = x[..., :4] + 1j * x[..., 4:]
    for b in range(2):
        for t in range(5):
            for i in range(4):
                pairs[b, :, t, i] *= np.exp(1j * positions[b, t] * 100.0 ** (-2 * i / 8))
    wanted = np.concatenate([pairs.real, pairs.imag], axis=-1)
    np.testing.assert_allclose(rotate(x, positions, Rotary(100.0)), wanted, atol=1e-4)


def test_products_depend_on_distance_alone():
    q, k = np.random.default_rng(0).normal(size=(2, 1, 1, 1, 16)).astype(np.float32)

    @jax.jit
    def product(query_position, key_position):
        return jnp.vdot(rotate(q, query_position[None, None]), rotate(k, key_position[None, None]))

    near = product(np.int32(5), np.int32(2))
    np.testing.assert_allclose(product(np.int32(105), np.int32(102)), near, rtol=1e-4)
    assert abs(product(np.int32(5), np.int32(3)) - near) > 1e-3


def test_bfloat16_angles_are_not_rounded():
    x = jnp.ones((1, 1, 2, 4), jnp.bfloat16)
    y = np.asarray(jax.jit(rotate)(x, np.array([[1000, 1001]])))  # in bfloat16 both would be 1000
    assert y.dtype == jnp.bfloat16 and (y[0, 0, 0] != y[0, 0, 1]).any()


def test_slow_pairs_are_slowed_and_fast_ones_left():
    """Llama 3.1 by its paper's words: a pair that turns often in the old context is left, a slow one is slowed."""
    rotary = Rotary(10000.0, 'llama3', factor=8.0, context=256, slow=1.0, fast=4.0)
    own, found = Rotary(10000.0).frequencies(64), rotary.frequencies(64)
    turns = 256 * own / (2 * np.pi)
    np.testing.assert_array_equal(found[turns > 4], own[turns > 4])
    np.testing.assert_allclose(found[turns < 1], own[turns < 1] / 8, rtol=1e-12)
    between = (turns > 1) & (turns < 4)
    assert between.any() and (found[between] < own[between]).all() and (found[between] > own[between] / 8).all()
    assert (np.diff(found) < 0).all()


def test_yarn_lengthens_queries_and_keys():
    rotary = Rotary(10000.0, 'yarn', factor=4.0, context=256, fast=32.0)
    own, found = Rotary(10000.0).frequencies(32), rotary.frequencies(32)
    assert found[0] == own[0] and np.isclose(found[-1], own[-1] / 4) and rotary.length == 0.1 * np.log(4) + 1
    x = np.random.default_rng(0).normal(size=(1, 1, 3, 32)).astype(np.float32)
    turned = rotate(x, np.arange(3)[None], rotary)
    np.testing.assert_allclose(np.linalg.norm(turned, axis=-1), rotary.length * np.linalg.norm(x, axis=-1), rtol=1e-5)

"""Experts against a loop over tokens in numpy: who goes where, with what weight, and who finds no place."""

# b batch, t time, d width, e experts, k of them for each token, f hidden width

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.nn import experts
from jaxlab.nn.experts import ROUTING, Experts, Routing
from jaxlab.nn.mlp import MLP
from jaxlab.parallel import layout

B, T, D, E, F = 3, 7, 4, 5, 6
DTYPES = dict(dtype=jnp.float64, param_dtype=jnp.float64)


def make(chosen=2, capacity_factor=0.0, **options):
    return Experts(E, chosen, partial(MLP, F, 'swiglu', False, **DTYPES), capacity_factor, **DTYPES, **options)


def drawn(seed=0):
    """Returns x [b t d] and parameters; the router likes some experts better, so that these run out of places."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(B, T, D))
    sizes = {'gate': (E, D, F), 'up': (E, D, F), 'down': (E, F, D)}
    kernels = {name: {'kernel': draw.normal(size=size)} for name, size in sizes.items()}
    router = draw.normal(size=(D, E)) * np.linspace(0.2, 2, E)
    return x, {'experts': kernels, 'router': {'kernel': router}}


def softmax(z):
    z = np.exp(z - z.max(-1, keepdims=True))
    return z / z.sum(-1, keepdims=True)


def by_hand(x, params, chosen, places):
    """One token after another: y [b t d], the numbers of the experts [b t k], and who had a place [b t k]."""
    silu = lambda z: z / (1 + np.exp(-z))  # noqa: E731
    kernels = {name: kernel['kernel'] for name, kernel in params['experts'].items()}
    y, numbers, kept = np.zeros_like(x), np.zeros((B, T, chosen), int), np.zeros((B, T, chosen), bool)
    for b in range(B):
        taken = np.zeros(E, int)
        for t in range(T):
            p = softmax(x[b, t] @ params['router']['kernel'])
            best = np.argsort(-p)[:chosen]
            weights = p[best] / p[best].sum() if chosen > 1 else p[best]
            for k, (i, weight) in enumerate(zip(best, weights)):
                numbers[b, t, k], kept[b, t, k] = i, taken[i] < places
                taken[i] += 1
                if kept[b, t, k]:
                    h = silu(x[b, t] @ kernels['gate'][i]) * (x[b, t] @ kernels['up'][i])
                    y[b, t] += weight * (h @ kernels['down'][i])
    return y, numbers, kept


@pytest.mark.parametrize(
    ('chosen', 'capacity_factor', 'places'),
    [(2, 0.0, T), (2, 1.0, 3), (1, 0.0, T), (1, 0.5, 1), (3, 1.5, 7), (5, 9.0, 7)],
)
def test_each_token_goes_through_its_experts_while_there_are_places(chosen, capacity_factor, places, float64):
    x, params = drawn()
    layer = make(chosen, capacity_factor)
    y, told = jax.jit(lambda params, x: layer.apply({'params': params}, x, True, mutable=[ROUTING]))(params, x)
    wanted, _, kept = by_hand(x, params, chosen, places)
    np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-12)
    (routing,) = told[ROUTING]['told']
    np.testing.assert_array_equal(routing.kept, kept)
    np.testing.assert_allclose(routing.logits, x @ params['router']['kernel'], rtol=1e-12)
    assert (kept.mean() < 0.95) == (capacity_factor in (0.5, 1.0)), 'some are left out where places are few'


def test_nobody_is_left_out_when_a_model_is_used(float64):
    x, params = drawn()
    y = make(2, 0.5).apply({'params': params}, x)
    np.testing.assert_allclose(y, by_hand(x, params, 2, T)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('capacity_factor', [0.0, 1.0])
def test_gradients_are_those_of_differences(capacity_factor, float64):
    x, params = drawn()
    weigh = np.random.default_rng(1).normal(size=x.shape)
    places = 3 if capacity_factor else T
    way = jax.tree.map(lambda leaf: np.random.default_rng(2).normal(size=leaf.shape), (x, params))

    def total(given):
        return (make(2, capacity_factor).apply({'params': given[1]}, given[0], True) * weigh).sum()

    def moved(step):
        x_there, params_there = jax.tree.map(lambda leaf, along: leaf + step * along, (x, params), way)
        return (by_hand(x_there, params_there, 2, places)[0] * weigh).sum()

    slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
    found = jax.tree.map(lambda g, along: (g * along).sum(), jax.grad(total)((x, params)), way)
    np.testing.assert_allclose(sum(jax.tree.leaves(found)), slope, rtol=1e-7)
    assert all(abs(part) > 1e-3 for part in jax.tree.leaves(found)), 'every parameter learns'


@pytest.mark.parametrize('chosen', [1, 2])
def test_the_router_learns_however_many_experts_are_chosen(chosen, float64):
    x, params = drawn()
    slope = jax.grad(lambda params: jnp.sum(make(chosen).apply({'params': params}, x)))(params)
    assert np.abs(slope['router']['kernel']).max() > 1e-3


def test_the_order_of_experts_means_nothing(float64):
    x, params = drawn()
    order = np.array([3, 0, 4, 1, 2])
    other = {
        'experts': jax.tree.map(lambda leaf: leaf[order], params['experts']),
        'router': {'kernel': params['router']['kernel'][:, order]},
    }
    layer = make(2, 1.0)
    np.testing.assert_allclose(
        layer.apply({'params': other}, x, True), layer.apply({'params': params}, x, True), rtol=1e-12
    )


def test_rows_do_not_touch_each_other_and_no_token_feels_a_later_one(float64):
    x, params = drawn()
    layer = jax.jit(partial(make(2, 1.0).apply, {'params': params}, train=True))
    before, changed = np.asarray(layer(x)), x.copy()
    changed[1, 4:] += 1.0  # of row 1, from token 4 on
    after = np.asarray(layer(changed))
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    np.testing.assert_array_equal(after[1, :4], before[1, :4])
    assert (after[1, 4:] != before[1, 4:]).any()


def routing(seed=0, chosen=2):
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(B, T, E)) * 2
    mask = (draw.random((B, T)) < 0.7).astype(np.float64)
    mask[1] = 0  # a row of which nothing counts
    return Routing(logits, draw.random((B, T, chosen)) < 0.8), mask


def losses_by_hand(told, mask):
    """One row after another."""
    found = dict(tokens=0.0, balance=0.0, z=0.0, dropped=0.0)
    k = told.kept.shape[-1]
    for logits, kept, counts in zip(told.logits, told.kept, mask):
        rows = [t for t in range(T) if counts[t]]
        if not rows:
            continue
        p = softmax(logits[rows])
        f = np.zeros(E)
        for t in rows:
            for i in np.argsort(-logits[t])[:k]:
                f[i] += 1 / (k * len(rows))
        found['tokens'] += len(rows)
        found['balance'] += len(rows) * E * (f * p.mean(0)).sum()
        found['z'] += (np.log(np.exp(logits[rows]).sum(-1)) ** 2).sum()
        found['dropped'] += (~kept[rows]).mean(-1).sum()
    return found


def assert_sums(found, wanted, layers=1):
    for name, value in wanted.items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-12, err_msg=name)
    assert found.layers == layers


@pytest.mark.parametrize('chosen', [1, 2])
def test_losses_are_sums_over_the_tokens_that_count(chosen, float64):
    told, mask = routing(chosen=chosen)
    wanted = losses_by_hand(told, mask)
    assert_sums(experts.sums({'layer_0': {'told': (told,)}}, mask), wanted)
    halves = [
        experts.sums((Routing(told.logits[rows], told.kept[rows]),), mask[rows]) for rows in (slice(2), slice(2, 3))
    ]
    assert_sums(jax.tree.map(jnp.add, *(half._replace(layers=0) for half in halves)), wanted, layers=0)


def test_losses_of_layers_are_added_scanned_or_not(float64):
    (one, mask), (two, _) = routing(0), routing(1)
    pair = [losses_by_hand(layer, mask) for layer in (one, two)]
    wanted = {name: pair[0][name] + pair[1][name] for name in pair[0]}
    assert_sums(experts.sums({'layer_0': one, 'layer_1': two}, mask), wanted, 2)
    assert_sums(experts.sums({'layers': jax.tree.map(lambda *x: np.stack(x), one, two)}, mask), wanted, 2)


def test_an_even_spread_has_balance_1_and_one_expert_for_all_e(float64):
    even = np.tile(np.eye(E), (B, 2, 1)) * 50.0
    mask = np.ones((B, 2 * E))
    kept = np.ones((B, 2 * E, 1), bool)
    found = experts.sums((Routing(even, kept),), mask)
    np.testing.assert_allclose(found.balance / found.tokens, 1.0, rtol=1e-12)
    one = np.tile(np.eye(E)[:1], (B, 2 * E, 1)) * 50.0
    found = experts.sums((Routing(one, kept),), mask)
    np.testing.assert_allclose(found.balance / found.tokens, E, rtol=1e-12)


def test_balance_pulls_the_router_towards_an_even_spread(float64):
    told, mask = routing()
    slope = jax.grad(lambda logits: experts.sums((told._replace(logits=logits),), mask).balance)(told.logits)
    better = told._replace(logits=told.logits - 0.01 * np.asarray(slope))
    assert losses_by_hand(better, mask)['balance'] < losses_by_hand(told, mask)['balance'] - 1e-4
    assert (np.asarray(slope)[mask == 0] == 0).all()


def test_every_expert_is_born_with_numbers_of_its_own(float64):
    boxed = make().init(jax.random.key(0), np.zeros((1, 2, D)))['params']
    assert layout.names(boxed)['experts']['up']['kernel'] == ('experts', 'embed', 'mlp')
    assert layout.names(boxed)['experts']['down']['kernel'] == ('experts', 'mlp', 'embed')
    up = layout.unbox(boxed)['experts']['up']['kernel']
    assert up.shape == (E, D, F) and len(np.unique(up)) == up.size
    np.testing.assert_allclose(up.std(), D**-0.5, rtol=0.3)  # as one MLP's: their number does not make them smaller


def test_a_router_works_in_32_bits_at_least():
    layer = Experts(E, 2, partial(MLP, F, dtype=jnp.bfloat16), dtype=jnp.bfloat16)
    x = jnp.ones((1, 2, D), jnp.bfloat16)
    variables = layer.init(jax.random.key(0), x)
    y, told = layer.apply({'params': layout.unbox(variables['params'])}, x, mutable=[ROUTING])
    assert y.dtype == jnp.bfloat16 and told[ROUTING]['told'][0].logits.dtype == jnp.float32

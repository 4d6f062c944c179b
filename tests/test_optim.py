"""Optimizers against short numpy loops of their formulas, five steps each; what decays and what does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import optim
from jaxlab.errors import UserError
from jaxlab.models import gpt
from jaxlab.parallel import layout
from tests.formulas import adagrad, adam, arrays, assert_equal, expect, leaves, lion, make, polyak, rmsprop, run

FORMULAS = {  # name: (its own arguments, the direction)
    'gradient_descent': ({}, lambda: lambda name, n, g: g),
    'sgd': ({}, lambda: lambda name, n, g: g),
    'momentum': ({'momentum': 0.8}, lambda: polyak(0.8)),
    'nesterov': ({'momentum': 0.8}, lambda: polyak(0.8, nesterov=True)),
    'adagrad': ({'epsilon': 1e-3}, lambda: adagrad(1e-3)),
    'rmsprop': ({'decay': 0.7, 'epsilon': 1e-3}, lambda: rmsprop(0.7, 1e-3)),
    'adam': ({'beta1': 0.8, 'beta2': 0.9, 'epsilon': 1e-3}, lambda: adam(0.8, 0.9, 1e-3)),
    'adamw': ({'beta1': 0.7, 'beta2': 0.8, 'epsilon': 1e-2}, lambda: adam(0.7, 0.8, 1e-2)),
    'lion': ({'beta1': 0.6, 'beta2': 0.9}, lambda: lion(0.6, 0.9)),
}


@pytest.mark.parametrize('penalties', [{}, {'l1': 0.3}, {'l2': 0.7}])
@pytest.mark.parametrize('name', FORMULAS)
def test_against_its_formula(name, penalties, float64):
    own, direction = FORMULAS[name]
    shared = dict(learning_rate=0.2, weight_decay=0.5, clip=1.5, **penalties)
    assert_equal(run(make(name, **shared, **own)), expect(direction(), **shared))


def test_every_optimizer_is_tested():
    assert {*FORMULAS, 'lamb', 'adafactor', 'muon'} == set(optim.__all__)


def test_lamb(float64):
    shared = dict(learning_rate=0.2, weight_decay=0.5, clip=0.0)
    optimizer = make('lamb', beta1=0.8, beta2=0.9, epsilon=1e-3, **shared)
    norm = np.linalg.norm
    wanted = expect(adam(0.8, 0.9, 1e-3), rescale=lambda u, w: u * norm(w) / norm(u), **shared)
    assert_equal(run(optimizer), wanted)


@pytest.mark.parametrize('factor_from', [1, 5])  # at 5, both matrices have a side that is too short
def test_adafactor(factor_from, float64):
    sums, params = {}, leaves(arrays(99))

    def rms(x):
        return np.sqrt(np.mean(x**2))

    def direction(name, n, g):
        beta, squares = 1 - (n + 1) ** -0.8, g**2 + 1e-30
        factored = name != 'bias' and factor_from == 1
        parts = [squares.sum(1), squares.sum(0)] if factored else [squares]  # of the rows, and of the columns
        old = sums.get(name, [0.0] * len(parts))
        sums[name] = [beta * was + (1 - beta) * part for was, part in zip(old, parts, strict=True)]
        v = np.outer(*sums[name]) / sums[name][0].sum() if factored else sums[name][0]
        u = g / np.sqrt(v)
        u = u / max(1, rms(u) / 0.9) * max(1e-3, rms(params[name]))
        params[name] = params[name] - 0.25 * u
        return u

    optimizer = make('adafactor', threshold=0.9, factor_from=factor_from, learning_rate=0.25, clip=0.0)
    wanted = expect(direction, learning_rate=0.25, weight_decay=0.0)
    for found, numbers in zip(run(optimizer), wanted, strict=True):  # optax takes powers of t in 32 bits
        for name, value in leaves(found).items():
            np.testing.assert_allclose(value, numbers[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_adafactor_keeps_rows_and_columns_alone():
    names, shapes = {'kernel': ('layers', 'embed', 'mlp')}, {'kernel': jax.ShapeDtypeStruct((3, 200, 300), jnp.float32)}
    state = jax.eval_shape(make('adafactor', names).init, shapes)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) < 3 * (200 + 300 + 10)


def orthogonal(x, iterations):
    """Newton–Schulz: a polynomial that draws all singular values towards 1."""
    x = x / np.linalg.norm(x)
    for _ in range(iterations):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


@pytest.mark.parametrize('iterations', [5, 2])
def test_muon(iterations, float64):
    beta, m = 0.9, np.zeros((4, 6))
    others = adam(0.8, 0.9, 1e-8)

    def direction(name, n, g):
        nonlocal m
        if name != 'kernel':
            return others(name, n, g)  # biases, and tables: they are looked up, not multiplied
        # Momentum with Nesterov's look ahead. Both are divided by the sum of their weights so far, which Jordan's own
        # code does not; from some dozen steps on that is the same direction.
        m = beta * m + (1 - beta) * g
        ahead = beta * m / (1 - beta ** (n + 2)) + (1 - beta) * g / (1 - beta ** (n + 1))
        return 0.2 * np.sqrt(max(g.shape)) * orthogonal(ahead, iterations)

    arguments = dict(learning_rate=0.125, weight_decay=0.25, clip=0.0)
    optimizer = make('muon', momentum=beta, iterations=iterations, beta1=0.8, beta2=0.9, **arguments)
    wanted = expect(direction, learning_rate=0.125, weight_decay=0.25)
    for found, numbers in zip(run(optimizer), wanted, strict=True):
        for name, value in leaves(found).items():
            # optax adds 1e-8 to the norm that it divides by
            np.testing.assert_allclose(value, numbers[name], rtol=1e-6, atol=1e-6, err_msg=name)


def test_five_iterations_make_a_matrix_nearly_orthogonal():
    values = np.linalg.svd(orthogonal(np.random.default_rng(0).normal(size=(4, 6)), 5), compute_uv=False)
    assert (values > 0.6).all() and (values < 1.3).all()


# --- names, not dimensions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('names', 'answer'),
    [
        (('embed', 'mlp'), True),
        (('vocab', 'table'), True),
        (('layers', 'embed', 'mlp'), True),
        (('layers', 'mlp'), False),  # biases of a scanned stack
        (('mlp',), False),
        (('norm',), False),
        ((), False),  # a parameter without names
        (('layers', 'experts', 'embed', 'mlp'), True),
        (('layers', 'experts', 'mlp'), False),
    ],
)
def test_what_decays(names, answer):
    assert optim.is_matrix(names) is answer


@functools.cache
def names_and_shapes():
    """Of the parameters of a GPT: {scan: …}, {scan: …}."""
    names, shapes = {}, {}
    for scan in (False, True):
        model = gpt.make({'vocabulary': 11, 'length': 8}, layers=2, width=8, heads=2, scan=scan)
        boxed = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 8), int))['params']
        names[scan] = layout.names(boxed)
        shapes[scan] = jax.tree.map(lambda x: x.shape, layout.unbox(boxed))
    return names, shapes


@pytest.mark.parametrize('name', optim.__all__)
def test_scanned_and_unrolled_stacks_train_to_the_same_numbers(name, float64):
    names, shapes = names_and_shapes()
    own = {'factor_from': 8} if name == 'adafactor' else {}  # so that its matrices are factored
    shared = dict(learning_rate=0.125, weight_decay=0.5, l1=0.1, l2=0.2, **own)
    unrolled = run(make(name, names[False], **shared), lambda seed: arrays(seed, shapes[False]))
    scanned = run(make(name, names[True], **shared), lambda seed: stacked(arrays(seed, shapes[False])))
    assert jax.tree.map(np.shape, scanned[-1]) == shapes[True]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-9, 1e-9), scanned[-1], stacked(unrolled[-1]))


def test_going_by_the_number_of_axes_is_noticed(float64, monkeypatch):
    monkeypatch.setattr(optim, 'is_matrix', lambda names: len(names) >= 2)  # biases of a scanned stack have two
    with pytest.raises(AssertionError):
        test_scanned_and_unrolled_stacks_train_to_the_same_numbers('adamw', None)


@pytest.mark.parametrize('name', ['lamb', 'adafactor'])
def test_taking_a_stack_for_one_layer_is_noticed(name, float64, monkeypatch):
    monkeypatch.setattr(jax, 'vmap', lambda function: function)
    with pytest.raises(AssertionError):
        test_scanned_and_unrolled_stacks_train_to_the_same_numbers(name, None)


@pytest.mark.parametrize('name', ['lamb', 'adafactor', 'muon'])
def test_every_expert_is_a_matrix_of_its_own(name, float64):
    own = {'factor_from': 2} if name == 'adafactor' else {}
    axes, shape, clip = ('embed', 'mlp'), (2, 3, 4, 6), 0.0
    together = make(name, {'kernel': ('layers', 'experts', *axes)}, clip=clip, **own)
    alone = make(name, {f'{i}': axes for i in range(6)}, clip=clip, **own)
    found = run(together, lambda seed: {'kernel': arrays_of(seed, shape)})
    wanted = run(alone, lambda seed: dict(zip('012345', arrays_of(seed, shape).reshape(6, 4, 6))))
    for one, others in zip(found, wanted, strict=True):
        others = np.stack([others[i] for i in '012345']).reshape(shape)
        np.testing.assert_allclose(one['kernel'], others, rtol=1e-9, atol=1e-9)


def arrays_of(seed, shape):
    return np.random.default_rng(seed).normal(size=shape)


def stacked(params):
    layers = [params['stack'][f'layer_{i}'] for i in range(2)]
    return params | {'stack': {'layers': jax.tree.map(lambda *leaves: np.stack(leaves), *layers)}}


# --- out of range ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'argument', 'value'),
    [
        ('sgd', 'learning_rate', -0.1),
        ('sgd', 'weight_decay', -0.1),
        ('sgd', 'clip', -1.0),
        ('sgd', 'l1', -0.1),
        ('sgd', 'l2', -0.1),
        ('momentum', 'momentum', 1.0),
        ('nesterov', 'momentum', -0.5),
        ('adagrad', 'epsilon', 0.0),
        ('rmsprop', 'decay', 1.0),
        ('rmsprop', 'epsilon', 0.0),
        ('lion', 'beta2', 1.0),
        ('lamb', 'beta1', 1.0),
        ('adafactor', 'decay', 0.0),
        ('adafactor', 'threshold', 0.0),
        ('adafactor', 'epsilon', 0.0),
        ('adamw', 'beta1', -0.1),
        ('adamw', 'beta2', 1.0),
        ('adamw', 'epsilon', 0.0),  # rows of a table that no text uses would become 0 / 0
        ('muon', 'momentum', 1.5),
        ('muon', 'iterations', 0),
        ('muon', 'epsilon', -1e-8),
    ],
)
def test_arguments_out_of_range(name, argument, value):
    with pytest.raises(UserError, match=f'config.optimizer: {argument}={value}'):
        make(name, **{argument: value})


def test_the_biases_of_gates_are_no_matrix():
    assert not optim.is_matrix(('gates', 'mlp'))
    assert optim.is_matrix(('gates', 'embed', 'mlp')) and not optim.is_matrix(('layers', 'gates', 'mlp'))

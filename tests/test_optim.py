"""Optimizers against short numpy loops of their formulas, five steps each; schedules; what decays and what does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import optim, schedules
from jaxlab.config import build, spec
from jaxlab.errors import UserError
from jaxlab.models import gpt
from jaxlab.parallel import layout

# A layer's matrix, its bias, and a table: how each is treated goes by these names.
NAMES = {'layer': {'kernel': ('embed', 'mlp'), 'bias': ('mlp',)}, 'table': ('vocab', 'table')}
SHAPES = {'layer': {'kernel': (4, 6), 'bias': (6,)}, 'table': (5, 4)}
STEPS = 5


def arrays(seed, shapes=SHAPES):
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda shape: draw.normal(size=shape), shapes, is_leaf=lambda x: isinstance(x, tuple))


def leaves(tree):
    """The numbers of a tree by name: kernel, bias, table."""
    return {'kernel': tree['layer']['kernel'], 'bias': tree['layer']['bias'], 'table': tree['table']}


def run(optimizer, numbers=arrays):
    """Returns the parameters after each step; `numbers` makes them, and the gradients, of a seed."""
    params, history = numbers(99), []
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for n in range(STEPS):
        updates, state = update(numbers(n), state, params)
        params = jax.tree.map(np.add, params, updates)
        history.append(params)
    return history


def expect(direction, *, learning_rate, weight_decay, clip=0.0, factor=lambda n: 1.0):
    """The rule that all optimizers share; `direction(name, n, gradient)` is what they differ in."""
    params, history = leaves(arrays(99)), []
    for n in range(STEPS):
        gradients = leaves(arrays(n))
        norm = np.sqrt(sum(np.sum(g**2) for g in gradients.values()))
        if clip and norm > clip:
            gradients = {name: g * clip / norm for name, g in gradients.items()}
        for name, g in gradients.items():
            decay = weight_decay * params[name] * (name != 'bias')  # matrices and tables decay, biases do not
            params[name] = params[name] - learning_rate * factor(n) * (direction(name, n, g) + decay)
        history.append(dict(params))
    return history


def assert_equal(history, wanted):
    for found, numbers in zip(history, wanted, strict=True):
        for name, value in leaves(found).items():
            np.testing.assert_allclose(value, numbers[name], rtol=1e-10, atol=1e-12, err_msg=name)


def make(name, names=NAMES, schedule=None, **arguments):
    schedule = schedule or spec('schedules.constant')
    return build(spec(f'optim.{name}', schedule=schedule, **arguments), names, STEPS, key='optimizer')


# --- against the formulas; rates are powers of two, since they are float32 in every precision -------------------------


@pytest.mark.parametrize('nesterov', [False, True])
@pytest.mark.parametrize('momentum', [0.0, 0.9])
def test_sgd(momentum, nesterov, float64):
    m = dict.fromkeys(('kernel', 'bias', 'table'), 0.0)

    def direction(name, n, g):
        m[name] = momentum * m[name] + g
        return g + momentum * m[name] if nesterov else m[name]

    optimizer = make('sgd', learning_rate=0.25, weight_decay=0.5, clip=1.5, momentum=momentum, nesterov=nesterov)
    assert_equal(run(optimizer), expect(direction, learning_rate=0.25, weight_decay=0.5, clip=1.5))


def adam(beta1, beta2, epsilon):
    m, v = dict.fromkeys(('kernel', 'bias', 'table'), 0.0), dict.fromkeys(('kernel', 'bias', 'table'), 0.0)

    def direction(name, n, g):
        m[name] = beta1 * m[name] + (1 - beta1) * g
        v[name] = beta2 * v[name] + (1 - beta2) * g**2
        return m[name] / (1 - beta1 ** (n + 1)) / (np.sqrt(v[name] / (1 - beta2 ** (n + 1))) + epsilon)

    return direction


def test_adamw(float64):
    optimizer = make('adamw', learning_rate=0.125, weight_decay=0.25, clip=0.0, beta1=0.8, beta2=0.9, epsilon=1e-3)
    assert_equal(run(optimizer), expect(adam(0.8, 0.9, 1e-3), learning_rate=0.125, weight_decay=0.25))


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
    ],
)
def test_what_decays(names, answer):
    assert optim.is_matrix(names) is answer


@pytest.mark.parametrize('name', optim.__all__)
def test_scanned_and_unrolled_stacks_train_to_the_same_numbers(name, float64):
    shapes, names = {}, {}
    for scan in (False, True):
        model = gpt.make({'vocabulary': 11, 'length': 8}, layers=2, width=8, heads=2, scan=scan)
        boxed = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 8), int))['params']
        names[scan] = layout.names(boxed)
        shapes[scan] = jax.tree.map(lambda x: x.shape, layout.unbox(boxed))
    unrolled = run(make(name, names[False], learning_rate=0.125), lambda seed: arrays(seed, shapes[False]))
    scanned = run(make(name, names[True], learning_rate=0.125), lambda seed: stacked(arrays(seed, shapes[False])))
    assert jax.tree.map(np.shape, scanned[-1]) == shapes[True]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-9, 1e-9), scanned[-1], stacked(unrolled[-1]))


def test_going_by_the_number_of_axes_is_noticed(float64, monkeypatch):
    monkeypatch.setattr(optim, 'is_matrix', lambda names: len(names) >= 2)  # biases of a scanned stack have two
    with pytest.raises(AssertionError):
        test_scanned_and_unrolled_stacks_train_to_the_same_numbers('adamw', None)


def stacked(params):
    layers = [params['stack'][f'layer_{i}'] for i in range(2)]
    return params | {'stack': {'layers': jax.tree.map(lambda *leaves: np.stack(leaves), *layers)}}


# --- schedules -------------------------------------------------------------------------------------------------------


def test_an_optimizer_follows_its_schedule_and_tells_it(float64):
    schedule = spec('schedules.cosine', warmup=2, final=0.25)
    optimizer = make('sgd', schedule=schedule, learning_rate=0.5, momentum=0.0, clip=0.0)
    factors = [1 / 3, 2 / 3, 1, *(0.25 + 0.75 * 0.5 * (1 + np.cos(np.pi * n / 3)) for n in (1, 2))]
    rates = [float(optimizer.learning_rate(jnp.int32(n))) for n in range(STEPS)]
    np.testing.assert_allclose(rates, 0.5 * np.array(factors), rtol=1e-6)
    wanted = expect(lambda name, n, g: g, learning_rate=0.5, weight_decay=0.0, factor=lambda n: rates[n] / 0.5)
    assert_equal(run(optimizer), wanted)


def test_cosine():
    schedule = schedules.cosine(100, warmup=10, final=0.1)
    factors = np.array([float(schedule(jnp.int32(n))) for n in range(130)])
    assert 0 < factors[0] < factors[9] < 1 and factors[10] == 1  # the first update moves already
    assert factors[55] == pytest.approx(0.55, abs=1e-6)  # half of the way down
    np.testing.assert_allclose(factors[100:], 0.1, rtol=1e-6)
    assert (np.diff(factors[:10]) > 0).all() and (np.diff(factors[10:100]) < 0).all()


def test_a_horizon_does_not_move_with_the_length_of_the_run():
    short, long = (schedules.cosine(steps, warmup=5, horizon=50) for steps in (40, 400))
    assert all(float(short(n)) == float(long(n)) for n in range(60))


def test_constant():
    assert [float(schedules.constant(9, warmup=3)(n)) for n in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert float(schedules.constant(9)(0)) == 1


# --- out of range ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('name', 'argument', 'value'),
    [
        ('sgd', 'learning_rate', -0.1),
        ('sgd', 'weight_decay', -0.1),
        ('sgd', 'clip', -1.0),
        ('sgd', 'momentum', 1.0),
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


@pytest.mark.parametrize('arguments', [dict(warmup=-1), dict(final=1.5), dict(final=-0.1), dict(horizon=-1)])
def test_schedules_out_of_range(arguments):
    with pytest.raises(UserError, match=f'config.optimizer.schedule: {next(iter(arguments))}='):
        make('sgd', schedule=spec('schedules.cosine', **arguments))

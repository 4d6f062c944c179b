"""Optimizers against short numpy loops of their formulas, five steps each; schedules; what decays and what does not."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab import config as configs
from jaxlab import config_text, optim, schedules
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


def expect(
    direction, *, learning_rate, weight_decay, clip=0.0, l1=0.0, l2=0.0, factor=lambda n: 1.0, rescale=lambda u, w: u
):
    """The rule that all optimizers share; `direction(name, n, gradient)` is what they differ in. (LAMB rescales too.)

    Rates and strengths may be dicts by parameter.
    """

    def of(setting, name):
        return setting[name] if isinstance(setting, dict) else setting

    params, history = leaves(arrays(99)), []
    for n in range(STEPS):
        gradients = leaves(arrays(n))
        norm = np.sqrt(sum(np.sum(g**2) for g in gradients.values()))
        if clip and norm > clip:
            gradients = {name: g * clip / norm for name, g in gradients.items()}
        for name, g in gradients.items():
            w, is_matrix = params[name], name != 'bias'  # matrices and tables decay, biases do not
            g = g + is_matrix * (of(l1, name) * np.sign(w) + of(l2, name) * w)
            u = direction(name, n, g) + is_matrix * of(weight_decay, name) * w
            params[name] = w - of(learning_rate, name) * factor(n) * (rescale(u, w) if is_matrix else u)
        history.append(dict(params))
    return history


def assert_equal(history, wanted):
    for found, numbers in zip(history, wanted, strict=True):
        for name, value in leaves(found).items():
            np.testing.assert_allclose(value, numbers[name], rtol=1e-10, atol=1e-12, err_msg=name)


def make(name, names=NAMES, schedule=None, **arguments):
    schedule = schedule or spec('schedules.constant')
    return build(spec(f'optim.{name}', schedule=schedule, **arguments), names, STEPS, key='optimizer')


# --- against the formulas --------------------------------------------------------------------------------------------


def zeros():
    """What an optimizer remembers of each parameter, before the first step."""
    return dict.fromkeys(('kernel', 'bias', 'table'), 0.0)


def polyak(momentum, nesterov=False):
    m = zeros()

    def direction(name, n, g):
        m[name] = momentum * m[name] + g
        return g + momentum * m[name] if nesterov else m[name]

    return direction


def adagrad(epsilon):
    v = zeros()

    def direction(name, n, g):
        v[name] = v[name] + g**2
        return g / np.sqrt(v[name] + epsilon)

    return direction


def rmsprop(decay, epsilon):
    v = zeros()

    def direction(name, n, g):
        v[name] = decay * v[name] + (1 - decay) * g**2
        return g / (np.sqrt(v[name]) + epsilon)

    return direction


def adam(beta1, beta2, epsilon):
    m, v = zeros(), zeros()

    def direction(name, n, g):
        m[name] = beta1 * m[name] + (1 - beta1) * g
        v[name] = beta2 * v[name] + (1 - beta2) * g**2
        return m[name] / (1 - beta1 ** (n + 1)) / (np.sqrt(v[name] / (1 - beta2 ** (n + 1))) + epsilon)

    return direction


def lion(beta1, beta2):
    m = zeros()

    def direction(name, n, g):
        found = np.sign(beta1 * m[name] + (1 - beta1) * g)
        m[name] = beta2 * m[name] + (1 - beta2) * g
        return found

    return direction


FORMULAS = {  # name: (its own arguments, the direction)
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


def stacked(params):
    layers = [params['stack'][f'layer_{i}'] for i in range(2)]
    return params | {'stack': {'layers': jax.tree.map(lambda *leaves: np.stack(leaves), *layers)}}


# --- groups ----------------------------------------------------------------------------------------------------------


def test_groups_override_rates_and_strengths(float64):
    groups = (
        ('layer/', {'learning_rate': 0.5, 'weight_decay': 0.3}),
        ('layer/k', {'learning_rate': 0.125, 'l1': 0.6}),  # later ones win, where they say something
        ('.*able', {'weight_decay': 0, 'l2': 0.4}),
    )
    optimizer = make('momentum', learning_rate=0.2, weight_decay=0.7, l1=0.05, clip=1.5, groups=groups)
    wanted = expect(
        polyak(0.9),
        learning_rate={'kernel': 0.125, 'bias': 0.5, 'table': 0.2},
        weight_decay={'kernel': 0.3, 'bias': 0.3, 'table': 0.0},
        l1={'kernel': 0.6, 'bias': 0.05, 'table': 0.05},
        l2={'kernel': 0.0, 'bias': 0.0, 'table': 0.4},
        clip=1.5,
    )
    assert_equal(run(optimizer), wanted)
    assert float(optimizer.learning_rate(0)) == pytest.approx(0.2)  # the shared one is shown


@pytest.mark.parametrize('name', optim.__all__)
def test_what_is_frozen_stays_to_the_last_bit_and_has_no_state(name):
    arguments = dict(learning_rate=0.5, weight_decay=0.5, l1=0.5, l2=0.5)
    optimizer = make(name, groups=(('layer/', {'frozen': True}),), **arguments)
    params = jax.tree.map(jnp.float32, arrays(99))
    params['layer']['bias'] = jnp.array([0.0, -0.0, 1e-45, np.inf, np.nan, 1.0])
    gradient = jax.tree.map(jnp.float32, arrays(0)) | {'layer': jax.tree.map(jnp.float32, arrays(1)['layer'])}

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    after, state = step(params, optimizer.init(params))
    for leaf in ('kernel', 'bias'):
        assert after['layer'][leaf].tobytes() == params['layer'][leaf].tobytes()
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    zeros = jnp.array([0.0, -0.0])  # where nothing is compiled, and so no addition is left out
    assert (zeros + updates['layer']['bias'][:2]).tobytes() == zeros.tobytes()
    assert (after['table'] != params['table']).any()

    alone = make(name, {'table': NAMES['table']}, **arguments)  # as if there were nothing else: clipping, too
    table = {'table': params['table']}
    wanted, alone_state = jax.jit(alone.update)({'table': gradient['table']}, alone.init(table), table)
    np.testing.assert_allclose(after['table'], params['table'] + wanted['table'], rtol=1e-6)
    assert jax.tree.map(np.shape, state) == jax.tree.map(np.shape, alone_state)


GPT_NAMES = {'stack': {'layer_0': {'mlp': {'up': {'kernel': ('embed', 'mlp'), 'bias': ('mlp',)}}}}}


@pytest.mark.parametrize(
    ('groups', 'answer'),
    [
        ((('stack/layer_7/', {}),), r'"stack/layer_7/": no parameter.* nearest: stack/layer_0/mlp/up/'),
        ((('mlp/', {}),), 'no parameter'),  # patterns hold from the start of a name
        ((('stack/', {'learning_rat': 0.1}),), 'Did you mean "learning_rate"?'),
        ((('stack/', {'freeze': True}),), 'Did you mean "frozen"?'),
        ((('stack/', {'frozen': 1}),), 'frozen=1: True or False'),
        ((('stack/', {'learning_rate': True}),), 'learning_rate=True: a number'),
        ((('stack/', {'learning_rate': '0.1'}),), "learning_rate='0.1': a number"),
        ((('stack/', {'weight_decay': -0.1}),), 'weight_decay=-0.1: a number from 0 up'),
        ((('sta(ck', {}),), 'no regular expression'),
        (('stack/', {'frozen': True}), "'stack/' is no pair"),  # a comma is missing
        ((('stack/', {'frozen': True}),), 'nothing is left'),
    ],
)
def test_groups_that_are_wrong(groups, answer):
    with pytest.raises(UserError, match=r'^config\.optimizer: groups: ') as caught:
        make('adamw', GPT_NAMES, groups=groups)
    assert re.search(answer, str(caught.value))


def test_groups_on_the_command_line_and_on_record():
    groups = (('stack/layer_0/', {'frozen': True}), ('token.*', {'learning_rate': 1e-4, 'weight_decay': 0.0}))
    config = configs.experiment()
    config.optimizer = spec('optim.adamw')
    found = config_text.override(config, [('optimizer.groups', repr(groups))])
    assert found.optimizer == spec('optim.adamw', groups=groups)
    back = config_text.from_json(config_text.to_json(found))
    assert back == found and back.optimizer.groups == groups
    assert config_text.to_json(back) == config_text.to_json(found) and config_text.difference(back, found) == []
    assert config_text.difference(config, found)


# --- schedules -------------------------------------------------------------------------------------------------------


def test_an_optimizer_follows_its_schedule_and_tells_it(float64):
    schedule = spec('schedules.cosine', warmup=2, final=0.25)
    optimizer = make('sgd', schedule=schedule, learning_rate=0.5, clip=0.0)
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


@pytest.mark.parametrize(
    ('name', 'arguments', 'factors'),  # {n: factor}, for a run of 110 steps
    [
        ('constant', {}, {10: 1, 60: 1, 300: 1}),
        ('step', {'at': (0.5, 0.75), 'drop': 0.1}, {59: 1, 60: 0.1, 84: 0.1, 85: 0.01, 300: 0.01}),
        ('step', {'at': (), 'drop': 0.1}, {300: 1}),
        ('exponential', {'final': 0.01}, {35: 0.01**0.25, 60: 0.1, 110: 0.01, 300: 0.01}),
        ('linear', {'final': 0.2}, {35: 0.8, 60: 0.6, 110: 0.2, 300: 0.2}),
        ('linear', {'final': 0.2, 'horizon': 60}, {35: 0.6, 60: 0.2, 300: 0.2}),
        ('cosine', {'final': 0.2}, {35: 0.6 + 0.4 * 0.5**0.5, 60: 0.6, 110: 0.2, 300: 0.2}),
        ('inverse_sqrt', {}, {21: 0.5**0.5, 43: 0.5, 10_999: 11e-4**0.5 / 1.1**0.5}),
        ('warmup_stable_decay', {'decay': 0.2, 'final': 0.2}, {60: 1, 90: 1, 100: 0.6, 110: 0.2, 300: 0.2}),
    ],
)
def test_shapes_of_schedules(name, arguments, factors):
    schedule = build(spec(f'schedules.{name}', warmup=10, **arguments), 110, key='optimizer.schedule')
    rise = {n: (n + 1) / 11 for n in range(11)}  # the first update moves already
    for n, factor in (rise | factors).items():
        assert float(schedule(jnp.int32(n))) == pytest.approx(factor, rel=1e-5), n


def test_every_schedule_is_tested_and_traced():
    tested = {arguments[0] for arguments in test_shapes_of_schedules.pytestmark[0].args[1]}
    assert tested == set(schedules.__all__)
    for name in schedules.__all__:
        schedule = build(spec(f'schedules.{name}'), 20, key='optimizer.schedule')
        factors = jax.jit(jax.vmap(schedule))(jnp.arange(30))
        assert factors.dtype == jnp.float32 and ((factors >= 0) & (factors <= 1)).all()
        np.testing.assert_allclose(factors[:3], [float(schedule(n)) for n in range(3)], rtol=1e-6)


@pytest.mark.parametrize('name', ['step', 'exponential', 'linear', 'cosine', 'warmup_stable_decay'])
def test_a_horizon_does_not_move_with_the_length_of_the_run(name):
    make_schedule = getattr(schedules, name)
    short, long = (make_schedule(steps, warmup=5, horizon=50) for steps in (40, 400))
    assert all(float(short(n)) == float(long(n)) for n in range(60))


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


@pytest.mark.parametrize(
    ('name', 'arguments'),
    [
        ('constant', {'warmup': -1}),
        ('inverse_sqrt', {'warmup': -1}),
        ('cosine', {'warmup': -1}),
        ('cosine', {'final': 1.5}),
        ('cosine', {'final': -0.1}),
        ('cosine', {'horizon': -1}),
        ('linear', {'final': 1.5}),
        ('exponential', {'final': 0.0}),
        ('step', {'drop': 1.5}),
        ('step', {'at': (0.5, 30)}),
        ('warmup_stable_decay', {'decay': 0.0}),
        ('warmup_stable_decay', {'final': 2.0}),
    ],
)
def test_schedules_out_of_range(name, arguments):
    with pytest.raises(UserError, match=f'config.optimizer.schedule: {next(iter(arguments))}='):
        make('sgd', schedule=spec(f'schedules.{name}', **arguments))

"""Schedules: their shapes, against short formulas and loops; that they are followed, and shown as they are."""

# n updates done

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import schedules
from jaxlab.config import build, spec
from jaxlab.errors import UserError
from tests.formulas import STEPS, arrays, assert_equal, expect, make


def factors(schedule, losses):
    """Returns the factor of each update; compiled, as in a step."""

    def one(state, loss):
        factor, state = schedule.update(state, loss)
        return state, factor

    found = jax.jit(lambda losses: jax.lax.scan(one, schedule.init(), losses)[1])(jnp.float32(losses))
    assert found.dtype == jnp.float32
    return np.array(found)


def made(name, steps, **arguments):
    return build(spec(f'schedules.{name}', **arguments), steps, key='optimizer.schedule')


def test_an_optimizer_follows_its_schedule_and_tells_it(float64):
    schedule = spec('schedules.cosine', warmup=2, final=0.25)
    optimizer = make('sgd', schedule=schedule, learning_rate=0.5, clip=0.0)
    wanted_factors = [1 / 3, 2 / 3, 1, *(0.25 + 0.75 * 0.5 * (1 + np.cos(np.pi * n / 3)) for n in (1, 2))]
    params, rates, history = arrays(99), [], []
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for n in range(STEPS):
        rate = optimizer.rate(state, 1.0)
        updates, state = update(arrays(n), state, params, 1.0, optimizer.norm(arrays(n)))
        params = jax.tree.map(np.add, params, updates)
        history.append(params)
        rates.append(float(rate))
    np.testing.assert_allclose(rates, 0.5 * np.array(wanted_factors), rtol=1e-6)
    wanted = expect(lambda name, n, g: g, learning_rate=0.5, weight_decay=0.0, factor=lambda n: rates[n] / 0.5)
    assert_equal(history, wanted)


def test_cosine():
    found = factors(schedules.cosine(100, warmup=10, final=0.1), np.ones(130))
    assert 0 < found[0] < found[9] < 1 and found[10] == 1  # the first update moves already
    assert found[55] == pytest.approx(0.55, abs=1e-6)  # half of the way down
    np.testing.assert_allclose(found[100:], 0.1, rtol=1e-6)
    assert (np.diff(found[:10]) > 0).all() and (np.diff(found[10:100]) < 0).all()


SHAPES = [  # {n: factor}, for a run of 110 steps
    ('constant', {}, {10: 1, 60: 1, 300: 1}),
    ('step', {'at': (0.5, 0.75), 'drop': 0.1}, {59: 1, 60: 0.1, 84: 0.1, 85: 0.01, 300: 0.01}),
    ('step', {'at': (), 'drop': 0.1}, {300: 1}),
    ('exponential', {'final': 0.01}, {35: 0.01**0.25, 60: 0.1, 110: 0.01, 300: 0.01}),
    ('linear', {'final': 0.2}, {35: 0.8, 60: 0.6, 110: 0.2, 300: 0.2}),
    ('linear', {'final': 0.2, 'horizon': 60}, {35: 0.6, 60: 0.2, 300: 0.2}),
    ('cosine', {'final': 0.2}, {35: 0.6 + 0.4 * 0.5**0.5, 60: 0.6, 110: 0.2, 300: 0.2}),
    ('inverse_sqrt', {}, {21: 0.5**0.5, 43: 0.5, 1099: 0.1}),
    ('warmup_stable_decay', {'decay': 0.2, 'final': 0.2}, {60: 1, 90: 1, 100: 0.6, 110: 0.2, 300: 0.2}),
    # Of a flat loss: the first mean of two is there at 11, and the third that is no lower at 17.
    ('plateau', {'window': 2, 'patience': 3, 'final': 0.2}, {16: 1, 17: 0.5, 22: 0.5, 23: 0.25, 29: 0.2, 300: 0.2}),
]


@pytest.mark.parametrize(('name', 'arguments', 'wanted'), SHAPES)
def test_shapes_of_schedules(name, arguments, wanted):
    found = factors(made(name, 110, warmup=10, **arguments), np.ones(max(wanted) + 1))
    rise = {n: (n + 1) / 11 for n in range(11)}  # the first update moves already
    for n, factor in (rise | wanted).items():
        assert found[n] == pytest.approx(factor, rel=1e-5), n


def test_every_schedule_is_tested():
    assert {name for name, _, _ in SHAPES} == set(schedules.__all__)
    for name in schedules.__all__:
        found = factors(made(name, 20), np.ones(30))
        assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize('name', ['step', 'exponential', 'linear', 'cosine', 'warmup_stable_decay'])
def test_a_horizon_does_not_move_with_the_length_of_the_run(name):
    short, long = (factors(made(name, steps, warmup=5, horizon=50), np.ones(60)) for steps in (40, 400))
    assert (short == long).all()


# --- plateau ---------------------------------------------------------------------------------------------------------


def plateau(losses, *, warmup, drop, window, patience, cooldown, least, final):
    """The same as a loop over windows."""
    found, scale, lowest, bad, resting = [], 1.0, np.inf, 0, 0
    seen: list[float] = []
    for n, loss in enumerate(losses):
        if n >= warmup:
            seen.append(loss)
            if len(seen) == window:
                mean, seen = np.mean(seen), []
                bad = 0 if mean < lowest - least else bad + 1
                lowest = mean if mean < lowest - least else lowest
                if resting:
                    resting, bad = resting - 1, 0
                elif bad == patience:
                    scale, bad, resting = max(scale * drop, final), 0, cooldown
        found.append(scale * min(1, (n + 1) / (warmup + 1)))
    return found


@pytest.mark.parametrize('mean', [3.0, -3.0])  # a loss may be negative
@pytest.mark.parametrize(
    'arguments',
    [
        dict(warmup=0, drop=0.5, window=1, patience=1, cooldown=0, least=0.0, final=0.0),
        dict(warmup=7, drop=0.5, window=3, patience=2, cooldown=0, least=0.0, final=0.1),
        dict(warmup=0, drop=0.3, window=4, patience=2, cooldown=3, least=0.05, final=0.0),
        dict(warmup=5, drop=0.9, window=2, patience=4, cooldown=1, least=0.02, final=0.5),
    ],
)
def test_plateau_against_its_loop(mean, arguments):
    draw = np.random.default_rng(0)
    losses = (mean + np.exp(-np.arange(120) / 20) + 0.1 * draw.normal(size=120)).astype(np.float32)
    wanted = plateau(losses, **arguments)
    assert len(set(wanted[arguments['warmup'] :])) >= 3, 'the rate falls'
    np.testing.assert_allclose(factors(schedules.plateau(120, **arguments), losses), wanted, rtol=1e-5)


def test_a_loss_that_falls_keeps_the_rate_and_a_flat_one_does_not():
    arguments = dict(drop=0.1, window=5, patience=2)
    for start in (100.0, 0.0, -100.0):
        falling = start - 0.1 * np.arange(200)
        assert (factors(schedules.plateau(200, **arguments), falling) == 1).all()
        assert factors(schedules.plateau(200, **arguments), np.full(200, start))[-1] < 1e-6


# --- out of range ----------------------------------------------------------------------------------------------------


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
        ('plateau', {'warmup': -1}),
        ('plateau', {'drop': 1.0}),
        ('plateau', {'drop': 0.0}),
        ('plateau', {'window': 0}),
        ('plateau', {'patience': 0}),
        ('plateau', {'cooldown': -1}),
        ('plateau', {'least': -0.1}),
        ('plateau', {'final': 1.5}),
    ],
)
def test_schedules_out_of_range(name, arguments):
    with pytest.raises(UserError, match=f'config.optimizer.schedule: {next(iter(arguments))}='):
        make('sgd', schedule=spec(f'schedules.{name}', **arguments))

"""config.compile=pmap is the step of jit: the same losses and gradients in 64 bits, and runs that go on with either."""

# b rows, d devices

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxlab import blueprint
from jaxlab import step as steps
from jaxlab import train as loop
from jaxlab.config import build, spec
from jaxlab.models import gpt
from jaxlab.parallel import layout, pmap
from jaxlab.parallel.mesh import make_mesh
from jaxlab.tasks.language_model import LanguageModel
from jaxlab.trust import numbers
from tests.experiments import Recorder, message, tiny
from tests.test_parallel import INFO, MODELS, ROWS, batch, make_task, parameters
from tests.toys import Regression, ragged_batch

NEAR = dict(rtol=1e-11, atol=1e-11)
REGRESSION = Regression()


def train(task, params, rows, by='pmap', accumulate=1, devices=8, count=3):
    """Trains some steps on one batch; returns the losses and the first gradients."""
    mesh = make_mesh({'data': devices})
    names = jax.tree.map(lambda _: (), params)
    node = spec('optim.momentum', learning_rate=0.125, clip=0.0, schedule=spec('schedules.constant'))
    optimizer = build(node, names, count, key='optimizer')
    step = steps.make_step(task, [optimizer], accumulate=accumulate, over=pmap.AXIS if by == 'pmap' else '')
    with jax.set_mesh(mesh):
        if by == 'pmap':
            step = pmap.mapped(step, mesh)
        start = jnp.zeros((), jnp.int32)
        key = jax.random.key(1)
        state = steps.TrainState(start, params, {}, (optimizer.init(params),), key, {}, start, numbers.start())
        shardings = layout.state_shardings(jax.eval_shape(lambda: state), names, mesh)
        state = jax.device_put(state, shardings, may_alias=False)
        placed = layout.place(rows, layout.batch_sharding(mesh))
        arguments = layout.with_shardings(state, shardings), {}, layout.with_shardings(placed, placed['mask'].sharding)
        call = blueprint.compile_step(step, arguments, mesh)
        losses, gradients = [], None
        for _ in range(count):
            state, terms = call(state, {}, placed)
            losses.append(float(steps.mean_loss(terms)))
            gradients = gradients or jax.device_get(optax.tree.get(state.opt_state, 'trace'))
    return np.array(losses), gradients


def assert_same(found, wanted):
    np.testing.assert_allclose(found[0], wanted[0], **NEAR)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, **NEAR), found[1], wanted[1])


@pytest.mark.parametrize(('model', 'accumulate'), [('gpt2', 1), ('llama', 2)])
def test_it_is_the_step_of_jit(model, accumulate, float64):
    task = make_task(model)
    wanted = train(task, parameters(task), batch(), 'jit', devices=1)
    assert wanted[0][-1] < wanted[0][0] - 1e-3
    assert_same(train(task, parameters(task), batch(), accumulate=accumulate), wanted)


@pytest.mark.parametrize('accumulate', [1, 4])
def test_two_terms_of_which_some_devices_have_nothing_to_count(accumulate, float64):
    params, rows = REGRESSION.init(None, None)[0], ragged_batch()
    wanted = train(REGRESSION, params, rows, 'jit', devices=1)
    assert_same(train(REGRESSION, params, rows, accumulate=accumulate, devices=8 // accumulate), wanted)


def a_mean_of_means(here, axis_name):
    """Each device divides by its own counts, which come first, as a dict."""
    return here if isinstance(here, dict) else jax.tree.map(lambda x: jax.lax.pmean(x, axis_name), here)


def of_one_device(here, axis_name):
    return here


@pytest.mark.parametrize('mutant', [a_mean_of_means, of_one_device])
def test_a_sum_that_is_none_is_caught(mutant, float64, monkeypatch):
    params, rows = REGRESSION.init(None, None)[0], ragged_batch()
    rows['mask'][3] = rows['mask'][2]  # everybody has something to count, though not the same
    wanted = train(REGRESSION, params, rows, 'jit', devices=1)
    monkeypatch.setattr(jax.lax, 'psum', mutant)
    found = train(REGRESSION, params, rows)
    with pytest.raises(AssertionError, match='Not equal to tolerance'):
        assert_same(found, wanted)


# --- dropout ---------------------------------------------------------------------------------------------------------


def first_loss_by_hand(task, params, rows, devices, key_of):
    """The loss of step 0, of each device's rows with its own key, added up on the host."""
    total = count = 0.0
    loss = jax.jit(task.loss)
    for device in range(devices):
        mine = {name: array[device * ROWS // devices :][: ROWS // devices] for name, array in rows.items()}
        key = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(key_of(device), 0), 0), 0)  # phase, turn, part
        term = loss(params, {}, mine, key)[0]['loss']
        total, count = total + float(term.total), count + float(term.count)
    return total / count


def test_each_device_draws_its_own_dropout(float64, monkeypatch):
    task = LanguageModel(gpt.make(INFO, jnp.float64, jnp.float64, **MODELS['gpt2'], dropout=0.5))
    two = np.argsort(batch()['mask'].sum(1))[-2:]  # every device has these rows, of which most counts
    rows = {name: np.tile(array[two], (ROWS // 2, 1)) for name, array in batch().items()}
    params = parameters(make_task('gpt2'))
    step_key = jax.random.fold_in(jax.random.key(1), 0)

    def by_hand(key_of):
        return first_loss_by_hand(task, params, rows, 8, key_of)

    apart, alike = by_hand(lambda device: jax.random.fold_in(step_key, device)), by_hand(lambda device: step_key)
    assert abs(apart - alike) > 1e-3
    np.testing.assert_allclose(train(task, params, rows, count=1)[0], apart, **NEAR)

    monkeypatch.setattr(jax.lax, 'axis_index', lambda name: 0)  # the key is the same everywhere
    same = by_hand(lambda device: jax.random.fold_in(step_key, 0))
    np.testing.assert_allclose(train(task, params, rows, count=1)[0], same, **NEAR)
    assert abs(apart - same) > 1e-3


# --- a run -----------------------------------------------------------------------------------------------------------


def run(corpus, workdir, **overrides):
    double = dict(precision__compute='float64', precision__parameters='float64')
    quiet = dict(log__every=1, log__sample_every=0, evaluate__every=4, checkpoint__every=4)
    momentum = spec('optim.momentum', learning_rate=0.03, schedule=spec('schedules.constant'))
    plain = dict(optimizer=momentum, model__layers=1, mesh__data=8)
    seen = Recorder()
    assert loop.train(tiny(corpus, **(double | quiet | plain | overrides)), workdir, [seen]) == 0
    found = {}
    for step, row in seen.rows:
        found.setdefault(step, {}).update(row)
    return found


@pytest.mark.parametrize(('first', 'then'), [('pmap', 'pmap'), ('pmap', 'jit'), ('jit', 'pmap')])
def test_a_run_goes_on_with_either(first, then, corpus, tmp_path):
    wanted = run(corpus, tmp_path / 'one', steps=8, steps_per_call=1)
    begun = run(corpus, tmp_path / 'two', steps=4, steps_per_call=4, log__every=2, compile=first)
    gone_on = run(corpus, tmp_path / 'two', steps=8, steps_per_call=1, compile=then)
    assert list(begun) == [2, 4] and list(gone_on) == [5, 6, 7, 8]  # resumed, and not begun anew
    for step, row in (begun | gone_on).items():
        keys = [key for key in row if key.startswith(('train/loss', 'train/gradient', 'eval/'))]
        assert len(keys) >= (3 if step % 4 == 0 else 2), row
        for key in keys:
            assert row[key] == pytest.approx(wanted[step][key], rel=1e-11), (step, key)


# --- what it cannot do -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('overrides', 'wanted'),
    [
        ({'mesh__data': 4, 'mesh__tensor': 2}, 'config.mesh.tensor=2 splits it'),
        ({'mesh__data': 1, 'mesh__fsdp': 8}, 'config.mesh.fsdp=8 splits it'),
        ({'batch_size': 12}, 'config.batch_size=12 cannot be split over 8 devices'),
    ],
)
def test_what_it_cannot_do_is_refused(overrides, wanted, corpus, tmp_path):
    config = tiny(corpus, **({'compile': 'pmap'} | overrides))
    assert wanted in message(loop.train, config, tmp_path / 'run', [])


def test_phases_statistics_and_processes_are_refused(monkeypatch):
    mesh = make_mesh({'data': 8})
    pmap.check(mesh, ['loss'], carried=False)
    assert 'one phase' in message(pmap.check, mesh, ['discriminator_loss', 'generator_loss'], carried=False)
    assert 'statistics of whole batches' in message(pmap.check, mesh, ['loss'], carried=True)
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    assert 'these are 2' in message(pmap.check, mesh, ['loss'], carried=False)


def test_another_way_to_compile_is_refused(corpus):
    assert 'config.compile=pmapp: there are jit, pmap.' in message(tiny, corpus, compile='pmapp')
    assert tiny(corpus, compile='pmap').compile == 'pmap'

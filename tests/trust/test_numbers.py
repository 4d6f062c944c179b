"""What is not finite, or leaps, never reaches the parameters: in the batch, in the loss, in any gradient."""

import json
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import step as steps
from jaxlab import train as loop
from jaxlab.config import spec
from jaxlab.observers.tracker import Tracker
from jaxlab.optim import adam
from jaxlab.task import Phase, Term
from jaxlab.trust import faults, numbers
from tests.experiments import Recorder, message, other_batches, parameters, rows, tiny

PLACES = ('layer_0', 'layer_1', 'bias')


@dataclass(frozen=True)
class Layers:
    """Three parameters, one after another. `poison` of a batch is added to the loss, or to the gradient of one."""

    phases: tuple[Phase, ...] = (Phase(),)

    def init(self, key, batch):
        return {name: jax.random.normal(jax.random.fold_in(key, n), (4,)) for n, name in enumerate(PLACES)}, {
            'seen': jnp.zeros(())
        }

    def loss(self, params, extra, batch, key):
        poison = batch['poison'][0]  # of the loss, and then of each gradient
        y = batch['x']
        for n, name in enumerate(PLACES, 1):
            y = jnp.tanh(y * params[name]) + _with_gradient(params[name], poison[n])
        total = jnp.square(y).sum() + poison[0]
        return {'loss': Term(total, jnp.float32(y.size))}, {'seen': extra['seen'] + y.sum()}


@jax.custom_vjp
def _with_gradient(w, gradient):
    return jnp.zeros_like(w)


_with_gradient.defvjp(
    lambda w, gradient: (jnp.zeros_like(w), (w, gradient)),
    lambda saved, _: (jnp.full_like(saved[0], saved[1]), jnp.zeros_like(saved[1])),
)


def make(spike=0.0, average=0.9, accumulate=1):
    """Returns (step, state) of `Layers`."""
    task = Layers()
    names = dict.fromkeys(PLACES, ('mlp',))
    optimizers = [adam(names, 100, learning_rate=0.1, schedule=spec('schedules.constant'))]
    state = steps.init(task, optimizers, average, batch(), jax.random.key(0))
    step = steps.make_step(task, optimizers, accumulate=accumulate, average=average, spike=spike)
    return jax.jit(step), state


def batch(seed=0, **poison):
    """A batch with poison={'loss': nan}, or layer_0, … for a gradient, or x."""
    x = np.random.default_rng(seed).normal(size=(4, 4)).astype(np.float32)
    x[1, 2] = poison.pop('x', x[1, 2])
    values = [poison.get(name, 0.0) for name in ('loss', *PLACES)]
    return {'x': x, 'poison': np.tile(np.array(values, np.float32), (4, 1))}


def bits(state):
    """All that an update may change, as bytes."""
    return [
        np.asarray(x).tobytes() for x in jax.tree.leaves((state.params, state.extra, state.opt_state, state.average))
    ]


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('where', ['x', 'loss', *PLACES])
def test_what_is_not_finite_changes_nothing(where, value):
    step, state = make()
    state, _ = step(state, {}, batch())
    after, terms = step(state, {}, batch(1, **{where: value}))
    assert bits(after) == bits(state)
    assert int(after.step) == int(state.step) + 1 and int(after.health.skipped) == int(after.health.in_a_row) == 1
    assert float(terms['skipped'].total) == 1
    again, terms = step(after, {}, batch(2))
    assert bits(again) != bits(state)
    assert int(again.health.skipped) == 1 and float(terms['skipped_in_a_row'].total) == 0


def test_in_one_micro_batch_of_several():
    step, state = make(accumulate=2)
    rows = batch(1)
    rows['poison'][3, 0] = np.nan  # of a row that comes second; the first row of a micro-batch is looked at
    rows['poison'][1, 0] = np.nan
    assert bits(step(state, {}, rows)[0]) == bits(state)


def test_a_good_update_is_what_it_would_be_without_the_watch(monkeypatch):
    step, state = make()
    watched, _ = step(state, {}, batch(1))
    monkeypatch.setattr(numbers, 'choose', lambda good, new, old: new())
    step, state = make()
    free, _ = step(state, {}, batch(1))
    assert bits(watched) == bits(free)


@pytest.mark.parametrize('where', ['loss', 'layer_1'])
def test_a_step_that_does_not_choose_is_noticed(where, monkeypatch):
    monkeypatch.setattr(numbers, 'choose', lambda good, new, old: new())
    with pytest.raises(AssertionError):
        test_what_is_not_finite_changes_nothing(where, np.nan)


def after_losses(losses, spike):
    health, seen = numbers.start(), []
    for loss in losses:
        good, health = numbers.judge(health, [jnp.float32(loss)], [jnp.float32(1)], [jnp.array(True)], spike)
        seen.append(bool(good))
    return seen, health


def test_a_leap_is_seen_after_a_while_and_what_is_usual_is_not_moved_by_it():
    random = np.random.default_rng(0)
    usual = list(3 + 0.1 * random.normal(size=300))
    seen, health = after_losses([9.0, *usual, 5.0, 2.9, 5.0, 3.0], spike=8.0)
    assert seen == [True] * 301 + [False, True, False, True]  # the first steps of a run may be anything
    assert int(health.skipped) == 2 and int(health.accepted) == 303
    assert 2.5 < float(health.loss) < 3.5 and 0.05 < float(health.spread) < 0.5
    assert all(after_losses([9.0, *usual, 5.0], spike=0.0)[0])  # not asked for


def test_averages_are_those_of_the_accepted(float64):
    losses = [4.0, 2.0, np.nan, 3.0, 1.0]
    _, health = after_losses(losses, 0.0)
    mean, spread, count = 0.0, 0.0, 0
    for loss in losses:
        if np.isfinite(loss):
            distance, count = abs(loss - mean), count + 1
            spread = spread + (distance - spread) / count if count > 1 else 0.0
            mean += (loss - mean) / count
    np.testing.assert_allclose([float(health.loss), float(health.spread)], [mean, spread], rtol=1e-6)


# --- runs ------------------------------------------------------------------------------------------------------------


def test_a_run_without_a_good_update_ends_with_one_sentence(corpus, tmp_path):
    quiet = {'log__every': 2, 'log__sample_every': 0, 'evaluate__every': 0, 'checkpoint__every': 2, 'mesh__data': 1}
    quiet |= {'optimizer__schedule': spec('schedules.constant'), 'optimizer__clip': 0.0, 'numbers__patience': 3}
    config = tiny(corpus, steps=40, optimizer__learning_rate=1e38, steps_per_call=1, **quiet)
    said = message(loop.train, config, tmp_path / 'run', [Tracker()])
    assert said.startswith('step ') and '3 updates in a row were left out (loss ' in said
    rows = [json.loads(line) for line in (tmp_path / 'run' / 'metrics.jsonl').read_text('utf-8').splitlines()]
    assert rows[-1]['train/skipped'] >= 1 and 'train/skipped_in_a_row' not in rows[-1]
    saved = [int(folder.name) for folder in (tmp_path / 'run' / 'checkpoints').iterdir() if folder.name.isdigit()]
    assert saved, 'what was good is there'


def test_batches_in_which_nothing_counts_end_a_run_with_a_word_on_the_data(corpus, tmp_path, monkeypatch):
    other_batches(monkeypatch, loop, lambda batch, n: (rows := batch(n)) | {'mask': rows['mask'] * (n < 4)})
    config = tiny(corpus, steps=40, steps_per_call=1, numbers__patience=3, mesh__data=1)
    said = message(loop.train, config, tmp_path / 'run', [])
    assert 'nothing counted' in said and 'step 4' in said and 'learning_rate' not in said


# --- back, and on with other data ---


def poisoned(patch, bad=(), moved=lambda n: n):
    """Trains on batch moved(n) in the place of n; the loss of batches `bad` is not a number."""

    def change(batch, n):
        rows = batch(moved(n))
        return rows | {'mask': rows['mask'] * np.float32(np.nan)} if n in bad else rows

    other_batches(patch, loop, change)


def rolling(corpus, **more):
    quiet = {'log__every': 1, 'log__sample_every': 0, 'evaluate__every': 5, 'checkpoint__every': 5, 'mesh__data': 1}
    watch = {'numbers__patience': 3, 'numbers__rollbacks': 2}
    return tiny(corpus, steps=24, model__layers=1, evaluate__batches=1, **{**quiet, **watch, **more})


@pytest.mark.parametrize('several', [1, 2])
def test_back_and_on_with_other_data(corpus, tmp_path, monkeypatch, capsys, several):
    # Steps 14, 15, 16 are left out: back to 10, and on with batch 16. It and the next two are bad as well: back to 10
    # once more, and on with batch 19.
    config = rolling(corpus, steps_per_call=several)
    with monkeypatch.context() as patch:
        poisoned(patch, bad=range(13, 19))
        told = Recorder()
        loop.train(config, tmp_path / 'rolled', [Tracker(), told])
        assert told.went_back == [10, 10]
        assert capsys.readouterr().out.count('3 updates in a row were left out after step') == 2
        for at in (15, 17):  # a run that dies on the way goes the same way
            with faults.fail_at('step', at + at % several, 'eio'), pytest.raises(OSError):
                loop.train(config, tmp_path / 'broken', [Tracker()])
        loop.train(config, tmp_path / 'broken', [Tracker()])
    with monkeypatch.context() as patch:
        poisoned(patch, moved=lambda n: n if n < 10 else n + 9)
        loop.train(config, tmp_path / 'straight', [Tracker()])
    for one in ('rolled', 'broken'):
        assert rows(tmp_path / one) == rows(tmp_path / 'straight')
        assert parameters(tmp_path / one) == parameters(tmp_path / 'straight')


def test_not_back_for_ever(corpus, tmp_path, monkeypatch):
    poisoned(monkeypatch, bad=range(13, 30))
    told = Recorder()
    found = message(loop.train, rolling(corpus), tmp_path, [Tracker(), told])
    assert told.went_back == [10, 10] and found.startswith('step 13: 3 updates in a row were left out')


def test_nothing_to_go_back_to(corpus, tmp_path, monkeypatch):
    poisoned(monkeypatch, bad=range(3))
    found = message(loop.train, rolling(corpus), tmp_path, [Tracker()])
    assert found.startswith('step 3: 3 updates in a row were left out')

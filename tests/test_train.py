"""The loop in steady state: nothing compiles again, nothing is transferred unasked, no number is read too early.

Each of these is seen to go red by a mutant of the loop.
"""

import dataclasses
import json
import logging
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import step as steps
from jaxlab import train as loop
from jaxlab.errors import UserError
from jaxlab.observers.tracker import Tracker
from jaxlab.trust import faults
from tests.experiments import Recorder, tiny


def short(corpus: Path, **overrides: object):
    quiet = {'steps': 12, 'log__every': 1, 'log__sample_every': 0, 'evaluate__every': 0, 'checkpoint__every': 1000}
    quiet['steps_per_call'] = 1
    return tiny(corpus, mesh__data=1, **{**quiet, **overrides})


@pytest.fixture
def compilations():
    """Counts what XLA compiles, from when it is asked to start."""
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record):
            if record.getMessage().startswith('Compiling '):
                found.append(record.getMessage())

    handler = Handler()
    logger = logging.getLogger('jax._src.interpreters.pxla')
    logger.addHandler(handler)
    with jax.log_compiles():
        yield found
    logger.removeHandler(handler)


def compiled_after_first_row(corpus, tmp_path, compilations, **overrides: object) -> list[str]:
    """Trains with evaluation and saves on the way; returns what was compiled between rows 8 and 20."""
    marks = {}
    recorder = Recorder(lambda step: marks.setdefault(step, len(compilations)))
    config = short(corpus, steps=22, checkpoint__every=5, evaluate__every=4, log__sample_every=4, **overrides)
    loop.train(config, tmp_path / 'run', [recorder])
    assert marks[min(marks)] > 0, 'the counter counts'
    return compilations[marks[8] :][: marks[20] - marks[8]]


@pytest.mark.parametrize('several', [{}, {'steps_per_call': 3, 'log__every': 4}])
def test_nothing_compiles_after_the_first_steps(corpus, tmp_path, compilations, several):
    assert compiled_after_first_row(corpus, tmp_path, compilations, **several) == []


def test_a_step_that_compiles_again_is_noticed(corpus, tmp_path, compilations, monkeypatch):
    place = loop.layout.place
    batches = iter(range(1000))

    def shorter(batch, shardings):
        length = 64 if next(batches) < 22 else 32  # mutant: rows of another length, somewhere after step 8
        return place({name: rows[:, :length] for name, rows in batch.items()}, shardings)

    monkeypatch.setattr(loop.layout, 'place', shorter)
    with pytest.raises(TypeError, match='differ from the types'):
        compiled_after_first_row(corpus, tmp_path, compilations)


def guarded(corpus, tmp_path, **overrides):
    """Trains with JAX's guard against implicit transfers from the third row on."""
    guards = []

    def guard(step):
        if step == 3:
            guards.append(jax.transfer_guard_host_to_device('disallow'))
            guards[0].__enter__()

    try:
        config = short(corpus, evaluate__every=4, log__sample_every=5, **overrides)
        loop.train(config, tmp_path / 'run', [Recorder(guard)])
    finally:
        assert guards, 'the guard was on'
        guards[0].__exit__(None, None, None)


@pytest.mark.parametrize('several', [{}, {'steps_per_call': 2, 'log__every': 3}])
def test_no_implicit_transfer(corpus, tmp_path, several):
    guarded(corpus, tmp_path, **several)


def test_an_implicit_transfer_is_noticed(corpus, tmp_path, monkeypatch):
    row = loop.Meter.row
    monkeypatch.setattr(
        loop.Meter, 'row', lambda *a: jnp.add(1.0, 2.0) and row(*a)
    )  # mutant: host numbers in an operation
    with pytest.raises(Exception, match='Disallowed host-to-device transfer'):
        guarded(corpus, tmp_path)


def reads_of_the_current_step(corpus, tmp_path, monkeypatch, loop=loop) -> list[int]:
    """Returns the steps whose numbers were read before the next step was under way. (The last has no next.)"""
    started, early, of_step, kept = [], [], {}, []

    def compile_step(*arguments):
        compiled = real_compile(*arguments)

        def step(state, frozen, batch):
            started.append(len(started) + 1)
            new, terms = compiled(state, frozen, batch)
            of_step.update((id(leaf), started[-1]) for leaf in jax.tree.leaves(terms))
            kept.append(terms)  # so that ids stay their own
            return new, terms

        step.memory_analysis = compiled.memory_analysis
        return step

    def watched(read):
        def wrapper(tree):
            early.extend(n for leaf in jax.tree.leaves(tree) if (n := of_step.get(id(leaf))) == len(started) != 12)
            return read(tree)

        return wrapper

    real_compile = loop.compile_step
    monkeypatch.setattr(loop, 'compile_step', compile_step)
    monkeypatch.setattr(jax, 'device_get', watched(jax.device_get))
    monkeypatch.setattr(jax, 'block_until_ready', watched(jax.block_until_ready))
    loop.train(short(corpus), tmp_path / 'run', [Recorder()])
    assert len(started) == 12
    return early


def test_the_current_step_is_never_read(corpus, tmp_path, monkeypatch):
    assert reads_of_the_current_step(corpus, tmp_path, monkeypatch) == []


def test_reading_the_current_step_is_noticed(corpus, tmp_path, monkeypatch):
    source = Path(loop.__file__).read_text('utf-8')
    line = '            before = n, terms\n'
    assert source.count(line) == 1
    mutant = types.ModuleType('mutant')
    exec(
        compile(source.replace(line, line + '            observe(*before)\n'), loop.__file__, 'exec'),
        vars(mutant),
    )
    assert reads_of_the_current_step(corpus, tmp_path, monkeypatch, mutant)


# --- what observers are told ----------------------------------------------------------------------------------------


def test_rows_samples_and_end(corpus, tmp_path):
    recorder = Recorder()
    config = short(corpus, log__every=5, evaluate__every=6, log__sample_every=6)
    assert loop.train(config, tmp_path / 'run', [recorder, Tracker()]) == 0
    kinds = [(step, next(iter(row)).split('/')[0]) for step, row in recorder.rows]
    assert kinds == [(5, 'train'), (6, 'eval'), (10, 'train'), (12, 'eval')]
    assert {'train/loss', 'train/gradient_norm', 'train/learning_rate'} <= set(recorder.rows[0][1])
    assert {'eval/held_out/loss', 'eval/held_out/bits_per_byte'} <= set(recorder.rows[1][1])
    assert 'train/tokens_per_second' in recorder.rows[2][1]
    assert [step for step, _ in recorder.samples] == [6, 12] and recorder.ended == 12
    lines = [json.loads(line) for line in (tmp_path / 'run' / 'metrics.jsonl').read_text('utf-8').splitlines()]
    assert lines == [{'step': step, **row} for step, row in recorder.rows]
    assert all(isinstance(value, float) for line in lines for name, value in line.items() if name != 'step')


def test_the_same_seed_gives_the_same_run_and_another_seed_another(corpus, tmp_path):
    losses = []
    for name, seed in [('a', 0), ('b', 0), ('c', 1)]:
        recorder = Recorder()
        loop.train(short(corpus, seed=seed, steps=4), tmp_path / name, [recorder])
        losses.append([row['train/loss'] for _, row in recorder.rows if 'train/loss' in row])
    assert losses[0] == losses[1] != losses[2]


def test_data_offset_moves_the_stream(corpus, tmp_path, monkeypatch):
    """A state with data_offset 7 trains step n on batch n + 7."""
    seen = []
    make_data = loop.make_data

    def watched(*arguments):
        data, config = make_data(*arguments)
        return dataclasses.replace(data, batch=lambda n: seen.append(n) or data.batch(n)), config

    monkeypatch.setattr(loop, 'make_data', watched)
    init = steps.init
    monkeypatch.setattr(steps, 'init', lambda *a: dataclasses.replace(init(*a), data_offset=jnp.int32(7)))
    loop.train(short(corpus, steps=3), tmp_path / 'run', [Recorder()])
    assert sorted(seen) == [0, 7, 8, 9]  # 0 says what shapes there are


def test_evaluation_uses_the_average(corpus, tmp_path, monkeypatch):
    used = []
    make_evaluate = loop.make_evaluate

    def spy(*arguments):
        evaluate = make_evaluate(*arguments)
        return lambda params, *rest: used.append(jax.device_get(params)) or evaluate(params, *rest)

    monkeypatch.setattr(loop, 'make_evaluate', spy)
    saved = []
    monkeypatch.setattr(loop.Checkpoints, 'save', lambda self, n, state, *rest: saved.append(jax.device_get(state)))
    loop.train(short(corpus, steps=3), tmp_path / 'run', [Recorder()])
    same = jax.tree.map(lambda a, b: bool(np.all(a == b)), used[-1], saved[-1].average)
    assert all(jax.tree.leaves(same)) and saved[-1].average is not None
    assert not all(jax.tree.leaves(jax.tree.map(lambda a, b: bool(np.all(a == b)), used[-1], saved[-1].params)))


def test_rows_say_how_many_records_could_not_be_read(corpus, tmp_path, capsys):
    recorder = Recorder()
    with faults.fail_at('record', 5, 'eio'):  # all eight of the batch that step 6 trains on
        loop.train(short(corpus, steps=8, data__bad='skip', data__bad_rate=1.0), tmp_path / 'run', [recorder])
    counts = {step: row.get('data/skipped') for step, row in recorder.rows if 'train/loss' in row}
    assert counts == {1: None, 2: None, 3: None, 4: None, 5: None, 6: 8.0, 7: 8.0, 8: 8.0}
    assert (
        'warning: "record:5" cannot be read (Input/output error). Its row counts for nothing.'
        in capsys.readouterr().out
    )
    with faults.fail_at('record', 5, 'eio'), pytest.raises(UserError, match='cannot be read'):
        loop.train(short(corpus, steps=8), tmp_path / 'strict', [Recorder()])


def test_the_step_at_which_a_run_ends_early_is_like_a_last_one(corpus, tmp_path, capsys):
    recorder = Recorder()
    patient = {'evaluate__every': 2, 'best__patience': 2, 'best__least': 100.0}  # no evaluation is that much better
    config = short(corpus, log__every=5, log__sample_every=100, **patient)
    assert loop.train(config, tmp_path / 'run', [recorder]) == 0
    kinds = [(step, next(iter(row)).split('/')[0]) for step, row in recorder.rows]
    assert kinds == [(2, 'eval'), (4, 'eval'), (5, 'train'), (6, 'eval')]
    assert [step for step, _ in recorder.samples] == [6] and recorder.ended == 6
    assert sorted(int(step.name) for step in (tmp_path / 'run' / 'checkpoints').iterdir()) == [2, 6]
    assert 'ended early at step 6: held_out/loss has not improved in 2 evaluations' in capsys.readouterr().out

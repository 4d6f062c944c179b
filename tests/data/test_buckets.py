"""Length buckets: a pool has the rows that it has without, batches are short where their rows are, and few shapes are
compiled, before the first step."""

import json

import jax
import numpy as np
import pytest

from jaxlab import config as configs
from jaxlab import replay
from jaxlab import train as loop
from jaxlab.config import experiment, spec
from jaxlab.data import buckets
from jaxlab.data.buckets import Plan, edges
from jaxlab.observers.tracker import Tracker
from jaxlab.train import train
from tests.experiments import message

B, POOL = 8, 4


def write(path, count=203):
    """Texts of one to thirty words, most of them short."""
    draw = np.random.default_rng(0)
    lines = ['text\tlabel\n']
    for n in range(count):
        words = draw.choice(['cat', 'dog', 'sees', 'likes'], min(int(draw.geometric(0.15)), 30)).tolist()
        lines.append(f't{n} {" ".join(words)}\t{n % 2}\n')
    path.write_text(''.join(lines))
    return str(path)


def data_node(path, bounds=(8, 16)):
    return spec(
        'data.text_examples',
        source=spec('data.sources.text_table', path=path),
        processor=spec('data.processors.wordpiece', vocabulary=300),
        length=32,
        buckets=bounds,
    )


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(buckets, 'POOL', POOL)
    path = write(tmp_path / 'a.tsv')
    return lambda bounds=(8, 16), seed=0, rows=slice(0, B): configs.build(
        data_node(path, bounds), B, seed, rows, None, key='data'
    )


def texts(batch):
    return sorted(
        bytes(row[:length]) for row, length, real in zip(batch['tokens'], batch['lengths'], batch['mask']) if real
    )


def test_a_pool_has_the_rows_that_it_has_without(make):
    plain, bucketed = make(()), make()
    for pool in range(6):
        numbers = range(pool * POOL, (pool + 1) * POOL)
        one, other = (sorted(text for n in numbers for text in texts(data.batch(n))) for data in (plain, bucketed))
        assert one == other
    assert plain.shapes == () and [shape['tokens'].shape for shape in bucketed.shapes] == [(B, 32), (B, 16), (B, 8)]


def test_batches_are_as_long_as_the_bucket_of_their_longest_row(make):
    data, widths = make(), []
    for n in range(40):
        batch = data.batch(n)
        width = batch['tokens'].shape[1]
        assert width == batch['types'].shape[1] == next(edge for edge in (8, 16, 32) if edge >= batch['lengths'].max())
        assert data.width(n) == width
        widths.append(width)
    assert make(()).width is None
    assert set(widths) == {8, 16, 32} and widths != sorted(widths)
    assert np.mean(widths) < 0.75 * 32


def test_a_batch_is_a_function_of_seed_and_number(make):
    one, again, other = make(), make(), make(seed=1)
    for n in (0, 77, 5, 1000):
        assert all(np.array_equal(a, b) for a, b in zip(one.batch(n).values(), again.batch(n).values()))
        assert texts(one.batch(n)) != texts(other.batch(n))
    halves = [make(rows=rows) for rows in (slice(0, 4), slice(4, 8))]
    for n in (0, 3, 50):
        for name, rows in one.batch(n).items():
            assert np.array_equal(rows, np.concatenate([half.batch(n)[name] for half in halves]))
        split = one.splits['validation']
        for k in range(split.batches):
            parts = [half.splits['validation'].batch(k) for half in halves]
            for name, rows in split.batch(k).items():
                assert np.array_equal(rows, np.concatenate([part[name] for part in parts]))


def test_an_evaluation_has_each_row_once(make):
    plain, bucketed = (make(bounds).splits['validation'] for bounds in ((), (8, 16)))
    assert plain.batches == bucketed.batches and plain.counts == bucketed.counts
    found = [
        sorted(text for n in range(split.batches) for text in texts(split.batch(n))) for split in (plain, bucketed)
    ]
    assert found[0] == found[1] and len(found[0]) == plain.counts['examples']


def test_a_plan_that_forgets_its_pool_is_noticed(make, monkeypatch):
    monkeypatch.setattr(Plan, 'rows', lambda self, n: self._pools(0)[0][n % POOL])
    with pytest.raises(AssertionError):
        test_a_pool_has_the_rows_that_it_has_without(make)


@pytest.mark.parametrize('bounds', [(0, 8), (16, 8), (8, 8), (32,), (8.0,), ('8',)])
def test_buckets_that_do_not_grow_are_refused(bounds):
    assert 'growing whole numbers' in message(edges, bounds, 32)
    assert edges((), 32) == () and edges((8, 16), 32) == (8, 16, 32)


def config_of(path, **overrides):
    c = experiment()
    c.steps, c.batch_size = 24, B
    c.model = spec('models.rnn', cell='gru', width=8, embedding=8)
    c.task = spec('tasks.classification')
    c.data = data_node(path)
    c.optimizer = spec('optim.adamw', learning_rate=1e-2, schedule=spec('schedules.constant'))
    c.evaluate.scores, c.evaluate.every, c.evaluate.batches = ('accuracy', 'cross_entropy'), 12, 0
    c.checkpoint.every, c.log.every, c.log.sample_every = 6, 1, 0
    for key, value in overrides.items():
        c[key] = value
    return configs.check(c)


def rows_of(workdir):
    rows = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    return [{name: value for name, value in row.items() if not name.endswith(('second', 'left'))} for row in rows]


def test_a_run_compiles_each_shape_before_its_first_step(tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    path = write(tmp_path / 'a.tsv')
    compiled, widths = [], []
    compile_step = loop.blueprint.compile_step

    def counted(step, arguments, *rest):
        assert not widths, 'a step was done'
        compiled.append(arguments[2]['tokens'].shape[1])
        call = compile_step(step, arguments, *rest)
        return lambda state, frozen, batch: widths.append(batch['tokens'].shape[1]) or call(state, frozen, batch)

    monkeypatch.setattr(loop.blueprint, 'compile_step', counted)
    monkeypatch.setattr(loop, 'compile_step', lambda *arguments: compile_step(*arguments))
    assert train(config_of(path), tmp_path / 'run', [Tracker()]) == 0
    assert compiled == [16, 8] and set(widths) == {8, 16}
    monkeypatch.undo()
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))

    whole = rows_of(tmp_path / 'run')
    assert train(config_of(path, steps=7), tmp_path / 'other', [Tracker()]) == 0
    assert train(config_of(path), tmp_path / 'other', [Tracker()]) == 0, 'it goes on'
    mine = {row['step']: row for row in rows_of(tmp_path / 'other') if 'train/loss' in row}
    for row in whole:
        if 'train/loss' in row:
            assert mine[row['step']]['train/loss'] == row['train/loss']
    found = replay.replay(tmp_path / 'run', 17)
    assert found.logged and all(found.row[name] == value for name, value in found.logged.items())


def test_what_wants_one_shape_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    path = write(tmp_path / 'a.tsv')
    several = config_of(path, steps_per_call=4)
    assert 'config.steps_per_call=4 wants batches of one shape' in message(train, several, tmp_path / 'run', [])
    full = config_of(path, full_batch=True)
    assert 'config.full_batch=True wants batches of one shape' in message(train, full, tmp_path / 'run', [])


def test_the_loss_of_a_row_does_not_depend_on_its_padding(make):
    data = make()
    from jaxlab.experiment import make_task

    config = config_of('none')
    task = make_task(config, data.info)
    long = make(()).batch(3)
    long = {name: array[:, :32] if array.ndim > 1 else array for name, array in long.items()}
    keep = long['lengths'] <= 16
    short = {name: array[:, :16] if array.ndim > 1 else array for name, array in long.items()}
    params, extra = task.init(jax.random.key(0), long)
    params = jax.tree.map(lambda x: getattr(x, 'value', x), params, is_leaf=lambda x: hasattr(x, 'value'))
    one, other = (task.predict(params, extra, batch)['logits'] for batch in (long, short))
    np.testing.assert_allclose(one[keep], other[keep], rtol=1e-6)

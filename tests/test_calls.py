"""Several steps in one dispatch: calls end where something is due, and the numbers do not depend on the cuts."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import calls
from jaxlab import step as steps
from jaxlab import train as loop
from jaxlab.config import spec
from jaxlab.observers.tracker import Tracker
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.trust import numbers
from tests.experiments import tiny


def written_out(start, last, most, every):
    """`calls.ends` as one would say it."""
    found, n, first = [], start, start
    while n < last:
        n += 1
        if n - first == most or n == last or any(one and n % one == 0 for one in every):
            found.append(n)
            first = n
    return found


@pytest.mark.parametrize('most', [1, 2, 3, 7, 100])
def test_calls_end_where_something_is_due(most):
    random = np.random.default_rng(most)
    for _ in range(200):
        start, length = (int(random.integers(0, 40)) for _ in range(2))
        every = [int(one) for one in random.integers(0, 12, 3)]
        found = calls.ends(start, start + length, most, every)
        assert found.tolist() == written_out(start, start + length, most, every), (start, length, most, every)


def test_a_long_run_is_cut_in_no_time():
    assert len(calls.ends(0, 10**6, 1, (10, 500))) == 10**6
    assert calls.ends(500, 500, 10, (10,)).tolist() == []


def test_a_call_trains_on_its_batches():
    def batch(n):
        return {'x': np.full((2, 3), n, np.float32)}

    found = calls.batches(batch, 5, calls.ends(5, 12, 4, (10,)), 4)
    first, second = found(0), found(1)
    assert first[0]['x'].shape == (4, 2, 3) and first[1].dtype == np.int32
    assert first[0]['x'][: first[1], 0, 0].tolist() == [5, 6, 7, 8] and int(first[1]) == 4
    assert second[0]['x'][: second[1], 0, 0].tolist() == [9] and int(second[1]) == 1  # step 10 is due
    assert found(2)[0]['x'][: found(2)[1], 0, 0].tolist() == [10, 11]
    assert calls.batches(batch, 5, calls.ends(5, 12, 1, ()), 1)(2)['x'][0, 0] == 7


def counting(state, frozen, batch):
    """A step whose result depends on the order of all batches before."""
    params = state.params * 1.25 + batch['x'].sum()
    return state.replace(step=state.step + 1, params=params), {'seen': params.sum() + frozen['bias']}


def state_of(params):
    zero = jnp.zeros((), jnp.int32)
    return steps.TrainState(zero, params, {}, (), jax.random.key(0), {}, zero, numbers.start())


@pytest.mark.parametrize('count', [1, 3, 4])
def test_several_steps_are_the_steps_one_after_another(count, float64):
    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    frozen = {'bias': jnp.float64(2)}
    wanted, terms = state_of(jnp.ones(3)), {}
    for number in range(count):
        wanted, terms = counting(wanted, frozen, {'x': x[number]})
    found, seen = jax.jit(steps.several(counting))(state_of(jnp.ones(3)), frozen, ({'x': x}, np.int32(count)))
    assert int(found.step) == count
    np.testing.assert_allclose(found.params, wanted.params, rtol=1e-14)
    np.testing.assert_allclose(seen['seen'], terms['seen'], rtol=1e-14)


@pytest.mark.parametrize('shape', [{'data': 8}, {'data': 2, 'fsdp': 4}])
def test_slots_are_not_split_over_devices_and_rows_are(shape):
    mesh = make_mesh(shape)
    step, shapes, shardings = calls.prepare(counting, {'x': jax.ShapeDtypeStruct((16, 3), np.float32)}, mesh, 4)
    stack = np.random.default_rng(0).normal(size=(4, 16, 3)).astype(np.float32)
    placed = layout.place(({'x': stack}, np.array(3, np.int32)), shardings)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), placed) == jax.tree.map(lambda x: (x.shape, x.dtype), shapes)
    assert {shard.data.shape for shard in placed[0]['x'].addressable_shards} == {(4, 2, 3)}
    found, _ = jax.jit(step)(state_of(jnp.ones(3)), {'bias': 0.0}, placed)
    wanted, _ = step(state_of(jnp.ones(3)), {'bias': 0.0}, ({'x': stack}, np.int32(3)))
    np.testing.assert_allclose(found.params, wanted.params, rtol=1e-5)


def rows(corpus, workdir, most, *ends):
    """Trains up to each step of `ends` in turn; returns the rows, without times."""
    quiet = {'log__every': 3, 'log__sample_every': 0, 'evaluate__every': 8, 'checkpoint__every': 100, 'mesh__data': 1}
    quiet |= {'optimizer__schedule': spec('schedules.constant'), 'steps_per_call': most}
    for end in ends:
        config = tiny(corpus, steps=end, **quiet)
        assert loop.train(config, workdir, [Tracker()]) == 0
    timed = ('per_second', 'seconds_left')
    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text('utf-8').splitlines()]
    return [{name: value for name, value in line.items() if not name.endswith(timed)} for line in lines]


def test_a_run_in_calls_is_the_run_of_single_steps(corpus, tmp_path):
    single = rows(corpus, tmp_path / 'single', 1, 17)
    several = rows(corpus, tmp_path / 'several', 5, 17)
    assert [row['step'] for row in several] == [row['step'] for row in single] == [3, 6, 8, 9, 12, 15, 16, 17]
    for one, other in zip(single, several, strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose(list(one.values()), list(other.values()), rtol=1e-4)


def test_however_steps_are_put_together_the_numbers_are_bit_for_bit_the_same(corpus, tmp_path):
    """Other ends of calls, as after a resumption or where other things are due."""
    unbroken = rows(corpus, tmp_path / 'unbroken', 5, 17)
    resumed = [row for row in rows(corpus, tmp_path / 'resumed', 5, 7, 13, 17) if row['step'] not in (7, 13)]
    wanted = {row['step']: row for row in unbroken if 'train/loss' in row}
    found = {row['step']: row for row in resumed if 'train/loss' in row}
    assert found == wanted

"""Which checkpoints are kept: the newest so many, and the best beside them."""

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from jaxlab import checkpoint
from jaxlab.best import Best
from jaxlab.checkpoint import Checkpoints
from jaxlab.errors import UserError
from jaxlab.step import TrainState
from jaxlab.trust import numbers


def state(step):
    n = jnp.int32(step)
    return TrainState(n, {'w': jnp.full(3, float(step))}, {}, (), jax.random.key(0), {}, jnp.int32(0), numbers.start())


def kept(folder, keep, bests):
    """Saves the steps 1, 2, …, of which bests[step - 1] is the best so far; returns what is there after each."""
    checkpoints, there = Checkpoints(folder, keep), []
    for step, best in enumerate(bests, 1):
        checkpoints.save(step, state(step), ConfigDict({}), Best('held_out/loss', value=1 / (best or 1), step=best))
        checkpoints.wait()
        there.append(sorted(int(entry.name) for entry in (folder / 'checkpoints').iterdir()))
    checkpoints.close()
    return there


def check(folder):
    assert kept(folder / 'two', 2, [0, 2, 2, 2, 5]) == [[1], [1, 2], [2, 3], [2, 3, 4], [4, 5]]
    assert kept(folder / 'one', 1, [1, 1, 3, 3, 3]) == [[1], [1, 2], [3], [3, 4], [3, 5]]


def test_the_best_is_kept_beside_the_newest(tmp_path):
    check(tmp_path)
    again = Checkpoints(tmp_path / 'one', 1)
    assert again.latest() == 5 and again.best() == {
        'score': 'held_out/loss',
        'value': 1 / 3,
        'step': 3,
        'since': 0,
        'owed': False,
    }
    for step, found in (('best', 3), ('newest', 5), (3, 3)):
        items = {'params': jax.eval_shape(lambda: state(0).params)}
        number, parts = again.restore_items(items, step)
        assert number == found and float(parts['params']['w'][0]) == found
    again.close()


def test_forgetting_the_best_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoints, 'save', mutant(Checkpoints.save))
    with pytest.raises(AssertionError):
        check(tmp_path)


def mutant(save):
    return lambda self, step, state, config, best: save(self, step, state, config, Best())


def test_no_best(tmp_path):
    with pytest.raises(UserError, match='there is no checkpoint yet'):
        Checkpoints(tmp_path / 'empty').restore_items({}, 'best')
    kept(tmp_path, 2, [0, 0])
    checkpoints = checkpoint.Checkpoints(tmp_path, 2)
    with pytest.raises(UserError, match='none was evaluated; there are 1, 2'):
        checkpoints.restore_items({}, 'best')
    checkpoints.close()

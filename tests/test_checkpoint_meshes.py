"""What is saved on one mesh goes on upon any other: every bit of the state is there, and the losses are the same.

All in one process: each mesh trains two steps and saves once, and whoever restores that goes on for two more.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxlab import blueprint
from jaxlab import config as configs
from jaxlab import step as steps
from jaxlab.best import Best
from jaxlab.checkpoint import Checkpoints
from jaxlab.config import spec
from jaxlab.models import gpt
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.tasks.language_model import LanguageModel
from tests.experiments import transformer
from tests.test_parallel import INFO, MODELS, batch

BEFORE, AFTER = 2, 2  # steps
MESHES = {
    'one device': {'data': 1},
    'data 8': {'data': 8},
    'fsdp 8': {'fsdp': 8},
    'tensor 8': {'tensor': 8},
    'data 2, fsdp 2, tensor 2': {'data': 2, 'fsdp': 2, 'tensor': 2},
    'stage 2, data 4': {'stage': 2, 'data': 4},
}
PAIRS = list(itertools.permutations(MESHES, 2))
# In the first tier each mesh is left once and come to once; the rest is marked slow.
COVER = list(zip(MESHES, [*list(MESHES)[1:], *list(MESHES)[:1]]))


@functools.cache
def task():
    arguments = MODELS['gpt2'] | dict(scan=True)  # a stack's leaves have an axis that stages split
    return LanguageModel(gpt.make(INFO, jnp.float64, jnp.float64, **arguments))


class Run:
    """What trains on one mesh.

    Args:
      name: of `MESHES`.
    """

    def __init__(self, name):
        c = transformer()
        c.average = 0.5
        c.optimizer = spec('optim.momentum', learning_rate=0.1, schedule=spec('schedules.constant'))
        self.config = configs.check(c)
        self.mesh = make_mesh(MESHES[name])
        with jax.set_mesh(self.mesh):
            shapes = layout.global_shapes(batch(), len(batch()['mask']))
            self.plan = blueprint.draw(self.config, task(), shapes, self.mesh)
            self._call = blueprint.compile_step(self.plan.call, self.plan.arguments, self.mesh, donate=False)

    def born(self):
        with jax.set_mesh(self.mesh):
            return self.plan.born()

    def train(self, state, count):
        """Returns the state after `count` steps, and their losses."""
        losses = []
        with jax.set_mesh(self.mesh):
            for _ in range(count):
                state, terms = self._call(state, {}, layout.place(batch(), self.plan.given_shardings))
                losses.append(float(steps.mean_loss(terms)))
        return state, np.array(losses)

    def save(self, folder, state):
        checkpoints = Checkpoints(folder)
        checkpoints.save(int(state.step), state, self.config, Best())
        checkpoints.wait()
        checkpoints.close()

    def restore(self, folder):
        checkpoints = Checkpoints(folder)
        with jax.set_mesh(self.mesh):
            state = checkpoints.restore(self.plan.arguments[0])
        checkpoints.close()
        return state


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Returns a function: name of a mesh -> what trains on it, where it has saved, the state then, the losses after."""

    @functools.cache
    def of(name):
        run, folder = Run(name), tmp_path_factory.mktemp('saved')
        state, _ = run.train(run.born(), BEFORE)
        run.save(folder, state)
        return run, folder, on_the_host(state), run.train(state, AFTER)[1]

    return of  # called within tests that are in 64 bits: a fixture that were would leave them on for other files


def on_the_host(state):
    return jax.device_get(state.replace(key=jax.random.key_data(state.key)))


def check(runs, saved, wanted):
    _, folder, before, losses = runs(saved)
    run = runs(wanted)[0]
    found = run.restore(folder)
    for (path, leaf), place in zip(
        jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(run.plan.shardings), strict=True
    ):
        assert leaf.sharding.is_equivalent_to(place, leaf.ndim), layout.path_name(path)
    jax.tree.map(lambda one, other: np.testing.assert_array_equal(one, other, strict=True), on_the_host(found), before)
    np.testing.assert_allclose(run.train(found, AFTER)[1], losses, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ('saved', 'wanted'), [pytest.param(*pair, marks=() if pair in COVER else pytest.mark.slow) for pair in PAIRS]
)
def test_saved_on_one_mesh_and_gone_on_with_upon_another(saved, wanted, runs, float64):
    check(runs, saved, wanted)


def test_it_is_another_layout_each_time(runs, float64):
    up = {name: runs(name)[0].plan.shardings.params['stack']['layers']['mlp']['up']['kernel'] for name in MESHES}
    assert len({sharding.shard_shape((2, 16, 64)) for sharding in up.values()}) == 5  # one device and data 8 copy all


# --- mutants ---------------------------------------------------------------------------------------------------------

OTHER = ('fsdp 8', 'tensor 8')


def parts_in_another_order(state):
    """As if each device had read the part of another."""
    kernel = state.params['stack']['layers']['mlp']['up']['kernel']
    return with_kernel(state, jax.device_put(np.roll(kernel, 8, axis=-1), kernel.sharding))


def everything_everywhere(state):
    """The right numbers, and no layout."""
    kernel = state.params['stack']['layers']['mlp']['up']['kernel']
    return with_kernel(state, jax.device_put(kernel, NamedSharding(kernel.sharding.mesh, PartitionSpec())))


def without_the_moments(state):
    return state.replace(opt_state=jax.tree.map(jnp.zeros_like, state.opt_state))


def without_the_average(state):
    return state.replace(average=state.params)


def with_kernel(state, kernel):
    changed = jax.tree_util.tree_map_with_path(
        lambda path, leaf: kernel if layout.path_name(path) == 'stack/layers/mlp/up/kernel' else leaf, state.params
    )
    return state.replace(params=changed)


@pytest.mark.parametrize(
    'mutant', [parts_in_another_order, everything_everywhere, without_the_moments, without_the_average]
)
def test_what_is_not_restored_is_noticed(mutant, runs, float64, monkeypatch):
    check(runs, *OTHER)
    restore = Checkpoints.restore
    monkeypatch.setattr(Checkpoints, 'restore', lambda self, abstract: mutant(restore(self, abstract)))
    with pytest.raises(AssertionError):
        check(runs, *OTHER)

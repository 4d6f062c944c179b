"""--debug_nans: the run ends at the step whose loss or gradient is not finite, and names where it began."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import blueprint, debug_nans
from jaxlab import train as loop
from jaxlab.config import spec
from jaxlab.debug_nans import culprit, told
from jaxlab.experiment import make_data, make_task
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.trust.first_bad import INFINITE, Argument
from tests.experiments import message, other_batches, tiny

QUIET = {'log__sample_every': 0, 'evaluate__every': 0, 'checkpoint__every': 1000, 'log__every': 100, 'mesh__data': 1}
SMALL = {'batch_size': 4, 'model__width': 16, 'model__heads': 2, 'model__layers': 2, 'data__length': 16}


def drawn(corpus, **overrides):
    """Returns (blueprint, state, batch) of a small run."""
    config = tiny(corpus, **{**QUIET, **SMALL, **overrides})
    mesh = make_mesh(config.mesh)
    data, config = make_data(config, mesh)
    task = make_task(config, data.info)
    plan = blueprint.draw(config, task, layout.global_shapes(data.batch(0), config.batch_size), mesh)
    return plan, plan.born(), data.batch


def poisoned(tree, path, layer, value):
    """Returns nested dicts in which a leaf is `value`; in a scanned stack, that of one layer."""
    name, *rest = path
    change = jnp.full_like if layer is None else lambda x, value: x.at[layer].set(value)
    return {**tree, name: poisoned(tree[name], rest, layer, value) if rest else change(tree[name], value)}


UP, VALUE = ('stack', 'layer_1', 'mlp', 'up', 'bias'), ('stack', 'layer_1', 'attention', 'value', 'kernel')
PLACES = {  # the parameter that is 3e38 -> operation, module, file, whether it is a gradient
    'norm': (('stack', 'layer_1', 'mlp_norm', 'scale'), 'mul', 'stack/layer_1/mlp_norm', 'jaxlab/nn/norm.py', False),
    'linear': (VALUE, 'dot_general', 'stack/layer_1/attention/value', 'jaxlab/nn/linear.py', False),
    'gelu': (UP, 'integer_pow', 'stack/layer_1/mlp', 'jaxlab/nn/mlp.py', True),  # whose own values are finite
}


@pytest.mark.parametrize('scan', [False, True], ids=['unrolled', 'scanned'])
@pytest.mark.parametrize('place', PLACES)
def test_the_module_is_named(corpus, place, scan):
    path, operation, module, source, backward = PLACES[place]
    plan, state, batch = drawn(corpus, model__scan=scan)
    layer = None
    if scan:
        path, module, layer = ('stack', 'layers', *path[2:]), module.replace('layer_1', 'layers[1]'), 1
    with jax.set_mesh(plan.mesh):
        found = culprit(plan, state.replace(params=poisoned(state.params, path, layer, 3e38)), batch, {})
    assert (found.name, found.module, found.backward) == (operation, f'GPT/{module}', backward), found
    assert found.source.startswith(source), found


def test_of_the_embedding(corpus):
    plan, state, batch = drawn(corpus)
    with jax.set_mesh(plan.mesh):
        assert culprit(plan, state, batch, {}) is None
    params = state.params
    for table in ('token_embedding', 'position_embedding'):
        params = poisoned(params, (table, 'table'), None, 3e38)
    with jax.set_mesh(plan.mesh):
        found = culprit(plan, state.replace(params=params), batch, {})
    assert (found.name, found.module) == ('add', 'GPT') and found.source.startswith('jaxlab/models/gpt.py'), found


def test_in_the_loss_of_one_micro_batch(corpus):
    plan, state, batch = drawn(corpus, accumulate=2, model__layers=1)

    def heavy(n):
        rows = dict(batch(n))
        rows['mask'] = rows['mask'].copy()
        rows['mask'][3, 0] = 3e38  # row 3 is of the second micro-batch
        return rows

    with jax.set_mesh(plan.mesh):
        found = culprit(plan, state, heavy, {})
    assert found.module == '' and 'cross_entropy.py' in found.source, found
    assert [(turn.number, turn.of) for turn in found.turns] == [(2, 2)] and 'step.py' in found.turns[0].source
    assert 'turn 2 of 2' in told(found)


def test_of_the_optimizer(corpus):
    """The loss and its gradient are finite, and the parameters after the step are not."""
    plan, state, batch = drawn(corpus, model__layers=1, optimizer__learning_rate=3e38, optimizer__weight_decay=1e3)
    with jax.set_mesh(plan.mesh):
        found = culprit(plan, state.replace(params=jax.tree.map(lambda x: x * 2, state.params)), batch, {})
    assert found.module == '' and not found.backward and found.result == INFINITE, found


def test_what_was_there_before():
    assert told(Argument('batch/mask', INFINITE)) == 'It came with the batch: mask has inf.'
    assert (
        told(Argument('state/params/head/table', INFINITE))
        == 'It was there before the step: params/head/table has inf.'
    )


# --- runs ------------------------------------------------------------------------------------------------------------


def with_mask(monkeypatch, n, value):
    """The first token of batch n counts `value`."""

    def change(batch, number):
        rows = batch(number)
        if number == n:
            rows['mask'] = rows['mask'].copy()
            rows['mask'][0, 0] = value
        return rows

    other_batches(monkeypatch, loop, change)


def run(corpus, workdir, **overrides):
    settings = {'steps': 12, 'steps_per_call': 1, **QUIET, **SMALL, 'model__layers': 1, **overrides}
    return partial(loop.train, tiny(corpus, **settings), workdir, [], debug_nans=True)


@pytest.mark.parametrize(('most', 'offset'), [(1, 0), (5, 0), (1, 3)])
def test_the_step_is_named(corpus, tmp_path, monkeypatch, most, offset):
    with_mask(monkeypatch, 6 + offset, np.nan)
    init = blueprint.steps.init
    start = lambda *arguments: init(*arguments).replace(data_offset=jnp.int32(offset))  # noqa: E731
    monkeypatch.setattr(blueprint.steps, 'init', start)
    said = message(run(corpus, tmp_path / 'run', steps_per_call=most))
    assert said.startswith('step 7: the loss or a gradient is not finite (loss nan, ')
    assert said.endswith('It came with the batch: mask has NaN.')


def test_a_run_that_overflows(corpus, tmp_path):
    settings = {'optimizer__learning_rate': 1e38, 'optimizer__schedule': spec('schedules.constant')}
    said = message(run(corpus, tmp_path / 'run', **settings))
    assert said.startswith('step 2: ') and 'It began in ' in said and 'jaxlab/' in said, said


def test_a_leap_of_the_loss_is_none_of_its_business(corpus, tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(debug_nans, 'culprit', lambda *arguments: looked.append(1))
    monkeypatch.setattr(blueprint.steps.numbers, 'LEARN', 2)
    assert run(corpus, tmp_path / 'run', numbers__spike=1e-6, numbers__patience=100)() == 0
    assert not looked


def test_nothing_is_kept_where_nobody_asks(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, 'DebugNaNs', lambda *arguments: pytest.fail('asked'))
    donated = []
    compile_step = loop.compile_step
    monkeypatch.setattr(
        loop, 'compile_step', lambda *arguments: donated.append(arguments[3]) or compile_step(*arguments)
    )
    start = run(corpus, tmp_path / 'run', steps=2)
    assert loop.train(*start.args) == 0 and donated == [True]

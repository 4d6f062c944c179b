"""A step taken apart: the parts are those of the step itself, counted in another way."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab import anatomy
from jaxlab import step as steps
from jaxlab.anatomy import dissect
from jaxlab.parallel import layout
from jaxlab.task import Term
from tests.test_debug_nans import drawn

ROWS = 8


def taken_apart(corpus, **overrides):
    """Returns (task, state, batch, anatomy) of a step, with rows that count unequally."""
    plan, state, batch = drawn(corpus, **{'batch_size': ROWS, 'model__dropout': 0.2, **overrides})
    rows = batch(0)
    rows['mask'][0, :5] = 0
    rows['mask'][3] = 0
    placed = layout.place(rows, layout.batch_sharding(plan.mesh))
    with jax.set_mesh(plan.mesh):
        found = dissect(plan.task, overrides.get('accumulate', 1), state, {}, placed)
    return plan.task, state, rows, found['loss']


def alone(task, state, rows, row, accumulate):
    """The loss of a row as one would say it: all others are masked."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(state.key, state.step), 0), 0)
    micro = jax.tree.map(lambda x: x[row % accumulate], steps.cut(rows, accumulate))
    only = np.arange(len(micro['mask'])) == row // accumulate
    micro['mask'] = micro['mask'] * only[:, None]
    term = task.loss(state.params, state.extra, micro, jax.random.fold_in(key, row % accumulate))[0]['loss']
    return float(term.total / term.count), float(term.count)


def test_the_loss_of_each_row(corpus):
    accumulate = 2
    task, state, rows, found = taken_apart(corpus, accumulate=accumulate)
    for row in (0, 1, 2, 7):
        loss, count = alone(task, state, rows, row, accumulate)
        np.testing.assert_allclose([found.losses[row], found.counts[row]], [loss, count], rtol=1e-5)
    assert np.isnan(found.losses[3]) and found.counts[3] == 0
    assert len(set(found.losses)) == ROWS


@pytest.mark.parametrize('settings', [{'model__scan': True, 'accumulate': 2}, {'model__remat': 'full'}], ids=str)
def test_norms_are_those_of_the_step(corpus, settings):
    task, state, rows, found = taken_apart(corpus, **settings)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(state.key, state.step), 0), 0)
    accumulate = settings.get('accumulate', 1)
    gradients, *_ = steps.gradient(task.loss, state.params, {}, state.extra, steps.cut(rows, accumulate), key)
    squares = jnp.square(gradients['final_norm']['scale']).sum() + jnp.square(gradients['final_norm']['bias']).sum()
    np.testing.assert_allclose(found.gradients['final_norm'], squares**0.5, rtol=1e-4)
    total = sum(np.square(norm).sum() for norm in found.gradients.values()) ** 0.5
    norm = sum(float(jnp.square(leaf).sum()) for leaf in jax.tree.leaves(gradients)) ** 0.5
    np.testing.assert_allclose(total, norm, rtol=1e-4)
    layer = 'layers' if 'model__scan' in settings else 'layer_1'
    assert found.sizes[f'stack/{layer}/mlp/up'].shape == ((2,) if layer == 'layers' else ())
    up = gradients['stack'][layer]['mlp']['up']
    wanted = jax.tree.map(lambda x: jnp.square(x[1] if layer == 'layers' else x).sum(), up)
    np.testing.assert_allclose(
        np.ravel(found.gradients[f'stack/{layer}/mlp/up'])[-1], sum(jax.tree.leaves(wanted)) ** 0.5, rtol=1e-4
    )


def test_activations_are_those_of_the_model(corpus):
    task, state, rows, found = taken_apart(corpus, model__dropout=0.0, model__scan=True)
    inputs = rows['tokens'], rows['positions'], rows['segments']
    x, _ = task.model.apply({'params': state.params}, *inputs, method='features')
    np.testing.assert_allclose(found.sizes['final_norm'], np.sqrt(np.square(x).mean()), rtol=1e-4)
    np.testing.assert_allclose(found.largest['final_norm'], np.abs(x).max(), rtol=1e-4)
    table = state.params['token_embedding']['table'][rows['tokens']]
    np.testing.assert_allclose(found.sizes['token_embedding'], np.sqrt(np.square(table).mean()), rtol=1e-4)
    assert found.sizes['stack/layers/attention'].shape == (2,)
    np.testing.assert_allclose(found.sizes['stack'], found.sizes['stack/layers'][1], rtol=1e-4)  # the last layer's


@dataclass(frozen=True)
class Squared:
    """A loss that is no sum of things times their mask."""

    task: Any

    def __getattr__(self, name):
        return getattr(self.task, name)

    def loss(self, params, extra, batch, key):
        terms, extra = self.task.loss(params, extra, batch, key)
        return {'loss': Term(jnp.square(terms['loss'].total), terms['loss'].count)}, extra


def test_a_loss_that_is_no_sum_over_rows_has_none(corpus):
    plan, state, batch = drawn(corpus, model__layers=1)
    placed = layout.place(batch(0), layout.batch_sharding(plan.mesh))
    with jax.set_mesh(plan.mesh):
        assert len(dissect(plan.task, 1, state, {}, placed)['loss'].losses) == 4
        found = dissect(Squared(plan.task), 1, state, {}, placed)['loss']
    assert len(found.losses) == len(found.counts) == 0 and found.gradients


def test_the_loss_of_each_row_has_its_part_of_the_losses_of_routers(corpus):
    settings = {'model__experts': 4, 'model__mlp_width': 32, 'model__layers': 1, 'model__dropout': 0.0}
    task, state, rows, found = taken_apart(corpus, **settings)
    assert np.isnan(found.losses[3]) and len(set(found.losses)) == ROWS
    terms, _ = task.loss(state.params, state.extra, rows, jax.random.key(0))
    counted = found.counts > 0
    mean = (found.losses[counted] * found.counts[counted]).sum() / found.counts.sum()
    np.testing.assert_allclose(mean, steps.mean_loss(terms), rtol=1e-5)
    assert 'stack/layer_0/mlp' in ' '.join(found.sizes)


def test_rows_in_another_order_are_noticed(corpus, monkeypatch):
    monkeypatch.setattr(anatomy, '_in_order', lambda x: x.reshape(-1))
    with pytest.raises(AssertionError):
        test_the_loss_of_each_row(corpus)

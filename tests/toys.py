"""Toy tasks whose losses and gradients a person can write down, and steps of them."""

# b rows, t tokens, d features

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.config import build, spec
from jaxlab.optim import Optimizer
from jaxlab.task import Phase, Term

ROWS, LENGTH, FEATURES = 8, 6, 3


def ragged_batch(seed=0):
    """Rows of several documents, of which anything from nothing to all counts."""
    draw = np.random.default_rng(seed)
    mask = draw.random((ROWS, LENGTH)) < draw.random((ROWS, 1))
    mask[3] = False  # with eight micro-batches, one has nothing that counts
    return {
        'features': draw.normal(size=(ROWS, LENGTH, FEATURES)),
        'targets': draw.normal(size=(ROWS, LENGTH)),
        'segments': np.cumsum(draw.random((ROWS, LENGTH)) < 0.3, axis=1).astype(np.int32),
        'mask': mask.astype(float),
    }


# --- toys ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Regression:
    """Two terms with counts of their own: tokens near their targets, neighbours of one document near one another."""

    dtype: type = jnp.float64
    phases: tuple[Phase, ...] = (Phase(),)

    def init(self, key, batch):
        return {'layer': {'weights': jnp.arange(FEATURES, dtype=self.dtype)}, 'bias': jnp.ones((), self.dtype)}, {}

    def loss(self, params, extra, batch, key):
        y = batch['features'] @ params['layer']['weights'] + params['bias']
        same = batch['segments'][:, 1:] == batch['segments'][:, :-1]
        pairs = same * batch['mask'][:, 1:] * batch['mask'][:, :-1]
        fit = jnp.sum(batch['mask'] * (y - batch['targets']) ** 2)
        rough = jnp.sum(pairs * (y[:, 1:] - y[:, :-1]) ** 2)
        return {'fit': Term(fit, jnp.sum(batch['mask'])), 'rough': Term(rough, jnp.sum(pairs), 0.5)}, extra


def direct_loss(weights, bias, batch):
    """The loss of `Regression`, token by token."""
    fit, rough, tokens, pairs = 0.0, 0.0, 0, 0
    for row in range(ROWS):
        y = batch['features'][row] @ weights + bias
        for i in range(LENGTH):
            if batch['mask'][row, i]:
                fit, tokens = fit + (y[i] - batch['targets'][row, i]) ** 2, tokens + 1
            both = i and batch['mask'][row, i] and batch['mask'][row, i - 1]
            if both and batch['segments'][row, i] == batch['segments'][row, i - 1]:
                rough, pairs = rough + (y[i] - y[i - 1]) ** 2, pairs + 1
    return fit / tokens + 0.5 * rough / pairs


def direct_gradient(weights, bias, batch):
    """Of `direct_loss`, by differences: they are exact for a function that is quadratic."""

    def difference(weights_step, bias_step):
        ahead = direct_loss(weights + weights_step, bias + bias_step, batch)
        return (ahead - direct_loss(weights - weights_step, bias - bias_step, batch)) / 2

    return np.array([difference(one, 0) for one in np.eye(FEATURES)]), difference(0, 1)


@dataclass(frozen=True)
class Delta(Regression):
    """Weights that are a frozen base and what is learned on top of it, side by side in one layer."""

    def init(self, key, batch):
        params, extra = super().init(key, batch)
        return {'layer': {'delta': jnp.zeros(FEATURES)}, 'bias': params['bias']}, extra

    def loss(self, params, extra, batch, key):
        weights = params['layer']['base'] + params['layer']['delta']
        return super().loss({'layer': {'weights': weights}, 'bias': params['bias']}, extra, batch, key)


@dataclass(frozen=True)
class Duel:
    """A GAN in two numbers: the critic's slope tells real from made, the generator's shift makes them alike.

    The key of each call of a loss goes into `extra`, one after another.
    """

    phases: tuple[Phase, ...] = (
        Phase('critic_loss', 'critic/', repeat=2),
        Phase('generator_loss', 'generator/'),
    )

    def init(self, key, batch):
        extra = {'calls': jnp.zeros((), jnp.int32), 'keys': jnp.zeros((64, 2), jnp.uint32)}
        return {'critic': {'slope': jnp.full((), 0.5)}, 'generator': {'shift': jnp.full((), -1.0)}}, extra

    def terms(self, params, extra, batch, key, real):
        made = batch['features'][..., 0] + params['generator']['shift']
        slope = params['critic']['slope']
        scores = slope * (made - real * batch['targets']) + real * 0.5 * slope**2
        keys = extra['keys'].at[extra['calls']].set(jax.random.key_data(key))
        extra = {'calls': extra['calls'] + 1, 'keys': keys}
        return Term(jnp.sum(batch['mask'] * scores), jnp.sum(batch['mask'])), extra

    def critic_loss(self, params, extra, batch, key):
        term, extra = self.terms(params, extra, batch, key, real=1.0)
        return {'critic': term}, extra

    def generator_loss(self, params, extra, batch, key):
        term, extra = self.terms(params, extra, batch, key, real=0.0)
        return {'generator': term}, extra


@dataclass(frozen=True)
class Masked(Regression):
    """Which tokens count is drawn, as in masked language modelling: so the count hangs on the key as well."""

    def loss(self, params, extra, batch, key):
        drawn = jax.random.bernoulli(key, 0.5, batch['mask'].shape) * batch['mask']
        y = batch['features'] @ params['layer']['weights'] + params['bias']
        return {'masked': Term(jnp.sum(drawn * y), jnp.sum(drawn))}, extra


@dataclass(frozen=True)
class Product(Regression):
    """A matrix product that a compiler can see."""

    def init(self, key, batch):
        return {'kernel': jnp.ones((LENGTH, 64))}, {}

    def loss(self, params, extra, batch, key):
        y = jnp.tanh(batch['targets'] @ params['kernel'])
        return {'y': Term(y.sum(), batch['mask'].sum())}, extra


@functools.cache
def sgd(learning_rate, momentum=0.0, schedule='constant'):
    """Rates are float32 in every precision, so those below are powers of two: nothing to round."""
    name, own = ('momentum', {'momentum': momentum}) if momentum else ('sgd', {})
    over_time = spec(f'schedules.{schedule}', **({'window': 1, 'patience': 1} if schedule == 'plateau' else {}))
    node = spec(f'optim.{name}', learning_rate=learning_rate, clip=0.0, schedule=over_time, **own)

    def of(params):  # whatever they are, their axes have no names
        return build(node, jax.tree.map(lambda _: (), params), 100, key='optimizer')

    def update(gradients, state, params, loss, norm):
        return of(params).update(gradients, state, params, loss, norm)

    def norm(gradients):
        return of(gradients).norm(gradients)

    rate = of({}).rate
    return Optimizer(lambda params: of(params).init(params), norm, rate, update)


DUEL_RATES = [sgd(0.125, momentum=0.5), sgd(0.25)]
PLATEAUS = [sgd(0.125, schedule='plateau'), sgd(0.25, schedule='plateau')]  # window 1: the loss of every update
DUEL_ONCE = Duel((Phase('critic_loss', 'critic/'), Phase('generator_loss', 'generator/')))


@functools.cache
def compiled(steps, task, optimizers, options):
    return jax.jit(steps.make_step(task, optimizers, **dict(options)))


def train(steps, task, batches, optimizers, frozen=None, state=None, **options):
    """Returns the state after each step, and the terms; `steps` is the module under test."""
    shapes = jax.eval_shape(lambda: batches[0])
    state = state or steps.init(task, optimizers, options.get('average', 0.0), shapes, jax.random.key(0))
    step = compiled(steps, task, tuple(optimizers), tuple(options.items()))
    states, reports = [state], []
    for batch in batches:
        state, terms = step(state, frozen or {}, batch)
        states.append(state)
        reports.append(terms)
    return states, reports


def assert_close(found, wanted, tolerance):
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=jax.tree_util.keystr(path))

"""One table of optimizers: each public function is one, by its name in `config.optimizer.name`.

All of them are the same chain, in this order, and differ in the direction alone:

    clip the gradient -> add penalties -> direction -> add decoupled weight decay -> times -(learning rate × schedule)

(LAMB rescales the sum of direction and decay.) What decays, what Muon takes for a matrix, and what counts as one layer
is read from axis *names*, never from the number of dimensions: in a scanned stack of layers a bias has two axes and a
kernel three, and the kernel is several matrices.

In the formulas below g is the gradient, w the parameters, m and v start at 0, t is 1 at the first step, and products,
quotients and roots are taken element by element. A hat marks m and v divided by 1 - βᵗ, so that they are averages.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import unflatten_dict
from ml_collections import ConfigDict
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from jaxlab.config import build, spec
from jaxlab.errors import UserError
from jaxlab.gradient_norm import global_norm
from jaxlab.parameter_groups import check_from_0, merge, settings, split

__all__ = [
    'adafactor',
    'adagrad',
    'adam',
    'adamw',
    'gradient_descent',
    'lamb',
    'lion',
    'momentum',
    'muon',
    'nesterov',
    'rmsprop',
    'sgd',
]

Direction = Callable[..., optax.GradientTransformation]


class Optimizer(NamedTuple):
    """Pure functions. The state is a tree of arrays, the schedule's among them."""

    init: Callable[[Any], Any]  # params -> state
    norm: Callable[[Any], jax.Array]  # gradients -> the norm that is clipped: of all that moves
    rate: Callable[[Any, jax.Array], jax.Array]  # (state, the batch's mean loss) -> the shared learning rate
    # (gradients, state, params, the mean loss of the batch, the norm) -> (updates, state). The norm is given, since
    # whoever decides whether there is an update has it already, and to compute it is to read all gradients once more.
    update: Callable[[Any, Any, Any, jax.Array, jax.Array], tuple[Any, Any]]


def _chain(
    *, learning_rate: float, weight_decay: float = 0.0, rescale: Direction = lambda names: optax.identity()
) -> Callable[[Direction], Callable[..., Optimizer]]:
    """Makes an optimizer of the function that returns its direction: it takes the shared arguments, then its own.

    `names` are the axis names of the parameters, in nested dicts; `steps` is the length of the run. The shared ones:

      learning_rate, weight_decay: numbers from 0 up. The decay is decoupled (arXiv:1711.05101), and of matrices and
        tables only.
      schedule: a spec of `jaxlab.schedules`; its factor multiplies every learning rate.
      clip: the largest global norm of a gradient; 0: any.
      l1, l2: penalties l1·Σ|w| and l2/2·Σw² of matrices and tables. Their gradients, l1·sign(w) and l2·w, join the
        clipped gradient *before* the direction, which may well rescale them: that is how they differ from weight_decay.
      groups: pairs (pattern, overrides) for a part of the parameters, such as
        (('token_embedding/', {'learning_rate': 1e-4, 'weight_decay': 0.0}), ('stack/layer_0/', {'frozen': True})).
        A pattern is a regular expression that a parameter's name begins with. Overrides are learning_rate,
        weight_decay, l1 and l2, each in place of the shared value (a rate, not a factor of one), and frozen: such
        parameters are neither changed nor clipped with the others, and have no state. Where several patterns match,
        later ones win.

    `rescale` returns, of the axis names, what comes behind the weight decay.
    """

    def decorate(direction: Direction) -> Callable[..., Optimizer]:
        def make(
            names: Any,
            steps: int,
            *,
            learning_rate: float = learning_rate,
            schedule: ConfigDict = spec('schedules.cosine'),
            weight_decay: float = weight_decay,
            clip: float = 1.0,
            l1: float = 0.0,
            l2: float = 0.0,
            groups: tuple = (),
            **own: Any,
        ) -> Optimizer:
            check_from_0(clip=clip)
            shared = {'learning_rate': learning_rate, 'weight_decay': weight_decay, 'l1': l1, 'l2': l2, 'frozen': False}
            of = {name: setting for name, setting in settings(names, shared, groups).items() if not setting['frozen']}

            def tree(key: str) -> Any:
                return unflatten_dict({name: setting[key] for name, setting in of.items()}, sep='/')

            def of_matrices(key: str) -> Any:
                return jax.tree.map(lambda value, axes: value * is_matrix(axes), tree(key), tree('axes'))

            over_time, rates = build(schedule, steps, key='optimizer.schedule'), tree('learning_rate')
            chain = optax.chain(
                _clip(clip) if clip else optax.identity(),
                _add(lambda w, l1, l2: l1 * jnp.sign(w) + l2 * w, of_matrices('l1'), of_matrices('l2')),
                direction(tree('axes'), **own),
                _add(lambda w, decay: decay * w, of_matrices('weight_decay')),
                rescale(tree('axes')),
            )

            def init(params: Any) -> Any:
                return {'chain': chain.init(split(params, of)[0]), 'schedule': over_time.init()}

            def norm(gradients: Any) -> jax.Array:
                return global_norm(split(gradients, of)[0])

            def rate(state: Any, loss: jax.Array) -> jax.Array:
                return learning_rate * over_time.update(state['schedule'], loss)[0]

            def update(gradients: Any, state: Any, params: Any, loss: jax.Array, norm: jax.Array) -> tuple[Any, Any]:
                moving, still = split(gradients, of)
                updates, after = chain.update(moving, state['chain'], split(params, of)[0], norm=norm)
                factor, later = over_time.update(state['schedule'], loss)
                updates = jax.tree.map(lambda u, rate: -rate * (factor.astype(u.dtype) * u), updates, rates)
                # w + -0.0 is w to the last bit; w + 0.0 would turn -0.0 into 0.0.
                updates = merge(updates, jax.tree.map(lambda g: jnp.full_like(g, -0.0), still))
                return updates, {'chain': after, 'schedule': later}

            return Optimizer(init, norm, rate, update)

        # The config shows shared and own arguments alike: `spec` reads this signature.
        shared = inspect.signature(make).parameters.values()
        own_parameters = [p for p in inspect.signature(direction).parameters.values() if p.kind is p.KEYWORD_ONLY]
        parameters = [p for p in shared if p.kind is not p.VAR_KEYWORD] + own_parameters
        functools.update_wrapper(make, direction)
        make.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return make

    return decorate


# --- the table -------------------------------------------------------------------------------------------------------


@_chain(learning_rate=0.1)
def gradient_descent(names: Any) -> optax.GradientTransformation:
    """Full-batch gradient descent (Cauchy 1847): g, of all training data: `config.full_batch=true` makes it so."""
    return optax.identity()


@_chain(learning_rate=0.1)
def sgd(names: Any) -> optax.GradientTransformation:
    """Stochastic gradient descent (Robbins and Monro 1951): g, of a batch."""
    return optax.identity()


@_chain(learning_rate=0.1)
def momentum(names: Any, *, momentum: float = 0.9) -> optax.GradientTransformation:
    """Momentum, the heavy ball (Polyak 1964): m ← momentum·m + g; the direction is m."""
    _check_decays(momentum=momentum)
    return optax.trace(momentum)


@_chain(learning_rate=0.1)
def nesterov(names: Any, *, momentum: float = 0.9) -> optax.GradientTransformation:
    """Nesterov's momentum (1983; as in Sutskever et al. 2013): m ← momentum·m + g; the direction is g + momentum·m."""
    _check_decays(momentum=momentum)
    return optax.trace(momentum, nesterov=True)


@_chain(learning_rate=0.01)
def adagrad(names: Any, *, epsilon: float = 1e-16) -> optax.GradientTransformation:
    """AdaGrad (Duchi et al. 2011, JMLR 12): v ← v + g²; g / √(v + ε)."""
    _check_epsilon(epsilon)
    return optax.scale_by_rss(0.0, epsilon)


@_chain(learning_rate=1e-3)
def rmsprop(names: Any, *, decay: float = 0.9, epsilon: float = 1e-8) -> optax.GradientTransformation:
    """RMSProp (Tieleman and Hinton 2012, Coursera, lecture 6.5): v ← decay·v + (1 - decay)·g²; g / (√v + ε)."""
    _check_decays(decay=decay)
    _check_epsilon(epsilon)
    return optax.scale_by_rms(decay, epsilon, eps_in_sqrt=False)


@_chain(learning_rate=1e-3)
def adam(
    names: Any, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8
) -> optax.GradientTransformation:
    """Adam (arXiv:1412.6980): m ← β₁·m + (1 - β₁)·g; v ← β₂·v + (1 - β₂)·g²; m̂ / (√v̂ + ε)."""
    return _adam(beta1, beta2, epsilon)


@_chain(learning_rate=1e-3, weight_decay=0.1)
def adamw(
    names: Any, *, beta1: float = 0.9, beta2: float = 0.95, epsilon: float = 1e-8
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (arXiv:1711.05101), and the shorter memory that language models take."""
    return _adam(beta1, beta2, epsilon)


@_chain(learning_rate=0.01)
def adafactor(
    names: Any, *, decay: float = 0.8, threshold: float = 1.0, factor_from: int = 128, epsilon: float = 1e-30
) -> optax.GradientTransformation:
    """Adafactor (arXiv:1804.04235): RMSProp that keeps of a matrix's v the sums of its rows r and columns c alone.

    v ← βₜ·v + (1 - βₜ)·(g² + ε) with βₜ = 1 - t^-decay, or for matrices and tables v = r cᵀ / Σr; u = g / √v; then
    u / max(1, RMS(u) / threshold) · max(0.001, RMS(w)): the learning rate is relative to the size of the parameters.
    Matrices with a side below `factor_from` are too small to save anything, and keep all of v.
    """
    for name, value in {'decay': decay, 'threshold': threshold}.items():
        if value <= 0:
            raise UserError('{name}={value}: a number above 0 is wanted.', name=name, value=value)
    _check_epsilon(epsilon)
    factored = optax.scale_by_factored_rms(decay_rate=decay, min_dim_size_to_factor=factor_from, epsilon=epsilon)
    return _each_layer(
        optax.chain(factored, optax.clip_by_block_rms(threshold), optax.scale_by_param_block_rms()), names
    )


@_chain(
    learning_rate=4e-3,
    weight_decay=0.01,
    rescale=lambda names: _each_layer(optax.scale_by_trust_ratio(), names, where=is_matrix),
)
def lamb(
    names: Any, *, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-6
) -> optax.GradientTransformation:
    """LAMB (arXiv:1904.00962): with u = Adam's direction + weight_decay·w, the step of each layer is u · |w| / |u|.

    A layer is one matrix or table; biases and scales follow u itself, as in the authors' own code.
    """
    return _adam(beta1, beta2, epsilon)


@_chain(learning_rate=2e-4, weight_decay=0.5)  # AdamW's product of the two: steps are longer, so rates are lower
def lion(names: Any, *, beta1: float = 0.9, beta2: float = 0.99) -> optax.GradientTransformation:
    """Lion (arXiv:2302.06675): the direction is sign(β₁·m + (1 - β₁)·g); then m ← β₂·m + (1 - β₂)·g."""
    _check_decays(beta1=beta1, beta2=beta2)
    return optax.scale_by_lion(beta1, beta2)


@_chain(learning_rate=2e-3, weight_decay=0.1)
def muon(
    names: Any,
    *,
    momentum: float = 0.95,
    iterations: int = 5,
    beta1: float = 0.9,
    beta2: float = 0.95,
    epsilon: float = 1e-8,
) -> optax.GradientTransformation:
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for matrices between layers, AdamW for the rest.

    Momentum is made orthogonal by Newton–Schulz `iterations`, and scaled to the root mean square of Adam's updates,
    0.2 √max(in, out) (arXiv:2502.16982), so that one learning rate serves both. As in optax, the momentum is corrected
    for its start at 0, which Jordan's own code leaves out. Tables of tokens and positions count as the rest.
    """
    _check_decays(momentum=momentum)
    if iterations < 1:
        raise UserError('{name}={value}: at least {least} is wanted.', name='iterations', value=iterations, least=1)

    def is_hidden(leaf_names: tuple[str, ...]) -> bool:
        return is_matrix(leaf_names) and 'table' not in leaf_names

    def dimensions(updates: Any) -> Any:
        masked = optax.MaskedNode
        return jax.tree.map(
            # Every matrix is (in, out), behind the axes that count layers, gates and experts.
            lambda update, leaf: (
                update if isinstance(update, masked) else MuonDimensionNumbers(len(leaf) - 2, len(leaf) - 1)
            ),
            updates,
            names,
            is_leaf=lambda leaf: isinstance(leaf, masked),
        )

    orthogonal = optax.chain(
        scale_by_muon(ns_steps=iterations, beta=momentum, nesterov=True, weight_dimension_numbers=dimensions),
        optax.stateless(lambda updates, _: jax.tree.map(lambda u: 0.2 * max(u.shape[-2:]) ** 0.5 * u, updates)),
    )
    labels = jax.tree.map(lambda leaf: 'matrix' if is_hidden(leaf) else 'other', names, is_leaf=_is_names)
    return optax.partition({'matrix': orthogonal, 'other': _adam(beta1, beta2, epsilon)}, labels)


# --- what they share -------------------------------------------------------------------------------------------------


def is_matrix(leaf_names: tuple[str, ...]) -> bool:
    """Whether axis names are those of a matrix or a table, not of a bias or scale: alone, in a stack of layers, or one
    of several gates or experts."""
    return len([name for name in leaf_names if name not in ('layers', 'gates', 'experts')]) >= 2


def stacked(leaf_names: tuple[str, ...]) -> int:
    """Returns how many axes of a parameter, the first ones, count layers and the experts in one."""
    return sum(name in ('layers', 'experts') for name in leaf_names)


def _is_names(leaf: Any) -> bool:
    return isinstance(leaf, tuple)


def _clip(most: float) -> optax.GradientTransformation:
    """Scales a gradient whose norm is above `most` to that norm (Pascanu et al. 2013, arXiv:1211.5063)."""

    def update(gradients: Any, state: Any, params: Any = None, *, norm: jax.Array, **others: Any) -> tuple[Any, Any]:
        return jax.tree.map(lambda g: jnp.where(norm < most, g, g / norm.astype(g.dtype) * most), gradients), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def _add(term: Callable[..., jax.Array], *strengths: Any) -> optax.GradientTransformation:
    """Adds term(w, *strengths of that w) to the update of every parameter w for which they are not all 0."""

    def add(u: jax.Array, w: jax.Array, *values: float) -> jax.Array:
        return u + term(w, *values) if any(values) else u

    return optax.stateless(lambda updates, params: jax.tree.map(add, updates, params, *strengths))


def _each_layer(
    inner: optax.GradientTransformation, names: Any, where: Callable[[tuple[str, ...]], bool] = lambda axes: True
) -> optax.GradientTransformation:
    """Applies a transformation to each parameter alone, in a stack to each layer alone, and there to each expert."""

    def lift(function: Callable[..., Any], axes: tuple[str, ...]) -> Callable[..., Any]:
        for _ in range(stacked(axes)):
            function = jax.vmap(function)
        return function

    def init(params: Any) -> Any:
        return jax.tree.map(lambda w, axes: lift(inner.init, axes)(w) if where(axes) else (), params, names)

    def update(updates: Any, state: Any, params: Any) -> tuple[Any, Any]:
        tree: Any = jax.tree.structure(updates)
        leaves = zip(*(tree.flatten_up_to(one) for one in (names, updates, state, params)))
        pairs = [lift(inner.update, axes)(u, own, w) if where(axes) else (u, own) for axes, u, own, w in leaves]
        return tree.unflatten([u for u, _ in pairs]), tree.unflatten([own for _, own in pairs])

    return optax.GradientTransformation(init, update)


def _adam(beta1: float, beta2: float, epsilon: float) -> optax.GradientTransformation:
    _check_decays(beta1=beta1, beta2=beta2)
    _check_epsilon(epsilon)
    return optax.scale_by_adam(beta1, beta2, epsilon)


def _check_decays(**decays: float) -> None:
    for name, value in decays.items():
        if not 0 <= float(np.float32(value)) < 1:
            raise UserError('{name}={value}: a decay is at least 0 and below 1.', name=name, value=value)


def _check_epsilon(epsilon: float) -> None:
    if epsilon <= 0:
        raise UserError(
            'epsilon={epsilon}: more than 0 is wanted, or what never had a gradient becomes 0 / 0.', epsilon=epsilon
        )

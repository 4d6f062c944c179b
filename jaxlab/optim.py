"""One table of optimizers: each public function is one, by its name in `config.optimizer.name`.

All of them are the same chain, in this order, and differ in the direction alone:

    clip the gradient -> direction -> add decoupled weight decay -> times -(learning rate × schedule)

Which parameters decay, and what Muon takes for a matrix, is read from axis *names*, never from the number of
dimensions: in a scanned stack of layers a bias has two axes and a kernel three.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from ml_collections import ConfigDict
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from jaxlab.config import build, spec
from jaxlab.errors import UserError

__all__ = ['adamw', 'muon', 'sgd']


class Optimizer(NamedTuple):
    """An optax transformation, and the learning rate at each step, to be shown."""

    init: Callable[..., Any]
    update: Callable[..., Any]
    learning_rate: Callable[[jax.Array], jax.Array]


def _chain(*, learning_rate: float, weight_decay: float) -> Callable[[Callable[..., Any]], Callable[..., Optimizer]]:
    """Makes an optimizer of the function that returns its direction: it takes the shared arguments, then its own.

    The shared ones are: learning_rate; schedule, a spec of `jaxlab.schedules`; weight_decay, decoupled
    (arXiv:1711.05101), of matrices and tables; clip, the largest global norm of a gradient (0: any).
    """

    def decorate(direction: Callable[..., optax.GradientTransformation]) -> Callable[..., Optimizer]:
        def make(
            names: Any,
            steps: int,
            *,
            learning_rate: float = learning_rate,
            schedule: ConfigDict = spec('schedules.cosine'),
            weight_decay: float = weight_decay,
            clip: float = 1.0,
            **own: Any,
        ) -> Optimizer:
            for name, value in {'learning_rate': learning_rate, 'weight_decay': weight_decay, 'clip': clip}.items():
                if value < 0:
                    raise UserError(f'{name}={value}: a number from 0 up is wanted.')
            factor = build(schedule, steps, key='optimizer.schedule')
            transformation = optax.chain(
                optax.clip_by_global_norm(clip) if clip else optax.identity(),
                direction(names, **own),
                optax.add_decayed_weights(weight_decay, mask=jax.tree.map(is_matrix, names, is_leaf=_is_names)),
                optax.scale_by_learning_rate(lambda n: learning_rate * factor(n)),
            )
            return Optimizer(transformation.init, transformation.update, lambda n: learning_rate * factor(n))

        # The config shows shared and own arguments alike: `spec` reads this signature.
        shared = inspect.signature(make).parameters.values()
        own_parameters = [p for p in inspect.signature(direction).parameters.values() if p.kind is p.KEYWORD_ONLY]
        parameters = [p for p in shared if p.kind is not p.VAR_KEYWORD] + own_parameters
        functools.update_wrapper(make, direction)
        make.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return make

    return decorate


@_chain(learning_rate=0.1, weight_decay=0.0)
def sgd(names: Any, *, momentum: float = 0.9, nesterov: bool = False) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum (Polyak 1964): m ← momentum·m + g. momentum=0 is the plain rule."""
    _check_decays(momentum=momentum)
    return optax.trace(momentum, nesterov) if momentum else optax.identity()


@_chain(learning_rate=1e-3, weight_decay=0.1)
def adamw(
    names: Any, *, beta1: float = 0.9, beta2: float = 0.95, epsilon: float = 1e-8
) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (arXiv:1412.6980, arXiv:1711.05101): m̂ / (√v̂ + ε)."""
    return _adam(beta1, beta2, epsilon)


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
        raise UserError(f'iterations={iterations}: at least 1 is wanted.')

    def is_hidden(leaf_names: tuple[str, ...]) -> bool:
        return is_matrix(leaf_names) and 'table' not in leaf_names

    def dimensions(updates: Any) -> Any:
        masked = optax.MaskedNode
        return jax.tree.map(
            # Every matrix is (in, out), behind the axis that counts a stack's layers.
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


def _adam(beta1: float, beta2: float, epsilon: float) -> optax.GradientTransformation:
    _check_decays(beta1=beta1, beta2=beta2)
    if epsilon <= 0:
        raise UserError(f'epsilon={epsilon}: more than 0 is wanted, or what never had a gradient becomes 0 / 0.')
    return optax.scale_by_adam(beta1, beta2, epsilon)


def is_matrix(leaf_names: tuple[str, ...]) -> bool:
    """Whether axis names are those of a matrix or a table, not of a bias or scale, in a stack of layers or alone."""
    return len([name for name in leaf_names if name != 'layers']) >= 2


def _is_names(leaf: Any) -> bool:
    return isinstance(leaf, tuple)


def _check_decays(**decays: float) -> None:
    for name, value in decays.items():
        if not 0 <= value < 1:
            raise UserError(f'{name}={value}: a decay is at least 0 and below 1.')

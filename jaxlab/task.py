"""What a task is: a model given a purpose. The words in which every training step is said.

A task is a frozen dataclass in `jaxlab/tasks/`; its methods are pure functions of their arguments.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jax
from flax import struct

from jaxlab.errors import UserError

# Arrays whose first axis is the row. 'mask' marks rows, tokens or pixels that count (1) or do not (0).
Batch = Mapping[str, jax.Array]
Tree = Any  # a nested dict of arrays


class Term(struct.PyTreeNode):
    """One term of a loss, as a *sum with a count*: summed over micro-batches, devices and stages, and divided once.

    Means cannot be added when counts differ, sums can. The term contributes `weight * total / count` to the loss.
    """

    total: jax.Array  # [] float
    count: jax.Array  # [] float: how many things were summed; depends on the batch, not on the parameters
    weight: Any = 1.0  # [] float


Terms = Mapping[str, Term]


@dataclass(frozen=True)
class Phase:
    """One update within a step: which loss, which parameters learn from it, by which optimizer.

    Most tasks have one. A GAN has two: the discriminator's and the generator's.
    """

    loss: str = 'loss'  # the task's method
    trains: str = (
        '.*'  # regular expression over parameter names such as 'layer_0/attention/query/kernel', matched from the start
    )
    optimizer: str = 'optimizer'  # key of the config
    repeat: int = 1  # updates of this phase within one step


class Task(Protocol):
    """Methods are pure. `params` are nested dicts; `extra` changes but is not trained (batch statistics)."""

    phases: tuple[Phase, ...]

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Returns (params, extra), parameters boxed with their axis names."""

    def loss(self, params: Tree, extra: Tree, batch: Batch, key: jax.Array) -> tuple[Terms, Tree]:
        """Returns (terms of the loss, extra) of one batch or micro-batch."""

    def predict(self, params: Tree, extra: Tree, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns what the model says of a batch, for scores and for people."""


def inputs_of(model: Any, batch: Batch) -> tuple[jax.Array, ...]:
    """Returns what a model takes of a batch: the arrays that its `takes` names.

    Raises:
      UserError: the batch lacks one of them: the model is one of other data.
    """
    if missing := [name for name in model.takes if name not in batch]:
        raise UserError(
            'config.model: {model} takes {names}, and a batch of these data has {there}: it is a model of other data.',
            model=type(model).__name__,
            names=', '.join(missing),
            there=', '.join(batch),
        )
    return tuple(batch[name] for name in model.takes)


def check_can(model: Any, task: str, *wanted: str) -> None:
    """Raises UserError where a model lacks a method or a field that a task works with."""
    can = {*dir(type(model)), *getattr(model, '__dataclass_fields__', ())}
    if missing := [name for name in wanted if name not in can]:
        raise UserError(
            'config.task.name={task} wants a model with {names}, and {model} has none.',
            task=task,
            names=', '.join(missing),
            model=type(model).__name__,
        )


class Told(dict[str, Any]):
    """What data say of themselves, for models and tasks. What they do not say is an error of whoever put them
    together."""

    def __missing__(self, key: str) -> Any:
        raise UserError(
            'these data do not say "{key}", and say {known}: this part is one of other data.',
            key=key,
            known=', '.join(f'"{name}"' for name in self),
        )

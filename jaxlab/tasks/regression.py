"""Regression: say a number."""

# b batch

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from jaxlab.errors import UserError
from jaxlab.task import Batch, Phase, Term, Terms, Tree, inputs_of
from jaxlab.tasks.classification import in_blocks, normalised


@dataclass(frozen=True)
class Regression:
    """The mean squared error, of targets that are counted in their own deviations.

    A batch holds inputs, float32 [b f] (rows of a table) or uint8 [b h w c] (pictures), targets, float32 [b], and mask,
    float32 [b]. `make`, below, explains the fields.
    """

    model: Any  # (inputs, train=…) -> [b 1]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    target_mean: float
    target_deviation: float
    huber: float = 0.0
    phases: tuple[Phase, ...] = (Phase(),)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        (inputs,) = inputs_of(self.model, batch)
        variables = dict(self.model.init(key, normalised(inputs, self.mean, self.deviation)))
        return variables.pop('params'), variables

    def loss(self, params: Tree, extra: Tree, batch: Batch, key: jax.Array) -> tuple[Terms, Tree]:
        """Returns {'loss': squared errors of all examples that count, and how many they are}."""
        inputs, mask = normalised(batch['inputs'], self.mean, self.deviation), batch['mask']
        found, new = self.model.apply(
            {'params': params, **extra}, inputs, train=True, mutable=list(extra), rngs={'dropout': key}
        )
        error = found[:, 0] - (batch['targets'] - self.target_mean) / self.target_deviation
        squares = jnp.square(error)
        if self.huber:
            beyond = 2 * self.huber * jnp.abs(error) - self.huber**2
            squares = jnp.where(jnp.abs(error) > self.huber, beyond, squares)
        return {'loss': Term(jnp.sum(squares * mask), jnp.sum(mask))}, new

    def predict(self, params: Tree, extra: Tree, batch: Batch) -> dict[str, jax.Array]:
        """Returns {'values': float32 [b]}, in the units of the targets."""
        inputs = normalised(batch['inputs'], self.mean, self.deviation)
        found = self.model.apply({'params': params, **extra}, inputs)
        return {'values': found[:, 0] * self.target_deviation + self.target_mean}

    @cached_property
    def _values(self) -> Any:
        return jax.jit(lambda params, extra, batch: self.predict(params, extra, batch)['values'])

    def answers(self, params: Tree, extra: Tree, processor: Any, raws: Sequence[Any]) -> list[float]:
        """Returns the number for each raw input, whatever the processor takes.

        Raises:
          UserError: one of them cannot be read.
        """
        return in_blocks(self._values, params, extra, [processor.encode(raw) for raw in raws]).tolist()

    def answer(self, params: Tree, extra: Tree, processor: Any, raw: Any) -> float:
        """Returns what `answers` does, of one raw input."""
        return self.answers(params, extra, processor, [raw])[0]

    def options(self, top: int) -> dict[str, Any]:
        """Returns the options of `answers` that the verb predict gives: there are no classes to name."""
        return {}

    def line(self, answer: float) -> str:
        """Returns an answer as the screen shows it."""
        return f'{answer:.4f}'

    def as_json(self, answer: float) -> float:
        """Returns an answer as JSON has it."""
        return answer


def make(model: Any, info: Mapping[str, Any], *, huber: float = 0.0) -> Regression:
    """Args:
      model: as those of `models/` are made, with one output.
      info: what the data say of themselves: 'mean', 'deviation', 'target_mean', 'target_deviation'.
      huber: deviations of the target from which an error counts by its size alone, and no longer by its square
        (Huber 1964), so that outliers weigh less; 0: never.

    Raises:
      UserError: a value is out of range, or the data have classes.
    """
    if info['classes']:
        raise UserError(
            'the targets of these data are classes, not numbers: config.task.name=classification fits them.'
        )
    if not 0 <= huber < 1000:
        raise UserError('{name}={value}: a number from 0 up is wanted.', name='huber', value=huber)
    return Regression(
        model, tuple(info['mean']), tuple(info['deviation']), info['target_mean'], info['target_deviation'], huber
    )

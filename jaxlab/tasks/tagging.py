"""Tagging: say of each word of a text what it is."""

# b batch, t tokens of a row, c tags

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.errors import UserError
from jaxlab.nn.classification_loss import losses
from jaxlab.task import Batch, Phase, Term, Terms, Tree, check_can, inputs_of
from jaxlab.tasks.classification import in_blocks

Tagged = list[tuple[str, str, float]]  # words, their tags, and how likely these are


@dataclass(frozen=True)
class Tagging:
    """The cross-entropy of the tags of words, each asked at its first token.

    A batch holds what the model takes, and targets, int32 [b t], and mask, float32 [b t].
    """

    model: Any  # (what it `takes` of a batch, train=…) -> logits [b t c]
    classes: int
    label_smoothing: float = 0.0
    phases: tuple[Phase, ...] = (Phase(),)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        variables = dict(self.model.init(key, *inputs_of(self.model, batch)))
        return variables.pop('params'), variables

    def loss(self, params: Tree, extra: Tree, batch: Batch, key: jax.Array) -> tuple[Terms, Tree]:
        """Returns {'loss': nats of all words that count, and how many they are}."""
        logits, new = self.model.apply(
            {'params': params, **extra},
            *inputs_of(self.model, batch),
            train=True,
            mutable=list(extra),
            rngs={'dropout': key},
        )
        targets = jax.nn.one_hot(batch['targets'], self.classes, dtype=jnp.float32)
        smooth = targets * (1 - self.label_smoothing) + self.label_smoothing / self.classes
        nats = losses(logits, smooth, gamma=0.0)  # [b t]
        return {'loss': Term(jnp.sum(nats * batch['mask']), jnp.sum(batch['mask']))}, new

    def predict(self, params: Tree, extra: Tree, batch: Batch) -> dict[str, jax.Array]:
        """Returns {'logits': float32 [b t c]}."""
        return {'logits': self.model.apply({'params': params, **extra}, *inputs_of(self.model, batch))}

    # --- answers ---

    @cached_property
    def _probabilities(self) -> Any:
        return jax.jit(lambda params, extra, batch: jax.nn.softmax(self.predict(params, extra, batch)['logits']))

    def answers(self, params: Tree, extra: Tree, processor: Any, raws: Sequence[str | Sequence[str]]) -> list[Tagged]:
        """Returns [(word, tag, probability), …] of each text. Words beyond the end of a row have none.

        Args:
          params, extra, processor: of the trained experiment.
          raws: texts, or lists of their words.

        Raises:
          UserError: one of them has no word.
        """
        made = [processor.row(raw) for raw in raws]
        if not made:
            return []
        found = in_blocks(self._probabilities, params, extra, [row for row, _ in made])
        told = []
        for raw, (_, places), probabilities in zip(raws, made, found, strict=True):
            best = np.argmax(probabilities[places], axis=1)
            words = processor.words(raw)
            told.append(
                [(words[n], processor.labels[i], float(probabilities[places[n], i])) for n, i in enumerate(best)]
            )
        return told

    def answer(self, params: Tree, extra: Tree, processor: Any, raw: str | Sequence[str]) -> Tagged:
        """Returns what `answers` does, of one text."""
        return self.answers(params, extra, processor, [raw])[0]

    def options(self, top: int) -> dict[str, Any]:
        """Returns the options of `answers` that the verb predict gives."""
        return {}

    def line(self, answer: Tagged) -> str:
        """Returns an answer as the screen shows it."""
        return ' '.join(f'{word}/{tag}' for word, tag, _ in answer)

    def as_json(self, answer: Tagged) -> Any:
        """Returns an answer as JSON has it."""
        return [{'word': word, 'tag': tag, 'probability': probability} for word, tag, probability in answer]


def make(model: Any, info: Mapping[str, Any], *, label_smoothing: float = 0.0) -> Tagging:
    """Args:
      model: as those of `models/` are made, with head='tokens': (…, train=…) -> logits [b t c].
      info: what the data say of themselves: 'classes'.
      label_smoothing: the part of the probability that all tags share, in [0, 1).

    Raises:
      UserError: a value is out of range, or the data have no tags.
    """
    check_can(model, 'tagging', 'takes')
    if not info['classes']:
        raise UserError('config.task.name=tagging wants words with tags: data.tagging reads such.')
    if not 0 <= label_smoothing < 1:
        raise UserError(
            '{name}={value}: at least 0 and below 1 is wanted, such as 0.1.',
            name='label_smoothing',
            value=label_smoothing,
        )
    return Tagging(model, info['classes'], label_smoothing)

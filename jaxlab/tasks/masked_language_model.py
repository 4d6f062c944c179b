"""Masked language modelling: say which tokens are hidden, and whether the second text follows the first (Devlin et al.
2018)."""

# b batch, t time, v vocabulary, m hidden tokens of a row

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.errors import UserError
from jaxlab.nn.cross_entropy import of_logits
from jaxlab.task import Batch, Phase, Term, Terms, Tree, check_can, inputs_of


@dataclass(frozen=True)
class MaskedLanguageModel:
    """The cross-entropy of the hidden tokens, and that of what follows: two losses, each with its own count.

    A batch holds what the model takes: tokens and types, int32 [b t], and lengths, int32 [b]; places and targets, int32
    [b m], and mask, float32 [b m]; and next, int32 [b], where rows are of two texts: 0 where the second follows. A row
    of which no hidden token counts does not count there either.
    """

    model: Any  # with `masked`: see models/bert.py
    label_smoothing: float = 0.0
    next_weight: float = 1.0
    phases: tuple[Phase, ...] = (Phase(),)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        if self.model.next_sentence and 'next' not in batch:
            raise UserError(
                'config.model.next_sentence=True, and rows of these data are one text: set it to False, or'
                ' config.data.pairs=True.'
            )
        return self.model.init(key, *inputs_of(self.model, batch))['params'], {}

    def loss(self, params: Tree, extra: Tree, batch: Batch, key: jax.Array) -> tuple[Terms, Tree]:
        """Returns {'masked': nats of the hidden tokens that count, 'next': nats of the rows that do}."""
        logits, following = self._logits(params, batch, train=True, rngs={'dropout': key})
        mask = batch['mask']
        nats = of_logits(logits, batch['targets'], mask, self.label_smoothing)
        terms = {'masked': Term(nats, jnp.sum(mask))}
        if following is not None:
            counts = jnp.any(mask > 0, axis=1).astype(following.dtype)
            nats = of_logits(following[:, None], batch['next'][:, None], counts[:, None])
            terms['next'] = Term(nats, jnp.sum(counts), self.next_weight)
        return terms, extra

    def predict(self, params: Tree, extra: Tree, batch: Batch) -> dict[str, jax.Array]:
        """Returns {'logits': float32 [b m v] of the hidden tokens, 'next': float32 [b 2] where the model says it}."""
        logits, following = self._logits(params, batch)
        return {'logits': logits} | ({} if following is None else {'next': following})

    def _logits(self, params: Tree, batch: Batch, **options: Any) -> tuple[jax.Array, jax.Array | None]:
        inputs = inputs_of(self.model, batch)
        return self.model.apply({'params': params}, *inputs, batch['places'], method='masked', **options)

    # --- filling gaps ---

    @cached_property
    def _filled(self) -> Any:
        def filled(params: Tree, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
            return jax.nn.softmax(self.model.apply({'params': params}, tokens, 0 * tokens, lengths))

        return jax.jit(filled)

    def answer(
        self, params: Tree, extra: Tree, processor: Any, raw: str, top: int = 1
    ) -> list[list[tuple[str, float]]]:
        """Returns what stands in each gap of a text, written [MASK] (of RoBERTa's words <mask>): its `top` likeliest
        tokens with probabilities.

        Raises:
          UserError: the text has no gap, or is longer than the model's rows.
        """
        texts = raw.split(name := processor.name_of(processor.masked))
        if len(texts) == 1:
            raise UserError('"{text}" has no gap: write {name} where a word is missing.', text=raw, name=name)
        # Where the space before a word is a part of its token, it is one of what is missing.
        pieces = [processor.encode(text) for text in [*(text.rstrip() for text in texts[:-1]), texts[-1]]]
        gap = np.array([processor.masked], np.int32)
        joined = np.concatenate([part for piece in pieces for part in (piece, gap)][:-1])
        if (count := len(joined) + 2) > self.model.context:
            raise UserError(
                'the text takes {count} tokens, and the model reads {context}.', count=count, context=self.model.context
            )
        tokens, _ = processor.join(joined, length=count)
        row = np.pad(tokens, (0, self.model.context - count), constant_values=processor.padding)
        found = np.asarray(self._filled(params, row[None], np.array([count], np.int32)))[0]
        places = np.flatnonzero(tokens == processor.masked)
        likeliest = np.argsort(-found[places], axis=1, kind='stable')[:, :top]
        return [
            [(processor.decode([i]), float(found[place, i])) for i in best] for place, best in zip(places, likeliest)
        ]


def make(
    model: Any, info: Mapping[str, Any], *, label_smoothing: float = 0.0, next_weight: float = 1.0
) -> MaskedLanguageModel:
    """Args:
      model: as `models/bert.py` makes it, with the head 'masked'.
      info: what the data say of themselves: 'vocabulary'.
      label_smoothing: the part of the probability that all tokens share, in [0, 1).
      next_weight: what the loss of the second text's following counts beside that of the hidden tokens.

    Raises:
      UserError: a value is out of range, or the model has another head.
    """
    if 'vocabulary' not in info:
        raise UserError('this task learns texts, and these data are none: data.text reads such.')
    check_can(model, 'masked_language_model', 'masked', 'next_sentence', 'context')
    if model.purpose != 'masked':
        raise UserError(
            'config.model.head={head}: this task fills gaps, which the head masked does.', head=model.purpose
        )
    if not 0 <= label_smoothing < 1:
        raise UserError(
            '{name}={value}: at least 0 and below 1 is wanted, such as 0.1.',
            name='label_smoothing',
            value=label_smoothing,
        )
    if not next_weight >= 0:
        raise UserError('{name}={value}: a number from 0 up is wanted.', name='next_weight', value=next_weight)
    return MaskedLanguageModel(model, label_smoothing, next_weight)

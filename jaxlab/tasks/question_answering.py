"""Extractive question answering: say which piece of a text answers a question."""

# b batch, t tokens of a row, k lengths of an answer

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from jaxlab.errors import UserError
from jaxlab.task import Batch, Phase, Term, Terms, Tree, check_can, inputs_of
from jaxlab.tasks.classification import in_blocks


@dataclass(frozen=True)
class QuestionAnswering:
    """The cross-entropy of the places where the answer begins and ends (Devlin et al. 2018, section 4.2).

    A batch holds what the model takes, and types, int32 [b t] (1 in the text that is asked about), lengths, int32 [b],
    targets, int32 [b 2] (first and last token of the answer; 0 where the row does not show it), and mask, float32 [b].
    """

    model: Any  # (what it `takes` of a batch, train=…) -> logits [b t 2], of the first token and of the last
    longest: int = 30  # tokens of an answer at most
    phases: tuple[Phase, ...] = (Phase(),)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        variables = dict(self.model.init(key, *inputs_of(self.model, batch)))
        return variables.pop('params'), variables

    def loss(self, params: Tree, extra: Tree, batch: Batch, key: jax.Array) -> tuple[Terms, Tree]:
        """Returns {'loss': nats of a place, the mean of both, of all rows that count, and how many they are}."""
        logits, new = self.model.apply(
            {'params': params, **extra},
            *inputs_of(self.model, batch),
            train=True,
            mutable=list(extra),
            rngs={'dropout': key},
        )
        logs = jax.nn.log_softmax(real(logits, batch), axis=1)
        nats = -jnp.take_along_axis(logs, batch['targets'][:, None], axis=1)[:, 0].mean(-1)  # [b]
        return {'loss': Term(jnp.sum(nats * batch['mask']), jnp.sum(batch['mask']))}, new

    def predict(self, params: Tree, extra: Tree, batch: Batch) -> dict[str, jax.Array]:
        """Returns {'span': int32 [b 2], first and last token of the likeliest answer in the text; 'score', [b], the sum
        of its two logits; 'probability', [b], of it among all places of the row}."""
        logits = self.model.apply({'params': params, **extra}, *inputs_of(self.model, batch))
        logits = real(logits, batch)
        span, score = likeliest(logits, shown(batch), self.longest)
        return {'span': span, 'score': score, 'probability': jnp.exp(score - jax.nn.logsumexp(logits, axis=1).sum(-1))}

    # --- answers ---

    @cached_property
    def _spans(self) -> Any:
        def spans(params: Tree, extra: Tree, batch: Batch) -> jax.Array:
            found = self.predict(params, extra, batch)
            return jnp.concatenate([found['span'], found['score'][:, None], found['probability'][:, None]], 1)

        return jax.jit(spans)

    def answers(
        self, params: Tree, extra: Tree, processor: Any, raws: Sequence[str | Sequence[str]]
    ) -> list[dict[str, Any]]:
        """Returns {'answer', 'begin', 'end', 'probability'} of each question and its text: the answer, which of the
        text's characters it is, and how likely it is in its window.

        Raises:
          UserError: one of them is no question and text.
        """
        made = [processor.rows(raw) for raw in raws]
        if not made:
            return []
        found = in_blocks(self._spans, params, extra, [row for rows, _, _ in made for row in rows])
        told, at = [], 0
        for raw, (rows, windows, spans) in zip(raws, made, strict=True):
            mine, at = found[at : at + len(rows)], at + len(rows)
            begin, end, number = processor.best(windows, spans, mine[:, :2].astype(int), mine[:, 2])
            text = processor.texts(raw)[1]
            told.append({'answer': text[begin:end], 'begin': begin, 'end': end, 'probability': float(mine[number, 3])})
        return told

    def answer(self, params: Tree, extra: Tree, processor: Any, raw: str | Sequence[str]) -> dict[str, Any]:
        """Returns what `answers` does, of one question and its text."""
        return self.answers(params, extra, processor, [raw])[0]

    def options(self, top: int) -> dict[str, Any]:
        """Returns the options of `answers` that the verb predict gives."""
        return {}

    def line(self, answer: Mapping[str, Any]) -> str:
        """Returns an answer as the screen shows it."""
        return f'{answer["answer"]} [{answer["begin"]}:{answer["end"]}] {answer["probability"]:.4f}'

    def as_json(self, answer: Mapping[str, Any]) -> Any:
        """Returns an answer as JSON has it."""
        return dict(answer)


def real(logits: jax.Array, batch: Batch) -> jax.Array:
    """Returns logits [b t 2], in float32 at least, with none of padding."""
    there = jnp.arange(logits.shape[1]) < jnp.maximum(batch['lengths'], 1)[:, None]
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return jnp.where(there[..., None], logits, -1e9)


def shown(batch: Batch) -> jax.Array:
    """Returns which places of rows show the text that is asked about, bool [b t]."""
    place = jnp.arange(batch['types'].shape[1])
    return (batch['types'] == 1) & (place < batch['lengths'][:, None] - 1)


def likeliest(logits: jax.Array, where: jax.Array, longest: int) -> tuple[jax.Array, jax.Array]:
    """Returns the best answers: first and last token, int32 [b 2], and the sum of their logits, [b].

    Args:
      logits: [b t 2], of the first token and of the last.
      where: bool [b t], where an answer may begin and end.
      longest: tokens of it at most.
    """
    length = logits.shape[1]
    first, last = (jnp.where(where, logits[..., end], -1e9) for end in (0, 1))
    padded = jnp.pad(last, ((0, 0), (0, longest - 1)), constant_values=-1e9)
    sums = jnp.stack([first + padded[:, k : k + length] for k in range(longest)], axis=-1)  # [b t k]
    place = jnp.argmax(sums.reshape(len(sums), -1), axis=1)
    score = jnp.max(sums.reshape(len(sums), -1), axis=1)
    begin = place // longest
    return jnp.stack([begin, begin + place % longest], axis=1).astype(jnp.int32), score


def make(model: Any, info: Mapping[str, Any], *, longest: int = 30) -> QuestionAnswering:
    """Args:
      model: as those of `models/` are made, with head='span': (…, train=…) -> logits [b t 2].
      info: what the data say of themselves: 'types'.
      longest: tokens of an answer at most.

    Raises:
      UserError: a value is out of range, or the data are no questions.
    """
    check_can(model, 'question_answering', 'takes')
    if info['types'] < 2:
        raise UserError('config.task.name=question_answering wants a question and a text: data.squad reads such.')
    if not 0 < longest <= 1000:
        raise UserError('longest={longest}: an answer has 1 to 1000 tokens.', longest=longest)
    return QuestionAnswering(model, longest)

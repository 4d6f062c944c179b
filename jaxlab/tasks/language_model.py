"""Language modelling: say how likely each next token is, and write text by choosing one after another."""

# b batch, t time, v vocabulary, p prompt, n new tokens

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.decode import beam, sampling
from jaxlab.errors import UserError, alternatives
from jaxlab.nn import experts
from jaxlab.nn.cross_entropy import cross_entropy, of_logits
from jaxlab.task import Batch, Phase, Term, Terms, Tree, check_can, inputs_of


@dataclass(frozen=True)
class LanguageModel:
    """The next token's cross-entropy.

    A batch holds tokens, targets, positions and segments, int32 [b t], and mask, float32 [b t].
    """

    model: (
        Any  # (tokens, positions, segments) -> logits [b t v]; also features, decode and start_cache: see models/gpt.py
    )
    label_smoothing: float = 0.0
    balance: float = 0.01
    router_z: float = 0.001
    phases: tuple[Phase, ...] = (Phase(),)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        return self.model.init(key, *inputs_of(self.model, batch))['params'], {}

    def loss(self, params: Tree, extra: Tree, batch: Batch, key: jax.Array) -> tuple[Terms, Tree]:
        """Returns {'loss': nats of all targets that count, and how many they are}; of a model with experts, beside it
        'balance', 'router_z', and with weight 0 'dropped': see `nn.experts.sums`."""
        apply = partial(
            self.model.apply,
            {'params': params},
            *inputs_of(self.model, batch),
            train=True,
            rngs={'dropout': key},
            mutable=[experts.ROUTING] if getattr(self.model, 'experts', 0) else [],
        )
        targets, mask, smoothing = batch['targets'], batch['mask'], self.label_smoothing
        if hasattr(self.model, 'features'):
            (x, table), kept = apply(method='features')
            tokens, dtype = self.model.vocabulary, self.model.logits_dtype
            nats = cross_entropy(x, table, targets, mask, vocabulary=tokens, label_smoothing=smoothing, dtype=dtype)
        else:
            logits, kept = apply()
            nats = of_logits(logits, targets, mask, smoothing)
        return {'loss': Term(nats, jnp.sum(mask)), **self._routers(kept, mask)}, extra

    def _routers(self, kept: Tree, mask: jax.Array) -> dict[str, Term]:
        if experts.ROUTING not in kept:
            return {}
        sums = experts.sums(kept[experts.ROUTING], mask)
        # Shown as means over layers; in the loss, as in the papers, those of all layers are added.
        weights = {'balance': self.balance * sums.layers, 'router_z': self.router_z * sums.layers, 'dropped': 0.0}
        totals = {'balance': sums.balance, 'router_z': sums.z, 'dropped': sums.dropped}
        return {name: Term(totals[name], sums.tokens, weight) for name, weight in weights.items()}

    def predict(self, params: Tree, extra: Tree, batch: Batch) -> dict[str, jax.Array]:
        """Returns {'logits': float32 [b t v]} of the token after each token."""
        return {'logits': self.model.apply({'params': params}, *inputs_of(self.model, batch))}

    # --- writing text ---

    def answer(self, params: Tree, extra: Tree, processor: Any, raw: str, **options: Any) -> str:
        """Returns the text that follows `raw`. Options are those of `stream`."""
        return ''.join(self.stream(params, extra, processor, raw, **options))

    @cached_property
    def _decoder(self) -> sampling.Decoder:
        def step(params: Tree, *inputs: Any) -> tuple[jax.Array, Any]:
            return self.model.apply({'params': params}, *inputs, method='decode')

        return sampling.Decoder(step, self.model.start_cache, self.model.context)

    def prompt(self, processor: Any, texts: Sequence[str], count: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Returns prompts for `generate`: tokens int32 [b p] and their lengths [b].

        Each begins with the end-of-text that comes before every document.

        Raises:
          UserError: a prompt, and `count` tokens after it, do not fit into the context; or it holds broken characters.
        """
        check_can(self.model, 'language_model', 'context', 'decode', 'start_cache')
        if not hasattr(processor, 'end_of_text'):
            raise UserError(
                'config.task: these tokens have no end of text, behind which a text begins; data.text has it.'
            )
        try:
            rows = [
                np.concatenate([[processor.end_of_text], processor.encode(text)]).astype(np.int32) for text in texts
            ]
        except UnicodeEncodeError as error:
            raise UserError(
                'the prompt is not UTF-8: its character {number} is broken.', number=error.start + 1
            ) from None
        lengths = np.array([len(row) for row in rows], np.int32)
        if (wanted := int(lengths.max()) + count) > self.model.context:
            context = self.model.context
            if not count:
                raise UserError(
                    'the prompt takes {wanted} tokens, and the model looks back on {context}.',
                    wanted=wanted,
                    context=context,
                )
            raise UserError(
                'the prompt and {count} tokens after it take {wanted} tokens, and the model looks back on {context}.',
                count=count,
                wanted=wanted,
                context=context,
            )
        return np.stack([np.pad(row, (0, lengths.max() - len(row))) for row in rows]), lengths

    def generate(
        self,
        params: Tree,
        extra: Tree,
        prompt: tuple[jax.Array, jax.Array],
        key: jax.Array,
        how: sampling.Sampling = sampling.Sampling(0.8),
        *,
        count: int,
    ) -> jax.Array:
        """Returns what comes after each prompt, int32 [b count]. Pure, and one compiled loop.

        Prompts and `count` must fit into the context together, as `prompt` checks; `stream` has no such limit.
        """
        return sampling.generate(self._decoder, params, *prompt, key, how, count)

    def stream(
        self,
        params: Tree,
        extra: Tree,
        processor: Any,
        prompt: str,
        *,
        tokens: int = 200,
        temperature: float = 0.8,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> Iterator[str]:
        """Yields the text that follows `prompt`, some tokens at a time; beyond the context the model forgets the
        beginning.

        Args:
          params, extra, processor: of the trained experiment.
          prompt: what to go on from; '' begins a document.
          tokens: how many to write.
          temperature, top_k, top_p: how a token is drawn; see `jaxlab.decode.sampling.Sampling`.
          seed: the same seed writes the same text.

        Raises:
          UserError: the prompt is longer than the context, or a number is out of range.
        """
        if tokens < 1:
            raise UserError('{name}={value}: at least {least} is wanted.', name='tokens', value=tokens, least=1)
        (row,), _ = self.prompt(processor, [prompt])
        how = sampling.Sampling(temperature, top_k, top_p)
        written, shown = [], ''
        for chunk in sampling.stream(self._decoder, params, [row], tokens, jax.random.key(seed), how):
            written.extend(chunk[0].tolist())
            text = processor.decode(written)
            whole = text if len(written) == tokens else text.rstrip('\ufffd')  # a character may end in the next chunk
            yield whole[len(shown) :]
            shown = whole

    def beams(
        self,
        params: Tree,
        extra: Tree,
        processor: Any,
        prompt: str,
        *,
        beams: int = 4,
        tokens: int = 100,
        length_penalty: float = 1.0,
        early: str = 'no',
    ) -> list[tuple[str, float]]:
        """Returns the likeliest texts after `prompt` that beam search finds, the best first, each with its score: its
        log-probability / length^length_penalty. A text ends where the model ends it, or after `tokens`.

        Args:
          params, extra, processor: of the trained experiment.
          prompt: what to go on from; '' begins a document.
          beams: how many texts are followed at a time, and found.
          tokens: how many to write at most; they and the prompt must fit into the context.
          length_penalty, early: see `jaxlab.decode.beam.search`.

        Raises:
          UserError: prompt and tokens do not fit, or a number is out of range.
        """
        for name, value in (('beams', beams), ('tokens', tokens)):
            if value < 1:
                raise UserError('{name}={value}: at least {least} is wanted.', name=name, value=value, least=1)
        if (most := processor.vocabulary // 2) < beams:
            raise UserError('{name}={value}: at most {most} is wanted.', name='beams', value=beams, most=most)
        if early not in beam.EARLY:
            raise UserError(
                '{name}={value}: {alternatives}',
                name='early',
                value=early,
                alternatives=alternatives(early, beam.EARLY),
            )
        row, length = jax.device_put(self.prompt(processor, [prompt], tokens))
        how: dict[str, Any] = {'beams': beams, 'count': tokens, 'length_penalty': length_penalty, 'early': early}
        found = jax.device_get(beam.search(self._decoder, params, row, length, end=processor.end_of_text, **how))
        texts = [processor.decode(text[:length]) for text, length in zip(found.tokens[0], found.lengths[0])]
        return list(zip(texts, found.scores[0].tolist(), strict=True))

    def probabilities(self, params: Tree, extra: Tree, processor: Any, text: str, top: int) -> list[tuple[str, float]]:
        """Returns the `top` likeliest tokens after `text`, with their probabilities, the likeliest first.

        Raises:
          UserError: the text is longer than the context.
        """
        tokens, lengths = self.prompt(processor, [text])
        logits = jax.jit(sampling.prefill, static_argnums=0)(self._decoder, params, tokens, lengths, lengths).logits[0]
        logits = logits[: processor.vocabulary]  # the rest pads the table
        likeliest = np.argsort(-logits)[:top]
        return [
            (processor.decode([token]), float(p))
            for token, p in zip(likeliest, jax.nn.softmax(logits)[likeliest], strict=True)
        ]


def make(
    model: Any,
    info: Mapping[str, Any] | None = None,
    *,
    label_smoothing: float = 0.0,
    balance: float = 0.01,
    router_z: float = 0.001,
) -> LanguageModel:
    """Args:
      model: as `models/gpt.py` makes it.
      info: what the data say of themselves: 'vocabulary'.
      label_smoothing: the part of the probability that all tokens share, in [0, 1).
      balance, router_z: weights of the two losses that keep the routers of experts in order, where a model has such;
        see `jaxlab.nn.experts.sums`. Those of ST-MoE (arXiv:2202.08906).

    Raises:
      UserError: a value is out of range.
    """
    if info is not None and 'vocabulary' not in info:
        raise UserError('this task learns texts, and these data are none: data.text reads such.')
    if not 0 <= label_smoothing < 1:
        raise UserError(
            '{name}={value}: at least 0 and below 1 is wanted, such as 0.1.',
            name='label_smoothing',
            value=label_smoothing,
        )
    for name, weight in {'balance': balance, 'router_z': router_z}.items():
        if not 0 <= weight < math.inf:
            raise UserError('{name}={value}: a number from 0 up is wanted.', name=name, value=weight)
    return LanguageModel(model, label_smoothing, balance, router_z)

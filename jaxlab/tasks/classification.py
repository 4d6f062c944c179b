"""Classification: say which of some classes an example belongs to."""

# b batch, c classes

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.errors import UserError
from jaxlab.nn.classification_loss import losses
from jaxlab.nn.mixing import cutmix, mixup
from jaxlab.task import Batch, Phase, Term, Terms, Tree, inputs_of

WEIGHTS = ('none', 'balanced')
BLOCK = 32  # raw inputs that are answered at once


@dataclass(frozen=True)
class Classification:
    """The cross-entropy of the right class.

    A batch holds what the model takes: inputs, uint8 [b h w c] (pictures) or float32 [b f] (rows of a table), or
    tokens, int32 [b t], and what is known of them; and targets, int32 [b], and mask, float32 [b]. `make`, below,
    explains the fields.
    """

    model: Any  # (what it `takes` of a batch, train=…) -> logits [b c]
    classes: int
    mean: tuple[float, ...] = ()  # of the last axis of inputs; () where these are no quantities
    deviation: tuple[float, ...] = ()
    label_smoothing: float = 0.0
    focus: float = 0.0
    class_weights: tuple[float, ...] = ()
    mixup: float = 0.0
    cutmix: float = 0.0
    phases: tuple[Phase, ...] = (Phase(),)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        variables = dict(self.model.init(key, *self._inputs(batch)))
        return variables.pop('params'), variables

    def loss(self, params: Tree, extra: Tree, batch: Batch, key: jax.Array) -> tuple[Terms, Tree]:
        """Returns {'loss': nats of all examples that count, and how many they are}, and new batch statistics."""
        inputs, mask = self._inputs(batch), batch['mask']
        targets = jax.nn.one_hot(batch['targets'], self.classes, dtype=jnp.float32)
        drop_key, mix_key = jax.random.split(key)
        ways = [partial(mix, alpha=alpha) for mix, alpha in ((mixup, self.mixup), (cutmix, self.cutmix)) if alpha]
        if ways:
            which = jax.random.randint(jax.random.fold_in(mix_key, 1), (), 0, len(ways))
            mixed, targets = jax.lax.switch(which, ways, mix_key, inputs[0], targets, mask)
            inputs = (mixed,)
        logits, new = self.model.apply(
            {'params': params, **extra}, *inputs, train=True, mutable=list(extra), rngs={'dropout': drop_key}
        )
        each = mask  # [b]: what a mistake costs
        if self.class_weights:
            each = mask * (targets @ jnp.array(self.class_weights))
        smooth = targets * (1 - self.label_smoothing) + self.label_smoothing / self.classes
        nats = losses(logits, smooth, gamma=self.focus)
        return {'loss': Term(jnp.sum(nats * each), jnp.sum(each))}, new

    def predict(self, params: Tree, extra: Tree, batch: Batch) -> dict[str, jax.Array]:
        """Returns {'logits': float32 [b c]}."""
        return {'logits': self.model.apply({'params': params, **extra}, *self._inputs(batch))}

    def features(self, params: Tree, extra: Tree, batch: Batch) -> jax.Array:
        """Returns what the model's head sees of a batch, [b d]."""
        return self.model.apply({'params': params, **extra}, *self._inputs(batch), method='features')

    def _inputs(self, batch: Batch) -> tuple[jax.Array, ...]:
        inputs = inputs_of(self.model, batch)
        return tuple(normalised(one, self.mean, self.deviation) for one in inputs) if self.mean else inputs

    # --- answers ---

    @cached_property
    def _probabilities(self) -> Any:
        return jax.jit(lambda params, extra, inputs: jax.nn.softmax(self.predict(params, extra, inputs)['logits']))

    def answers(
        self, params: Tree, extra: Tree, processor: Any, raws: Sequence[Any], top: int = 1
    ) -> list[list[tuple[str, float]]]:
        """Returns the `top` likeliest classes of each raw input with their probabilities, the likeliest first.

        Args:
          params, extra, processor: of the trained experiment.
          raws: names of files, pictures, rows of a table, texts or pairs of them: whatever the processor takes.
          top: how many classes, at most as many as there are.

        Raises:
          UserError: one of them cannot be read.
        """
        found = in_blocks(self._probabilities, params, extra, [processor.encode(raw) for raw in raws])
        order = np.argsort(-found, axis=1, kind='stable')[:, :top]
        return [[(processor.labels[i], float(row[i])) for i in best] for row, best in zip(found, order)]

    def answer(self, params: Tree, extra: Tree, processor: Any, raw: Any, **options: Any) -> list[tuple[str, float]]:
        """Returns what `answers` does, of one raw input."""
        return self.answers(params, extra, processor, [raw], **options)[0]

    def options(self, top: int) -> dict[str, Any]:
        """Returns the options of `answers` that the verb predict gives."""
        return {'top': top}

    def line(self, answer: Sequence[tuple[str, float]]) -> str:
        """Returns an answer as the screen shows it."""
        return '  '.join(f'{label} {probability:.4f}' for label, probability in answer)

    def as_json(self, answer: Sequence[tuple[str, float]]) -> Any:
        """Returns an answer as JSON has it."""
        return [{'class': label, 'probability': probability} for label, probability in answer]


def in_blocks(function: Any, params: Tree, extra: Tree, inputs: Sequence[Any]) -> np.ndarray:
    """Returns function(params, extra, batch) of all inputs, computed in blocks of one size or two.

    Args:
      function: returns an array [b …].
      params, extra: are handed on.
      inputs: each a row of a batch without the axis of rows: arrays by name, or one array, which is 'inputs'.
    """
    examples = [one if isinstance(one, Mapping) else {'inputs': one} for one in inputs]
    found = []
    for begin in range(0, len(examples), BLOCK):
        some = examples[begin : begin + BLOCK]
        missing = 0 if len(examples) == 1 else BLOCK - len(some)
        some = some + some[:1] * missing
        batch = {name: np.stack([one[name] for one in some]) for name in some[0]}
        found.append(np.asarray(function(params, extra, batch))[: BLOCK - missing])
    return np.concatenate(found)


def normalised(inputs: jax.Array, mean: Sequence[float], deviation: Sequence[float]) -> jax.Array:
    """Returns (inputs - mean) / deviation, of the last axis; of uint8 values as parts of 255. At least float32."""
    scale = 255.0 if inputs.dtype == jnp.uint8 else 1.0
    dtype = jnp.promote_types(inputs.dtype, jnp.float32) if scale == 1.0 else jnp.zeros(()).dtype
    # One product and one sum for each value: all else is folded into two constants.
    slope = np.reciprocal(np.array(deviation) * scale)
    offset = np.array(mean) / np.array(deviation)
    return inputs.astype(dtype) * slope.astype(dtype) - offset.astype(dtype)


def make(
    model: Any,
    info: Mapping[str, Any],
    *,
    label_smoothing: float = 0.0,
    focus: float = 0.0,
    class_weights: str = 'none',
    mixup: float = 0.0,
    cutmix: float = 0.0,
) -> Classification:
    """Args:
      model: as those of `models/` are made: (inputs, train=…) -> logits.
      info: what the data say of themselves: 'classes'; 'mean' and 'deviation' where inputs are quantities; and
        'class_counts' where it is known.
      label_smoothing: the part of the probability that all classes share, in [0, 1) (Szegedy et al. 2015).
      focus: how much less what is right already counts: gamma of the focal loss (Lin et al. 2017); 0: no less.
      class_weights: 'none', or 'balanced': a class counts as much as any other, however few examples it has.
      mixup: alpha of mixup (Zhang et al. 2017); 0: none.
      cutmix: alpha of CutMix (Yun et al. 2019); 0: none. With both, each batch draws one of them.

    Raises:
      UserError: a value is out of range, or the data have no classes.
    """
    if not info['classes']:
        raise UserError('the targets of these data are numbers, not classes: config.task.name=regression fits them.')
    if not 0 <= label_smoothing < 1:
        raise UserError(
            '{name}={value}: at least 0 and below 1 is wanted, such as 0.1.',
            name='label_smoothing',
            value=label_smoothing,
        )
    for name, value in {'focus': focus, 'mixup': mixup, 'cutmix': cutmix}.items():
        if not 0 <= value < 1000:
            raise UserError('{name}={value}: a number from 0 up is wanted.', name=name, value=value)
        if name != 'focus' and value and 'mean' not in info:
            raise UserError(
                '{name}={value} mixes pictures or numbers, and these data are neither: 0.0.', name=name, value=value
            )
    return Classification(
        model,
        info['classes'],
        tuple(info.get('mean', ())),
        tuple(info.get('deviation', ())),
        label_smoothing,
        focus,
        _weights(class_weights, info),
        mixup,
        cutmix,
    )


def _weights(class_weights: str, info: Mapping[str, Any]) -> tuple[float, ...]:
    """Returns what an example of each class counts, () for all the same: in the mean over all examples it is 1."""
    if class_weights not in WEIGHTS:
        raise UserError(
            '{name}={value}: one of {choices} is wanted.',
            name='class_weights',
            value=class_weights,
            choices=', '.join(WEIGHTS),
        )
    if class_weights == 'none':
        return ()
    if 'class_counts' not in info:
        raise UserError('class_weights=balanced: how often each class is there is not known of these data.')
    counts = np.array(info['class_counts'], float)
    present = counts > 0
    weights = np.where(present, counts.sum() / (present.sum() * np.where(present, counts, 1)), 0.0)
    return tuple(weights.tolist())

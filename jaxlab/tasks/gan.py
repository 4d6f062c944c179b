"""Generative adversarial networks: make pictures that a second network cannot tell from those of the data.

Goodfellow et al. 2014 (arXiv:1406.2661).
"""

# b batch, n pictures, h height, w width, c channels, z noise

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlab.errors import UserError, alternatives
from jaxlab.task import Batch, Phase, Term, Terms, Tree, check_can

LOSSES = ('non_saturating', 'hinge')
FAKE_LABELS = ('uniform', 'data')
BLOCK = 100  # pictures that are made at once
PREDICTED = 0  # the key of the noise by which held-out pictures are compared with made ones


@dataclass(frozen=True)
class GAN:
    """Two losses, of two networks that play against each other.

    A batch holds inputs, uint8 [b h w c], targets, int32 [b], and mask, float32 [b]. `make`, below, explains the
    fields.

    Each phase moves the state of its own network alone: the discriminator's the singular vectors of its kernels (and
    its running statistics, where it has any), the generator's the running statistics of its norms. So one such move
    belongs to one update, of the very parameters that it describes, however often the other network is asked. Both
    networks work as in training in both phases: each of them normalises by the batch that it is given. Where a batch is
    cut into micro-batches, norms see one of these, and the vectors move with each.
    """

    model: Any  # methods generate(noise, labels, train) and discriminate(pictures, labels, train): see models/dcgan.py
    objective: str = 'non_saturating'
    label_smoothing: float = 0.0
    log_shares: tuple[float, ...] = ()  # of the classes among random labels, as logarithms; () for all the same
    phases: tuple[Phase, ...] = (
        Phase('discriminator', 'discriminator/', 'discriminator_optimizer'),
        Phase('generator', 'generator/', 'optimizer'),
    )

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        rows = len(batch['mask'])
        noise, labels = jnp.zeros((rows, self.model.noise)), jnp.zeros(rows, jnp.int32)
        variables = dict(self.model.init(key, noise, labels))
        return variables.pop('params'), variables

    def discriminator(self, params: Tree, extra: Tree, batch: Batch, key: jax.Array) -> tuple[Terms, Tree]:
        """Returns the terms of the discriminator's loss, and `extra` with its new state.

        'discriminator/real' and 'discriminator/fake' are the loss; 'discriminator/real_believed' and '…/fake_believed'
        say of how many pictures it believes that they are real.
        """
        noise, labels = self.draw(key, batch)
        fakes, _ = self._call('generate', params, extra, noise, labels)
        # One after another and not as one batch, so that norms see pictures of one kind. Both begin with the same
        # vectors, so the kernels are the same for both.
        real, new = self._call('discriminate', params, extra, scaled(batch['inputs']), batch['targets'])
        fake, _ = self._call('discriminate', params, extra, fakes, labels)
        if self.objective == 'hinge':
            losses = jax.nn.relu(1 - real), jax.nn.relu(1 + fake)
        else:
            smooth = self.label_smoothing
            losses = (1 - smooth) * jax.nn.softplus(-real) + smooth * jax.nn.softplus(real), jax.nn.softplus(fake)
        mask = batch['mask']

        def term(values: jax.Array, weight: float = 1.0) -> Term:
            return Term(jnp.sum(values * mask), jnp.sum(mask), weight)

        return {
            'discriminator/real': term(losses[0]),
            'discriminator/fake': term(losses[1]),
            'discriminator/real_believed': term(real > 0, 0.0),
            'discriminator/fake_believed': term(fake > 0, 0.0),
        }, new

    def generator(self, params: Tree, extra: Tree, batch: Batch, key: jax.Array) -> tuple[Terms, Tree]:
        """Returns {'generator/fake': the generator's loss}, and `extra` with its new state."""
        noise, labels = self.draw(key, batch)
        fakes, new = self._call('generate', params, extra, noise, labels)
        logits, _ = self._call('discriminate', params, extra, fakes, labels)
        losses = -logits if self.objective == 'hinge' else jax.nn.softplus(-logits)
        return {'generator/fake': Term(jnp.sum(losses * batch['mask']), jnp.sum(batch['mask']))}, new

    def _call(self, method: str, params: Tree, extra: Tree, *inputs: jax.Array) -> tuple[jax.Array, Tree]:
        variables = {'params': params, **extra}
        return self.model.apply(variables, *inputs, train=True, method=method, mutable=list(extra))

    def draw(self, key: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """Returns noise [b z] of a normal distribution, and random labels int32 [b], of as many pictures as a batch
        has."""
        rows = len(batch['mask'])
        noise = jax.random.normal(jax.random.fold_in(key, 0), (rows, self.model.noise))
        return noise, self.labels(jax.random.fold_in(key, 1), rows)

    def labels(self, key: jax.Array, rows: int) -> jax.Array:
        """Returns random labels, int32 [rows]: zeros where pictures are made without."""
        if not self.model.classes:
            return jnp.zeros(rows, jnp.int32)
        logits = jnp.array(self.log_shares or (0.0,) * self.model.classes)
        return jax.random.categorical(key, logits, shape=(rows,)).astype(jnp.int32)

    def predict(self, params: Tree, extra: Tree, batch: Batch) -> dict[str, jax.Array]:
        """Returns what the discriminator says: {'real': [b], of the batch; 'fake': [b], of as many pictures that the
        generator makes, of the same labels}, logits in float32 at least. An example always meets the same noise."""
        variables = {'params': params, **extra}
        numbers = batch.get('number', jnp.arange(len(batch['mask'])))
        noise, labels = self.noise(jax.random.key(PREDICTED), numbers), batch['targets']
        fakes = self.model.apply(variables, noise, labels, method='generate')
        return {
            'real': self.model.apply(variables, scaled(batch['inputs']), labels, method='discriminate'),
            'fake': self.model.apply(variables, fakes, labels, method='discriminate'),
        }

    # --- making pictures ---

    def noise(self, key: jax.Array, numbers: jax.Array) -> jax.Array:
        """Returns the noise of pictures by their numbers, int [n] -> [n z]: that of one does not depend on which others
        are made."""
        return jax.vmap(lambda number: jax.random.normal(jax.random.fold_in(key, number), (self.model.noise,)))(numbers)

    def generate(
        self, params: Tree, extra: Tree, labels: jax.Array, key: jax.Array, numbers: jax.Array | None = None
    ) -> jax.Array:
        """Returns pictures, uint8 [n h w c]. Pure; norms use their running statistics.

        Args:
          params, extra: of the trained experiment.
          labels: int [n]; not looked at where pictures are made without.
          key: the same key makes the same pictures.
          numbers: int [n]: which pictures of this key; None: the first.
        """
        numbers = jnp.arange(len(labels)) if numbers is None else numbers
        noise = self.noise(key, numbers)
        pictures = self.model.apply({'params': params, **extra}, noise, labels, method='generate')
        return jnp.clip(jnp.round((pictures + 1) * 127.5), 0, 255).astype(jnp.uint8)

    @cached_property
    def _compiled(self) -> Any:
        return jax.jit(self.generate)

    def pictures(self, params: Tree, extra: Tree, labels: Sequence[int], seed: int = 0) -> Iterator[np.ndarray]:
        """Yields a picture for each label, uint8 [h w c]; they are made in blocks of one size or two."""
        wanted, key = np.asarray(labels, np.int32), jax.random.key(seed)
        size = min(BLOCK, len(wanted)) if len(wanted) > 1 else 1
        for begin in range(0, len(wanted), max(size, 1)):
            block = wanted[begin : begin + size]
            padded = np.concatenate([block, np.zeros(size - len(block), np.int32)])
            numbers = np.arange(begin, begin + size, dtype=np.int32)
            yield from np.asarray(self._compiled(params, extra, padded, key, numbers))[: len(block)]

    def answers(
        self, params: Tree, extra: Tree, processor: Any, raws: Sequence[Any], seed: int = 0
    ) -> list[np.ndarray]:
        """Returns a picture of each class, uint8 [h w c].

        Args:
          params, extra, processor: of the trained experiment.
          raws: each the number of a class, or its name; '' for any class.
          seed: the same seed makes the same pictures.

        Raises:
          UserError: there is no such class, or pictures are made without.
        """
        random = np.asarray(self.labels(jax.random.fold_in(jax.random.key(seed), 1), max(len(raws), 1)))
        labels = [
            int(random[n]) if raw == '' else number_of(raw, processor.labels if self.model.classes else ())
            for n, raw in enumerate(raws)
        ]
        return list(self.pictures(params, extra, labels, seed))

    def answer(self, params: Tree, extra: Tree, processor: Any, raw: Any = '', **options: Any) -> np.ndarray:
        """Returns what `answers` does, of one class: uint8 [h w c]."""
        return self.answers(params, extra, processor, [raw], **options)[0]


def number_of(raw: Any, names: Sequence[str]) -> int:
    """Returns the number of a class, given by its name or its number.

    Raises:
      UserError: there is no such class.
    """
    if not names:
        raise UserError('the class "{name}": this experiment makes pictures without classes; "" makes any.', name=raw)
    if isinstance(raw, str) and raw in names:
        return names.index(raw)
    try:
        number = int(raw)
    except (ValueError, TypeError):
        number = -1
    if not 0 <= number < len(names) or isinstance(raw, float):
        raise UserError('the class "{name}": {alternatives}', name=raw, alternatives=alternatives(str(raw), names))
    return number


def scaled(pictures: jax.Array) -> jax.Array:
    """Returns uint8 pictures as numbers from -1 to 1, in at least float32."""
    return pictures.astype(jnp.zeros(()).dtype) / 127.5 - 1


def make(
    model: Any,
    info: Mapping[str, Any],
    *,
    loss: str = 'non_saturating',
    label_smoothing: float = 0.0,
    discriminator_steps: int = 1,
    fake_labels: str = 'uniform',
) -> GAN:
    """Args:
      model: as `models/dcgan.py` makes it.
      info: what the data say of themselves: 'class_counts', where labels are drawn by them.
      loss: 'non_saturating' (Goodfellow et al. 2014), or 'hinge' (Lim & Ye 2017).
      label_smoothing: how much less than certain the discriminator shall be of real pictures, in [0, 0.5) (Salimans et
        al. 2016); of the non-saturating loss.
      discriminator_steps: updates of the discriminator for one of the generator.
      fake_labels: which labels pictures are made of: 'uniform', all classes alike, or 'data', each as often as it is
        there in the data.

    Raises:
      UserError: a value is out of range.
    """
    check_can(model, 'gan', 'generate', 'discriminate', 'noise', 'classes')
    for name, value, choices in (('loss', loss, LOSSES), ('fake_labels', fake_labels, FAKE_LABELS)):
        if value not in choices:
            raise UserError(
                '{name}={value}: one of {choices} is wanted.', name=name, value=value, choices=', '.join(choices)
            )
    if not 0 <= label_smoothing < 0.5:
        raise UserError(
            'label_smoothing={value}: at least 0 and below 0.5 is wanted, such as 0.1.', value=label_smoothing
        )
    if label_smoothing and loss == 'hinge':
        raise UserError('label_smoothing={value}: loss=hinge knows none; 0.0 is wanted.', value=label_smoothing)
    if not 1 <= discriminator_steps <= 100:
        raise UserError('discriminator_steps={value}: a number from 1 to 100 is wanted.', value=discriminator_steps)
    logarithms: tuple[float, ...] = ()
    if fake_labels == 'data' and model.classes:
        if 'class_counts' not in info:
            raise UserError(
                'fake_labels=data: how often each class is there is not known of these data; "uniform" fits any.'
            )
        with np.errstate(divide='ignore'):
            logarithms = tuple(np.log(np.array(info['class_counts'], float)).tolist())
    phases = (
        Phase('discriminator', 'discriminator/', 'discriminator_optimizer', discriminator_steps),
        Phase('generator', 'generator/', 'optimizer'),
    )
    return GAN(model, loss, label_smoothing, logarithms, phases)

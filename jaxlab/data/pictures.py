"""Pictures and what they show: from any source to batches that a model learns from."""

# h height, w width, c channels

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from jaxlab.config import build, spec
from jaxlab.data import examples, picture_store
from jaxlab.data.processors import check_reads
from jaxlab.data.processors.picture import Picture
from jaxlab.data.records import BadRecord, tolerance
from jaxlab.data.sources import Arrays, Part
from jaxlab.data.stream import Data
from jaxlab.data.transforms.standard import Standard
from jaxlab.errors import UserError

AS_IT_IS = 'train as it is'  # a part: pictures of any size
SAMPLE = 4096  # pictures whose values are looked at, where they do not all lie in memory


def make(
    batch_size: int,
    seed: int,
    rows: slice,
    known: Picture | None = None,
    *,
    source: ConfigDict = spec('data.sources.digits'),
    processor: ConfigDict = spec('data.processors.picture'),
    transforms: ConfigDict = spec('data.transforms.standard'),
    validation: float = 0.1,
    memory: float = 1.0,
    bad: str = 'raise',
    bad_rate: float = 0.01,
) -> Data:
    """Reads a set of pictures.

    Args:
      batch_size: rows of a global batch.
      seed: chooses the order of training, what transforms draw, and the validation part.
      rows: which rows of a global batch this process makes.
      known: the processor of an experiment that goes on; None: the one that `processor` describes.
      source: where the pictures come from; a file of sources/.
      processor: picture -> pixels; class -> name.
      transforms: how pictures are changed in training, so that none is seen twice; a file of transforms/.
      validation: the share of the training part that is kept out of it, where no validation part is published.
      memory: GiB of pixels that may lie in memory; of a larger set each picture is read when its turn comes.
      bad: what becomes of pictures that cannot be read: 'raise' (the first ends the run) or 'skip' (they are left out
        and counted); see records.py.
      bad_rate: the share of all that may be left out; more ends the run.

    Returns:
      Data with the split 'validation' and the test 'test', as far as there are such parts; batches of inputs, uint8
      [b h w c], targets, int32 [b], and mask, float32 [b]; info {'shape', 'classes', 'labels', 'mean', 'deviation'}:
      mean and deviation of each channel, of values in 0..1.

    Raises:
      UserError: an argument is out of range, there are no pictures, or one cannot be read.
    """
    tolerated = tolerance(bad, bad_rate)
    found = build(source, key='data.source')
    if not found.labels:
        raise UserError('{source} has numbers and no classes: data.table reads it.', source=found.name)
    divided = examples.divide(found, validation, seed)
    first = _first(found.parts['train'], found.name)
    if first.dtype.kind == 'U':
        raise UserError('{source} has texts: data.text_examples reads it.', source=found.name)
    if first.ndim != 3 or first.dtype != np.uint8:
        raise UserError('{source} has no pictures: data.table reads it.', source=found.name)
    height, width, channels = first.shape
    if channels not in (1, 3):
        raise UserError(
            '{source} has pictures of {channels} channels; 1 (grey) or 3 (red, green, blue) are wanted.',
            source=found.name,
            channels=channels,
        )
    check_reads(processor, 'pictures')
    encoder = known or build(processor, key='data.processor')
    encoder = encoder.complete(height=height, width=width, channels=channels, labels=found.labels)
    parts = {
        name: picture_store.stored(part, encoder, f'{found.fingerprint} {name}', memory, tolerated.skip)
        for name, part in found.parts.items()
    }
    numbers = divided['train'][1]
    if not encoder.mean:
        mean, deviation = _statistics(parts['train'], numbers)
        encoder = encoder.complete(mean=mean, deviation=deviation)
    info = {
        'shape': [encoder.height, encoder.width, encoder.channels],
        'mean': list(encoder.mean),
        'deviation': list(encoder.deviation),
        **examples.target_statistics(found, parts['train'], numbers),
    }
    changed = build(transforms, key='data.transforms')
    lazy, whole = parts['train'], None
    if isinstance(lazy, picture_store.Encoded) and isinstance(changed, Standard):
        whole = changed.of_any_size(encoder.height, encoder.width)
    if whole:  # a random part is one of the picture as it is, not of what resizing leaves of it
        parts[AS_IT_IS] = picture_store.Encoded(found.parts['train'], replace(encoder, height=0, width=0, resize=0))
        divided['train'], changed = (AS_IT_IS, numbers), whole
    return examples.make_data(
        found,
        parts,
        divided,
        batch_size=batch_size,
        seed=seed,
        rows=rows,
        shape=(encoder.height, encoder.width, encoder.channels),
        dtype=np.uint8,
        tolerated=tolerated,
        info=info,
        processor=encoder,
        transform=changed,
    )


def _first(part: Part, name: str) -> np.ndarray:
    """Returns the first picture that can be read."""
    problem: Exception | None = None
    for index in range(min(len(part), 100)):
        try:
            return np.asarray(part[index]['inputs'])
        except (BadRecord, OSError) as error:
            problem = problem or error
    raise problem or UserError('{source}: its part "{part}" is empty.', source=name, part='train')


def _statistics(part: Part, numbers: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and deviation of each channel, of values in 0..1, over these pictures; of a part that does not lie
    in memory, over some of them."""
    blocks: Iterator[np.ndarray]
    if isinstance(part, Arrays):
        blocks = (part.inputs[numbers[i : i + SAMPLE]] for i in range(0, len(numbers), SAMPLE))
    else:
        blocks = _readable(part, numbers[:: max(len(numbers) // SAMPLE, 1)])
    counts: Any = 0
    for block in blocks:  # how often each of the 256 values is there, so that all the arithmetic is exact
        channels = np.moveaxis(block, -1, 0).reshape(block.shape[-1], -1)
        counts = counts + np.stack([np.bincount(channel, minlength=256) for channel in channels])
    values, total = np.arange(256) / 255, counts.sum(1)
    mean = counts @ values / total
    deviation = np.sqrt(counts @ values**2 / total - mean**2)
    return tuple(mean.tolist()), tuple(np.where(deviation > 0, deviation, 1).tolist())


def _readable(part: Part, numbers: np.ndarray) -> Iterator[np.ndarray]:
    """Yields these pictures, [1 h w c], but for those that cannot be read: whether that may be is not asked here."""
    for number in numbers.tolist():
        with suppress(BadRecord, OSError):
            yield part[number]['inputs'][None]

"""Texts and what they are: one text or two a row, and a class; from any source of texts to batches of tokens."""

# b rows of this process, t tokens of a row

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from jaxlab.config import build, spec
from jaxlab.data import examples, text_rows
from jaxlab.data.buckets import edges
from jaxlab.data.sources import Source, Texts
from jaxlab.data.stream import Data
from jaxlab.data.text import check_memory, learned
from jaxlab.data.text_rows import LabelledText
from jaxlab.errors import UserError
from jaxlab.messages import say


def make(
    batch_size: int,
    seed: int,
    rows: slice,
    known: LabelledText | None = None,
    *,
    source: ConfigDict = spec('data.sources.python_topics'),
    processor: ConfigDict = spec('data.processors.wordpiece'),
    length: int = 128,
    validation: float = 0.1,
    buckets: tuple = (),
) -> Data:
    """Reads texts, learns their tokens where these are not published, and makes rows of them.

    Args:
      batch_size: rows of a global batch.
      seed: chooses the order of training, and the validation part.
      rows: which rows of a global batch this process makes.
      known: the processor of an experiment that goes on; None: a new one, with the tokens of `processor`.
      source: where the texts come from; a file of sources/.
      processor: text <-> tokens; a file of processors/, such as wordpiece.
      length: tokens in a row, special ones included. Texts with more are cut at their end, and counted.
      validation: the share of the training part that is kept out of it, where no validation part is published.
      buckets: lengths below `length`, such as (32, 64): rows of about one length stand in one batch, which is padded to
        the smallest that holds them, so that short ones take less time; (): all are padded to `length`.

    Returns:
      Data with the split 'validation' and the test 'test', as far as there are such parts; batches of tokens and types,
      int32 [b t], lengths and targets, int32 [b], and mask, float32 [b]; info {'vocabulary', 'length', 'types',
      'padding', 'classes', 'labels', 'class_counts'}.

    Raises:
      UserError: an argument is out of range, the source has no texts, or its classes have changed.
    """
    if length < (least := 8):
        raise UserError('length={length}: a row has at least {least} tokens.', length=length, least=least)
    bounds = edges(buckets, length)
    check_memory(len(range(batch_size)[rows]), length)
    found = build(source, key='data.source')
    parts = texts_of(found)
    divided = examples.divide(found, validation, seed)
    training, numbers = parts['train'], divided['train'][1]
    pair = len(training.texts[0]) == 2
    if known and known.labels != found.labels:
        raise UserError(
            'the classes have changed since this experiment was begun: they were {before}, and are {now}.',
            before=', '.join(known.labels[:20]),
            now=', '.join(found.labels[:20]),
        )

    def texts() -> Iterator[str]:
        return (text for number in numbers.tolist() for text in training.texts[number])

    tokenizer = (
        known.tokenizer if known else learned(processor, texts, [found.fingerprint, validation, seed], 'separator')
    )
    encoder = LabelledText(tokenizer, found.labels, length, pair)
    encoded = {name: encoder.rows(part.texts, part.targets) for name, part in parts.items()}
    info: dict[str, Any] = {
        'vocabulary': tokenizer.vocabulary,
        'length': length,
        'types': 2,
        'padding': tokenizer.padding,
        'classes': len(found.labels),
        'labels': list(found.labels),
        'class_counts': np.bincount(training.targets[numbers], minlength=len(found.labels)).tolist(),
    }
    return examples.of_rows(
        lambda part, losses: encoded[part],
        divided,
        batch_size=batch_size,
        seed=seed,
        rows=rows,
        info=info,
        processor=encoder,
        fingerprint=found.fingerprint,
        edges=bounds,
        summary=summary(found, divided, length, sum(part.cut for part in encoded.values()), tokenizer),
    )


def saved(folder: Path, tokenizer: Any) -> LabelledText:
    """Returns the processor of an experiment, of which `tokenizer` was read from the same folder already."""
    return text_rows.load(folder, tokenizer)


def texts_of(source: Source) -> dict[str, Texts]:
    """Returns the parts of a source.

    Raises:
      UserError: they are no texts, or the rows are not all of one text, or all of two.
    """
    parts = {name: part for name, part in source.parts.items() if isinstance(part, Texts)}
    if len(parts) < len(source.parts) or not source.labels:
        raise UserError('{source} has no texts with classes: data.pictures or data.table reads it.', source=source.name)
    if len({len(texts) for part in parts.values() for texts in part.texts}) > 1:
        raise UserError('{source} has rows of one text and rows of two.', source=source.name)
    return parts


def summary(source: Source, divided: Any, length: int, cut: int, tokenizer: Any) -> str:
    """Returns one line for the screen: how much there is, and how much of it is cut."""
    line = say(
        '{name}: {counts} texts of at most {length} of {vocabulary:,} tokens; fingerprint {fingerprint}',
        name=source.name,
        counts=', '.join(f'{part} {len(numbers):,}' for part, (_, numbers) in divided.items()),
        length=length,
        vocabulary=tokenizer.vocabulary,
        fingerprint=source.fingerprint[:16],
    )
    total = sum(len(part) for part in source.parts.values())
    if not cut:
        return line
    return say(
        '{summary}; {cut:,} of {total:,} texts are longer and were cut',
        summary=line,
        cut=cut,
        total=total,
    )

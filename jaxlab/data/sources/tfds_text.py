"""Texts with classes from TensorFlow Datasets, prepared and read without TensorFlow: imdb_reviews, glue/sst2, glue/mrpc
and many more. `jaxlab/data/sources/tfds.py` says how a set is prepared.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.data.fingerprints import of_files
from jaxlab.data.prepared import check_files, folder_of, library
from jaxlab.data.records import BadRecord, Tolerance, tolerance
from jaxlab.data.sources import Source, Texts
from jaxlab.data.sources.tfds import BLOCK, builder_of, feature_of, instructions_of, raw_bytes, split_of
from jaxlab.errors import UserError
from jaxlab.messages import say


def make(
    *,
    set: str = 'imdb_reviews',
    dir: str = '',
    version: str = '',
    text: str = '',
    second: str = '',
    label: str = '',
    train: str = '',
    validation: str = '',
    test: str = '',
    bad: str = 'raise',
    bad_rate: float = 0.01,
) -> Source:
    """Returns a set of texts with classes, prepared as files of ArrayRecord. All of it is read, and lies in memory.

    Args:
      set: its name, as the catalogue has it, with its configuration after a slash where it has several.
      dir: the folder that holds sets; '': the variable TFDS_DATA_DIR, else ~/tensorflow_datasets.
      version: such as 3.0.1; '': the newest that is there.
      text: name of the feature that holds the text; '': the only one of its kind.
      second: that of a second text, where pairs of texts have classes; '': none.
      label: name of the feature that is the class; '': the only one of its kind.
      train: the training part, also such as 'train[:90%]'; '': 'train'.
      validation: in the same way; '': 'validation' (also valid, val, dev), where there is one.
      test: in the same way; '': 'test', where there is one and it has labels.
      bad: what becomes of records that cannot be read: 'raise' (the first is an error) or 'skip' (they are left out).
      bad_rate: the share of a part's records that may be left out; more is an error.

    Raises:
      UserError: the set is not prepared there or has no texts with classes, or an argument names what it lacks.
      BadRecord: a record cannot be read.
    """
    tolerated = tolerance(bad, bad_rate)
    folder = folder_of(set, dir, version)
    check_files(folder)
    builder = builder_of(folder)
    features = builder.info.features
    texts = [feature_of(features, 'text', text, 'Text', set)]
    texts += [feature_of(features, 'second', second, 'Text', set)] if second else []
    label = feature_of(features, 'label', label, 'ClassLabel', set)
    labels = tuple(features[label].names) if features[label].num_classes else ()
    if not labels:
        raise UserError('set="{set}": its feature "{label}" has no classes.', set=set, label=label)
    name = f'{set} {builder.version}'

    parts: dict[str, Texts] = {}
    files: dict[str, Path] = {}
    taken = []
    for part, asked in {'train': train, 'validation': validation, 'test': test}.items():
        split = split_of(builder.info.splits, part, asked, set)
        if not split:
            continue
        instructions = instructions_of(builder, split, part, set)
        names = [Path(instruction.filename).name for instruction in instructions]
        for file in names:
            if not (folder / file).is_file():
                raise UserError('set="{set}": its file "{file}" is missing.', set=set, file=folder / file)
        raw = builder.as_data_source(split, deserialize_method=raw_bytes())
        found = read(raw, texts, label, len(labels), f'{name}, {split}', tolerated, bool(asked) or part == 'train')
        if found is None:
            print(say('note: {name}: the part "{part}" has no labels, and is left out', name=name, part=split))
            continue
        parts[part] = found
        files |= {file: folder / file for file in names}
        taken.append([part, [[file, each.skip, each.take] for file, each in zip(names, instructions)]])
    return Source(name, parts, labels, of_files(name, files, taken, texts, label, labels))


def read(
    raw: Any, texts: list[str], label: str, classes: int, name: str, tolerated: Tolerance, wanted: bool
) -> Texts | None:
    """Returns the records of a part; None where it has no labels (TFDS writes -1 where answers are not published) and
    is not `wanted` all the same."""
    library()
    from tensorflow_datasets.proto import tf_example_pb2

    found: list[tuple[str, ...]] = []
    targets: list[int] = []
    bad: list[BadRecord] = []
    for number, record in enumerate(_records(raw)):
        try:
            feature = tf_example_pb2.Example.FromString(record).features.feature
            some = tuple(feature[each].bytes_list.value[0].decode() for each in texts)
            (target,) = feature[label].int64_list.value
        except Exception as error:  # what damaged files do to it, only its library knows
            bad.append(_bad(number, name, f'{type(error).__name__}: {error}'.partition('\n')[0]))
            continue
        if target < 0 and not number and not wanted:
            return None
        if 0 <= target < classes:
            found.append(some)
            targets.append(target)
        else:
            why = say('its class is {target}, and there are 0 to {last}', target=target, last=classes - 1)
            bad.append(_bad(number, name, why))
    if bad and (not tolerated.skip or len(bad) > tolerated.rate * len(raw)):
        raise bad[0]
    if bad:
        line = say(
            'warning: {count:,} of {all:,} records of {name} are left out; the first: {error}',
            count=len(bad),
            all=len(raw),
            name=name,
            error=str(bad[0]).partition('\n')[0],
        )
        print(line, flush=True)
    return Texts(found, np.array(targets, np.int32))


def _records(raw: Any) -> Any:
    """Yields the encoded records, a block at a time; b'?', which is no record, for one that cannot be read."""
    for begin in range(0, len(raw), BLOCK):
        block = range(begin, min(begin + BLOCK, len(raw)))
        try:
            yield from raw.__getitems__(block)
        except Exception:  # one of them is damaged: they are read one by one
            for number in block:
                try:
                    yield raw[number]
                except Exception:
                    yield b'?'


def _bad(number: int, name: str, why: str) -> BadRecord:
    return BadRecord(
        '{record} cannot be read ({error}).\nMend it, or leave such records out: --config.data.source.bad=skip',
        record=say('record {index:,} of {part}', index=number, part=name),
        error=why,
    )

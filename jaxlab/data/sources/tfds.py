"""Prepared data sets of TensorFlow Datasets, read without TensorFlow: MNIST, CIFAR, ImageNet and many more.

`python -m jaxlab.main prepare --config=…` prepares a set once, which takes TensorFlow; from then on it is files, which
are read by number (ArrayRecord). A set that was prepared elsewhere is its folder, <dir>/<set>/<version>: copying it is
enough. https://www.tensorflow.org/datasets/catalog/overview lists what there is.
"""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxlab.data.fingerprints import of_files
from jaxlab.data.picture_files import check_channels, read_picture
from jaxlab.data.prepared import check_files, folder_of, library
from jaxlab.data.records import BadRecord
from jaxlab.data.sources import Example, Part, Source
from jaxlab.errors import UserError, alternatives
from jaxlab.messages import say

USUAL = {'train': ('train',), 'validation': ('validation', 'valid', 'val', 'dev'), 'test': ('test',)}
KEPT = 1 << 28  # bytes of a part's encoded records that are kept in memory: read one by one they take 40 times as long
BLOCK = 4096  # records that are read at a time, where all of them are

Record = tuple[bytes, int]  # an encoded picture, and the number of its class


def make(
    *,
    set: str = 'mnist',
    dir: str = '',
    version: str = '',
    picture: str = '',
    label: str = '',
    train: str = '',
    validation: str = '',
    test: str = '',
    channels: int = 0,
) -> Source:
    """Returns a set of pictures with classes, prepared as files of ArrayRecord. Nothing of TensorFlow is imported.

    Args:
      set: its name, as the catalogue has it, with its configuration after a slash where it has several.
      dir: the folder that holds sets; '': the variable TFDS_DATA_DIR, else ~/tensorflow_datasets.
      version: such as 3.0.1; '': the newest that is there.
      picture: name of the feature that holds the picture; '': the only one of its kind.
      label: name of the feature that is the class; '': the only one of its kind.
      train: the training part, also such as 'train[:90%]'; '': 'train'.
      validation: in the same way; '': 'validation' (also valid, val, dev), where there is one.
      test: in the same way; '': 'test', where there is one and it has labels.
      channels: 1, 3 or 4: pictures become grey, coloured, or coloured with opacity; 0: as the set says.

    Returns:
      a Source of inputs uint8 [h w c] and targets from 0 to the number of classes - 1.

    Raises:
      UserError: the set is not prepared there or has no pictures with classes, or an argument names what it lacks.
    """
    folder = folder_of(set, dir, version)
    check_files(folder)
    builder = builder_of(folder)
    features = builder.info.features
    picture = feature_of(features, 'picture', picture, 'Image', set)
    label = feature_of(features, 'label', label, 'ClassLabel', set)
    labels = tuple(features[label].names) if features[label].num_classes else ()
    if not labels:
        raise UserError('set="{set}": its feature "{label}" has no classes.', set=set, label=label)
    if features[picture].np_dtype.kind != 'u':
        raise UserError(
            'set="{set}": the pictures of "{picture}" hold numbers of type {dtype}; uint8 or uint16 are wanted.',
            set=set,
            picture=picture,
            dtype=features[picture].np_dtype,
        )
    channels = channels or features[picture].shape[-1]
    check_channels(channels)
    name = f'{set} {builder.version}'
    parse = parser(picture, label)

    parts: dict[str, Part] = {}
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
        small = sum((folder / file).stat().st_size for file in names) <= KEPT
        found = Pictures(f'{name}, {split}', raw, parse, len(labels), channels, small)
        if part != 'train' and not asked and found.is_unlabelled():
            print(say('note: {name}: the part "{part}" has no labels, and is left out', name=name, part=split))
            continue
        parts[part] = found
        files |= {file: folder / file for file in names}
        taken.append([part, [[file, each.skip, each.take] for file, each in zip(names, instructions)]])
    return Source(name, parts, labels, of_files(name, files, taken, picture, label, channels, labels))


class Pictures:
    """A part of a set, read by number. The encoded records of a small one are read all at once, by who comes first."""

    def __init__(
        self,
        name: str,
        raw: Any,
        parse: Callable[[bytes], Record],
        classes: int,
        channels: int,
        small: bool,
    ) -> None:
        self._name, self._raw, self._parse = name, raw, parse
        self._classes, self._channels, self._small = classes, channels, small
        self._lock = threading.Lock()
        self._kept: list[bytes | None] = []

    def __len__(self) -> int:
        return len(self._raw)

    def __getitem__(self, index: int) -> Example:
        encoded, target = self._record(index)
        if not 0 <= target < self._classes:
            raise BadRecord(
                '{record} is of class {target}; classes are 0 to {last}.\n'
                'Mend it, or leave such records out: --config.data.bad=skip',
                record=self._called(index),
                target=target,
                last=self._classes - 1,
            )
        # As TensorFlow reads them, whatever a camera noted: published numbers are of pictures read so.
        return {
            'inputs': read_picture(encoded, self._called(index), self._channels, upright=False),
            'targets': target,
        }

    def is_unlabelled(self) -> bool:
        """Whether its first record has no class: TFDS writes -1 where answers are not published."""
        try:
            return len(self) == 0 or self._parse(self._raw[0])[1] < 0
        except Exception:
            return False  # it is for who reads it to say what is wrong

    def _record(self, index: int) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(index)
        try:
            if self._small and not self._kept:
                with self._lock:
                    self._kept = self._kept or self._all()
            kept = self._kept[index] if self._kept else None
            return self._parse(self._raw[index] if kept is None else kept)
        except Exception as error:  # what damaged files do to it, only its library knows
            raise BadRecord(
                '{record} cannot be read ({error}).\nMend it, or leave such records out: --config.data.bad=skip',
                record=self._called(index),
                error=f'{type(error).__name__}: {error}'.partition('\n')[0],
            ) from None

    def _all(self) -> list[bytes | None]:
        found: list[bytes | None] = []
        for begin in range(0, len(self), BLOCK):
            block = range(begin, min(begin + BLOCK, len(self)))
            try:
                found += self._raw.__getitems__(block)
            except Exception:  # one of them is damaged: they are read one by one, and that one is named
                found += [None] * len(block)
        return found

    def _called(self, index: int) -> str:
        return say('record {index:,} of {part}', index=index, part=self._name)


# --- TFDS, imported on first use --------------------------------------------------------------------------------------


def builder_of(folder: Path) -> Any:
    """Returns what TFDS makes of a folder with a prepared set."""
    tfds = library()
    try:
        return tfds.builder_from_directory(os.fspath(folder))
    except Exception as error:  # what damaged files do to it, only its library knows
        raise UserError(
            'the prepared set in "{folder}" cannot be read ({error}).',
            folder=folder,
            error=f'{type(error).__name__}: {error}'.partition('\n')[0],
        ) from None


def raw_bytes() -> Any:
    return library().decode.DeserializeMethod.RAW_BYTES


def parser(picture: str, label: str) -> Callable[[bytes], Record]:
    """Returns what takes a record apart, which is a message tf.train.Example."""
    library()
    from tensorflow_datasets.proto import tf_example_pb2

    def parse(record: bytes) -> Record:
        feature = tf_example_pb2.Example.FromString(record).features.feature
        (encoded,) = feature[picture].bytes_list.value
        (target,) = feature[label].int64_list.value
        return encoded, target

    return parse


def instructions_of(builder: Any, split: str, part: str, set: str) -> Sequence[Any]:
    """Returns the files that a part is read from, and which of their records."""
    try:
        found = builder.info.splits[split].file_instructions
    except Exception as error:  # its library knows several
        raise UserError(
            '{part}="{split}" is no part of {set} ({error}); {alternatives}',
            part=part,
            split=split,
            set=set,
            error=str(error).partition('\n')[0],
            alternatives=alternatives(split, builder.info.splits),
        ) from None
    return found


def feature_of(features: Any, argument: str, name: str, kind: str, set: str) -> str:
    """Returns the name of the one feature of a kind, or checks the given one."""
    tfds = library()
    wanted = getattr(tfds.features, kind)
    if not isinstance(features, tfds.features.FeaturesDict):
        raise UserError('set="{set}" has no named features.', set=set)
    there = sorted(key for key, feature in features.items() if isinstance(feature, wanted))
    if name and name not in there:
        raise UserError(
            '{argument}="{name}" is no feature of {set} of the kind {kind}; {alternatives}',
            argument=argument,
            name=name,
            set=set,
            kind=kind,
            alternatives=alternatives(name, there),
        )
    if not there:
        raise UserError(
            'set="{set}" has no feature of the kind {kind}; it has: {features}',
            set=set,
            kind=kind,
            features=', '.join(f'{key} ({type(feature).__name__})' for key, feature in features.items()),
        )
    if not name and len(there) > 1:
        raise UserError(
            'set="{set}" has several features of the kind {kind}: say which, --config.data.source.{argument}={first};'
            ' {alternatives}',
            set=set,
            kind=kind,
            argument=argument,
            first=there[0],
            alternatives=alternatives('', there),
        )
    return name or there[0]


def split_of(splits: Any, part: str, asked: str, set: str) -> str:
    """Returns the split that is a part; '' where there is none."""
    there = [name for name in USUAL[part] if name in splits]
    if not asked and not there and part == 'train':
        raise UserError(
            'set="{set}" has no part "train"; --config.data.source.train=… can be any of it: {splits}.',
            set=set,
            splits=', '.join(splits),
        )
    return asked or (there[0] if there else '')

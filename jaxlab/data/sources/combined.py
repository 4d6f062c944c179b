"""Two sources as one: learn from the one, be tested on the other.

Of pictures that a GAN has made: how well a classifier that has seen these alone knows the real ones (the
"classification accuracy score" of Ravuri & Vinyals 2019).

    python -m jaxlab.main generate --workdir=runs/gan-1a2b3c4d --count=10000 --folder=made
    python -m jaxlab.main --config=configs/cnn.py --config.data.source.name=combined \
        --config.data.source.train_source.name=image_folder --config.data.source.train_source.path=made \
        --config.data.source.train_source.channels=1
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from ml_collections import ConfigDict

from jaxlab.config import build, spec
from jaxlab.data.sources import Arrays, Example, Part, Source
from jaxlab.data.sources.image_folder import folder_name
from jaxlab.errors import UserError
from jaxlab.messages import say


def make(
    *,
    train_source: ConfigDict = spec('data.sources.digits'),
    test_source: ConfigDict = spec('data.sources.digits'),
) -> Source:
    """Returns the parts 'train' of one source, and all others of another, in the order of whose classes labels are.

    Where the other has no validation part, one is cut from the training part (`data.pictures`), and so is of the first
    source's examples too: no choice is made by what is tested on.

    Args:
      train_source: what is learned from; a file of sources/.
      test_source: what it is tested on; a file of sources/. Its classes are the same, by name or by the name that a
        folder of theirs has, in any order; or both have numbers and no classes.

    Raises:
      UserError: a source has not the part that is wanted of it, or their classes differ.
    """
    learned = build(train_source, key='data.source.train_source')
    tested = build(test_source, key='data.source.test_source')
    others = {name: part for name, part in tested.parts.items() if name != 'train'}
    if not others:
        raise UserError('{source} has a part "train" alone, and nothing to be tested on.', source=tested.name)
    if 'train' not in learned.parts:
        raise UserError(
            '{source} has no part "train" to learn from; it has {parts}.',
            source=learned.name,
            parts=', '.join(learned.parts),
        )
    folders = [folder_name(label) for label in tested.labels]
    missing = [label for label in learned.labels if folder_name(label) not in folders]
    if missing or len(learned.labels) != len(tested.labels):
        lacking = missing or [
            label for label in tested.labels if folder_name(label) not in map(folder_name, learned.labels)
        ]
        raise UserError(
            '{learned} and {tested} differ in their classes ({first} is in one of them alone); the same are wanted.',
            learned=learned.name,
            tested=tested.name,
            first=f'"{lacking[0]}"',
        )
    train = learned.parts['train']
    if learned.labels:
        train = renumbered(train, np.array([folders.index(folder_name(label)) for label in learned.labels], np.int32))
    digest = hashlib.sha256(f'{learned.fingerprint} {tested.fingerprint}'.encode()).hexdigest()
    name = say('{learned}, tested on {tested}', learned=learned.name, tested=tested.name)
    return Source(name, {'train': train, **others}, tested.labels, digest)


def renumbered(part: Part, numbers: np.ndarray) -> Part:
    """Returns a part whose class k is class numbers[k]."""
    if (numbers == np.arange(len(numbers))).all():
        return part
    if isinstance(part, Arrays):
        return Arrays(part.inputs, numbers[part.targets])
    return Renumbered(part, numbers)


@dataclass(frozen=True)
class Renumbered:
    """A part whose class k is class numbers[k]."""

    part: Part
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, index: int) -> Example:
        example = self.part[index]
        return {**example, 'targets': int(self.numbers[example['targets']])}

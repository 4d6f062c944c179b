"""Where raw data comes from: one file a source.

Those of pictures, tables and texts have `make(*, …) -> Source`; a config names one as `data.source`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

# {'inputs': uint8 [h w c], a picture of any size, or float32 [f], a row of a table, or a tuple of one or two texts;
#  'targets': a class or a number}
Example = Mapping[str, Any]


class Part(Protocol):
    """A part of a data set, read by number, by several threads at once."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example:
        """Returns an example; raises BadRecord (see `jaxlab.data.records`) or OSError where it cannot be read."""
        ...


@dataclass(frozen=True)
class Source:
    """A data set of examples.

    Attributes:
      name: for the screen.
      parts: 'train', and where they are published 'validation' and 'test'.
      labels: names of the classes; () where the targets are numbers.
      fingerprint: sha256, in hexadecimal digits, of everything that the examples are made from.
    """

    name: str
    parts: Mapping[str, Part]
    labels: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class Arrays:
    """A part that lies in memory: inputs [n …] and targets [n]."""

    inputs: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Example:
        return {'inputs': self.inputs[index], 'targets': self.targets[index]}


@dataclass(frozen=True)
class Texts:
    """A part of texts that lies in memory: n tuples of one text or of two, and targets, int32 [n]."""

    texts: Sequence[tuple[str, ...]]
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Example:
        return {'inputs': self.texts[index], 'targets': self.targets[index]}


def a_fifth(count: int) -> np.ndarray:
    """Returns bool [count], true for a fifth: the same for everybody, always."""
    return np.isin(np.arange(count), np.random.default_rng(0).permutation(count)[: count // 5])

"""A family of published weights: a table of their names, our paths, and how theirs are laid out."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

# How torch lays a tensor out, and how we do: (theirs -> ours, ours -> theirs). All are views of the same numbers.
LAYOUTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    'same': (lambda x: x, lambda x: x),
    'linear': (lambda x: x.T, lambda x: x.T),  # [o i] and [i o]
    'conv': (  # [o i *window] and [*window i o]
        lambda x: np.moveaxis(x, (0, 1), (-1, -2)),
        lambda x: np.moveaxis(x, (-1, -2), (0, 1)),
    ),
    'pointwise': (lambda x: x[:, :, 0, 0].T, lambda x: x.T[:, :, None, None]),  # [o i 1 1] and [i o]
    'first': (lambda x: x[0], lambda x: x[None]),  # theirs has a first axis of 1
}


class Row(NamedTuple):
    """One kind of tensor: 'layer{stage+1}.{block}.conv1.weight', 'params/stage_{stage}_block_{block}/…', 'conv'.

    What stands in braces is a number: found in our path, and filled into their name (one more, where that says so).
    A number that our path has not, as {layer} of 'params/stack/layers/…', counts along our first axis: ours are theirs
    of all layers, stacked.
    """

    theirs: str
    ours: str
    layout: str = 'same'
    part: tuple[int, int] = (0, 1)  # theirs has so many of ours side by side along its last axis; which is this
    padded: bool = False  # ours may have more rows than theirs, of zeros: tables are made round for meshes


class Piece(NamedTuple):
    """Where one of their tensors, or a part of it, stands in a leaf of ours."""

    name: str
    row: Row
    layer: int | None  # along our first axis; None: it is all of the leaf

    def view(self, leaf: np.ndarray) -> np.ndarray:
        """Returns the piece of a leaf as theirs is laid out: a view of it."""
        return LAYOUTS[self.row.layout][1](leaf if self.layer is None else leaf[self.layer])

    def theirs(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of their tensor, for a leaf of a shape; of one that may be padded, with the padding."""
        shape = self.view(np.broadcast_to(np.float32(0), shape)).shape  # takes no memory
        return (*shape[:-1], shape[-1] * self.row.part[1]) if shape else shape

    def columns(self, array: np.ndarray) -> np.ndarray:
        """Returns what is ours of rows of their tensor: a view."""
        which, of = self.row.part
        if of == 1:
            return array
        width = array.shape[-1] // of
        return array[..., which * width : (which + 1) * width]


@dataclass(frozen=True)
class Family:
    """What is published under one scheme of names.

    Attributes:
      rows: the table.
      ignored: patterns of their names that hold nothing we need.
      again: (name, name): the first may be there too where our model has no place for it, with the second's numbers.
      beside: (pattern, names) of whole numbers, 0, that an export has beside a tensor: torch counts batches.
      make: makes the model, and `arguments_of` its arguments from their config.json.
      structure: fields of the model that say which architecture it is.
      head: where our head is.
      optional: where else something of ours is that a new head may begin anew with, as long as they lack it.
      spare: patterns of their names that may be left out where our model has no place for them.
    """

    rows: tuple[Row, ...]
    ignored: tuple[str, ...] = ()
    again: tuple[tuple[str, str], ...] = ()
    beside: tuple[tuple[str, str], ...] = ()
    make: Callable[..., Any] | None = None
    arguments_of: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    structure: tuple[str, ...] = ()
    head: str = 'params/head/'
    optional: str = ''
    spare: tuple[str, ...] = ()

    def pieces(self, path: str, shape: tuple[int, ...]) -> list[Piece]:
        """Returns what a leaf of ours is made of: one tensor of theirs, or one for each layer; [] where the table has
        no such path."""
        for row, found in self._rows_of(path):
            numbers = found.groupdict()
            if free := set(re.findall(r'\{(\w+)', row.theirs)) - numbers.keys():
                (name,) = free
                return [
                    Piece(_filled(row.theirs, numbers | {name: str(layer)}), row, layer) for layer in range(shape[0])
                ]
            return [Piece(_filled(row.theirs, numbers), row, None)]
        return []

    def named(self, path: str) -> tuple[str, str]:
        """Returns their name of our path, and the layout; ('', '') where the table has none."""
        for row, found in self._rows_of(path):
            return _filled(row.theirs, found.groupdict()), row.layout
        return '', ''

    def _rows_of(self, path: str) -> Iterator[tuple[Row, re.Match[str]]]:
        for row in self.rows:
            pattern = re.sub(r'\\\{(\w+)\\\}', r'(?P<\1>[0-9]+)', re.escape(row.ours))
            if found := re.fullmatch(pattern, path):
                yield row, found


class Exported(NamedTuple):
    """What an export of a model is, beside its numbers."""

    family: Family
    config: Mapping[str, Any]  # config.json
    preprocessor: Mapping[str, Any] = {}  # preprocessor_config.json; {}: none
    rows: int = 0  # of tables that are padded, so many are written


def _filled(theirs: str, numbers: Mapping[str, str]) -> str:
    return re.sub(r'\{(\w+)(\+1)?\}', lambda place: str(int(numbers[place[1]]) + (1 if place[2] else 0)), theirs)

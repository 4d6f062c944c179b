"""Rows of a table: numbers as they were measured <-> an answer in the target's units."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.data.processors import save_assets
from jaxlab.errors import UserError

READS = 'tables'


@dataclass(frozen=True)
class Table:
    """Columns of numbers.

    Attributes:
      columns: how many there are.
      labels: names of the classes; () where the answer is a number.
    """

    columns: int = 0
    labels: tuple[str, ...] = ()

    def encode(self, raw: Sequence[float] | str) -> np.ndarray:
        """Returns a row as float32 [f], of numbers or of a text such as '59,2,32.1'.

        Raises:
          UserError: it has another number of columns, or something that is no number.
        """
        try:
            row = np.asarray(raw.split(',') if isinstance(raw, str) else raw, np.float32)
        except (ValueError, TypeError):
            row = np.zeros((), np.float32)
        if row.shape != (self.columns,) or not np.isfinite(row).all():
            raise UserError('a row of {columns} numbers is wanted, and {raw} came.', columns=self.columns, raw=raw)
        return row

    def assets(self) -> dict[str, bytes]:
        return {'processor.json': json.dumps(asdict(self)).encode()}

    def save(self, folder: Path) -> None:
        save_assets(self.assets(), folder)


def make() -> Table:
    """Returns the processor of rows as they are."""
    return Table()


def load(folder: Path) -> Table:
    """Returns what `Table.save` wrote.

    Raises:
      ValueError, OSError: there is none, or it holds something else.
    """
    found: Any = json.loads((folder / 'processor.json').read_text('utf-8'))
    if not isinstance(found, dict) or set(found) != {'columns', 'labels'}:
        raise ValueError('processor.json')
    columns, labels = found['columns'], found['labels']
    if type(columns) is not int or columns < 1 or not isinstance(labels, list):
        raise ValueError('processor.json')
    if not all(isinstance(label, str) for label in labels):
        raise ValueError('processor.json')
    return Table(columns, tuple(labels))

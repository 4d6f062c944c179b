"""Rows of a table, and the class or the number that belongs to each."""

from dataclasses import replace

import numpy as np
from ml_collections import ConfigDict

from jaxlab.config import build, spec
from jaxlab.data import examples
from jaxlab.data.processors import check_reads
from jaxlab.data.processors.table import Table
from jaxlab.data.records import tolerance
from jaxlab.data.sources import Arrays
from jaxlab.data.stream import Data
from jaxlab.errors import UserError


def make(
    batch_size: int,
    seed: int,
    rows: slice,
    known: Table | None = None,
    *,
    source: ConfigDict = spec('data.sources.diabetes'),
    processor: ConfigDict = spec('data.processors.table'),
    validation: float = 0.1,
) -> Data:
    """Reads a table.

    Args:
      batch_size: rows of a global batch.
      seed: chooses the order of training, and the validation part.
      rows: which rows of a global batch this process makes.
      known: the processor of an experiment that goes on; None: the one that `processor` describes.
      source: where the rows come from; a file of sources/.
      processor: what a row is; a file of processors/.
      validation: the share of the training part that is kept out of it, where no validation part is published.

    Returns:
      Data with the split 'validation' and the test 'test', as far as there are such parts; batches of inputs, float32
      [b f], targets, int32 [b] (classes) or float32 [b] (numbers), and mask, float32 [b]; info {'shape', 'classes',
      'mean', 'deviation'} of the columns, and {'labels'} or {'target_mean', 'target_deviation'}.

    Raises:
      UserError: an argument is out of range, or there are no rows of one length.
    """
    check_reads(processor, 'tables')
    found = build(source, key='data.source')
    divided = examples.divide(found, validation, seed)
    parts = {name: part for name, part in found.parts.items() if isinstance(part, Arrays) and part.inputs.ndim == 2}
    if len(parts) < len(found.parts) or len({part.inputs.shape[1] for part in parts.values()}) != 1:
        raise UserError('{source} is no table: data.pictures reads it.', source=found.name)
    training, numbers = parts['train'], divided['train'][1]
    inputs = training.inputs[numbers].astype(np.float64)
    shape = inputs.shape[1:]
    deviation = inputs.std(0)
    info = {
        'shape': list(shape),
        'mean': inputs.mean(0).tolist(),
        'deviation': np.where(deviation > 0, deviation, 1).tolist(),  # a column that never changes says nothing
        **examples.target_statistics(found, training, numbers),
    }
    return examples.make_data(
        found,
        parts,
        divided,
        batch_size=batch_size,
        seed=seed,
        rows=rows,
        shape=shape,
        dtype=np.float32,
        tolerated=tolerance('raise', 0.0),
        info=info,
        processor=known or replace(build(processor, key='data.processor'), columns=shape[0], labels=found.labels),
    )

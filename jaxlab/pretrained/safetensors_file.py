"""Reads tensors of a .safetensors file, some rows at a time: no more of it is in memory than is asked for."""

import json
import struct
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

DTYPES: dict[str, Any] = {
    'F64': np.float64,
    'F32': np.float32,
    'F16': np.float16,
    'BF16': jnp.bfloat16,
    'I64': np.int64,
    'I32': np.int32,
    'I16': np.int16,
    'I8': np.int8,
    'U8': np.uint8,
    'BOOL': np.bool_,
}


def read(path: Path) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Returns {name: (shape, rows)}, where rows(start, stop) reads rows of the first axis.

    Raises:
      SafetensorError, OSError, ValueError: the file is no such file, or damaged; or, of `rows`, has changed since.
    """
    from safetensors import safe_open

    with safe_open(path, framework='numpy') as file:  # it checks names, sizes and places, which must fill the file
        names = list(file.keys())
        dtypes = {name: file.get_slice(name).get_dtype() for name in names}
    with path.open('rb') as opened:
        (length,) = struct.unpack('<Q', opened.read(8))
        header = json.loads(opened.read(length))
    found = {}
    for name, dtype in dtypes.items():
        shape, (start, _) = tuple(header[name]['shape']), header[name]['data_offsets']
        found[name] = shape, partial(_rows, path, 8 + length + start, shape, dtype)
    return found


def _rows(path: Path, place: int, shape: tuple[int, ...], dtype: str, start: int, stop: int) -> np.ndarray:
    if dtype not in DTYPES:
        raise ValueError(f'numbers of kind {dtype}')
    shape = (stop - start, *shape[1:]) if shape else shape
    array = np.empty(shape, DTYPES[dtype])
    with path.open('rb') as file:
        file.seek(place + start * (array.nbytes // max(stop - start, 1)))
        if file.readinto(array.reshape(-1).view(np.uint8).data) != array.nbytes:
            raise OSError('it ends early')
    return array

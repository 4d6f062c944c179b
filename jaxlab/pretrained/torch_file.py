"""Reads the tensors of files that torch.save wrote (.pth, .pt, .th, .bin), and executes nothing.

Such a file is a program for a stack machine, which may name any function of any library and have it called. Here a
small machine of our own reads it. It knows the few operations and the handful of names that tensors by name are made
of, has something of its own for each of these names, and refuses every other. What it builds are dicts, lists, tuples,
numbers, texts and tensors; of these nothing is hashed, compared or shown that could be nested without end.

Both formats are read: the one of today, a zip archive whose entries are the numbers of each storage; and the one before
torch 1.6, several such programs one after another, and then all storages.
"""

import io
import math
import mmap
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, cast

import jax.numpy as jnp
import numpy as np

from jaxlab.errors import UserError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # with which the old format begins
DTYPES: dict[str, Any] = {
    'torch DoubleStorage': np.float64,
    'torch FloatStorage': np.float32,
    'torch HalfStorage': np.float16,
    'torch BFloat16Storage': jnp.bfloat16,
    'torch LongStorage': np.int64,
    'torch IntStorage': np.int32,
    'torch ShortStorage': np.int16,
    'torch CharStorage': np.int8,
    'torch ByteStorage': np.uint8,
    'torch BoolStorage': np.bool_,
}
INSIDE = ('state_dict', 'model_state_dict', 'model')  # under which a training's checkpoint keeps its weights
PREFIX = 'module.'  # which torch's DataParallel puts before every name
# What a program that makes no sense runs into: an empty stack, a number where a text should be, an early end, …
DAMAGE = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError),
    *(ValueError, struct.error, zipfile.BadZipFile),
)


class Storage(NamedTuple):
    """Numbers in a row: which part of which of the file's storages, and what they are."""

    key: str
    dtype: np.dtype
    length: int  # of all of the storage
    start: int = 0


class Array(NamedTuple):
    """A tensor that is not read yet: a view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Name(NamedTuple):
    """A function or a class that the file names: 'module name'."""

    name: str


class _Mark:
    """Where on the stack a list, a tuple or a dict begins."""


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a file, by name.

    Of a checkpoint that keeps them under 'state_dict' (or 'model') beside other things, those; without the 'module.'
    before every name, if it is before every name.

    Raises:
      UserError: the file asks for anything that tensors do not need (it is named), is damaged, or holds no tensors.
    """
    path = Path(path)
    try:
        with path.open('rb') as file:
            if zipfile.is_zipfile(file):
                content, storage_of = _zip(path, file)
            else:
                # Mapped: of a text that says it is exabytes long, a map reads what there is.
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                    content, storage_of = _legacy(path, mapped)
            found = _tensors(content)
            names = {name.removeprefix(PREFIX): name for name in found}
            if not all(name.startswith(PREFIX) for name in found):
                names = {name: name for name in found}
            arrays = {name: _array(found[theirs], storage_of) for name, theirs in names.items()}
    except UserError:
        raise
    except DAMAGE as error:
        raise UserError(
            '{path} cannot be read, or is damaged ({error}); fetch it again.',
            path=path,
            error=str(error).partition('\n')[0] or type(error).__name__,
        ) from None
    if not arrays:
        raise UserError('{path} holds no tensors by name.', path=path)
    return arrays


# --- the two formats -------------------------------------------------------------------------------------------------

StorageOf = Callable[[Storage], np.ndarray]


def _zip(path: Path, file: BinaryIO) -> tuple[Any, StorageOf]:
    archive = zipfile.ZipFile(file)
    entries = {entry.filename: entry for entry in archive.infolist()}
    (program,) = (name for name in entries if name.endswith('/data.pkl') and name.count('/') == 1)
    root = program.removesuffix('data.pkl')
    if root + 'byteorder' in entries and _entry(archive, entries[root + 'byteorder']) != b'little':
        raise ValueError('byteorder')
    storages: dict[str, np.ndarray] = {}

    def storage_of(storage: Storage) -> np.ndarray:
        if storage.key not in storages:
            content = _entry(archive, entries[f'{root}data/{storage.key}'])
            storages[storage.key] = np.frombuffer(content, storage.dtype, storage.length)
        return storages[storage.key]

    return _run(path, io.BytesIO(_entry(archive, entries[program]))), storage_of


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.compress_type != zipfile.ZIP_STORED:  # torch never does; a small entry could be a large number of bytes
        raise ValueError(f'{entry.filename}: compressed')
    return archive.read(entry)


def _legacy(path: Path, mapped: mmap.mmap) -> tuple[Any, StorageOf]:
    file = cast(IO[bytes], mapped)
    if _run(path, file) != MAGIC or _run(path, file) != PROTOCOL:
        raise ValueError('no file of torch.save')
    if not _run(path, file)['little_endian']:
        raise ValueError('byteorder')
    wanted: dict[str, Storage] = {}
    content = _run(path, file, wanted)
    keys = _run(path, file)
    storages: dict[str, np.ndarray] = {}
    for key in map(_key, _list(keys)):
        (count,) = struct.unpack('<q', file.read(8))
        size = count * wanted[key].dtype.itemsize
        if count != wanted[key].length or not 0 <= size <= len(mapped) - mapped.tell():
            raise ValueError(f'{key}: {count}')
        storages[key] = np.frombuffer(file.read(size), wanted[key].dtype)
    return content, lambda storage: storages[storage.key]


def _tensors(content: Any) -> dict[str, Array]:
    for name in INSIDE:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    items = content.items() if isinstance(content, dict) else ()
    return {name: value for name, value in items if isinstance(name, str) and isinstance(value, Array)}


def _array(tensor: Array, storage_of: StorageOf) -> np.ndarray:
    numbers = storage_of(tensor.storage)
    start = tensor.storage.start + tensor.offset
    shape, strides = tensor.shape, tensor.strides
    whole = (*shape, *strides, start)
    if len(shape) != len(strides) or not all(type(number) is int and number >= 0 for number in whole):
        raise ValueError('a tensor of no shape')
    last = start + sum((size - 1) * stride for size, stride in zip(shape, strides))
    if math.prod(shape) and not (last < len(numbers) and math.prod(shape) <= len(numbers)):
        raise ValueError('a tensor beyond its storage')
    steps = [stride * numbers.itemsize for stride in strides]
    if not math.prod(shape):
        return np.zeros(shape, numbers.dtype)
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(numbers[start:], shape, steps)).reshape(shape)


# --- the machine -----------------------------------------------------------------------------------------------------


def _rebuild(storage: Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> Array:
    if not isinstance(storage, Storage):
        raise TypeError(type(storage).__name__)
    return Array(storage, offset, tuple(shape), tuple(strides))


# All functions that a file may have called, each by what stands for it here.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    'collections OrderedDict': lambda items=(): {_key(key): value for key, value in items},
    'torch._utils _rebuild_tensor': _rebuild,
    'torch._utils _rebuild_tensor_v2': _rebuild,
    'torch._utils _rebuild_parameter': lambda tensor, *_: tensor,
    'torch Size': lambda sizes=(): tuple(sizes),
}

_CONSTANTS: dict[str, Callable[[], Any]] = {
    'NONE': lambda: None,
    'NEWTRUE': lambda: True,
    'NEWFALSE': lambda: False,
    'EMPTY_DICT': dict,
    'EMPTY_LIST': list,
    'EMPTY_TUPLE': tuple,
    'MARK': _Mark,
}
_LITERALS = {
    *('INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT'),
    *('BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8', 'UNICODE', 'BINSTRING', 'SHORT_BINSTRING', 'STRING'),
}
_TUPLES = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}


def _run(path: Path, file: IO[bytes], storages: dict[str, Storage] | None = None) -> Any:
    """Runs one program, from where the file stands; returns what it builds. Its storages are noted in `storages`."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def refuse(name: str) -> UserError:
        return UserError(
            '{path} asks for "{name}", which tensors do not need: it was not read, and nothing of it was run.',
            path=path,
            name=ascii(name)[1:-1][:100],
        )

    def known(name: str) -> Name:
        if name not in FUNCTIONS and name not in DTYPES:
            raise refuse(name.replace(' ', '.'))
        return Name(name)

    def since_mark() -> list[Any]:
        items: list[Any] = []
        while not isinstance(item := stack.pop(), _Mark):
            items.append(item)
        return items[::-1]

    # A disassembler: it names each operation with its argument, and carries none out.
    argument: Any
    for operation, argument, _ in pickletools.genops(file):
        match operation.name:
            case name if name in _CONSTANTS:
                stack.append(_CONSTANTS[name]())
            case name if name in _LITERALS:
                stack.append(argument)
            case name if name in _TUPLES:
                items = [stack.pop() for _ in range(_TUPLES[name])]
                stack.append(tuple(items[::-1]))
            case 'TUPLE':
                stack.append(tuple(since_mark()))
            case 'LIST':
                stack.append(since_mark())
            case 'DICT' | 'SETITEMS':
                items = since_mark()
                if operation.name == 'DICT':
                    stack.append({})
                _dict(stack[-1]).update(zip(map(_key, items[::2]), items[1::2], strict=True))
            case 'SETITEM':
                value, key = stack.pop(), stack.pop()
                _dict(stack[-1])[_key(key)] = value
            case 'APPENDS' | 'APPEND':
                items = since_mark() if operation.name == 'APPENDS' else [stack.pop()]
                _list(stack[-1]).extend(items)
            case 'PUT' | 'BINPUT' | 'LONG_BINPUT':
                memo[argument] = stack[-1]
            case 'MEMOIZE':
                memo[len(memo)] = stack[-1]
            case 'GET' | 'BINGET' | 'LONG_BINGET':
                stack.append(memo[argument])
            case 'GLOBAL':
                stack.append(known(argument))
            case 'STACK_GLOBAL':
                name, module = stack.pop(), stack.pop()
                stack.append(known(f'{_key(module)} {_key(name)}'))
            case 'REDUCE':
                arguments, function = stack.pop(), stack.pop()
                if not isinstance(function, Name) or function.name not in FUNCTIONS:
                    raise refuse(getattr(function, 'name', type(function).__name__).replace(' ', '.'))
                stack.append(FUNCTIONS[function.name](*arguments))
            case 'BUILD':  # attributes of an object: a state_dict has versions of its modules among them
                stack.pop()
                _dict(stack[-1])
            case 'BINPERSID':
                storage = _storage(stack.pop())
                stack.append(storage)
                if storages is not None:
                    storages[storage.key] = storage
            case 'PROTO' | 'FRAME':
                pass
            case 'POP':
                stack.pop()
            case 'STOP':
                return stack.pop()
            case name:
                raise refuse(name)
    raise EOFError('no end')


def _storage(identity: Any) -> Storage:
    """A storage by how files name it: ('storage', class, key, device, count, and in old ones which part of it)."""
    word, kind, key, _, count, *view = identity
    texts = isinstance(word, str) and isinstance(key, str) and isinstance(kind, Name)
    if not texts or word != 'storage' or type(count) is not int or count < 0:
        raise ValueError('a storage of no kind')
    start = view[0][1] if view and view[0] is not None else 0
    return Storage(key, np.dtype(DTYPES[kind.name]), count, start)


def _key(value: Any) -> Any:
    """What may be the key of a dict: tuples of tuples of tuples take as long to hash as they are when unfolded."""
    if not isinstance(value, str | int | float | None):
        raise TypeError(type(value).__name__)
    return value


def _dict(value: Any) -> dict:
    if not isinstance(value, dict):
        raise TypeError(type(value).__name__)
    return value


def _list(value: Any) -> list:
    if not isinstance(value, list):
        raise TypeError(type(value).__name__)
    return value

"""Torch's files: both formats are read as torch wrote them, nothing in them is run, and damage is said to be damage."""

import collections
import io
import os
import pickle
import struct
import sys
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from jaxlab.errors import UserError
from jaxlab.pretrained import torch_file

# --- files that we write, as programs and storages -------------------------------------------------------------------


class Named:
    """Pickles as a call of a function of any name, or as the name itself."""

    def __init__(self, module, name, *arguments):
        self.call = module, name, arguments


class Writer(pickle._Pickler):
    """Python's own writer, which names functions that are not here."""

    def save(self, thing, save_persistent_id=True):
        if not isinstance(thing, Named):
            return super().save(thing, save_persistent_id)
        module, name, arguments = thing.call
        self.write(pickle.GLOBAL + f'{module}\n{name}\n'.encode())
        if arguments:
            self.save(arguments)
            self.write(pickle.REDUCE)

    def persistent_id(self, thing):
        return thing.identity if isinstance(thing, Numbers) else None


class Numbers:
    """A storage of float32."""

    def __init__(self, key, count, view=None):
        self.identity = 'storage', Named('torch', 'FloatStorage'), key, 'cpu', count, view


def tensor(key='0', count=6, offset=0, shape=(2, 3), strides=(3, 1), view=None):
    tail = (False, collections.OrderedDict())
    return Named('torch._utils', '_rebuild_tensor_v2', Numbers(key, count, view), offset, shape, strides, *tail)


def program(thing, protocol=2):
    buffer = io.BytesIO()
    Writer(buffer, protocol).dump(thing)
    return buffer.getvalue()


def write(path, thing, kind='zip', protocol=2, storages=None, compress=zipfile.ZIP_STORED):
    """Writes a file as torch does, with storages 0 … of given numbers."""
    storages = {'0': np.arange(6, dtype=np.float32)} if storages is None else storages
    content = thing if isinstance(thing, bytes) else program(thing, protocol)
    if kind == 'zip':
        with zipfile.ZipFile(path, 'w', compress) as archive:
            archive.writestr('net/data.pkl', content)
            for key, numbers in storages.items():
                archive.writestr(f'net/data/{key}', numbers.tobytes())
        return path
    system = {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {'short': 2, 'int': 4, 'long': 4}}
    parts = [program(part) for part in (torch_file.MAGIC, torch_file.PROTOCOL, system)]
    parts += [content, program(list(storages))]
    for numbers in storages.values():
        parts += [struct.pack('<q', len(numbers)), numbers.tobytes()]
    path.write_bytes(b''.join(parts))
    return path


KINDS = ('zip', 'legacy')


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
@pytest.mark.parametrize('kind', KINDS)
def test_a_tensor_by_name(kind, protocol, tmp_path):
    found = torch_file.read(write(tmp_path / 'net.pth', {'weight': tensor(), 'epoch': 3}, kind, protocol))
    assert list(found) == ['weight']
    np.testing.assert_array_equal(found['weight'], np.arange(6, dtype=np.float32).reshape(2, 3))


@pytest.mark.parametrize('kind', KINDS)
def test_views_of_one_storage(kind, tmp_path):
    numbers = np.arange(12, dtype=np.float32)
    views = {
        'turned': tensor(count=12, shape=(3, 2), strides=(1, 3)),
        'behind': tensor(count=12, offset=4, shape=(4,), strides=(2,)),
        'number': tensor(count=12, offset=11, shape=(), strides=()),
        'empty': tensor(count=12, shape=(0, 3), strides=(3, 1)),
        'part': tensor(count=12, shape=(2,), strides=(1,), view=('other', 5, 2)),
    }
    found = torch_file.read(write(tmp_path / 'net.pth', views, kind, storages={'0': numbers}))
    np.testing.assert_array_equal(found['turned'], numbers[:6].reshape(2, 3).T)
    np.testing.assert_array_equal(found['behind'], numbers[4::2])
    assert found['number'] == 11 and found['number'].shape == () and found['empty'].shape == (0, 3)
    np.testing.assert_array_equal(found['part'], numbers[5:7])


def test_names_of_a_checkpoint(tmp_path):
    inside = {'module.a': tensor(), 'module.b': tensor()}
    assert set(torch_file.read(write(tmp_path / '1.th', {'state_dict': inside, 'lr': 0.1}))) == {'a', 'b'}
    assert set(torch_file.read(write(tmp_path / '2.th', inside | {'c': tensor()}))) == {'module.a', 'module.b', 'c'}


# --- nothing is run --------------------------------------------------------------------------------------------------

HEARD = []
sys.addaudithook(lambda event, arguments: HEARD.append(event) if event in ('os.system', 'pickle.find_class') else None)


class Hostile:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize('protocol', [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    ('hostile', 'name'),
    [
        (Hostile(os.system, 'touch {file}'), f'{os.system.__module__}.system'),
        (Hostile(eval, '__import__("os").system("touch {file}")'), 'builtins.eval'),
        (Hostile(getattr, 'text', 'upper'), 'builtins.getattr'),
        (Hostile(collections.Counter, 'text'), 'collections.Counter'),
    ],
    ids=['system', 'eval', 'getattr', 'Counter'],
)
def test_a_hostile_file_is_refused_and_nothing_of_it_runs(hostile, name, kind, protocol, tmp_path):
    file = tmp_path / 'was_here'
    function, arguments = hostile.call
    hostile = Hostile(function, *(text.replace('{file}', str(file)) for text in arguments))
    content = pickle.dumps({'weight': hostile}, protocol)
    path = write(tmp_path / 'net.pth', content, kind)
    HEARD.clear()
    with pytest.raises(UserError, match='nothing of it was run') as caught:
        torch_file.read(path)
    assert name.replace('builtins', '') in str(caught.value).replace('__builtin__', '') and not HEARD
    assert not file.exists()
    if function is os.system:  # and it would have been
        pickle.loads(content)
        assert file.exists() and 'os.system' in HEARD


@pytest.mark.parametrize(
    'content',
    [
        b'cos\nsystem\n(S"true"\ntR.',
        b'(S"true"\nios\nsystem\n.',  # INST
        b'(cos\nsystem\nS"true"\no.',  # OBJ
        b'\x80\x02cos\nsystem\n)\x81.',  # NEWOBJ
        b'\x80\x04\x8c\x02os\x8c\x06system\x93.',  # STACK_GLOBAL
        b'\x80\x02\x82\x01.',  # EXT1
        b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\ntorch\n.',
        b'\x80\x02ctorch\nFloatStorage\n)R.',  # a class that is only a name here
        b'\x80\x02X\x04\x00\x00\x00evil)R.',
        b'Pevil\n.',  # PERSID
    ],
)
def test_each_way_to_call_something_is_closed(content, tmp_path):
    HEARD.clear()
    with pytest.raises(UserError):
        torch_file.read(write(tmp_path / 'net.pth', content))
    assert not HEARD


# 2^70 things, each of two of the one before: to hash, compare or show it takes for ever, and kept it is small.
LAUGHS = b')' + b''.join(b'q%c' % i + b'h%c\x86' % i for i in range(70))
STORAGE = b'(X\x07\x00\x00\x00storagectorch\nFloatStorage\n%bX\x03\x00\x00\x00cpuK\x01tQ'
ZERO = b'X\x01\x00\x00\x000'


@pytest.mark.parametrize(
    'content',
    [
        b'}' + LAUGHS + b'K\x01s.',
        b'}(' + LAUGHS + b'K\x01u.',
        b'ccollections\nOrderedDict\n](' + LAUGHS + b'K\x01\x86e\x85R.',
        LAUGHS + b')R.',
        LAUGHS + b'Q.',
        LAUGHS + b'b.',
        LAUGHS + b'e.',
        b'X\x01\x00\x00\x00a' + LAUGHS + b'\x93.',
        STORAGE % LAUGHS + b'.',
        b'}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor\n(' + LAUGHS + b'K\x00))tRs.',
        b'}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor\n(' + STORAGE % ZERO + b'K\x00' + LAUGHS * 2 + b'tRs.',
        LAUGHS + b'.',
    ],
)
@pytest.mark.parametrize('kind', KINDS)
def test_what_is_nested_without_end_is_refused_at_once(kind, content, tmp_path):
    with pytest.raises(UserError):
        torch_file.read(write(tmp_path / 'net.pth', b'\x80\x02' + content, kind))


def test_a_name_that_would_write_on_the_screen(tmp_path):
    with pytest.raises(UserError, match=r'\\x1b') as caught:
        torch_file.read(write(tmp_path / 'net.pth', b'\x80\x04\x8c\x02os\x8c\x05\x1b[2Jx\x93.'))
    assert str(caught.value).isprintable()


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', KINDS)
def test_a_cut_file_is_refused_wherever_it_ends(kind, tmp_path):
    whole = write(tmp_path / 'net.pth', {'weight': tensor()}, kind).read_bytes()
    for end in range(len(whole)):
        (tmp_path / 'cut.pth').write_bytes(whole[:end])
        with pytest.raises(UserError):
            torch_file.read(tmp_path / 'cut.pth')


@pytest.mark.parametrize('kind', KINDS)
def test_flipped_bits_end_in_tensors_or_a_sentence(kind, tmp_path):
    """The legacy format has no checksums, so a flip may only change a number; it never ends in anything else."""
    whole = write(tmp_path / 'net.pth', {'weight': tensor()}, kind).read_bytes()
    draw = np.random.default_rng(0)
    for _ in range(400):
        content = bytearray(whole)
        content[draw.integers(len(whole))] ^= 1 << draw.integers(8)
        (tmp_path / 'flipped.pth').write_bytes(content)
        try:
            found = torch_file.read(tmp_path / 'flipped.pth')
        except UserError:
            continue
        assert all(isinstance(array, np.ndarray) for array in found.values())


@pytest.mark.parametrize(
    'wrong',
    [
        tensor(count=7),  # more than there are
        tensor(shape=(2, 4), strides=(4, 1)),
        tensor(offset=1),
        tensor(offset=-1),
        tensor(strides=(-3, 1)),
        tensor(shape=(10**6, 10**6), strides=(0, 0)),  # one number, and 4 TB
        tensor(shape=(2, 3), strides=(1,)),
        tensor(shape=(2.0, 3), strides=(3, 1)),
        tensor(key='9'),
        tensor(view=('other', 5, 2)),
        tensor(view=('other', -1, 2)),
    ],
)
@pytest.mark.parametrize('kind', KINDS)
def test_a_tensor_stays_within_its_storage(wrong, kind, tmp_path):
    with pytest.raises(UserError, match='cannot be read, or is damaged'):
        torch_file.read(write(tmp_path / 'net.pth', {'weight': wrong}, kind))


def test_a_compressed_archive_is_not_unpacked(tmp_path):
    path = write(tmp_path / 'net.pth', {'weight': tensor()}, compress=zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match='compressed'):
        torch_file.read(path)


@pytest.mark.parametrize('content', [b'', b'text', pickle.dumps({'a': 1}), b'\x80\x02}.' * 5])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / 'net.pth').write_bytes(content)
    with pytest.raises(UserError, match=r'net\.pth'):
        torch_file.read(tmp_path / 'net.pth')


def test_a_file_without_tensors_is_refused(tmp_path):
    with pytest.raises(UserError, match='holds no tensors by name'):
        torch_file.read(write(tmp_path / 'net.pth', {'epoch': 3}))


# --- files that torch writes -----------------------------------------------------------------------------------------


@pytest.mark.reference
@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize('protocol', [2, 4])
def test_it_reads_what_torch_writes(zipped, protocol, tmp_path):
    torch = pytest.importorskip('torch', reason='reads what torch writes: pip install .[reference]')
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(5, 7, generator=generator)
    tensors = {
        'float32': base,
        'turned': base.T,
        'part': base[1:4, ::2],
        'number': torch.tensor(3.5),
        'empty': torch.zeros(0, 4),
        **{str(dtype): (base * 10).to(dtype) for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int64)},
        **{str(dtype): (base * 10).to(dtype) for dtype in (torch.int32, torch.int16, torch.int8, torch.bool)},
        'uint8': base.abs().to(torch.uint8),
        'parameter': torch.nn.Parameter(base.clone()),
    }
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    how = {'_use_new_zipfile_serialization': zipped, 'pickle_protocol': protocol}
    torch.save(
        {'state_dict': tensors, 'epoch': 3, 'best': 91.25, 'names': ['a', None, True]}, tmp_path / '1.pth', **how
    )
    torch.save(module.state_dict(), tmp_path / '2.pth', **how)
    for file, wanted in (('1.pth', tensors), ('2.pth', module.state_dict())):
        found = torch_file.read(tmp_path / file)
        assert found.keys() == wanted.keys()
        for name, theirs in wanted.items():
            theirs = theirs.detach()
            assert found[name].shape == tuple(theirs.shape), name
            if theirs.dtype == torch.bfloat16:
                assert found[name].dtype == jnp.bfloat16
                np.testing.assert_array_equal(found[name].astype(np.float32), theirs.float().numpy())
            else:
                assert found[name].dtype == theirs.numpy().dtype, name
                np.testing.assert_array_equal(found[name], theirs.numpy())

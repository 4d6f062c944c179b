"""Published weights: every name and shape is accounted for, files are those of one folder, and networks may fail."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from safetensors.numpy import save_file

from jaxlab import pretrained
from jaxlab.errors import UserError
from jaxlab.models import resnet
from jaxlab.parallel.mesh import make_mesh
from jaxlab.pretrained import Family, Row
from jaxlab.pretrained import resnet as published

FAMILY = Family(
    rows=(
        Row('body.{layer+1}.weight', 'params/layer_{layer}/kernel', 'conv'),
        Row('body.{layer+1}.mean', 'batch_stats/layer_{layer}/mean'),
        Row('token', 'params/token', 'first'),
        Row('fc.weight', 'params/head/kernel', 'linear'),
    ),
    ignored=(r'body\.[0-9]+\.count',),
    beside=((r'(.*)\.mean', r'\1.count'),),
)


def draw(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def theirs():
    """Two layers of 2 -> 3 channels, and a head of 3 -> 4."""
    return {
        **{f'body.{i}.weight': draw(3, 2, 5, i) for i in (1, 2)},
        **{f'body.{i}.mean': draw(3) + i for i in (1, 2)},
        **{f'body.{i}.count': np.zeros((), np.int64) for i in (1, 2)},
        'token': draw(1, 3),
        'fc.weight': draw(4, 3),
    }


def variables(classes=4, dtype=jnp.float32):
    def shape(*size):
        return jax.ShapeDtypeStruct(size, dtype)

    return {
        'params': {
            'layer_0': {'kernel': shape(5, 1, 2, 3)},
            'layer_1': {'kernel': shape(5, 2, 2, 3)},
            'token': shape(3),
            'head': {'kernel': shape(3, classes)},
        },
        'batch_stats': {f'layer_{i}': {'mean': shape(3)} for i in (0, 1)},
    }


@pytest.fixture
def folder(tmp_path):
    save_file(theirs(), tmp_path / 'model.safetensors')
    return tmp_path


def refused(message, *arguments, **others):
    with pytest.raises(UserError, match=message):
        pretrained.load(*arguments, **others)


# --- names, shapes, numbers ------------------------------------------------------------------------------------------


def test_every_tensor_finds_its_place(folder):
    found = pretrained.load(folder, FAMILY, variables())
    np.testing.assert_array_equal(found['params']['layer_1']['kernel'], theirs()['body.2.weight'].transpose(2, 3, 1, 0))
    np.testing.assert_array_equal(found['params']['head']['kernel'], theirs()['fc.weight'].T)
    np.testing.assert_array_equal(found['params']['token'], theirs()['token'][0])
    np.testing.assert_array_equal(found['batch_stats']['layer_0']['mean'], theirs()['body.1.mean'])


def test_there_and_back_bit_for_bit(folder, tmp_path):
    pretrained.save(tmp_path / 'new', FAMILY, pretrained.load(folder, FAMILY, variables()), {'model_type': 'two'})
    new = pretrained.find(tmp_path / 'new')
    assert new.config == {'model_type': 'two'} and set(new.tensors) == set(theirs())
    for name, array in theirs().items():
        again = new.tensors[name].read()
        assert again.dtype == array.dtype and again.tobytes() == array.tobytes() and again.shape == array.shape


def test_a_leaf_gets_the_dtype_of_the_model(tmp_path):
    halves = {name: array.astype(jnp.bfloat16) for name, array in theirs().items() if array.ndim}
    save_file(halves, tmp_path / 'model.safetensors')
    found = pretrained.load(tmp_path, FAMILY, variables())
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.float32)}
    np.testing.assert_array_equal(found['params']['token'], halves['token'][0].astype(np.float32))


def test_leaves_are_placed_in_the_parts_of_the_mesh(folder):
    mesh = make_mesh({'fsdp': 2, 'data': 4})
    whole = jax.tree.map(lambda leaf: leaf.update(sharding=jax.NamedSharding(mesh, PartitionSpec())), variables())
    split = jax.NamedSharding(mesh, PartitionSpec(None, 'fsdp'))
    whole['params']['head']['kernel'] = whole['params']['head']['kernel'].update(sharding=split)
    found = pretrained.load(folder, FAMILY, whole)
    head = found['params']['head']['kernel']
    assert head.sharding == split and head.addressable_shards[0].data.shape == (3, 2)
    np.testing.assert_array_equal(head, theirs()['fc.weight'].T)


def test_a_new_head_stays_as_it_is(folder):
    born = variables(classes=7)
    born['params']['head']['kernel'] = jnp.ones((3, 7))
    refused(r'fc.weight has shape \[4, 3\], and the model wants \[7, 3\]: .* new_head=True', folder, FAMILY, born)
    found = pretrained.load(folder, FAMILY, born, new_head=True)
    assert found['params']['head']['kernel'] is born['params']['head']['kernel']
    np.testing.assert_array_equal(found['params']['token'], theirs()['token'][0])


def test_a_new_head_of_another_kind(folder):
    born = variables()
    born['params']['head'] = {'bias': jnp.zeros(9)}
    assert pretrained.load(folder, FAMILY, born, new_head=True)['params']['head'] == born['params']['head']


def test_names_without_a_counterpart_are_listed(folder):
    larger = variables()
    larger['params']['layer_2'] = larger['params']['layer_0']
    larger['params']['extra'] = larger['params']['token']
    refused('It wants, and they lack: params/extra, body.3.weight.', folder, FAMILY, larger)
    smaller = variables()
    del smaller['params']['token']
    refused('They have, and it does not: token.', folder, FAMILY, smaller)


def test_at_most_ten_names_are_listed(tmp_path):
    save_file(theirs() | {f'other.{i:02}': draw(1) for i in range(13)}, tmp_path / 'model.safetensors')
    refused(r'other.00, .*, other.09 and 3 more\.', tmp_path, FAMILY, variables())


def test_another_shape_is_said(folder):
    other = variables()
    other['params']['layer_0']['kernel'] = jax.ShapeDtypeStruct((5, 1, 2, 8), jnp.float32)
    message = r'body.1.weight has shape \[3, 2, 5, 1\], and the model wants \[8, 2, 5, 1\]: another architecture'
    refused(message, folder, FAMILY, other)
    other['params']['layer_0']['kernel'] = jax.ShapeDtypeStruct((5, 2, 8), jnp.float32)  # and of fewer axes
    refused(r'the model wants \[8, 2, 5\]', folder, FAMILY, other)


def test_a_parameter_without_a_name_is_not_exported(tmp_path):
    with pytest.raises(UserError, match='params/gate: nothing that is published'):
        pretrained.save(tmp_path, FAMILY, {'params': {'gate': np.zeros(2)}})


# --- files -----------------------------------------------------------------------------------------------------------


def in_two_files(folder, **names):
    """A model in two files and their index; `names` exchanges names of files in the index."""
    folder.mkdir(exist_ok=True)
    parts = {'one.safetensors': {}, 'two.safetensors': {}}
    for i, (name, array) in enumerate(theirs().items()):
        parts[('one', 'two')[i % 2] + '.safetensors'][name] = array
    for file, tensors in parts.items():
        save_file(tensors, folder / file)
    places = {name: names.get(name, file) for file, tensors in parts.items() for name in tensors}
    (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': places}))
    return folder


def test_a_model_in_several_files(tmp_path):
    found = pretrained.load(in_two_files(tmp_path), FAMILY, variables())
    np.testing.assert_array_equal(found['params']['head']['kernel'], theirs()['fc.weight'].T)


@pytest.mark.parametrize(
    'name',
    [
        '../secret.safetensors',
        '/tmp/secret.safetensors',
        'C:\\secret.safetensors',
        '..\\secret.safetensors',
        'sub/one.safetensors',
        'one.bin',
        '..',
        '',
        'link.safetensors',
    ],
)
def test_an_index_names_files_of_its_folder_alone(name, tmp_path, monkeypatch):
    save_file(theirs(), tmp_path / 'secret.safetensors')
    folder = in_two_files(tmp_path / 'model', token=name)
    (folder / 'link.safetensors').symlink_to(tmp_path / 'secret.safetensors')
    opened = []
    monkeypatch.setattr(pretrained.files, '_of_file', lambda path: opened.append(path.name) or {})
    with pytest.raises(UserError, match=r'a \.safetensors file of the same folder is wanted'):
        pretrained.find(folder)
    assert not set(opened) - {'one.safetensors', 'two.safetensors'}


def test_the_links_of_the_hub_s_own_cache_are_followed(tmp_path):
    """A snapshot is links to blobs of the same repository."""
    blobs, snapshot = tmp_path / 'models--a--b/blobs', tmp_path / 'models--a--b/snapshots/1'
    in_two_files(tmp_path / 'plain')
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for i, file in enumerate(sorted((tmp_path / 'plain').iterdir())):
        file.rename(blobs / str(i))
        (snapshot / file.name).symlink_to(blobs / str(i))
    assert set(pretrained.find(snapshot).tensors) == set(theirs())


@pytest.mark.parametrize(
    ('index', 'message'),
    [
        ('{"weight_map": {"token": "gone.safetensors"}}', 'gone.safetensors is missing'),
        ('{"weight_map": {"tokens": "one.safetensors"}}', 'says that tokens is in one.safetensors, where it is not'),
        ('{"weight_map": {"token": 3}}', 'is no index of weights'),
        ('{"weight_map": ["token"]}', 'is no index of weights'),
        ('["token"]', 'holds no JSON object'),
        ('{"weight_map"', 'or is damaged'),
        ('[' * 100_000, 'or is damaged'),
    ],
)
def test_an_index_that_makes_no_sense(index, message, tmp_path):
    (in_two_files(tmp_path) / 'model.safetensors.index.json').write_text(index)
    with pytest.raises(UserError, match=message):
        pretrained.find(tmp_path)


@pytest.mark.parametrize('damage', ['cut', 'empty', 'text'])
def test_a_damaged_file_is_named(damage, folder):
    file = folder / 'model.safetensors'
    content = file.read_bytes()
    file.write_bytes({'cut': content[:-9], 'empty': b'', 'text': b'<!DOCTYPE html>' * 99}[damage])
    refused('model.safetensors cannot be read, or is damaged', folder, FAMILY, variables())


def test_what_is_not_there(tmp_path):
    with pytest.raises(UserError, match='no such file or folder; hf:owner/name'):
        pretrained.find('microsoft/resnet-50')
    with pytest.raises(UserError, match='one file of weights is wanted; it has 0'):
        pretrained.find(tmp_path)


# --- the hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that is a folder."""
    import huggingface_hub
    from huggingface_hub import errors

    def download(repository, file, *, revision, endpoint):
        assert (repository, revision, endpoint) == ('owner/name', None, 'https://mirror.example')
        if not (tmp_path / file).is_file():
            raise errors.EntryNotFoundError(f'no {file}')
        return str(tmp_path / file)

    monkeypatch.setenv('HF_ENDPOINT', 'https://mirror.example')
    monkeypatch.setattr(huggingface_hub, 'hf_hub_download', download)
    return tmp_path


def test_weights_come_from_the_hub(hub):
    save_file(theirs(), hub / 'model.safetensors')
    (hub / 'config.json').write_text('{"model_type": "two"}')
    weights = pretrained.find('hf:owner/name')
    assert weights.config == {'model_type': 'two'} and weights.preprocessor == {}
    assert set(pretrained.load(weights, FAMILY, variables())) == {'params', 'batch_stats'}


def test_weights_in_several_files_come_from_the_hub(hub):
    in_two_files(hub)
    assert set(pretrained.find('hf:owner/name').tensors) == set(theirs())
    in_two_files(hub, token='../one.safetensors')
    with pytest.raises(UserError, match='nothing else is opened'):
        pretrained.find('hf:owner/name')


def test_pickled_weights_are_not_fetched(hub):
    (hub / 'pytorch_model.bin').write_bytes(b'')
    with pytest.raises(UserError, match='weights in the format safetensors are wanted'):
        pretrained.find('hf:owner/name')


@pytest.mark.parametrize('kind', ['LocalEntryNotFoundError', 'OSError', 'RuntimeError'])
def test_a_network_that_fails_says_what_to_do(kind, hub, monkeypatch):
    import huggingface_hub
    from huggingface_hub import errors

    def fail(*_, **__):
        known = {'OSError': OSError, 'RuntimeError': RuntimeError}
        raise (known.get(kind) or getattr(errors, kind))('timed out\nTraceback …')

    monkeypatch.setattr(huggingface_hub, 'hf_hub_download', fail)
    with pytest.raises(UserError) as caught:
        pretrained.find('hf:owner/name')
    text = str(caught.value)
    assert text.startswith('model.safetensors of "hf:owner/name" cannot be fetched from https://mirror.example (timed')
    assert 'Set HF_ENDPOINT' in text and 'config.json' in text and len(text.splitlines()) == 2


@pytest.mark.parametrize('source', ['hf:', 'hf:a/b/c', 'hf:../../etc', 'hf:a/b?x'])
def test_no_name_of_a_repository(source, hub):
    with pytest.raises(UserError):
        pretrained.find(source)


# --- configs of ResNets ----------------------------------------------------------------------------------------------

FIFTY = {'model_type': 'resnet', 'id2label': {'0': 'cat', '1': 'dog', '2': 'owl'}}


@pytest.mark.parametrize('depth', resnet.IMAGENET)
def test_configs_there_and_back(depth):
    model = resnet.make({'classes': 3}, depth=depth)
    config = json.loads(json.dumps(published.config_of(model, ['cat', 'dog', 'owl'])))
    assert published.arguments_of(config)['depth'] == depth
    assert resnet.make({}, **published.arguments_of(config)) == model
    assert published.labels_of(config) == ('cat', 'dog', 'owl')


def test_what_a_config_leaves_out_is_resnet_50():
    assert resnet.make({}, **published.arguments_of(FIFTY)) == resnet.make({'classes': 3}, depth=50)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'model_type': 'vit'}, 'model_type=vit, and our ResNet has resnet'),
        ({'hidden_act': 'gelu'}, 'hidden_act=gelu'),
        ({'downsample_in_bottleneck': True}, 'downsample_in_bottleneck=True'),
        ({'hidden_sizes': [256, 512, 1024, 4096]}, 'hidden_sizes='),
    ],
)
def test_a_network_that_ours_is_not(change, message):
    with pytest.raises(UserError, match=message):
        published.arguments_of(FIFTY | change)


def test_a_network_that_theirs_is_not():
    with pytest.raises(UserError, match='stem=small: the ResNet of transformers has imagenet'):
        published.config_of(resnet.make({'shape': [32, 32, 3], 'classes': 3}, depth=18))


def test_another_architecture_is_said_before_anything_is_read():
    weights = pretrained.Weights('there', {}, FIFTY)
    with pytest.raises(UserError, match=r'"there" has blocks=\(3, 4, 6, 3\), and the model \(2, 2, 2, 2\)'):
        pretrained.load(weights, published.TRANSFORMERS, {}, model=resnet.make({'classes': 3}, depth=18))
    other = resnet.make({'classes': 10}, depth=50)
    with pytest.raises(UserError, match=r'classes=3, and the model 10: .* new_head=True'):
        pretrained.load(weights, published.TRANSFORMERS, {}, model=other)
    pretrained.check_architecture(weights, published.TRANSFORMERS, other, new_head=True)

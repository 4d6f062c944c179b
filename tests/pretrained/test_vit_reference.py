"""ViT against the published code: the same random weights give the same logits, there and back."""

# b batch, h height, w width, c channels

import jax
import numpy as np
import pytest
from flax.core import meta

from jaxlab.errors import UserError
from jaxlab.models.vit import make
from jaxlab.pretrained import find, load, preprocessor, save
from jaxlab.pretrained.vit import TRANSFORMERS, arguments_of, config_of
from tests.pretrained.published import assert_equal_files, logits_of, randomise, variables_like

pytestmark = pytest.mark.reference
torch = pytest.importorskip('torch', reason='compares with torch: pip install .[reference]')
transformers = pytest.importorskip('transformers', reason='compares with transformers: pip install .[reference]')

SHAPES = {
    'small': dict(
        image_size=12, patch_size=4, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=50
    ),
    'one odd patch': dict(
        image_size=7, patch_size=7, num_channels=1, hidden_size=15, num_attention_heads=3, intermediate_size=60
    ),
    'tanh': dict(
        image_size=9, patch_size=3, hidden_size=16, num_attention_heads=2, intermediate_size=64, hidden_act='gelu_new'
    ),
    'as wide as S': dict(image_size=32, patch_size=16, hidden_size=384, num_attention_heads=6, intermediate_size=1536),
}


def published(folder, num_hidden_layers=2, **shape):
    """A ViT of transformers with random weights, in a folder."""
    config = transformers.ViTConfig(num_hidden_layers=num_hidden_layers, num_labels=5, **shape)
    theirs = randomise(transformers.ViTForImageClassification(config), gain=2.0)
    theirs.save_pretrained(folder)
    return theirs


@pytest.mark.parametrize('name', SHAPES)
def test_the_same_logits_there_and_back(name, tmp_path):
    theirs = published(tmp_path / 'theirs', **SHAPES[name])
    size, channels = theirs.config.image_size, theirs.config.num_channels
    pictures = np.random.default_rng(0).normal(size=(3, size, size, channels)).astype(np.float32)
    weights = find(tmp_path / 'theirs')
    model = make({'shape': [size, size, channels]}, **arguments_of(weights.config))
    variables = load(weights, TRANSFORMERS, variables_like(model, pictures), model=model)
    found, wanted = jax.jit(model.apply)(variables, pictures), logits_of(theirs, pictures)
    assert found.dtype == wanted.dtype == np.float32
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()

    save(tmp_path / 'ours', TRANSFORMERS, variables, config_of(model, size, channels=channels))
    assert_equal_files(tmp_path / 'ours', tmp_path / 'theirs')
    again = transformers.ViTForImageClassification.from_pretrained(tmp_path / 'ours')
    np.testing.assert_array_equal(logits_of(again, pictures), wanted)


def test_gelu_of_the_wrong_kind_is_noticed(tmp_path):
    """A mutant: close, but no nearer than gelu's two forms are to each other."""
    theirs = published(tmp_path, **SHAPES['small'])
    pictures = np.random.default_rng(0).normal(size=(3, 12, 12, 3)).astype(np.float32)
    weights = find(tmp_path)
    model = make({'shape': [12, 12, 3]}, **arguments_of(weights.config) | {'activation': 'gelu'})
    variables = load(weights, TRANSFORMERS, variables_like(model, pictures))
    found, wanted = jax.jit(model.apply)(variables, pictures), logits_of(theirs, pictures)
    assert np.abs(found - wanted).max() > 5e-5 * np.abs(wanted).max()


def test_the_config_says_what_the_model_is():
    config = transformers.ViTConfig(num_labels=1000).to_dict()
    arguments = arguments_of(config)
    model = make({'shape': [224, 224, 3]}, **arguments)
    ours = config_of(model, 224)
    assert {key: config[key] for key in ours if key not in ('architectures', 'id2label', 'label2id')} == {
        key: value for key, value in ours.items() if key not in ('architectures', 'id2label', 'label2id')
    }
    assert arguments_of(ours) == arguments


def test_a_new_head_leaves_theirs_out(tmp_path):
    published(tmp_path, **SHAPES['small'])
    pictures = np.zeros((1, 12, 12, 3), np.float32)
    weights = find(tmp_path)
    model = make({'shape': [12, 12, 3]}, **arguments_of(weights.config) | {'classes': 7})
    born = meta.unbox(jax.jit(model.init)(jax.random.key(0), pictures))
    found = load(weights, TRANSFORMERS, born, new_head=True, model=model)
    np.testing.assert_array_equal(found['params']['head']['kernel'], born['params']['head']['kernel'])
    assert (found['params']['token'] != born['params']['token']).all()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(model_type='deit'), 'model_type=deit'),
        (dict(qkv_bias=False), 'qkv_bias=False'),
        (dict(hidden_act='relu'), 'hidden_act=relu, and our ViT has gelu, gelu_new'),
    ],
)
def test_other_networks_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        arguments_of({'model_type': 'vit'} | change)


@pytest.mark.parametrize('arguments', [dict(pool='mean'), dict(representation=8), dict(scan=True)])
def test_what_transformers_has_not_is_not_exported(arguments):
    with pytest.raises(UserError, match='the ViT of transformers has'):
        config_of(make({'shape': [32, 32, 3], 'classes': 2}, **arguments), 32)


def test_pictures_are_normalised_as_published():
    config = {
        'image_processor_type': 'ViTImageProcessor',
        'do_normalize': True,
        'do_resize': True,
        'image_mean': [0.5, 0.5, 0.5],
        'image_std': [0.5, 0.5, 0.5],
        'size': {'height': 224, 'width': 224},
    }
    assert preprocessor.read(config) == {
        'size': (224, 224),
        'resize': 0,
        'mean': (0.5, 0.5, 0.5),
        'deviation': (0.5, 0.5, 0.5),
        'interpolation': 'bilinear',
    }

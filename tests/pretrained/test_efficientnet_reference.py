"""EfficientNet against the published code: the same random weights give the same logits, there and back."""

# b batch, h height, w width, c channels

import jax
import numpy as np
import pytest

from jaxlab.errors import UserError
from jaxlab.models import efficientnet
from jaxlab.models.efficientnet import make
from jaxlab.pretrained import find, load, preprocessor, save
from jaxlab.pretrained.efficientnet import TRANSFORMERS, arguments_of, config_of, odd_blocks
from tests.pretrained.published import assert_equal_files, logits_of, randomise, settle, variables_like

pytestmark = pytest.mark.reference
torch = pytest.importorskip('torch', reason='compares with torch: pip install .[reference]')
transformers = pytest.importorskip('transformers', reason='compares with transformers: pip install .[reference]')

# Multipliers of width and depth, picture size and channels. Where a size is odd, zeros are laid otherwise.
SHAPES = {
    'even on its way': (0.25, 0.3, 64, 3),
    'odd on its way': (0.3, 0.3, 74, 3),
    'grey': (0.5, 0.2, 34, 1),
    'as wide as B0': (1.0, 0.3, 32, 3),
}


def pictures_of(size, channels):
    return np.random.default_rng(0).normal(size=(8, size, size, channels)).astype(np.float32)


def published(folder, width, depth, size, channels):
    """An EfficientNet of transformers with random weights, in a folder."""
    config = transformers.EfficientNetConfig(
        width_coefficient=width,
        depth_coefficient=depth,
        image_size=size,
        num_channels=channels,
        hidden_dim=efficientnet.scaled(efficientnet.TOP, width),
        depthwise_padding=odd_blocks(size, width, depth),
        num_labels=5,
    )
    theirs = randomise(transformers.EfficientNetForImageClassification(config))
    settle(theirs, pictures_of(size, channels))
    theirs.save_pretrained(folder)
    return theirs


@pytest.mark.parametrize('name', SHAPES)
def test_the_same_logits_there_and_back(name, tmp_path):
    theirs = published(tmp_path / 'theirs', *SHAPES[name])
    _, _, size, channels = SHAPES[name]
    pictures = pictures_of(size, channels)
    weights = find(tmp_path / 'theirs')
    model = make({}, **arguments_of(weights.config))
    variables = load(weights, TRANSFORMERS, variables_like(model, pictures), model=model)
    found, wanted = jax.jit(model.apply)(variables, pictures), logits_of(theirs, pictures)
    assert found.dtype == wanted.dtype == np.float32
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()

    save(tmp_path / 'ours', TRANSFORMERS, variables, config_of(model, size, channels=channels))
    assert_equal_files(tmp_path / 'ours', tmp_path / 'theirs')
    again = transformers.EfficientNetForImageClassification.from_pretrained(tmp_path / 'ours')
    np.testing.assert_array_equal(logits_of(again, pictures), wanted)


def test_symmetric_padding_is_noticed(tmp_path, monkeypatch):
    """A mutant: torch's own padding, as many zeros before as behind, everywhere."""
    theirs = published(tmp_path, *SHAPES['even on its way'])
    pictures = pictures_of(64, 3)
    weights = find(tmp_path)
    model = make({}, **arguments_of(weights.config))
    variables = load(weights, TRANSFORMERS, variables_like(model, pictures))

    def symmetric(features, window, stride, **others):
        return efficientnet_conv(features, window, stride, padding=((window[0] // 2,) * 2,) * 2, **others)

    efficientnet_conv = efficientnet.Conv
    monkeypatch.setattr(efficientnet, 'Conv', symmetric)
    found, wanted = jax.jit(model.apply)(variables, pictures), logits_of(theirs, pictures)
    assert np.abs(found - wanted).max() > 1e-3 * np.abs(wanted).max()


# Pictures' sizes, and what the published config.json of each lists.
PUBLISHED = [
    (224, []),
    (240, [16]),
    (260, [5, 8, 16]),
    (300, [5, 18]),
    (380, [6]),
    (456, [13, 27]),
    (528, [31]),
    (600, [18]),
]


@pytest.mark.parametrize('size', range(8))
def test_published_configs(size):
    pixels, padding = PUBLISHED[size]
    width, depth = efficientnet.MULTIPLIERS[size]
    config = transformers.EfficientNetConfig(
        width_coefficient=width,
        depth_coefficient=depth,
        image_size=pixels,
        hidden_dim=efficientnet.scaled(1280, width),
        depthwise_padding=padding,
        num_labels=1000,
    ).to_dict()
    arguments = arguments_of(config)
    assert arguments['size'] == size and arguments['classes'] == 1000
    ours = config_of(make({}, **arguments), pixels)
    free = ('architectures', 'id2label', 'label2id')
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}
    assert {key: plain[key] for key in ours if key not in free} == {
        key: value for key, value in ours.items() if key not in free
    }
    assert arguments_of(ours) == arguments


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(model_type='resnet'), 'model_type=resnet'),
        (dict(pooling_type='max'), 'pooling_type=max'),
        (dict(strides=[1, 2, 2, 2, 1, 1, 1]), 'strides='),
        (dict(image_size=225), 'image_size=225: transformers pads pictures of odd sizes otherwise'),
        (dict(depthwise_padding=[3]), r'depthwise_padding=\[3\], and our EfficientNet has \[18\]'),
    ],
)
def test_other_networks_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        arguments_of({'model_type': 'efficientnet', 'depthwise_padding': [18]} | change)


@pytest.mark.parametrize('normal', [True, False])
def test_pictures_are_normalised_as_published(normal):
    """Their processor divides by its deviation twice, the square root of what is meant."""
    config = {
        'image_processor_type': 'EfficientNetImageProcessor',
        'do_normalize': normal,
        'image_mean': [0.485, 0.456, 0.406],
        'image_std': [0.47853944, 0.4732864, 0.47434163],
        'resample': 0,
        'size': {'height': 12, 'width': 12},
    }
    picture = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    processor = transformers.EfficientNetImageProcessor(**config)
    wanted = processor(picture, return_tensors='np')['pixel_values'][0]
    ours = preprocessor.read(config)
    assert ours['size'] == (12, 12) and ours['resize'] == 0 and ours['interpolation'] == 'nearest'
    found = (picture / 255 - ours['mean']) / ours['deviation']
    np.testing.assert_allclose(np.moveaxis(found, -1, 0), wanted, rtol=1e-5, atol=1e-5)

"""What published models do to pictures, in our words."""

import pytest

from jaxlab.errors import UserError
from jaxlab.pretrained.preprocessor import read

IMAGENET = {'image_mean': [0.485, 0.456, 0.406], 'image_std': [0.229, 0.224, 0.225]}
CONVNEXT = {'feature_extractor_type': 'ConvNextFeatureExtractor', 'resample': 3, **IMAGENET}


@pytest.mark.parametrize(
    ('config', 'size', 'resize', 'interpolation'),
    [
        ({**CONVNEXT, 'crop_pct': 0.875, 'size': 224}, (224, 224), 256, 'bicubic'),  # microsoft/resnet-50's
        ({**CONVNEXT, 'crop_pct': 0.875, 'size': {'shortest_edge': 224}}, (224, 224), 256, 'bicubic'),
        ({**CONVNEXT, 'crop_pct': None, 'size': {'shortest_edge': 224}}, (224, 224), 256, 'bicubic'),
        ({**CONVNEXT, 'crop_pct': 0.875, 'size': 384}, (384, 384), 0, 'bicubic'),
        ({'size': {'height': 224, 'width': 192}, 'resample': 2, **IMAGENET}, (224, 192), 0, 'bilinear'),  # ViT's
        ({'size': 224, **IMAGENET}, (224, 224), 0, 'bilinear'),
        (
            {'size': {'shortest_edge': 256}, 'crop_size': {'height': 224, 'width': 224}, 'do_center_crop': True},
            (224, 224),
            256,
            'bilinear',
        ),
    ],
)
def test_sizes(config, size, resize, interpolation):
    found = read(config)
    assert (found['size'], found['resize'], found['interpolation']) == (size, resize, interpolation)
    assert found['mean'] == (0.485, 0.456, 0.406) and found['deviation'] == (0.229, 0.224, 0.225)


def test_without_normalisation():
    found = read({'size': 224, 'do_normalize': False, 'image_mean': [0.5] * 3, 'image_std': [0.5] * 3})
    assert found['mean'] == (0, 0, 0) and found['deviation'] == (1, 1, 1)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        ({'resample': 9}, 'resample=9'),
        ({'rescale_factor': 1.0}, 'only 1/255'),
        ({'size': {'longest_edge': 800}}, 'a height and a width are wanted'),
    ],
)
def test_what_we_do_not_have(config, message):
    with pytest.raises(UserError, match=message):
        read(config)


@pytest.mark.reference
@pytest.mark.parametrize('size', [224, 384])
@pytest.mark.parametrize('kind', ['ConvNextImageProcessor', 'ViTImageProcessor'])
def test_it_is_what_the_published_code_does(kind, size, monkeypatch):
    """The processor itself, on a picture of one colour per place: the same shape and the same cut."""
    transformers = pytest.importorskip('transformers', reason='compares with transformers: pip install .[reference]')
    torch = pytest.importorskip('torch', reason='compares with torch: pip install .[reference]')
    import numpy as np
    from PIL import Image

    side = {'shortest_edge': size} if kind == 'ConvNextImageProcessor' else {'height': size, 'width': size}
    try:
        theirs = getattr(transformers, kind)(size=side, resample=2, **IMAGENET)
    except ImportError as error:  # it wants torchvision
        pytest.skip(str(error).strip().partition('\n')[0])
    found = read(theirs.to_dict() | {'resample': int(theirs.resample)})
    picture = np.add.outer(np.arange(500), np.arange(600) / 3)[..., None].repeat(3, -1).astype(np.uint8)
    image = Image.fromarray(picture)
    height, width = found['size']
    if found['resize']:
        scale = found['resize'] / 500
        image = image.resize((int(600 * scale), found['resize']), Image.Resampling.BILINEAR)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    else:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    ours = (np.asarray(image) / 255 - found['mean']) / found['deviation']
    wanted = theirs(Image.fromarray(picture), return_tensors='pt')['pixel_values'][0]
    assert isinstance(wanted, torch.Tensor)
    close = np.abs(ours.transpose(2, 0, 1) - wanted.numpy()) < 0.05
    assert close.mean() > 0.99

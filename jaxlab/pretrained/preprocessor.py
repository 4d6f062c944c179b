"""What published models do to a picture before they see it, in our words."""

from collections.abc import Mapping
from typing import Any

from jaxlab.errors import UserError

# Pillow's numbers, which preprocessor_config.json has under "resample".
INTERPOLATIONS = {0: 'nearest', 1: 'lanczos', 2: 'bilinear', 3: 'bicubic', 4: 'box', 5: 'hamming'}
LARGE = 384  # from here on, what crops by a share of the picture (crop_pct) no longer crops


def read(config: Mapping[str, Any]) -> dict[str, Any]:
    """Reads a preprocessor_config.json of any of transformers' picture processors.

    Args:
      config: its content.

    Returns:
      size: (height, width) that the model sees; resize: what the shorter side is made before the middle is cut out, 0
      where the picture is made `size` without a cut; mean and deviation of each channel, of values in 0 … 1;
      interpolation: 'bilinear', 'bicubic' and so on.

    Raises:
      UserError: it asks for what we do not have.
    """
    size, crop = config.get('size', 224), config.get('crop_size', 224)
    shortest = size if isinstance(size, int) else size.get('shortest_edge', 0)
    cut = _both(size), 0
    if 'crop_pct' in config or 'ConvNext' in _kind(config):
        share = config.get('crop_pct') or 224 / 256
        cut = (shortest, shortest), int(shortest / share) if shortest < LARGE else 0
    elif config.get('do_center_crop', 'crop_size' in config):
        cut = _both(crop), shortest
    if not config.get('do_resize', True) or 0 in cut[0]:
        raise UserError('preprocessor_config.json: size={size}: a height and a width are wanted.', size=size)
    scale = config.get('rescale_factor', 1 / 255) if config.get('do_rescale', True) else 1.0
    if abs(scale * 255 - 1) > 1e-3:
        raise UserError('preprocessor_config.json: pixels times {scale}: only 1/255 is known.', scale=scale)
    resample = config.get('resample', 2)
    if resample not in INTERPOLATIONS:
        raise UserError('preprocessor_config.json: resample={value}: 0 to 5 are known.', value=resample)
    normal = config.get('do_normalize', True)
    mean = tuple(config.get('image_mean', (0.485, 0.456, 0.406))) if normal else (0.0, 0.0, 0.0)
    deviation = tuple(config.get('image_std', (0.229, 0.224, 0.225)))
    if config.get('include_top', 'EfficientNet' in _kind(config)):  # theirs is a square root, and divides twice
        deviation = tuple(each * each if normal else each for each in deviation)
    elif not normal:
        deviation = (1.0, 1.0, 1.0)
    return {
        'size': cut[0],
        'resize': cut[1],
        'mean': mean,
        'deviation': deviation,
        'interpolation': INTERPOLATIONS[resample],
    }


def write(processor: Any) -> dict[str, Any]:
    """Returns the preprocessor_config.json by which transformers does to a picture what our processor does.

    Args:
      processor: as data/processors/picture.py makes it.
    """
    numbers = {name: number for number, name in INTERPOLATIONS.items()}
    channels = max(processor.channels, 1)
    shared = {
        'do_resize': True,
        'do_rescale': True,
        'do_normalize': True,
        'rescale_factor': 1 / 255,
        'resample': numbers[processor.interpolation],
        'image_mean': list(processor.mean) or [0.0] * channels,
        'image_std': list(processor.deviation) or [1.0] * channels,
    }
    size = {'height': processor.height, 'width': processor.width}
    if not processor.resize:
        return {'image_processor_type': 'ViTImageProcessor', 'size': size, **shared}
    cut = {'size': {'shortest_edge': processor.resize}, 'crop_size': size, 'do_center_crop': True}
    return {'image_processor_type': 'BitImageProcessor', **cut, **shared}


def _kind(config: Mapping[str, Any]) -> str:
    return config.get('image_processor_type', '') or config.get('feature_extractor_type', '')


def _both(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    side = size.get('shortest_edge', 0)
    return size.get('height', side), size.get('width', side)

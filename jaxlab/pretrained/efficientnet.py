"""Published EfficientNets: those of transformers, google/efficientnet-b0 … b7."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxlab.errors import UserError
from jaxlab.models.efficientnet import MULTIPLIERS, SQUEEZE, STAGES, STEM, TOP, EfficientNet, make, scaled, stages
from jaxlab.pretrained import Exported, Family, Row, preprocessor
from jaxlab.pretrained.resnet import BESIDE, COUNTS, NORM, labels_of

STRUCTURE = ('width', 'depth', 'norm_epsilon', 'classes')
PUBLISHED_SIZE = 600  # B7's: what a config.json means that says nothing

BLOCK, OURS = 'efficientnet.encoder.blocks.{block}', 'block_{block}'


def odd_blocks(size: int, width: float, depth: float) -> list[int]:
    """Numbers of the blocks that halve an odd number of rows, for pictures of size x size pixels.

    Around an odd number, TensorFlow pads as many zeros before as behind; a config.json of transformers lists these
    blocks, since torch does not see it by itself.

    Raises:
      UserError: the size is odd; for the first convolution of all there is no such list.
    """
    if size % 2:
        raise UserError(
            'image_size={size}: transformers pads pictures of odd sizes otherwise than TensorFlow and we do; an even'
            ' size is wanted.',
            size=size,
        )
    found, number, side = [], 0, size // 2
    for stage in stages(width, depth):
        if stage.stride == 2:
            found += [number] if side % 2 else []
            side = -(-side // 2)
        number += stage.blocks
    return found


def arguments_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of our `make` for a config.json of transformers' EfficientNet.

    Raises:
      UserError: it describes a network that ours is not.
    """
    width, depth = config.get('width_coefficient', 2.0), config.get('depth_coefficient', 3.1)
    size = config.get('image_size', PUBLISHED_SIZE)
    fixed = _architecture(width) | {'depthwise_padding': odd_blocks(size, width, depth)}
    for key, wanted in fixed.items():
        value = config.get(key, [] if key == 'depthwise_padding' else wanted)
        if (list(value) if isinstance(value, tuple) else value) != wanted:
            raise UserError(
                'config.json: {key}={value}, and our EfficientNet has {wanted}.', key=key, value=value, wanted=wanted
            )
    known = (width, depth) in MULTIPLIERS
    scale = {'size': MULTIPLIERS.index((width, depth))} if known else {'width': width, 'depth': depth}
    return scale | {
        'classes': len(labels_of(config)) or config.get('num_labels', 2),
        'dropout': config.get('dropout_rate', 0.5),
        'stochastic_depth': config.get('drop_connect_rate', 0.2),
        'norm_momentum': config.get('batch_norm_momentum', 0.99),
        'norm_epsilon': config.get('batch_norm_eps', 1e-3),
    }


def config_of(model: EfficientNet, size: int, labels: Sequence[str] = (), channels: int = 3) -> dict[str, Any]:
    """Returns the config.json by which transformers makes this model.

    Args:
      model: ours.
      size: height and width of the pictures; those that transformers' model is given must have it.
      labels: the names of its classes; by default LABEL_0, LABEL_1, …
      channels: of the pictures.

    Raises:
      UserError: the size is odd.
    """
    names = list(labels) or [f'LABEL_{i}' for i in range(model.classes)]
    assert len(names) == model.classes, f'{len(names)} labels for {model.classes} classes'
    return {
        'architectures': ['EfficientNetForImageClassification'],
        **_architecture(model.width),
        'image_size': size,
        'num_channels': channels,
        'width_coefficient': model.width,
        'depth_coefficient': model.depth,
        'depthwise_padding': odd_blocks(size, model.width, model.depth),
        'dropout_rate': model.dropout,
        'drop_connect_rate': model.stochastic_depth,
        'batch_norm_momentum': model.norm_momentum,
        'batch_norm_eps': model.norm_epsilon,
        'id2label': dict(enumerate(names)),
        'label2id': {name: i for i, name in enumerate(names)},
    }


def _architecture(width: float) -> dict[str, Any]:
    """What every published config.json of this width says."""
    return {
        'model_type': 'efficientnet',
        'depth_divisor': 8,
        'kernel_sizes': [stage.window for stage in STAGES],
        'in_channels': [STEM, *(stage.features for stage in STAGES[:-1])],
        'out_channels': [stage.features for stage in STAGES],
        'strides': [stage.stride for stage in STAGES],
        'num_block_repeats': [stage.blocks for stage in STAGES],
        'expand_ratios': [stage.expansion for stage in STAGES],
        'squeeze_expansion_ratio': 1 / SQUEEZE,
        'hidden_act': 'swish',
        'hidden_dim': scaled(TOP, width),
        'pooling_type': 'mean',
    }


def _conv_norm(conv: str, norm: str, ours: str) -> tuple[Row, ...]:
    """The rows of a convolution and its norm, by their names and our path."""
    kernel = Row(f'{conv}.weight', f'params/{ours}/conv/kernel', 'conv')
    return kernel, *(Row(f'{norm}.{theirs}', path.format(f'{ours}/norm')) for theirs, path in NORM.items())


def _squeeze(theirs: str, ours: str) -> tuple[Row, Row]:
    """Dense layers, which theirs are too: convolutions of a single pixel."""
    return Row(f'{theirs}.weight', f'params/{ours}/kernel', 'pointwise'), Row(f'{theirs}.bias', f'params/{ours}/bias')


TRANSFORMERS = Family(
    rows=(
        *_conv_norm('efficientnet.embeddings.convolution', 'efficientnet.embeddings.batchnorm', 'stem'),
        *_conv_norm(f'{BLOCK}.expansion.expand_conv', f'{BLOCK}.expansion.expand_bn', f'{OURS}/expand'),
        *_conv_norm(
            f'{BLOCK}.depthwise_conv.depthwise_conv', f'{BLOCK}.depthwise_conv.depthwise_norm', f'{OURS}/depthwise'
        ),
        *_squeeze(f'{BLOCK}.squeeze_excite.reduce', f'{OURS}/squeeze'),
        *_squeeze(f'{BLOCK}.squeeze_excite.expand', f'{OURS}/excite'),
        *_conv_norm(f'{BLOCK}.projection.project_conv', f'{BLOCK}.projection.project_bn', f'{OURS}/project'),
        *_conv_norm('efficientnet.encoder.top_conv', 'efficientnet.encoder.top_bn', 'top'),
        Row('classifier.weight', 'params/head/kernel', 'linear'),
        Row('classifier.bias', 'params/head/bias'),
    ),
    ignored=(COUNTS,),
    beside=BESIDE,
    make=make,
    arguments_of=arguments_of,
    structure=STRUCTURE,
)


def exported(model: EfficientNet, processor: Any) -> Exported:
    """Returns what an export of this model is; `processor` is that of its pictures."""
    config = config_of(model, processor.height, processor.labels, processor.channels)
    return Exported(TRANSFORMERS, config, preprocessor.write(processor))


def family_of(names: Mapping[str, Any]) -> Family:
    """Returns the family whose names these are: of tensors, as `find` gives them."""
    return TRANSFORMERS

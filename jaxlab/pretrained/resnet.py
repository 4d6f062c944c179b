"""Published ResNets: those of transformers (microsoft/resnet-50), those of torchvision, and CIFAR's of the same names.

All name the same parts: convolutions without biases, each with a norm, and one dense layer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxlab.errors import UserError
from jaxlab.models.resnet import EXPANSION, IMAGENET, ResNet, make
from jaxlab.pretrained import Exported, Family, Row, preprocessor

STRUCTURE = ('blocks', 'bottleneck', 'width', 'stem', 'shortcut', 'classes')
NORM = {
    'weight': 'params/{}/scale',
    'bias': 'params/{}/bias',
    'running_mean': 'batch_stats/{}/mean',
    'running_var': 'batch_stats/{}/variance',
}
COUNTS = r'.*\.num_batches_tracked'  # how many batches the running statistics are of, which nothing reads
BESIDE = ((r'(.*)\.running_mean', r'\1.num_batches_tracked'),)


def _conv_norm(conv: str, norm: str, ours: str) -> tuple[Row, ...]:
    """The rows of a convolution and its norm, by their names and our path."""
    kernel = Row(f'{conv}.weight', f'params/{ours}/conv/kernel', 'conv')
    return kernel, *(Row(f'{norm}.{theirs}', path.format(f'{ours}/norm')) for theirs, path in NORM.items())


Pair = tuple[str, str]  # their names of a convolution and its norm


def _family(stem: Pair, conv: Pair, shortcut: Pair, head: str, **others: Any) -> Family:
    block = 'stage_{stage}_block_{block}'
    rows = (
        *_conv_norm(*stem, 'stem'),
        *_conv_norm(*conv, block + '/conv_{conv}'),
        *_conv_norm(*shortcut, block + '/shortcut'),
        Row(f'{head}.weight', 'params/head/kernel', 'linear'),
        Row(f'{head}.bias', 'params/head/bias'),
    )
    return Family(rows, ignored=(COUNTS,), beside=BESIDE, structure=STRUCTURE, **others)


def arguments_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of our `make` for a config.json of transformers' ResNet.

    Raises:
      UserError: it describes a network that ours is not.
    """
    _check(config, 'model_type', 'resnet', 'resnet')
    for key, default, wanted in (
        ('hidden_act', 'relu', 'relu'),
        ('downsample_in_first_stage', False, False),
        ('downsample_in_bottleneck', False, False),
    ):
        _check(config, key, default, wanted)
    bottleneck = config.get('layer_type', 'bottleneck') == 'bottleneck'
    blocks = tuple(config.get('depths', (3, 4, 6, 3)))
    width = config.get('embedding_size', 64)
    expansion = EXPANSION if bottleneck else 1
    _check(config, 'hidden_sizes', [256, 512, 1024, 2048], [width * 2**i * expansion for i in range(len(blocks))])
    depth = 50 if bottleneck else 18
    for known, design in IMAGENET.items():
        if (design.blocks, design.bottleneck) == (blocks, bottleneck):
            depth, blocks = known, ()
            break
    labels = labels_of(config)
    return {
        'depth': depth,
        'blocks': blocks,
        'width': width,
        'stem': 'imagenet',
        'shortcut': 'B',
        'classes': len(labels) or config.get('num_labels', 2),
    }


def labels_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the names of the classes in a config.json, in their order; () where it has none."""
    labels = {int(number): name for number, name in config.get('id2label', {}).items()}
    return tuple(labels[i] for i in sorted(labels))


def config_of(model: ResNet, labels: Sequence[str] = (), channels: int = 3) -> dict[str, Any]:
    """Returns the config.json by which transformers makes this model.

    Args:
      model: ours, of ImageNet's kind.
      labels: the names of its classes; by default LABEL_0, LABEL_1, …
      channels: of the pictures.

    Raises:
      UserError: transformers has no such network.
    """
    for field, wanted in (('stem', 'imagenet'), ('shortcut', 'B'), ('norm_epsilon', 1e-5)):
        if getattr(model, field) != wanted:
            raise UserError(
                '{field}={value}: the ResNet of transformers has {wanted}, and no other.',
                field=field,
                value=getattr(model, field),
                wanted=wanted,
            )
    names = list(labels) or [f'LABEL_{i}' for i in range(model.classes)]
    assert len(names) == model.classes, f'{len(names)} labels for {model.classes} classes'
    expansion = EXPANSION if model.bottleneck else 1
    return {
        'architectures': ['ResNetForImageClassification'],
        'model_type': 'resnet',
        'num_channels': channels,
        'embedding_size': model.width,
        'hidden_sizes': [model.width * 2**stage * expansion for stage in range(len(model.blocks))],
        'depths': list(model.blocks),
        'layer_type': 'bottleneck' if model.bottleneck else 'basic',
        'hidden_act': 'relu',
        'downsample_in_first_stage': False,
        'downsample_in_bottleneck': False,
        'id2label': dict(enumerate(names)),
        'label2id': {name: i for i, name in enumerate(names)},
    }


def _check(config: Mapping[str, Any], key: str, default: Any, wanted: Any) -> None:
    if (value := config.get(key, default)) != wanted:
        raise UserError('config.json: {key}={value}, and our ResNet has {wanted}.', key=key, value=value, wanted=wanted)


_STEM = 'resnet.embedder.embedder'
_LAYER = 'resnet.encoder.stages.{stage}.layers.{block}'
TRANSFORMERS = _family(
    (f'{_STEM}.convolution', f'{_STEM}.normalization'),
    (f'{_LAYER}.layer.{{conv}}.convolution', f'{_LAYER}.layer.{{conv}}.normalization'),
    (f'{_LAYER}.shortcut.convolution', f'{_LAYER}.shortcut.normalization'),
    'classifier.1',
    make=make,
    arguments_of=arguments_of,
)

_BLOCK = 'layer{stage+1}.{block}'
_CONV = (f'{_BLOCK}.conv{{conv+1}}', f'{_BLOCK}.bn{{conv+1}}')
TORCHVISION = _family(('conv1', 'bn1'), _CONV, (f'{_BLOCK}.downsample.0', f'{_BLOCK}.downsample.1'), 'fc')
CIFAR = _family(('conv1', 'bn1'), _CONV, (f'{_BLOCK}.shortcut.0', f'{_BLOCK}.shortcut.1'), 'linear')


def family_of(names: Mapping[str, Any]) -> Family:
    """Returns the family whose names these are: of tensors, as `find` gives them."""
    if any(name.startswith('resnet.') for name in names):
        return TRANSFORMERS
    return TORCHVISION if 'fc.weight' in names else CIFAR


def exported(model: ResNet, processor: Any) -> Exported:
    """Returns what an export of this model is; `processor` is that of its pictures."""
    config = config_of(model, processor.labels, processor.channels)
    return Exported(TRANSFORMERS, config, preprocessor.write(processor))

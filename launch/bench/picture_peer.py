"""Models of pictures twice: ours, and torch's layers with the same weights, for benchmarks that compare the two."""

# b batch, h height, w width, c channels, i and o channels or features in and out

import itertools
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import torch
import transformers
from ml_collections import ConfigDict
from torch import nn

from jaxlab import pretrained
from jaxlab.config import experiment, spec
from jaxlab.models import resnet as resnets
from jaxlab.parallel.layout import path_name
from jaxlab.pretrained import Family, Row, resnet, vit


@dataclass(frozen=True)
class Size:
    """A model and the batch that it is trained on; `make` says what they are to torch."""

    kind: str
    shape: tuple[int, int, int]  # h w c
    batch: int
    classes: int
    optimizer: str  # 'adamw' or 'momentum'
    learning_rate: float
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of our model


IMAGENET = ((224, 224, 3), 128, 1000)
VIT_B = {'width': 768, 'heads': 12, 'norm_epsilon': 1e-12}
SIZES = {
    'mlp': Size('mlp', (28, 28, 1), 64, 10, 'adamw', 1e-3, {'widths': (256,)}),
    'cnn': Size('cnn', (28, 28, 1), 64, 10, 'adamw', 1e-3),
    'resnet18': Size('resnet', (32, 32, 3), 64, 10, 'momentum', 0.01, {'depth': 18, 'stem': 'small'}),
    'resnet50': Size('resnet', *IMAGENET, 'momentum', 0.01, {'depth': 50}),
    'vit_b': Size('vit', *IMAGENET, 'adamw', 1e-4, VIT_B),
}
DECAY = {'adamw': 0.1, 'momentum': 1e-4}  # beside the gradient with AdamW, in it with momentum; of matrices only


def info(size: Size) -> dict[str, Any]:
    """What the data say of themselves."""
    channels = size.shape[-1]
    return {
        'shape': list(size.shape),
        'classes': size.classes,
        'mean': [0.5] * channels,
        'deviation': [0.25] * channels,
    }


def ours(size: Size, steps_per_call: int) -> ConfigDict:
    """Returns the config of our training."""
    c = experiment()
    c.steps = 100
    c.batch_size, c.steps_per_call = size.batch, steps_per_call
    c.mesh.data = 1
    c.task, c.model = spec('tasks.classification'), spec(f'models.{size.kind}', **size.arguments)
    decay = 'weight_decay' if size.optimizer == 'adamw' else 'l2'
    c.optimizer = spec(
        f'optim.{size.optimizer}',
        learning_rate=size.learning_rate,
        schedule=spec('schedules.constant'),
        clip=0.0,
        **{decay: DECAY[size.optimizer]},
    )
    return c


class Block(nn.Module):
    """torchvision's BasicBlock and Bottleneck, by their names."""

    def __init__(self, inputs: int, narrow: int, outputs: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        plan = [(inputs, narrow, 3, stride), (narrow, outputs, 3, 1)]
        if bottleneck:
            plan = [(inputs, narrow, 1, 1), (narrow, narrow, 3, stride), (narrow, outputs, 1, 1)]
        for number, (i, o, window, step) in enumerate(plan, start=1):
            self.add_module(f'conv{number}', nn.Conv2d(i, o, window, step, window // 2, bias=False))
            self.add_module(f'bn{number}', nn.BatchNorm2d(o))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.count = len(plan)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f'bn{number}')(getattr(self, f'conv{number}')(y))
            y = y if number == self.count else self.relu(y)
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """torchvision's ResNet, by its names, with the stem of 3 x 3 that keeps the size."""

    def __init__(self, model: resnets.ResNet, channels: int) -> None:
        super().__init__()
        assert (model.stem, model.shortcut) == ('small', 'B'), 'the network that is written here'
        self.conv1 = nn.Conv2d(channels, model.width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(model.width)
        self.relu = nn.ReLU(inplace=True)
        inputs = model.width
        for stage, count in enumerate(model.blocks):
            narrow = model.width * 2**stage
            outputs = narrow * (resnets.EXPANSION if model.bottleneck else 1)
            blocks = []
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                blocks.append(Block(inputs, narrow, outputs, stride, model.bottleneck))
                inputs = outputs
            self.add_module(f'layer{stage + 1}', nn.Sequential(*blocks))
        self.stages = len(model.blocks)
        self.fc = nn.Linear(inputs, model.classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        for stage in range(self.stages):
            x = getattr(self, f'layer{stage + 1}')(x)
        return self.fc(x.mean((2, 3)))


class Logits(nn.Module):
    """A model of transformers without all that it returns beside the logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x).logits


def _rows(theirs: str, ours: str, layout: str) -> tuple[Row, Row]:
    return Row(f'{theirs}.weight', f'params/{ours}/kernel', layout), Row(f'{theirs}.bias', f'params/{ours}/bias')


def theirs(size: Size, model: Any, variables: Any) -> tuple[nn.Module, str]:
    """Returns torch's model with the weights `variables` of ours, in training, and whose code it is."""
    net, code = _theirs(size, model, variables)
    count = sum(weight.numel() for weight in net.parameters())
    assert count == sum(leaf.size for leaf in jax.tree.leaves(variables['params'])), 'as many parameters as ours'
    return net.train(), code


def _theirs(size: Size, model: Any, variables: Any) -> tuple[nn.Module, str]:
    h, w, c = size.shape
    family = Family(())
    net: nn.Module
    match size.kind:
        case 'mlp':
            dense = [h * w * c, *model.widths, size.classes]
            layers: list[nn.Module] = [nn.Flatten()]
            for i, (inputs, outputs) in enumerate(itertools.pairwise(dense)):
                layers += [nn.Linear(inputs, outputs), nn.ReLU()]
                name = 'head' if i == len(model.widths) else f'layer_{i}'
                family = Family((*family.rows, *_rows(str(len(layers) - 2), name, 'linear')))
            net = nn.Sequential(*layers[:-1])
        case 'cnn':
            layers, inputs = [], c
            for i, width in enumerate(model.widths):
                layers += [nn.Conv2d(inputs, width, model.window, padding=model.window // 2), nn.ReLU()]
                layers += [nn.MaxPool2d(2, ceil_mode=True)]
                family = Family((*family.rows, *_rows(str(3 * i), f'layer_{i}/conv', 'conv')))
                inputs, h, w = width, -(-h // 2), -(-w // 2)
            first = len(layers) + 1
            layers += [nn.Flatten(), nn.Linear(inputs * h * w, model.dense), nn.ReLU()]
            layers += [nn.Linear(model.dense, size.classes)]
            dense_rows = _rows(str(first), 'hidden', 'linear') + _rows(str(first + 2), 'head', 'linear')
            family = Family((*family.rows, *dense_rows))
            net = nn.Sequential(*layers)
        case 'resnet' if model.stem == 'small':
            family = resnet.TORCHVISION
            net = ResNet(model, c)
        case 'resnet' | 'vit':
            return _published(size, model, variables)
    weights = their_names(family, variables)
    if size.kind == 'cnn':  # ours flattens [h w c], theirs [c h w]
        name = f'{first}.weight'
        weights[name] = weights[name].reshape(-1, h, w, inputs).transpose(0, 3, 1, 2).reshape(model.dense, -1)
    tensors = {name: torch.from_numpy(np.array(value, order='C')) for name, value in weights.items()}
    missing, unexpected = net.load_state_dict(tensors, strict=False)
    assert all(name.endswith('num_batches_tracked') for name in missing) and not unexpected, (missing, unexpected)
    return net, 'the same layers of torch.nn'


def _published(size: Size, model: Any, variables: Any) -> tuple[nn.Module, str]:
    """Returns transformers' model with the weights of ours, read from the files that we export."""
    h, _, c = size.shape
    if size.kind == 'resnet':
        family, config = resnet.TRANSFORMERS, resnet.config_of(model, channels=c)
        kind = transformers.ResNetForImageClassification
    else:
        family, config = vit.TRANSFORMERS, vit.config_of(model, h, channels=c)
        kind = transformers.ViTForImageClassification
    with tempfile.TemporaryDirectory() as folder:
        pretrained.save(folder, family, variables, config)
        how = {'attn_implementation': 'sdpa'} if size.kind == 'vit' else {}
        found, problems = kind.from_pretrained(folder, output_loading_info=True, dtype=torch.float32, **how)
    assert not any(problems.values()), problems
    return Logits(found), f'transformers.{kind.__name__}'


def their_names(family: Family, variables: Any) -> dict[str, np.ndarray]:
    """Returns our parameters and running statistics under the names of a family, laid out as there."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        name, layout = family.named(path_name(path))
        assert name, f'{path_name(path)} is in no row'
        found[name] = pretrained.LAYOUTS[layout][1](np.asarray(leaf))
    return found

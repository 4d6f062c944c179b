"""ResNet against the published code: the same random weights give the same logits, there and back bit for bit."""

# b batch, h height, w width, c channels

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from jaxlab import pretrained
from jaxlab.models.resnet import make
from jaxlab.pretrained import resnet as published

pytestmark = pytest.mark.reference
torch = pytest.importorskip('torch', reason='compares with torch: pip install .[reference]')
transformers = pytest.importorskip('transformers', reason='compares with transformers: pip install .[reference]')

# Shapes of resnet-18 and resnet-50, narrow; and bottlenecks of one block a stage.
CONFIGS = {
    'basic': dict(layer_type='basic', embedding_size=8, hidden_sizes=[8, 16, 32, 64], depths=[2, 2, 2, 2]),
    'bottleneck': dict(embedding_size=4, hidden_sizes=[16, 32, 64, 128], depths=[3, 4, 6, 3]),
    'short': dict(embedding_size=6, hidden_sizes=[24, 48], depths=[1, 2]),
}


def shapes(model, size):
    variables = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *size, 3), jnp.float32))
    return meta.unbox(variables)


def drawn(theirs):
    """Their model with random numbers everywhere: at birth running means are 0, and biases."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in theirs.state_dict().items():
            if name.endswith('num_batches_tracked'):
                tensor.fill_(7)
            elif tensor.ndim > 1:
                tensor.normal_(0.0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
            else:  # scales and variances above 0, biases and means around it
                positive = name.endswith(('running_var', 'normalization.weight', 'bn1.weight', 'bn2.weight'))
                tensor.uniform_(0.5 if positive else -0.5, 1.5 if positive else 0.5, generator=generator)
    return theirs.eval()


def compare(theirs, ours, variables, size):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    with torch.no_grad():
        wanted = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2)))
    wanted = getattr(wanted, 'logits', wanted).numpy()
    found = np.asarray(jax.jit(ours.apply)(variables, x))
    assert found.dtype == wanted.dtype == np.float32
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize(('name', 'size'), [('basic', (45, 61)), ('bottleneck', (64, 64)), ('short', (33, 17))])
def test_logits_are_those_of_transformers_and_come_back_bit_for_bit(name, size, tmp_path):
    theirs = drawn(transformers.ResNetForImageClassification(transformers.ResNetConfig(**CONFIGS[name], num_labels=5)))
    theirs.save_pretrained(tmp_path / 'theirs')
    weights = pretrained.find(tmp_path / 'theirs')
    ours = make({}, **published.arguments_of(weights.config))
    family = published.family_of(weights.tensors)
    assert family is published.TRANSFORMERS
    variables = pretrained.load(weights, family, shapes(ours, size), model=ours)
    compare(theirs, ours, variables, size)

    pretrained.save(tmp_path / 'ours', family, variables, published.config_of(ours))
    again = transformers.ResNetForImageClassification.from_pretrained(tmp_path / 'ours').eval()
    assert again.config.num_labels == 5
    ours_again, theirs_before = again.state_dict(), theirs.state_dict()
    assert ours_again.keys() == theirs_before.keys()
    for key, tensor in ours_again.items():
        assert key.endswith('num_batches_tracked') or torch.equal(tensor, theirs_before[key]), key
    back = pretrained.load(tmp_path / 'ours', family, shapes(ours, size), model=ours)
    jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_a_transposed_kernel_is_noticed(tmp_path, monkeypatch):
    theirs = drawn(transformers.ResNetForImageClassification(transformers.ResNetConfig(**CONFIGS['short'])))
    theirs.save_pretrained(tmp_path)
    ours = make({}, **published.arguments_of(pretrained.find(tmp_path).config))
    turned = (lambda x: x.transpose(3, 2, 1, 0), lambda x: x.transpose(3, 2, 1, 0))  # width and height exchanged
    monkeypatch.setitem(pretrained.LAYOUTS, 'conv', turned)
    variables = pretrained.load(tmp_path, published.TRANSFORMERS, shapes(ours, (33, 17)))
    with pytest.raises(AssertionError):
        compare(theirs, ours, variables, (33, 17))


class Plain(torch.nn.Module):
    """CIFAR's network of 8 layers with the names that torchvision and others use: conv1, bn1, layer1.0.conv1 …"""

    def __init__(self, projections):
        super().__init__()

        def part(inputs, outputs, window, stride):
            conv = torch.nn.Conv2d(inputs, outputs, window, stride, window // 2, bias=False)
            return conv, torch.nn.BatchNorm2d(outputs)

        self.conv1, self.bn1 = part(3, 16, 3, 1)
        for stage, width in enumerate((16, 32, 64), start=1):
            block = torch.nn.Module()
            inputs, stride = (width // 2, 2) if stage > 1 else (width, 1)
            block.conv1, block.bn1 = part(inputs, width, 3, stride)
            block.conv2, block.bn2 = part(width, width, 3, 1)
            if stage > 1 and projections:
                block.shortcut = torch.nn.Sequential(*part(inputs, width, 1, 2))
            self.add_module(f'layer{stage}', torch.nn.Sequential(block))
        self.linear = torch.nn.Linear(64, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3):
            block = stage[0]
            y = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
            if y.shape != x.shape:
                around = (y.shape[1] - x.shape[1]) // 2
                cut = torch.nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, around, around))
                x = block.shortcut(x) if hasattr(block, 'shortcut') else cut
            x = torch.relu(x + y)
        return self.linear(x.mean((2, 3)))


@pytest.mark.parametrize('shortcut', ['A', 'B'])
@pytest.mark.parametrize('size', [(32, 32), (13, 10)])
def test_logits_are_those_of_plain_names(size, shortcut, tmp_path):
    theirs = drawn(Plain(projections=shortcut == 'B'))
    named = {f'module.{name}': tensor for name, tensor in theirs.state_dict().items()}  # as DataParallel has them
    torch.save({'state_dict': named, 'best_prec1': 91.5, 'epoch': 3}, tmp_path / 'net.th')
    weights = pretrained.find(tmp_path / 'net.th')
    family = published.family_of(weights.tensors)
    assert family is published.CIFAR
    ours = make({'shape': [*size, 3], 'classes': 10}, depth=8, shortcut=shortcut)
    variables = pretrained.load(weights, family, shapes(ours, size), model=ours)
    compare(theirs, ours, variables, size)


def test_gradients_and_statistics_in_training_are_those_of_torch(tmp_path, float64):
    size, family = (13, 10), published.CIFAR
    theirs = drawn(Plain(projections=True)).double().train()
    torch.save(theirs.state_dict(), tmp_path / 'net.pth')
    ours = make({'shape': [*size, 3], 'classes': 10}, jnp.float64, jnp.float64, depth=8, shortcut='B')
    variables = pretrained.load(tmp_path / 'net.pth', family, shapes(ours, size))
    x = np.random.default_rng(0).normal(size=(4, *size, 3))
    torch.sin(theirs(torch.from_numpy(x.transpose(0, 3, 1, 2)))).sum().backward()

    def loss(params):
        logits, changed = ours.apply({**variables, 'params': params}, x, train=True, mutable=['batch_stats'])
        return jnp.sin(logits).sum(), changed

    gradients, changed = jax.jit(jax.grad(loss, has_aux=True))(variables['params'])
    pretrained.save(tmp_path / 'gradients', family, {'params': gradients, **changed})
    found = pretrained.find(tmp_path / 'gradients').tensors
    wanted = {name: tensor.grad for name, tensor in theirs.named_parameters()}
    wanted |= {name: tensor for name, tensor in theirs.named_buffers() if 'running' in name}
    assert len(wanted) == len([name for name in found if 'num_batches' not in name])
    for name, tensor in wanted.items():
        np.testing.assert_allclose(found[name].read(), tensor.numpy(), rtol=1e-9, atol=1e-10, err_msg=name)


def test_torchvision_s_names():
    model = make({}, depth=50, classes=1000)
    paths = [pretrained.path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(shapes(model, (224, 224)))]
    names = {published.TORCHVISION.named(path)[0] for path in paths}
    assert len(names) == len(paths) == 267 and '' not in names
    assert {
        'conv1.weight',
        'bn1.running_var',
        'layer1.0.downsample.0.weight',
        'layer4.2.bn3.bias',
        'fc.weight',
    } <= names

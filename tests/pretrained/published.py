"""What comparisons with published code share: random weights in theirs, shapes of ours, files that must be equal."""

import jax
import numpy as np
from flax.core import meta


def randomise(theirs, gain=1.0):
    """Fills a torch model with random weights, and its running statistics; it stops training.

    A layer's outputs are about `gain` times as large as its inputs, so that pictures still differ at the end.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            deviation = gain / weight[0].numel() ** 0.5 if weight.ndim > 1 else 0.2
            weight.normal_(1.0 if _is_scale(name) else 0.0, deviation, generator=generator)
        for name, buffer in theirs.named_buffers():
            if name.endswith('running_mean'):
                buffer.normal_(0.0, 0.2, generator=generator)
            elif name.endswith('running_var'):
                buffer.uniform_(0.5, 2.0, generator=generator)
    return theirs.eval()


def settle(theirs, pictures):
    """Sets running statistics to those of `pictures`, so that signals neither vanish nor explode."""
    import torch

    norms = [module for module in theirs.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    theirs.train()
    with torch.no_grad():
        theirs(_to_torch(pictures))
    for norm in norms:
        norm.num_batches_tracked.zero_()
    return theirs.eval()


def _to_torch(pictures):
    import torch

    return torch.from_numpy(np.moveaxis(pictures, -1, 1).copy())


def _is_scale(name):
    return name.endswith('weight') and any(word in name.lower() for word in ('norm', '_bn.'))


def logits_of(theirs, pictures):
    """Their logits of our pictures, [b h w c], which must tell one picture from another."""
    import torch

    with torch.no_grad():
        logits = theirs(_to_torch(pictures)).logits.numpy()
    assert np.ptp(logits, axis=0).max() > 0.1 * np.abs(logits).max()
    return logits


def variables_like(model, *inputs):
    """The shapes of our variables, without boxes."""
    return meta.unbox(jax.eval_shape(model.init, jax.random.key(0), *inputs))


def assert_equal_files(one, other):
    """Compares two folders' tensors: names, types and every bit."""
    from safetensors.numpy import load_file

    one, other = load_file(one / 'model.safetensors'), load_file(other / 'model.safetensors')
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.dtype == other[name].dtype, name
        np.testing.assert_array_equal(tensor, other[name], err_msg=name)

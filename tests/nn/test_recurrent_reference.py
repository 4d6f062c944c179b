"""Recurrent layers against torch's RNN, GRU and LSTM: stacked, both ways, packed sequences; values and gradients."""

# b batch, t time, i input width, h width of the state, g gates

import jax
import numpy as np
import pytest

from jaxlab.nn.recurrent import CELLS, RecurrentStack

pytestmark = pytest.mark.reference
torch = pytest.importorskip('torch', reason='compares with torch: pip install .[reference]')

B, T, INPUT, H = 4, 9, 6, 5
X = np.random.default_rng(0).normal(size=(B, T, INPUT)).astype(np.float32)
LENGTHS = np.array([9, 1, 4, 7])
MOVES = np.arange(T) < LENGTHS[:, None]
WEIGHTS = np.random.default_rng(1).normal(size=(B, T, 2 * H)).astype(np.float32)
NAMES = {'vanilla': 'RNN', 'gru': 'GRU', 'lstm': 'LSTM'}


def ours(named, cell, layers, both):
    """torch's parameters (or their gradients) as ours. Its kernels are [g h i], and its gates stand in our order.

    It has two biases for every cell: where a cell adds what they are added to, their sum serves.
    """

    def kernel(array):
        return array.reshape(CELLS[cell].gates, H, -1).swapaxes(1, 2)

    found = {}
    for n in range(layers):
        for name, suffix in (('forward', ''), ('backward', '_reverse'))[: 1 + both]:
            one, two = (named[f'bias_{which}_l{n}{suffix}'].reshape(-1, H) for which in ('ih', 'hh'))
            layer = {
                'input_kernel': kernel(named[f'weight_ih_l{n}{suffix}']),
                'state_kernel': kernel(named[f'weight_hh_l{n}{suffix}']),
            }
            layer |= {'bias': one, 'state_bias': two} if CELLS[cell].apart else {'bias': one + two}
            found[f'layer_{n}_{name}'] = layer
    return found


@pytest.mark.parametrize(('layers', 'both'), [(1, False), (1, True), (3, False), (2, True)])
@pytest.mark.parametrize('cell', CELLS)
def test_it_is_torch(cell, layers, both):
    torch.manual_seed(0)
    theirs = getattr(torch.nn, NAMES[cell])(INPUT, H, layers, batch_first=True, bidirectional=both)
    x = torch.tensor(X, requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    y, ends = theirs(packed)
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
    ends = ends if cell == 'lstm' else (ends,)
    weights = WEIGHTS[..., : y.shape[-1]]
    ((y * torch.tensor(weights)).sum() + sum((end**2).sum() for end in ends)).backward()
    params = {'params': ours({k: v.detach().numpy() for k, v in theirs.named_parameters()}, cell, layers, both)}
    gradients = {k: v.grad.numpy() for k, v in theirs.named_parameters()}
    if not CELLS[cell].apart:  # each of the two biases has the whole gradient
        gradients = {k: v / 2 if 'bias' in k else v for k, v in gradients.items()}

    model = RecurrentStack(cell, layers, H, both)

    def total(params, x):
        found, last = model.apply(params, x, MOVES)
        return (found * weights).sum() + sum((state**2).sum() for state in jax.tree.leaves(last)), (found, last)

    (_, (found, last)), (by_params, by_x) = jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))(params, X)
    close = dict(rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found, y.detach(), **close)
    for n, end in enumerate(ends):
        np.testing.assert_allclose([states[n] for states in last], end.detach(), **close)
    np.testing.assert_allclose(by_x, x.grad, **close)
    wanted = {'params': ours(gradients, cell, layers, both)}
    assert jax.tree.structure(by_params) == jax.tree.structure(wanted)
    for (path, one), other in zip(jax.tree_util.tree_leaves_with_path(by_params), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, **close, err_msg=str(path))

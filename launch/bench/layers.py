"""Single layers, forward and backward, beside torch's.

  python launch/bench/layers.py                       all of them
  python launch/bench/layers.py --layers=conv3x3_64   one, or several with commas between

Every side gets the same numbers and must give the same output and gradients. Theirs is at its best: eager with channels
first, as torch has them, and last, and compiled. Beside ours stands what it would be with XLA's own convolution. Each
side has a process of its own, and they take turns. In float32 on a CPU, in bfloat16 on a GPU.
"""

# b batch, i input channels, o output channels; n heads, t time, k head width

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gpt_peer
import jax
import jax.numpy as jnp
import numpy as np
import record
import rounds
import torch

from jaxlab.allocator import keep_freed_memory
from jaxlab.nn.attention import attention, causal_mask
from jaxlab.nn.conv import conv

SIDES = ('jaxlab', 'jaxlab, lax.conv', 'torch', 'torch channels last', 'torch compiled')
Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Convolution:
    """A convolution of x [b *space i] with a kernel [*window i/groups o]."""

    shape: tuple[int, ...]
    window: tuple[int, ...]
    outputs: int
    stride: int = 1
    groups: int = 1
    sides: tuple[str, ...] = SIDES

    def arrays(self, draw: Callable[..., np.ndarray]) -> Arrays:
        inputs = self.shape[-1] // self.groups
        return draw(*self.shape), draw(*self.window, inputs, self.outputs) / (math.prod(self.window) * inputs) ** 0.5

    def flops(self) -> float:
        places = self.shape[0] * math.prod(-(-size // self.stride) for size in self.shape[1:-1])
        return 6 * places * math.prod(self.window) * (self.shape[-1] // self.groups) * self.outputs

    def ours(self, side: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
        pairs = [(taps // 2, taps // 2) for taps in self.window]
        return conv(x, kernel, self.stride, pairs, 1, self.groups, 'library' if side == SIDES[1] else '')

    def to_theirs(self, side: str, *arrays: np.ndarray) -> list[torch.Tensor]:
        axes = len(self.window)
        first = [(0, axes + 1, *range(1, axes + 1)), (axes + 1, axes, *range(axes))]
        found = [torch.from_numpy(array.transpose(order).copy()) for array, order in zip(arrays, first, strict=True)]
        if side != 'torch' and axes == 2:
            return [tensor.to(memory_format=torch.channels_last) for tensor in found]
        return found

    def from_theirs(self, *tensors: torch.Tensor) -> Arrays:
        axes = len(self.window)
        last, kernel = (0, *range(2, axes + 2), 1), (*range(2, axes + 2), 1, 0)
        orders = (last, last, kernel)  # the output, and the gradients of x and of the kernel
        return tuple(array(tensor).transpose(order) for tensor, order in zip(tensors, orders, strict=True))

    def theirs(self, x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        function: Any = getattr(torch.nn.functional, f'conv{len(self.window)}d')
        padding = [taps // 2 for taps in self.window]
        return function(x, kernel, stride=self.stride, padding=padding, groups=self.groups)


@dataclass(frozen=True)
class CausalAttention:
    """Attention of q, k and v [b n t k], each token over itself and those before."""

    shape: tuple[int, ...]
    sides: tuple[str, ...] = ('jaxlab', 'torch', 'torch compiled')

    def arrays(self, draw: Callable[..., np.ndarray]) -> Arrays:
        return draw(*self.shape), draw(*self.shape), draw(*self.shape)

    def flops(self) -> float:
        b, n, t, k = self.shape
        return 6 * b * n * t * (t + 1) * k  # of the half that is looked at

    def ours(self, side: str, q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        segments = jnp.ones((1, self.shape[2]), jnp.int32)
        return attention(q, k, v, causal_mask(segments, segments), causal=True)

    def to_theirs(self, side: str, *arrays: np.ndarray) -> list[torch.Tensor]:
        return [torch.from_numpy(array) for array in arrays]

    def from_theirs(self, *tensors: torch.Tensor) -> Arrays:
        return tuple(map(array, tensors))

    def theirs(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


Layer = Convolution | CausalAttention
LAYERS: dict[str, Layer] = {
    'conv3x3_64': Convolution((64, 32, 32, 64), (3, 3), 64),
    'conv3x3_128': Convolution((64, 16, 16, 128), (3, 3), 128),
    'conv3x3_256': Convolution((64, 8, 8, 256), (3, 3), 256),
    'conv3x3_stride': Convolution((64, 32, 32, 64), (3, 3), 128, stride=2),
    'conv3x3_first': Convolution((64, 32, 32, 3), (3, 3), 64),
    'conv7x7_stem': Convolution((16, 112, 112, 3), (7, 7), 64, stride=2),
    'conv1x1': Convolution((64, 16, 16, 128), (1, 1), 256),
    'conv5x5_depthwise': Convolution((32, 14, 14, 192), (5, 5), 192, groups=192),
    'conv3_time': Convolution((16, 1024, 80), (3,), 256),
    'causal_attention': CausalAttention((8, 6, 256, 64)),
}


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


def numbers(layer: Layer) -> tuple[Arrays, np.ndarray]:
    """Returns the arguments of a layer, and the gradient of its output."""
    random = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, np.float32)

    arguments = layer.arrays(draw)
    output = jax.eval_shape(partial(layer.ours, 'jaxlab'), *arguments)
    return arguments, draw(*output.shape)


def make_ours(layer: Layer, side: str) -> tuple[Callable[[], Any], Callable[[], Arrays]]:
    """Returns the call to time, and one that gives its results: the output and all gradients."""
    dtype = gpt_peer.compute_dtype()
    arguments, direction = jax.tree.map(lambda x: jax.device_put(x.astype(dtype)), numbers(layer))

    @jax.jit
    def both(direction: jax.Array, *arguments: jax.Array) -> tuple[jax.Array, ...]:
        y, pull = jax.vjp(partial(layer.ours, side), *arguments)
        return y, *pull(direction)

    run = partial(both, direction, *arguments)
    return lambda: jax.block_until_ready(run()), lambda: tuple(np.asarray(x, np.float32) for x in run())


def make_theirs(layer: Layer, side: str) -> tuple[Callable[[], Any], Callable[[], Arrays]]:
    """`make_ours` for torch."""
    arguments, direction = numbers(layer)
    device, dtype = ('cuda', torch.bfloat16) if gpt_peer.on_gpu() else ('cpu', torch.float32)
    tensors = [tensor.to(device, dtype).requires_grad_() for tensor in layer.to_theirs(side, *arguments)]
    function: Any = torch.compile(layer.theirs) if side == 'torch compiled' else layer.theirs
    if isinstance(layer, Convolution):
        direction = direction.transpose(0, direction.ndim - 1, *range(1, direction.ndim - 1))
    pulled = torch.from_numpy(direction.copy()).to(device, dtype)
    if side != 'torch' and pulled.ndim == 4 and isinstance(layer, Convolution):
        pulled = pulled.to(memory_format=torch.channels_last)

    def run() -> tuple[torch.Tensor, ...]:
        y = function(*tensors)
        found = torch.autograd.grad(y, tensors, pulled)
        if device == 'cuda':
            torch.cuda.synchronize()
        return y, *found

    return run, lambda: layer.from_theirs(*run())


def serve(name: str, side: str) -> None:
    """Is one side of one layer: says what it computes, then runs for about 0.2 s whenever it is asked to."""
    torch.set_num_threads(record.machine()['cores'])
    keep_freed_memory()  # as jaxlab.main does it; for both sides
    layer = LAYERS[name]
    run, results = (make_ours if side.startswith('jaxlab') else make_theirs)(layer, side)
    random = np.random.default_rng(1)
    seen = [float(np.vdot(x, random.standard_normal(x.shape, np.float32)) / np.linalg.norm(x)) for x in results()]
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    calls = max(1, round(0.2 / min(taken)))

    def several() -> float:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - start) / calls

    rounds.serve({'seen': seen, 'device': jax.devices()[0].device_kind}, several)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--layers', default=','.join(LAYERS), help=f'of {", ".join(LAYERS)}')
    arguments.add_argument('--rounds', type=int, default=15)
    arguments.add_argument('--side', default='', choices=SIDES, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    names = options.layers.split(',')
    if unknown := set(names) - LAYERS.keys():
        arguments.error(f'no layers {", ".join(sorted(unknown))}; there are {", ".join(LAYERS)}')
    if options.side:
        serve(names[0], options.side)
        return

    result = {}
    for name in names:
        layer = LAYERS[name]
        workers = {side: rounds.Worker(__file__, f'--layers={name}', f'--side={side}') for side in layer.sides}
        seen = np.array([worker.said['seen'] for worker in workers.values()])
        apart = np.abs(seen - seen[0]).max()
        assert apart < (0.05 if gpt_peer.on_gpu() else 1e-4), f'{name}: not the same layer, {seen}'
        seconds = rounds.interleave(workers, options.rounds)
        device = workers['jaxlab'].said['device']
        for worker in workers.values():
            worker.close()
        best = min((s for s in layer.sides if s.startswith('torch')), key=lambda side: statistics.median(seconds[side]))
        found = rounds.summary(seconds, best, layer.flops() / 1e9)
        print(f'{name}: {layer}')
        rounds.show(found, 'GFLOP/s')
        result[name] = {'layer': str(layer), 'device': device, 'reference': best, 'candidates': found}
    dtype = str(np.dtype(gpt_peer.compute_dtype()))
    which = 'layers' if set(names) == LAYERS.keys() else f'layers_{"_".join(names)}'
    print(record.write(which, {'dtype': dtype, 'rounds': options.rounds, 'layers': result}))


if __name__ == '__main__':
    main()

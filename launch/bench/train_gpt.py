"""Training a GPT: tokens per second, beside `transformers`' GPT-2 on torch, eager and compiled.

  python launch/bench/train_gpt.py --size=10m      10.7 M parameters, 8 × 256 tokens: two cores
  python launch/bench/train_gpt.py --size=0.8m     0.8 M parameters, 12 × 64 tokens: two cores
  python launch/bench/train_gpt.py --size=gpt2     124 M parameters, 16 × 1,024 tokens: a GPU
  python launch/bench/train_gpt.py --size=gpt2 --mesh              how it scales over the devices at hand
  python launch/bench/train_gpt.py --size=gpt2 --mesh='data=8;fsdp=8'                        over these meshes
  python launch/bench/train_gpt.py --size=0.8m --mesh --cpu_devices=8     that it runs: simulated devices share cores

Both sides train the same weights on the same tokens with the same AdamW, and their losses must agree. Ours is the step
of `jaxlab.train`, with all that it reports. Theirs is at its best: fused attention, dropout 0, the loss straight from
the logits, the fused optimizer. Each side has a process of its own, and they take turns. In float32 on a CPU, in
bfloat16 over float32 parameters on a GPU.
"""

# b batch, t time

import argparse
import os
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gpt_peer
import jax
import numpy as np
import record
import rounds
import scaling

from jaxlab import blueprint, calls, devices, flops, optim
from jaxlab import step as training_step
from jaxlab.allocator import keep_freed_memory
from jaxlab.config import spec
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.tasks import language_model

RATE, DECAY = 1e-3, 0.1


def batches(size: gpt_peer.Size, number: int) -> list[dict[str, np.ndarray]]:
    """Returns batches with tokens that follow Zipf's law, so that there is something to learn."""
    random = np.random.default_rng(0)
    chances = 1 / np.arange(1, size.vocabulary + 1)
    rows = random.choice(size.vocabulary, (number, size.batch, size.length + 1), p=chances / chances.sum())
    ones = np.ones((size.batch, size.length), np.int32)
    return [
        {
            'tokens': row[:, :-1].astype(np.int32),
            'targets': row[:, 1:].astype(np.int32),
            'positions': ones * np.arange(size.length, dtype=np.int32),
            'segments': ones,
            'mask': ones.astype(np.float32),
        }
        for row in rows
    ]


Run = Callable[[], list[float]]  # some steps; returns their losses


def make_ours(size: gpt_peer.Size, data: list[dict[str, np.ndarray]], mesh: Any, most: int) -> tuple[Run, Any]:
    """Returns a run of jaxlab's own step, compiled as `jaxlab.train` compiles it, and the parameters it starts from.

    `most` is `config.steps_per_call`. Of several steps in a call, the losses are those of the last.
    """
    task = language_model.make(gpt_peer.ours(size))
    shapes = layout.global_shapes(data[0], size.batch)
    names = layout.names(jax.eval_shape(task.init, jax.random.key(0), shapes)[0])
    schedule = spec('schedules.constant')
    optimizers = [optim.adamw(names, 100, learning_rate=RATE, weight_decay=DECAY, schedule=schedule, clip=0.0)]

    def init(key: jax.Array) -> training_step.TrainState:
        return training_step.init(task, optimizers, 0.0, shapes, key)

    shardings = layout.state_shardings(jax.eval_shape(init, jax.random.key(0)), names, mesh)
    state = jax.jit(init, out_shardings=shardings)(jax.random.key(0))
    params = jax.device_get(state.params)
    step, given, given_shardings = calls.prepare(training_step.make_step(task, optimizers), shapes, mesh, most)
    arguments: Any = layout.with_shardings(state, shardings), {}, layout.with_shardings(given, given_shardings)
    compiled = blueprint.compile_step(step, arguments, mesh)
    ends = calls.ends(0, len(data), most, ())
    batches = calls.batches(data.__getitem__, 0, ends, most)

    def run() -> list[float]:
        nonlocal state
        losses = []
        for call in range(len(ends)):
            state, terms = compiled(state, {}, layout.place(batches(call), given_shardings))
            losses.append(terms['loss'])
        return [float(term.total / term.count) for term in losses]

    return run, params


def make_theirs(size: gpt_peer.Size, data: list[dict[str, np.ndarray]], params: Any, compiled: bool) -> Run:
    """Returns a run of `transformers`' GPT-2 with these parameters."""
    import torch

    model = gpt_peer.theirs(size, params)
    device = next(model.parameters()).device
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim == 1]
    groups: list[dict[str, Any]] = [
        {'params': matrices, 'weight_decay': DECAY},
        {'params': others, 'weight_decay': 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95), eps=1e-8, fused=True)
    inputs = [(torch.from_numpy(row['tokens']).long(), torch.from_numpy(row['targets']).long()) for row in data]

    def loss_of(tokens: Any, targets: Any) -> Any:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == 'cuda'):
            logits = model(tokens, use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))

    function: Any = torch.compile(loss_of) if compiled else loss_of

    def run() -> list[float]:
        losses = []
        for tokens, targets in inputs:
            loss = function(tokens.to(device), targets.to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return [float(loss) for loss in losses]

    return run


SIDES = ('jaxlab', 'torch eager', 'torch compiled')


def serve(side: str, size: gpt_peer.Size, steps: int, most: int) -> None:
    """Is one side of the comparison: says its first losses, then trains `steps` more steps whenever it is asked to."""
    import torch

    torch.set_num_threads(record.machine()['cores'])
    torch.backends.cuda.matmul.allow_tf32 = True
    if side == 'jaxlab':
        keep_freed_memory()  # as jaxlab.main does it
    data = batches(size, steps)
    mesh = make_mesh({'data': 1})
    with jax.set_mesh(mesh):
        run, params = make_ours(size, data, mesh, most)
        if side != 'jaxlab':
            run = make_theirs(size, data, params, compiled=side == 'torch compiled')
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        said = {'losses': run(), 'parameters': count, 'device': jax.devices()[0].device_kind}
        rounds.serve(said | {'dtype': str(np.dtype(gpt_peer.compute_dtype()))}, run)


def serve_mesh(shape: scaling.Mesh, size: gpt_peer.Size, steps: int, most: int) -> None:
    """Is one mesh of `scaling.measure`; `size.batch` are the rows of each device."""
    keep_freed_memory()
    mesh = make_mesh(shape)
    size = replace(size, batch=size.batch * mesh.size)
    data = batches(size, steps)
    with jax.set_mesh(mesh):
        run, params = make_ours(size, data, mesh, most)
        task = language_model.make(gpt_peer.ours(size))
        work = flops.of_step(task, params, {}, layout.global_shapes(data[0], size.batch), jax.random.key(0))
        dtype = np.dtype(gpt_peer.compute_dtype()).name
        said = {
            'losses': run(),
            'devices': jax.device_count(),
            'device': jax.devices()[0].device_kind,
            'dtype': dtype,
            'peak': devices.peak(jax.devices()[0].device_kind, dtype),
            'flops': work * steps,
            'tokens': steps * size.batch * size.length,
            'rows': size.batch,
            'parameters': sum(leaf.size for leaf in jax.tree.leaves(params)),
        }
        rounds.serve(said, run)


def scale(options: argparse.Namespace, size: gpt_peer.Size, steps: int, most: int) -> None:
    """Measures meshes and writes them down."""
    about: dict[str, Any] = {}
    if options.cpu_devices:
        simulated = f'--xla_force_host_platform_device_count={options.cpu_devices}'
        os.environ |= {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} {simulated}'.strip()}

    def start(shape: scaling.Mesh) -> rounds.Worker:
        text = ','.join(f'{axis}={count}' for axis, count in shape.items())
        shared = (f'--size={options.size}', f'--steps={steps}', f'--steps_per_call={most}')
        worker = rounds.Worker(__file__, *shared, f'--mesh={text}', '--side=mesh')
        about.update(worker.said)
        return worker

    meshes = [] if options.mesh == 'usual' else scaling.parse(options.mesh)
    print(f'{options.size}: {size.batch} × {size.length} tokens a step on each device, {steps} steps a round')
    found = scaling.measure(start, size.heads, meshes, options.rounds)
    result = {
        'size': vars(size) | {'parameters': about['parameters']},
        'dtype': about['dtype'],
        'device': about['device'],
        'simulated': bool(options.cpu_devices),
        'steps_in_a_round': steps,
        'steps_per_call': most,
        'rounds': options.rounds,
        'meshes': found,
    }
    print(record.write(f'train_gpt_{options.size}_mesh', result))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--size', default='10m', choices=gpt_peer.SIZES)
    arguments.add_argument('--rounds', type=int, default=15)
    arguments.add_argument('--steps', type=int, default=0, help='in a round; default: about two seconds of them')
    arguments.add_argument('--steps_per_call', type=int, default=0, help='of ours; default: what suits the size')
    arguments.add_argument('--mesh', nargs='?', default='', const='usual', help='measure how it scales over meshes')
    arguments.add_argument('--cpu_devices', type=int, default=0, help='of --mesh: so many simulated ones')
    arguments.add_argument('--side', default='', choices=(*SIDES, 'mesh'), help=argparse.SUPPRESS)
    options = arguments.parse_args()
    size = gpt_peer.SIZES[options.size]
    steps = options.steps or {'10m': 2, '0.8m': 40, 'gpt2': 20}[options.size]
    most = options.steps_per_call or {'10m': 1, '0.8m': 10, 'gpt2': 1}[options.size]
    if options.side == 'mesh':
        serve_mesh(scaling.parse(options.mesh)[0], size, steps, most)
        return
    if options.mesh:
        scale(options, size, steps, most)
        return
    if options.side:
        serve(options.side, size, steps, most)
        return

    shared = (__file__, f'--size={options.size}', f'--steps={steps}', f'--steps_per_call={most}')
    workers = {side: rounds.Worker(*shared, f'--side={side}') for side in SIDES}
    said = {side: worker.said for side, worker in workers.items()}
    for side, words in said.items():
        print(f'{side:16} losses {words["losses"][:5]}', flush=True)
    ours = said['jaxlab']['losses']
    every = steps // len(ours)  # of several steps in a call, ours says the last one's
    losses = np.array([ours, *(said[side]['losses'][every - 1 :: every] for side in SIDES[1:])])
    apart = np.abs(losses - losses[0]).max()
    about = said['jaxlab']
    assert apart < (0.05 if gpt_peer.on_gpu() else 1e-3), f'not the same training: losses {apart} apart'
    seconds = rounds.interleave(workers, options.rounds)
    for worker in workers.values():
        worker.close()

    tokens = steps * size.batch * size.length
    best = min(SIDES[1:], key=lambda side: statistics.median(seconds[side]))
    found = rounds.summary(seconds, best, tokens)
    print(f'{about["parameters"]:,} parameters, {size.batch} × {size.length} tokens a step, {steps} steps a round')
    rounds.show(found, 'tokens/s')
    result = {
        'size': vars(size) | {'parameters': about['parameters']},
        'dtype': about['dtype'],
        'device': about['device'],
        'steps_in_a_round': steps,
        'steps_per_call': most,
        'rounds': options.rounds,
        'losses_apart': float(f'{apart:.2g}'),
        'reference': best,
        'candidates': found,
    }
    print(record.write(f'train_gpt_{options.size}', result))


if __name__ == '__main__':
    main()

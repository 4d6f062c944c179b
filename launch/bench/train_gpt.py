"""Training a GPT: tokens per second, beside `transformers`' GPT-2 on torch, eager and compiled.

  python launch/bench/train_gpt.py --size=10m      10.7 M parameters, 8 × 256 tokens: two cores
  python launch/bench/train_gpt.py --size=0.8m     0.8 M parameters, 12 × 64 tokens: two cores
  python launch/bench/train_gpt.py --size=gpt2     124 M parameters, 16 × 1,024 tokens: a GPU

Both sides train the same weights on the same tokens with the same AdamW, and their losses must agree. Ours is the step
of `jaxlab.train`, with all that it reports. Theirs is at its best: fused attention, dropout 0, the loss straight from
the logits, the fused optimizer. In float32 on a CPU, in bfloat16 over float32 parameters on a GPU.
"""

# b batch, t time

import argparse
from collections.abc import Callable
from typing import Any

import gpt_peer
import jax
import numpy as np
import record
import rounds
import torch

from jaxlab import optim, train
from jaxlab import step as steps
from jaxlab.config import spec
from jaxlab.parallel import layout
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


def make_ours(size: gpt_peer.Size, data: list[dict[str, np.ndarray]], mesh: Any) -> tuple[Run, Any]:
    """Returns a run of jaxlab's own step, compiled as `jaxlab.train` compiles it, and the parameters it starts from."""
    task = language_model.make(gpt_peer.ours(size))
    shapes = layout.global_shapes(data[0], size.batch)
    names = layout.names(jax.eval_shape(task.init, jax.random.key(0), shapes)[0])
    schedule = spec('schedules.constant')
    optimizers = [optim.adamw(names, 100, learning_rate=RATE, weight_decay=DECAY, schedule=schedule, clip=0.0)]
    state = jax.jit(lambda key: steps.init(task, optimizers, 0.0, shapes, key))(jax.random.key(0))
    sharding = layout.batch_sharding(mesh)
    shardings = layout.state_shardings(jax.eval_shape(lambda: state), names, mesh)
    state = jax.device_put(state, shardings)
    params = jax.device_get(state.params)
    arguments: Any = layout.with_shardings(state, shardings), {}, layout.with_shardings(shapes, sharding)
    compiled = train.compile_step(steps.make_step(task, optimizers), arguments, mesh)

    def run() -> list[float]:
        nonlocal state
        losses = []
        for batch in data:
            state, terms = compiled(state, {}, layout.place(batch, sharding))
            losses.append(terms['loss'])
        return [float(term.total / term.count) for term in losses]

    return run, params


def make_theirs(size: gpt_peer.Size, data: list[dict[str, np.ndarray]], params: Any, compiled: bool) -> Run:
    """Returns a run of `transformers`' GPT-2 with these parameters."""
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

    def loss_of(tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
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


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--size', default='10m', choices=gpt_peer.SIZES)
    arguments.add_argument('--rounds', type=int, default=9)
    arguments.add_argument('--steps', type=int, default=0, help='in a round; default: about two seconds of them')
    arguments.add_argument('--only', default='', help='one side alone, such as jaxlab; nothing is written')
    options = arguments.parse_args()
    size = gpt_peer.SIZES[options.size]
    torch.set_num_threads(record.machine()['cores'])
    torch.backends.cuda.matmul.allow_tf32 = True
    data = batches(size, options.steps or {'10m': 2, '0.8m': 20, 'gpt2': 20}[options.size])

    mesh = layout.make_mesh({'data': 1})
    with jax.set_mesh(mesh):
        run, params = make_ours(size, data, mesh)
        runs = {'jaxlab': run}
        for name, compiled in {'torch eager': False, 'torch compiled': True}.items():
            if options.only in ('', name):
                runs[name] = make_theirs(size, data, params, compiled)
        if options.only:
            runs = {options.only: runs[options.only]}
        first = {name: run() for name, run in runs.items()}  # from the same weights: what both say must agree
        for name, losses in first.items():
            print(f'{name:16} first losses {losses[:5]}', flush=True)
        apart = max(np.abs(np.subtract(losses, next(iter(first.values())))).max() for losses in first.values())
        assert apart < (0.05 if gpt_peer.on_gpu() else 1e-3), f'not the same training: losses {apart} apart'
        seconds = rounds.interleave(runs, options.rounds)

    tokens = len(data) * size.batch * size.length
    best = min((name for name in runs if name != 'jaxlab'), key=lambda name: min(seconds[name]), default='jaxlab')
    found = rounds.summary(seconds, best, tokens)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    print(f'{count:,} parameters, {size.batch} × {size.length} tokens a step, {len(data)} steps a round; × {best}')
    rounds.show(found, 'tokens/s')
    if options.only:
        return
    result = {
        'size': vars(size) | {'parameters': count},
        'dtype': str(np.dtype(gpt_peer.compute_dtype())),
        'device': jax.devices()[0].device_kind,
        'steps_in_a_round': len(data),
        'rounds': options.rounds,
        'losses_apart': float(f'{apart:.2g}'),
        'reference': best,
        'candidates': found,
    }
    print(record.write(f'train_gpt_{options.size}', result))


if __name__ == '__main__':
    main()

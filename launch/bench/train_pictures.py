"""Training on pictures: pictures per second of whole steps, beside torch with the same layers.

  python launch/bench/train_pictures.py --size=mlp       784-256-10, 64 pictures of 28 × 28: two cores
  python launch/bench/train_pictures.py --size=cnn       configs/cnn.py's network, the same pictures: two cores
  python launch/bench/train_pictures.py --size=resnet18  its layers after a small stem, 64 of 32 × 32: two cores
  python launch/bench/train_pictures.py --size=resnet50  128 of 224 × 224: a GPU
  python launch/bench/train_pictures.py --size=vit_b     ViT-B/16, 128 of 224 × 224: a GPU

Both sides train the same weights on the same pictures, which are bytes, with the same optimizer, and their losses must
agree. Ours is the step of `jaxlab.train`, with all that it reports. Theirs is tried eager and compiled, with channels
first and last, always with the fused optimizer; the fastest of these is what the others are compared with. Each side
has a process of its own, and they take turns. In float32 on a CPU, in bfloat16 over float32 parameters on a GPU.

The MLP's step takes less time than to start it, so ours does several in one call, as configs/mlp.py does. Torch has no
such thing. Ours with one step in a call stands beside it, and JAX with nothing around its products: what is left to
be saved.
"""

# b batch, h height, w width, c channels

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import bare
import jax
import numpy as np
import picture_peer
import record
import rounds
import torch
from picture_peer import DECAY, Size

from jaxlab import blueprint, calls
from jaxlab.allocator import keep_freed_memory
from jaxlab.experiment import make_task
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh

OURS, ONE, BARE = 'jaxlab', 'jaxlab, 1 step in a call', 'jax alone'
STEPS = {'mlp': 200, 'cnn': 20, 'resnet18': 2, 'resnet50': 10, 'vit_b': 10}
MOST = {'mlp': 20}  # steps in a call, where that is not 1
COMPARED = 8  # losses
Batches = list[dict[str, np.ndarray]]
Run = Callable[[], list[float]]  # some steps; returns their losses


def sides(name: str, gpu: bool) -> tuple[str, ...]:
    """Returns what takes turns."""
    if name == 'mlp':
        return OURS, ONE, BARE, 'torch', 'torch compiled'
    if gpu:
        return OURS, 'torch channels last', 'torch compiled channels last'
    return OURS, 'torch', 'torch channels last', 'torch compiled', 'torch compiled channels last'


def batches(size: Size, number: int) -> Batches:
    """Returns batches of noisy pictures, one picture for each class, so that there is something to learn."""
    random = np.random.default_rng(0)
    clean = random.integers(96, 160, (size.classes, *size.shape))
    found = []
    for _ in range(number):
        targets = random.integers(0, size.classes, size.batch, np.int32)
        noise = random.integers(-95, 96, (size.batch, *size.shape))
        inputs = (clean[targets] + noise).astype(np.uint8)
        found.append({'inputs': inputs, 'targets': targets, 'mask': np.ones(size.batch, np.float32)})
    return found


def begin(size: Size, data: Batches, most: int) -> tuple[blueprint.Blueprint, Any]:
    """Returns the plan of our training, and the state that it starts from. `most` is `config.steps_per_call`."""
    config = picture_peer.ours(size, most)
    mesh = make_mesh(config.mesh)
    with jax.set_mesh(mesh):
        task = make_task(config, picture_peer.info(size))
        plan = blueprint.draw(config, task, layout.global_shapes(data[0], size.batch), mesh)
        return plan, plan.born()


def make_ours(plan: blueprint.Blueprint, state: Any, data: Batches, most: int) -> Run:
    """Returns a run of jaxlab's own step, compiled as `jaxlab.train` compiles it.

    Of several steps in a call, the losses are those of the last.
    """
    compiled = blueprint.compile_step(plan.call, plan.arguments, plan.mesh)
    ends = calls.ends(0, len(data), most, ())
    given = calls.batches(data.__getitem__, 0, ends, most)

    def run() -> list[float]:
        nonlocal state
        losses = []
        for call in range(len(ends)):
            state, terms = compiled(state, {}, layout.place(given(call), plan.given_shardings))
            losses.append(terms['loss'])
        return [float(term.total / term.count) for term in losses]

    return run


def make_theirs(size: Size, data: Batches, model: Any, variables: Any, side: str) -> tuple[Run, str]:
    """Returns a run of torch's model with these weights, and whose code it is."""
    network, code = picture_peer.theirs(size, model, variables)
    device = torch.device('cuda' if jax.default_backend() == 'gpu' else 'cpu')
    layout_of = torch.channels_last if 'channels last' in side else torch.contiguous_format
    network = network.to(device)
    if network_is_spatial := size.kind != 'mlp':
        network = network.to(memory_format=layout_of)  # type: ignore[call-overload]
    weights = list(network.parameters())
    groups: list[dict[str, Any]] = [
        {'params': [weight for weight in weights if weight.ndim > 1], 'weight_decay': DECAY[size.optimizer]},
        {'params': [weight for weight in weights if weight.ndim == 1], 'weight_decay': 0.0},
    ]
    optimizer: torch.optim.Optimizer
    if size.optimizer == 'adamw':
        optimizer = torch.optim.AdamW(groups, lr=size.learning_rate, betas=(0.9, 0.95), eps=1e-8, fused=True)
    else:
        optimizer = torch.optim.SGD(groups, lr=size.learning_rate, momentum=0.9, fused=True)
    inputs = [torch.from_numpy(row['inputs']).permute(0, 3, 1, 2) for row in data]  # a view: channels are last
    if network_is_spatial:
        inputs = [row.contiguous(memory_format=layout_of) for row in inputs]
    targets = [torch.from_numpy(row['targets']).long() for row in data]

    def loss_of(pictures: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        x = pictures * (1 / (255 * 0.25)) - 0.5 / 0.25  # as info() has it
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == 'cuda'):
            logits = network(x)
        return torch.nn.functional.cross_entropy(logits.float(), classes)

    function: Any = torch.compile(loss_of) if 'compiled' in side else loss_of

    def run() -> list[float]:
        losses = []
        for pictures, classes in zip(inputs, targets, strict=True):
            loss = function(pictures.to(device), classes.to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return [float(loss) for loss in losses]

    return run, code


def make(name: str, side: str, steps: int, most: int) -> tuple[dict[str, Any], Run]:
    """Returns what one side says of itself, and its runs of `steps` steps."""
    torch.set_num_threads(record.machine()['cores'])
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    size = picture_peer.SIZES[name]
    data = batches(size, steps)
    most = most if side in (OURS, BARE) else 1
    plan, state = begin(size, data, most)
    model, variables = plan.task.model, jax.device_get({'params': state.params, **state.extra})
    if side == BARE:
        of = size.learning_rate, DECAY[size.optimizer]
        run, code = bare.run_of(model, jax.device_put(variables['params']), data, most, *of), 'jax and optax'
    elif side.startswith('jaxlab'):
        run, code = make_ours(plan, state, data, most), 'jaxlab'
    else:
        run, code = make_theirs(size, data, model, variables, side)
    losses = [*run(), *run()]  # compiling, and a second time through the same batches
    said = {'losses': losses, 'every': 2 * steps // len(losses), 'code': code}
    said['parameters'] = sum(leaf.size for leaf in jax.tree.leaves(variables['params']))
    return said | {'device': jax.devices()[0].device_kind, 'dtype': str(np.dtype(model.dtype))}, run


def apart(said: dict[str, dict[str, Any]]) -> float:
    """Returns how far the losses of the sides lie apart at most, of those steps whose losses all of them say."""
    every = max(words['every'] for words in said.values())
    losses = [words['losses'][every // words['every'] - 1 :: every // words['every']] for words in said.values()]
    table = np.array([row[:COMPARED] for row in losses])
    return float(np.abs(table - table[0]).max())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--size', default='cnn', choices=picture_peer.SIZES)
    arguments.add_argument('--rounds', type=int, default=11)
    arguments.add_argument('--steps', type=int, default=0, help='in a round; default: about a second of them')
    arguments.add_argument('--steps_per_call', type=int, default=0, help='of ours; default: what suits the size')
    arguments.add_argument('--side', default='', help=argparse.SUPPRESS)
    options = arguments.parse_args()
    steps = options.steps or STEPS[options.size]
    most = options.steps_per_call or MOST.get(options.size, 1)
    if options.side:
        if options.side.startswith('jax'):
            keep_freed_memory()  # as jaxlab.main does it
        rounds.serve(*make(options.size, options.side, steps, most))
        return

    shared = (__file__, f'--size={options.size}', f'--steps={steps}', f'--steps_per_call={most}')
    workers = {
        side: rounds.Worker(*shared, f'--side={side}') for side in sides(options.size, torch.cuda.is_available())
    }
    said = {side: worker.said for side, worker in workers.items()}
    for side, words in said.items():
        print(f'{side:28} losses {words["losses"][:COMPARED]}', flush=True)
    about, distance = said[OURS], apart(said)
    wanted = 1e-3 if about['dtype'] == 'float32' else 0.05
    assert distance < wanted, f'not the same training: losses {distance} apart'
    seconds = rounds.interleave(workers, options.rounds)
    for worker in workers.values():
        worker.close()

    size = picture_peer.SIZES[options.size]
    theirs = [side for side in workers if not side.startswith('jax')]
    best = min(theirs, key=lambda side: statistics.median(seconds[side]))
    found = rounds.summary(seconds, best, steps * size.batch)
    print(f'{about["parameters"]:,} parameters, {size.batch} pictures a step, {steps} steps a round')
    rounds.show(found, 'pictures/s')
    result = {
        'size': vars(size) | {'parameters': about['parameters']},
        'peer': said[best]['code'],
        'dtype': about['dtype'],
        'device': about['device'],
        'steps_in_a_round': steps,
        'steps_per_call': most,
        'rounds': options.rounds,
        'losses_apart': float(f'{distance:.2g}'),
        'reference': best,
        'candidates': found,
    }
    print(record.write(f'train_pictures_{options.size}', result))


if __name__ == '__main__':
    main()

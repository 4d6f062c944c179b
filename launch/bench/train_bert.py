"""Pre-training BERT: tokens per second, beside `transformers`' BERT on torch, eager and compiled.

  python launch/bench/train_bert.py                  BERT-base, 8 × 128 tokens, two steps a round
  python launch/bench/train_bert.py --size=large     BERT-large, 64 × 128 tokens: a GPU
  python launch/bench/train_bert.py --size=tiny      to see that this works

Both sides train the same weights on the same rows, of which 15 % of the tokens are hidden, with both of BERT's losses
and the same AdamW, and their losses must agree. Ours is the step of `jaxlab.train`, with all that it reports. Theirs is
at its best: fused attention, dropout 0, the output layer for the hidden tokens alone (their own forward pass makes the
logits of all), the fused optimizer. Each side has a process of its own, and they take turns. In float32 on a CPU, in
bfloat16 over float32 parameters on a GPU.
"""

# b batch, t time, d width, m hidden tokens of a row

import argparse
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gpt_peer
import jax
import numpy as np
import record
import rounds
import torch
import transformers

from jaxlab import blueprint, calls, pretrained
from jaxlab.allocator import keep_freed_memory
from jaxlab.config import experiment, spec
from jaxlab.experiment import make_task
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import make_mesh
from jaxlab.pretrained import bert

RATE, DECAY = 1e-4, 0.01
OURS = 'jaxlab'
SIDES = (OURS, 'torch eager', 'torch compiled')
Run = Callable[[], list[float]]  # some steps; returns their losses


@dataclass(frozen=True)
class Size:
    """The shape of a model, and of the batch that it is trained on."""

    layers: int
    width: int
    heads: int
    batch: int
    length: int = 128
    vocabulary: int = 30522

    @property
    def hidden(self) -> int:
        """Hidden tokens of a row."""
        return round(0.15 * self.length)


SIZES = {
    'base': Size(layers=12, width=768, heads=12, batch=64 if gpt_peer.on_gpu() else 8),
    'large': Size(layers=24, width=1024, heads=16, batch=64),
    'tiny': Size(layers=2, width=32, heads=2, batch=4, length=32, vocabulary=512),
}


def batches(size: Size, number: int) -> list[dict[str, np.ndarray]]:
    """Returns batches with tokens that follow Zipf's law, so that there is something to learn."""
    random = np.random.default_rng(0)
    chances = 1 / np.arange(1, size.vocabulary + 1)
    found = []
    for _ in range(number):
        shape = size.batch, size.length
        tokens = random.choice(size.vocabulary, shape, p=chances / chances.sum()).astype(np.int32)
        places = np.stack([random.permutation(size.length)[: size.hidden] for _ in range(size.batch)])
        targets = np.take_along_axis(tokens, places, 1)
        np.put_along_axis(tokens, places, 103, 1)  # [MASK]
        row = {
            'tokens': tokens,
            'types': (np.arange(size.length) >= size.length // 2) * np.ones(shape, np.int32),
            'lengths': np.full(size.batch, size.length),
            'places': places,
            'targets': targets,
            'next': random.integers(0, 2, size.batch),
        }
        ones = np.ones(places.shape, np.float32)
        found.append({name: value.astype(np.int32) for name, value in row.items()} | {'mask': ones})
    return found


def begin(size: Size, data: list[dict[str, np.ndarray]]) -> tuple[blueprint.Blueprint, Any]:
    """Returns the plan of our training, and the state that it starts from."""
    c = experiment()
    c.steps, c.batch_size, c.mesh.data = 100, size.batch, 1
    c.precision.compute = 'bfloat16' if gpt_peer.on_gpu() else 'float32'
    c.task = spec('tasks.masked_language_model')
    c.model = spec('models.bert', layers=size.layers, width=size.width, heads=size.heads, dropout=0.0)
    schedule = spec('schedules.constant')
    c.optimizer = spec('optim.adamw', learning_rate=RATE, weight_decay=DECAY, schedule=schedule, clip=0.0)
    info = {'vocabulary': size.vocabulary, 'length': size.length, 'types': 2, 'padding': 0}
    mesh = make_mesh(c.mesh)
    with jax.set_mesh(mesh):
        plan = blueprint.draw(c, make_task(c, info), layout.global_shapes(data[0], size.batch), mesh)
        return plan, plan.born()


def make_ours(plan: blueprint.Blueprint, state: Any, data: list[dict[str, np.ndarray]]) -> Run:
    """Returns a run of jaxlab's own step, compiled as `jaxlab.train` compiles it."""
    compiled = blueprint.compile_step(plan.call, plan.arguments, plan.mesh)
    given = calls.batches(data.__getitem__, 0, calls.ends(0, len(data), 1, ()), 1)

    def run() -> list[float]:
        nonlocal state
        losses = []
        for number in range(len(data)):
            state, terms = compiled(state, {}, layout.place(given(number), plan.given_shardings))
            losses.append([terms['masked'], terms['next']])
        return [sum(float(term.total / term.count) for term in pair) for pair in losses]

    return run


def make_theirs(data: list[dict[str, np.ndarray]], model: Any, variables: Any, compiled: bool) -> Run:
    """Returns a run of `transformers`' BERT with these weights."""
    with tempfile.TemporaryDirectory() as folder:
        config = bert.config_of(model)
        pretrained.save(folder, bert.family_for(model), variables, config)
        settings = transformers.BertConfig(
            **config | {'hidden_dropout_prob': 0.0, 'attention_probs_dropout_prob': 0.0}, attn_implementation='sdpa'
        )
        network = transformers.BertForPreTraining.from_pretrained(folder, config=settings).train()
    device = torch.device('cuda' if gpt_peer.on_gpu() else 'cpu')
    network = network.to(device)
    weights = list(network.parameters())
    groups: list[dict[str, Any]] = [
        {'params': [weight for weight in weights if weight.ndim > 1], 'weight_decay': DECAY},
        {'params': [weight for weight in weights if weight.ndim == 1], 'weight_decay': 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95), eps=1e-8, fused=True)
    names = ('tokens', 'types', 'places', 'targets', 'next')
    inputs = [{name: torch.from_numpy(row[name]).long() for name in names} for row in data]

    def loss_of(row: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == 'cuda'):
            x = network.bert(row['tokens'], token_type_ids=row['types'])
            seen = torch.take_along_dim(x.last_hidden_state, row['places'][..., None], 1)
            logits, following = network.cls.predictions(seen), network.cls.seq_relationship(x.pooler_output)
        masked = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), row['targets'].flatten())
        return masked + torch.nn.functional.cross_entropy(following.float(), row['next'])

    function: Any = torch.compile(loss_of) if compiled else loss_of

    def run() -> list[float]:
        losses = []
        for row in inputs:
            loss = function({name: value.to(device) for name, value in row.items()})
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return [float(loss) for loss in losses]

    return run


def serve(side: str, size: Size, steps: int) -> None:
    """Is one side of the comparison: says its first losses, then trains `steps` more steps whenever it is asked to."""
    torch.set_num_threads(record.machine()['cores'])
    torch.backends.cuda.matmul.allow_tf32 = True
    if side == OURS:
        keep_freed_memory()  # as jaxlab.main does it
    data = batches(size, steps)
    plan, state = begin(size, data)
    variables = jax.device_get({'params': state.params})
    if side == OURS:
        run = make_ours(plan, state, data)
    else:
        model = plan.task.model
        del state
        run = make_theirs(data, model, variables, compiled=side == 'torch compiled')
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    said = {'losses': run(), 'parameters': count, 'device': jax.devices()[0].device_kind}
    rounds.serve(said | {'dtype': str(np.dtype(plan.task.model.dtype))}, run)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--size', default='base', choices=SIZES)
    arguments.add_argument('--rounds', type=int, default=7)
    arguments.add_argument('--steps', type=int, default=2, help='in a round')
    arguments.add_argument('--side', default='', choices=SIDES, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    size = SIZES[options.size]
    if options.side:
        serve(options.side, size, options.steps)
        return

    shared = (__file__, f'--size={options.size}', f'--steps={options.steps}')
    workers = {side: rounds.Worker(*shared, f'--side={side}') for side in SIDES}
    said = {side: worker.said for side, worker in workers.items()}
    for side, words in said.items():
        print(f'{side:16} losses {words["losses"][:5]}', flush=True)
    losses = np.array([said[side]['losses'] for side in SIDES])
    apart, about = np.abs(losses - losses[0]).max(), said[OURS]
    assert apart < (0.05 if gpt_peer.on_gpu() else 1e-3), f'not the same training: losses {apart} apart'
    seconds = rounds.interleave(workers, options.rounds)
    for worker in workers.values():
        worker.close()

    best = min(SIDES[1:], key=lambda side: statistics.median(seconds[side]))
    found = rounds.summary(seconds, best, options.steps * size.batch * size.length)
    print(f'{about["parameters"]:,} parameters, {size.batch} × {size.length} tokens, {options.steps} steps a round')
    rounds.show(found, 'tokens/s')
    result = {
        'size': vars(size) | {'hidden': size.hidden, 'parameters': about['parameters']},
        'dtype': about['dtype'],
        'device': about['device'],
        'steps_in_a_round': options.steps,
        'rounds': options.rounds,
        'losses_apart': float(f'{apart:.2g}'),
        'reference': best,
        'candidates': found,
    }
    print(record.write(f'train_bert_{options.size}', result))


if __name__ == '__main__':
    main()

"""Generating with a GPT: seconds for 256 tokens of one row, beside `transformers`' GPT-2 on torch.

  python launch/bench/generate_gpt.py --size=10m        two cores
  python launch/bench/generate_gpt.py --size=gpt2       a GPU

The same weights, the same prompt, always the likeliest token: both sides must write the same text. Theirs is measured
as it comes (`generate`), and with a static cache and a compiled step. Ours is `jaxlab.decode.sampling.stream`, as the
generate verb uses it. `first_token` is the time to the first token of a process that has the model ready: `cold` with
compilation, `warm` without. `share_of_bandwidth` is the time in which the memory could have been read that each token
needs (all parameters, once), over the time that was taken.
"""

# b batch, p prompt

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gpt_peer
import jax
import numpy as np
import record
import rounds
import torch

from jaxlab.allocator import keep_freed_memory
from jaxlab.decode import sampling
from jaxlab.parallel import layout
from jaxlab.tasks import language_model

PROMPT, TOKENS = 16, 256
SIDES = ('jaxlab', 'transformers', 'transformers static compiled')
Generate = Callable[[int], list[int]]  # how many tokens -> the tokens


def make_ours(size: gpt_peer.Size, params: Any, prompt: np.ndarray) -> Generate:
    task = language_model.make(gpt_peer.ours(size))
    params = jax.device_put(params)
    greedy = sampling.Sampling(temperature=0.0)

    def generate(count: int) -> list[int]:
        chunks = sampling.stream(task._decoder, params, prompt, count, jax.random.key(0), greedy)
        return np.concatenate([chunk[0] for chunk in chunks]).tolist()

    return generate


def make_theirs(size: gpt_peer.Size, params: Any, prompt: np.ndarray, static: bool) -> Generate:
    model = gpt_peer.theirs(size, params).eval()
    if gpt_peer.on_gpu():
        model = model.to(torch.bfloat16)
    tokens = torch.from_numpy(prompt).long().to(model.device)
    how: dict[str, Any] = {'do_sample': False, 'pad_token_id': 0, 'use_cache': True}
    if static:
        how['cache_implementation'] = 'static'
        model.forward = torch.compile(model.forward)

    @torch.inference_mode()
    def generate(count: int) -> list[int]:
        mask = torch.ones_like(tokens)
        found = model.generate(tokens, attention_mask=mask, max_new_tokens=count, min_new_tokens=count, **how)
        return found[0, tokens.shape[1] :].tolist()

    return generate


def timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def bandwidth(size: int = 2**28) -> float:
    """Returns how many bytes a second one can read, by summing an array that no cache holds."""
    numbers = jax.numpy.ones(size // 4, jax.numpy.float32)
    total = jax.jit(jax.numpy.sum)
    total(numbers).block_until_ready()
    return size / min(timed(lambda: total(numbers).block_until_ready()) for _ in range(10))


def serve(side: str, size: gpt_peer.Size) -> None:
    """Is one side of the comparison: says what it writes, and writes it again whenever it is asked to."""
    torch.set_num_threads(record.machine()['cores'])
    if side == 'jaxlab':
        keep_freed_memory()  # as jaxlab.main does it
    ours = gpt_peer.ours(size)
    prompt = np.random.default_rng(0).integers(0, size.vocabulary, (1, PROMPT)).astype(np.int32)
    params = jax.device_get(layout.unbox(jax.jit(ours.init)(jax.random.key(0), prompt)['params']))
    # Larger weights than at birth: the likeliest token is then clearly so, and rounding decides nothing.
    params = jax.tree.map(lambda leaf: 4 * leaf if leaf.ndim > 1 else leaf, params)
    if side == 'jaxlab':
        generate = make_ours(size, params, prompt)
    else:
        generate = make_theirs(size, params, prompt, static='static' in side)
    cold = timed(lambda: generate(1))
    said: dict[str, Any] = {'text': generate(TOKENS)}
    said['first_token'] = {'cold': cold, 'warm': min(timed(lambda: generate(1)) for _ in range(5))}
    if side == 'jaxlab':
        width = 2 if gpt_peer.on_gpu() else 4
        said['parameter_bytes'] = width * sum(leaf.size for leaf in jax.tree.leaves(params))
        said['bytes_per_second'] = bandwidth()
        said['device'] = jax.devices()[0].device_kind
    rounds.serve(said, lambda: generate(TOKENS))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--size', default='10m', choices=gpt_peer.SIZES)
    arguments.add_argument('--rounds', type=int, default=15)
    arguments.add_argument('--side', default='', choices=SIDES, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    size = replace(gpt_peer.SIZES[options.size], length=512)
    if options.side:
        serve(options.side, size)
        return

    workers = {side: rounds.Worker(__file__, f'--size={options.size}', f'--side={side}') for side in SIDES}
    said = {side: worker.said for side, worker in workers.items()}
    texts = [words.pop('text') for words in said.values()]
    assert gpt_peer.on_gpu() or all(text == texts[0] for text in texts), 'not the same text'
    seconds = rounds.interleave(workers, options.rounds)
    for worker in workers.values():
        worker.close()
    found = rounds.summary(seconds, 'transformers', TOKENS)
    rounds.show(found, 'tokens/s')
    ours = said['jaxlab']
    share = TOKENS * ours['parameter_bytes'] / ours['bytes_per_second'] / found['jaxlab']['median']
    first = {
        side: {key: round(value, 4) for key, value in words['first_token'].items()} for side, words in said.items()
    }
    print(f'share of the bandwidth {share:.0%}; first token {first}')
    result = {
        'size': vars(size) | {'batch': 1},
        'dtype': str(np.dtype(gpt_peer.compute_dtype())),
        'device': ours['device'],
        'prompt': PROMPT,
        'tokens': TOKENS,
        'rounds': options.rounds,
        'reference': 'transformers',
        'candidates': found,
        'first_token': first,
        'parameter_bytes': ours['parameter_bytes'],
        'bytes_per_second': round(ours['bytes_per_second']),
        'share_of_bandwidth': round(share, 3),
    }
    print(record.write(f'generate_gpt_{options.size}', result))


if __name__ == '__main__':
    main()

"""Steps of a finished run, run again: how many come out with the loss that was logged, bit for bit.

  python launch/bench/replays.py [--steps=200] [--replays=50] [--seed=0] [--workdir=runs/replays] [--config.key=value …]

Trains configs/transformer.py:tiny with a row for each step (or goes on with what is in --workdir), draws steps by seed,
and replays each from the nearest checkpoint before it. What the project asks for: all of them.
"""

import argparse
import random
import statistics
import time
from pathlib import Path

import record

from jaxlab import replay as replays
from jaxlab.main import main as jaxlab


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=200)
    parser.add_argument('--replays', type=int, default=50)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workdir', type=Path, default=Path('runs/replays'))
    parsed, flags = parser.parse_known_args()
    settings = [f'--config.steps={parsed.steps}', '--config.log.every=1', '--config.checkpoint.every=20']
    settings += ['--config.checkpoint.keep=20', '--config.log.sample_every=0', '--config.evaluate.every=0', *flags]
    if code := jaxlab(['train', '--config=configs/transformer.py:tiny', f'--workdir={parsed.workdir}', *settings]):
        raise SystemExit(code)
    replays.dissect = lambda *arguments: {}  # the loss alone is compared here
    steps = random.Random(parsed.seed).sample(range(1, parsed.steps + 1), parsed.replays)
    equal, others, seconds, again = [], {}, [], 0
    for step in steps:
        since = time.perf_counter()
        found = replays.replay(parsed.workdir, step)
        seconds.append(round(time.perf_counter() - since, 2))
        again += step - found.origin
        if found.differs:
            others[step] = {name: [found.logged[name], found.row.get(name)] for name in found.differs}
        equal.append(found.bitwise is True)
        print(f'step {step}: {"bit for bit" if not found.differs else others[step]}', flush=True)
    result = {
        'settings': settings,
        'steps': steps,
        'replayed': len(equal),
        'loss_bit_for_bit': sum(equal),
        'other_numbers_that_differ': others,
        'steps_run_again': again,
        'seconds_each': round(statistics.median(seconds), 2),
    }
    print(f'{sum(equal)} of {len(equal)} losses are the logged ones, bit for bit')
    print(record.write('replays', result))


if __name__ == '__main__':
    main()

"""Which learning rate suits each optimizer best in the race of configs/optimizers.py.

  python launch/bench/optimizers.py [--only=adam,lion] [--folder=runs/rates]

Rates are half a decade apart. From the rate that the config has now, each optimizer goes to larger and to smaller ones
until both neighbours of the best are worse. What is compared is the loss on the held-out part after the last step, from
one seed; no test part is looked at. A trial that is finished is not run again, so that this can be stopped at any time.
"""

import argparse
import json
import math
import time
from pathlib import Path

import record

from jaxlab import config as configs
from jaxlab import config_text
from jaxlab.observers.tracker import Tracker
from jaxlab.race import finished
from jaxlab.train import train

FACTOR = 10**0.5


def trial(name: str, rate: float, folder: Path) -> float:
    """Returns the held-out loss of optimizer `name` at this rate; infinity where it diverges."""
    experiments, _, _ = config_text.load_all('configs/optimizers.py')
    config = experiments[name]
    config.optimizer.learning_rate = rate
    configs.check(config)
    workdir = folder / f'{name}-{rate:.2g}'
    if not finished(workdir, config) and train(config, workdir, [Tracker()]):
        raise SystemExit(f'stopped; the same command goes on in {folder}')
    rows = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text('utf-8').splitlines()]
    loss = [row['eval/held_out/loss'] for row in rows if 'eval/held_out/loss' in row][-1]
    return loss if math.isfinite(loss) else math.inf


def tune(name: str, rate: float, folder: Path) -> dict[float, float]:
    """Returns {rate: loss}, of which the best has worse neighbours on both sides."""
    losses: dict[float, float] = {}
    exponent = round(math.log(rate, FACTOR))
    while True:
        wanted = {exponent - 1, exponent, exponent + 1} - losses.keys()
        if not wanted:
            return {float(f'{FACTOR**e:.2g}'): loss for e, loss in sorted(losses.items())}
        for e in sorted(wanted):
            start = time.perf_counter()
            losses[e] = trial(name, float(f'{FACTOR**e:.2g}'), folder)
            seconds = time.perf_counter() - start
            print(f'{name:10} {FACTOR**e:9.2g}  {losses[e]:.4f}  {seconds:4.0f} s', flush=True)
        exponent = min(losses, key=losses.__getitem__)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--only', default='', help='some optimizers, such as adam,lion; nothing is written then')
    arguments.add_argument('--folder', default='runs/rates', help='where the trials lie')
    options = arguments.parse_args()

    experiments, _, _ = config_text.load_all('configs/optimizers.py')
    names = options.only.split(',') if options.only else list(experiments)
    losses = {name: tune(name, experiments[name].optimizer.learning_rate, Path(options.folder)) for name in names}
    best = {name: min(of, key=of.__getitem__) for name, of in losses.items()}
    for name in sorted(best, key=lambda name: losses[name][best[name]]):
        print(f'{name:10} {best[name]:9.2g}  {losses[name][best[name]]:.4f}')
    if not options.only:
        one = experiments[names[0]]
        result = {
            'held_out_loss': losses,
            'best_rate': best,
            'steps': one.steps,
            'batch_size': one.batch_size,
            'data': one.data.to_dict(),
            'model': one.model.to_dict(),
        }
        print(record.write('optimizers', result))


if __name__ == '__main__':
    main()

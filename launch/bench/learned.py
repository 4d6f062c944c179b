"""What a size of configs/transformer.py learns: trains it as a person would, then reads every held-out byte.

  python launch/bench/learned.py --size=default
  python launch/bench/learned.py --size=small --workdir=runs/small     (goes on with it, or only evaluates it)

Beside it stand gzip -9 and the byte 5-gram of results/baselines.json, where that is of the same corpus.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record

ROOT = Path(__file__).parents[2]


def jaxlab(*arguments: str) -> list[str]:
    return [sys.executable, '-m', 'jaxlab.main', *arguments]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--size', default='default')
    arguments.add_argument('--workdir', default='', help='default: a temporary one')
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        workdir = Path(options.workdir or f'{temporary}/run')
        began = time.perf_counter()
        config = f'--config=configs/transformer.py:{options.size}'
        subprocess.run(jaxlab('train', config, f'--workdir={workdir}'), cwd=ROOT, check=True)
        seconds = time.perf_counter() - began
        evaluate = jaxlab('evaluate', f'--workdir={workdir}', '--json')
        found = json.loads(subprocess.run(evaluate, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
        rows = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text('utf-8').splitlines()]
        resolved = json.loads((workdir / 'config.json').read_text('utf-8'))

    rates = [row['train/tokens_per_second'] for row in rows if 'train/tokens_per_second' in row]
    tokens = resolved['steps'] * resolved['batch_size'] * resolved['data']['length']
    result = {
        'size': options.size,
        'evaluation': {key: value for key, value in found.items() if key != 'workdir'},
        'training_tokens': tokens,
        'tokens_per_second': {'median': round(statistics.median(rates)), 'fastest': round(max(rates))},
        'minutes_of_training': round(sum(tokens / len(rates) / rate for rate in rates) / 60, 1),
    }
    if not options.workdir:
        result['minutes_from_start_to_end'] = round(seconds / 60, 1)
    baselines = record.FOLDER / 'baselines.json'
    if baselines.exists():
        baseline = json.loads(baselines.read_text('utf-8'))['result']
        if baseline['held_out']['bytes'] == found['bytes']:
            scores = baseline['bits_per_byte']
            named = {name: scores[name] for name in ('gzip -9', '5-gram modified_kneser_ney')}
            result['baselines'] = named
            result['below'] = {name: f'{1 - found["bits_per_byte"] / score:.1%}' for name, score in named.items()}
    print(json.dumps(result, indent=2))
    print(record.write(f'learned_{options.size}', result))


if __name__ == '__main__':
    main()

"""What finished runs have reached, put on record: of each its command, when and where it ran, and its scores.

  python -m jaxlab.main evaluate --workdir=runs/cnn-1a2b3c4d --split=test        once, when all is chosen
  python launch/bench/runs.py --name=pictures runs/cnn-1a2b3c4d runs/resnet-5e6f7a8b

What has no test part, as texts to learn language from, has its last evaluation alone. Nothing is computed here:
numbers are those that the runs and `evaluate` wrote. A run's time is from its start to its end, whatever else the
machine did meanwhile.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import record


def of(workdir: Path) -> dict[str, Any]:
    """Returns what a workdir says of its run."""
    starts = json.loads((workdir / 'runs.json').read_text('utf-8'))
    evaluation = workdir / 'evaluations' / 'test.json'
    test = json.loads(evaluation.read_text('utf-8')) if evaluation.is_file() else None
    rows = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text('utf-8').splitlines()]
    last = [row for row in rows if any(name.startswith('eval/') for name in row)][-1]
    changed = {key: values[1] for key, values in starts[-1]['changed'].items() if not key.endswith('path')}
    return {
        'config': starts[-1]['config_file'],
        'changed': changed,
        'runs': [
            {key: one.get(key) for key in ('started', 'ended', 'commit', 'machine', 'versions')} for one in starts
        ],
        'step': test['step'] if test else last['step'],
        'last_evaluation': last,
        'test': test and {'rows': test['rows'], **test['scores']},
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('workdirs', nargs='+', type=Path)
    arguments.add_argument('--name', required=True, help='of the file in results/: runs_NAME.json')
    options = arguments.parse_args()
    print(record.write(f'runs_{options.name}', {workdir.name: of(workdir) for workdir in options.workdirs}))


if __name__ == '__main__':
    main()

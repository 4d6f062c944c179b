"""Say what a trained experiment makes of pictures, or of rows of a table.

python -m jaxlab.main predict --workdir=runs/mlp-1a2b3c4d cat.png dog.jpg my_pictures/
python -m jaxlab.main predict --workdir=runs/mlp-1a2b3c4d --top=3 --json cat.png
python -m jaxlab.main predict --workdir=runs/mlp-5e6f7a8b 59,2,32.1,101,157,93.2,38,4,4.86,87
"""

import argparse
import sys
from pathlib import Path

from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.verbs import step


def arguments(parser: argparse.ArgumentParser) -> None:
    which = say('a checkpoint: its number, best or newest (default)')
    package = say('a package that the config may import from')
    raws = say('files of pictures, folders of them, or rows of a table as 1.5,2,…')
    parser.add_argument('raw', nargs='+', help=raws)
    parser.add_argument('--workdir', required=True, help=say('the experiment'))
    parser.add_argument('--step', type=step, default='newest', help=which)
    parser.add_argument('--top', type=int, default=1, help=say('how many classes to name (default 1)'))
    parser.add_argument('--json', action='store_true', help=say('print one JSON object'))
    parser.add_argument('--allow_import', action='append', default=[], help=package)


def run(parsed: argparse.Namespace) -> int:
    import json

    from jaxlab.experiment import load

    if parsed.top < 1:
        raise UserError('--top={top}: at least 1 is wanted.', top=parsed.top)
    experiment = load(parsed.workdir, step=parsed.step, overrides=parsed.overrides, allow_import=parsed.allow_import)
    if not hasattr(experiment.task, 'answers'):
        raise UserError('--workdir={workdir}: this experiment writes text; generate does that.', workdir=parsed.workdir)
    if hasattr(experiment.task, 'pictures'):
        raise UserError(
            '--workdir={workdir}: this experiment makes pictures; generate does that.', workdir=parsed.workdir
        )
    names = [name for raw in parsed.raw for name in files_of(raw)]
    readable, inputs = [], []
    for name in names:
        try:
            inputs.append(experiment.processor.encode(name))
            readable.append(name)
        except UserError as error:
            print(f'jaxlab: {error}', file=sys.stderr)
    classes = bool(experiment.processor.labels)
    options = {'top': parsed.top} if classes else {}
    found = dict(zip(readable, experiment.answers(inputs, **options) if inputs else []))
    if parsed.json:
        shown = {name: [{'class': label, 'probability': p} for label, p in answer] for name, answer in found.items()}
        print(json.dumps(shown if classes else found, ensure_ascii=False))
    else:
        width = max(map(len, found), default=0)
        for name, answer in found.items():
            text = '  '.join(f'{label} {p:.4f}' for label, p in answer) if classes else f'{answer:.4f}'
            print(f'{name:{width}}  {text}')
    return 0 if len(found) == len(names) else 2


def files_of(raw: str) -> list[str]:
    """Returns the files in a folder and below, sorted, or what is no folder as it is.

    Raises:
      UserError: the folder holds none.
    """
    folder = Path(raw)
    if not folder.is_dir():
        return [raw]
    files = [file for file in folder.rglob('*') if file.is_file() and not file.name.startswith('.')]
    if not files:
        raise UserError('"{folder}" holds no files.', folder=raw)
    return [str(file) for file in sorted(files)]

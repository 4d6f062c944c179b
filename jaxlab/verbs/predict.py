"""Say what a trained experiment makes of pictures, texts, or rows of a table.

python -m jaxlab.main predict --workdir=runs/mlp-1a2b3c4d cat.png dog.jpg my_pictures/
python -m jaxlab.main predict --workdir=runs/mlp-1a2b3c4d --top=3 --json cat.png
python -m jaxlab.main predict --workdir=runs/mlp-5e6f7a8b 59,2,32.1,101,157,93.2,38,4,4.86,87
python -m jaxlab.main predict --workdir=runs/bert_finetune-1a2b3c4d 'A gripping film.' --lines=reviews.txt
cat reviews.txt | python -m jaxlab.main predict --workdir=runs/bert_finetune-1a2b3c4d --lines=-
python -m jaxlab.main predict --workdir=runs/bert_pretrain-1a2b3c4d --top=3 'Return the [MASK] of the file.'
python -m jaxlab.main predict --workdir=runs/transformer-1a2b3c4d --attention 'def add(a, b):'
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.verbs import step

SHOWN = 100  # characters of a text that the screen shows behind its answer


def arguments(parser: argparse.ArgumentParser) -> None:
    which = say('a checkpoint: its number, best or newest (default)')
    package = say('a package that the config may import from')
    raws = say('files of pictures, folders of them, texts, or rows of a table as 1.5,2,…')
    lines = say('a file with one of them a line (-: what is piped in); two texts have a tab between them')
    attention = say('of texts: also write where the heads of the model look, as pictures and pages')
    parser.add_argument('raw', nargs='*', help=raws)
    parser.add_argument('--workdir', required=True, help=say('the experiment'))
    parser.add_argument('--lines', action='append', default=[], help=lines)
    parser.add_argument('--step', type=step, default='newest', help=which)
    parser.add_argument('--top', type=int, default=1, help=say('how many classes to name (default 1)'))
    parser.add_argument('--attention', action='store_true', help=attention)
    parser.add_argument('--json', action='store_true', help=say('print one JSON object'))
    parser.add_argument('--allow_import', action='append', default=[], help=package)


def run(parsed: argparse.Namespace) -> int:
    import json

    from jaxlab.experiment import load

    if parsed.top < 1:
        raise UserError('--top={top}: at least 1 is wanted.', top=parsed.top)
    given = [*parsed.raw, *(line for file in parsed.lines for line in lines_of(file))]
    if not given:
        raise UserError('say what to look at: files, texts or rows, or a file of such lines: --lines=FILE.')
    experiment = load(parsed.workdir, step=parsed.step, overrides=parsed.overrides, allow_import=parsed.allow_import)
    if parsed.attention and hasattr(experiment.task, 'prompt'):  # it has no answers, and yet looks at the text
        show_attention(experiment, given)
        return 0
    if hasattr(experiment.processor, 'masked'):
        filled = fill_gaps(experiment, given, parsed.top, parsed.json)
        if parsed.attention:
            show_attention(experiment, given, file=sys.stderr if parsed.json else None)
        return filled
    if not hasattr(experiment.task, 'answers'):
        raise UserError('--workdir={workdir}: this experiment writes text; generate does that.', workdir=parsed.workdir)
    if hasattr(experiment.task, 'pictures'):
        raise UserError(
            '--workdir={workdir}: this experiment makes pictures; generate does that.', workdir=parsed.workdir
        )
    processor = experiment.processor
    of_texts = hasattr(processor, 'is_cut')
    names = given if of_texts else [name for raw in given for name in files_of(raw)]
    readable, inputs, cut = [], [], 0
    for name in names:
        try:
            inputs.append(processor.encode(name))
            readable.append(name)
            cut += of_texts and processor.is_cut(name)
        except UserError as error:
            print(f'jaxlab: {error}', file=sys.stderr)
    if cut:
        note = say(
            'note: {cut:,} of {count:,} texts are longer than {length} tokens: their ends are not read',
            cut=cut,
            count=len(readable),
            length=getattr(processor, 'question', processor.length),
        )
        print(note, file=sys.stderr)
    options = experiment.task.options(top=parsed.top)
    answers = experiment.answers(inputs, **options) if inputs else []
    if parsed.json:
        as_json = {name: experiment.task.as_json(answer) for name, answer in zip(readable, answers)}
        print(json.dumps(as_json, ensure_ascii=False))
    else:
        show(readable, [experiment.task.line(answer) for answer in answers], of_texts)
    if parsed.attention:
        show_attention(experiment, readable, file=sys.stderr if parsed.json else None)
    return 0 if len(readable) == len(names) else 2


def fill_gaps(experiment: Any, texts: list[str], top: int, as_json: bool) -> int:
    """Prints the likeliest tokens of each gap of each text, with their probabilities; returns the exit code."""
    import json

    found: dict[str, Any] = {}
    for text in texts:
        try:
            found[text] = experiment(text, top=top)
        except UserError as error:
            print(f'jaxlab: {error}', file=sys.stderr)
    if as_json:
        pairs = {
            text: [[{'token': token, 'probability': share} for token, share in gap] for gap in gaps]
            for text, gaps in found.items()
        }
        print(json.dumps(pairs, ensure_ascii=False))
    else:
        lines = [[[f'{token} {share:.4f}' for token, share in gap] for gap in gaps] for gaps in found.values()]
        told = [' | '.join('  '.join(gap) for gap in gaps) for gaps in lines]
        show(list(found), told, of_texts=True)
    return 0 if len(found) == len(texts) else 2


def show_attention(experiment: Any, texts: list[str], file: Any = None) -> None:
    """Writes where the heads look in each text, and prints the names of the files."""
    from jaxlab import attention_maps

    for text in texts:
        print(*attention_maps.write(experiment, text), sep='\n', file=file)


def show(names: list[str], told: list[str], of_texts: bool) -> None:
    """Prints a line for each: a name and what is said of it, or of texts, which may be long, the other way round."""
    from jaxlab.observers.screen import cells, pad

    first = told if of_texts else names
    width = max(map(cells, first), default=0)
    for name, answer in zip(names, told):
        shown = name if len(name) <= SHOWN else f'{name[: SHOWN - 1]}…'
        print(f'{pad(answer, width)}  {shown}' if of_texts else f'{pad(name, width)}  {answer}')


def lines_of(file: str) -> Iterator[str]:
    """Yields the lines of a file that are not empty; '-' is what is piped in.

    Raises:
      UserError: it cannot be read.
    """
    try:
        text: Any = sys.stdin if file == '-' else Path(file).expanduser().open(encoding='utf-8')
        with text:
            yield from (line for whole in text if (line := whole.rstrip('\r\n')).strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError('--lines={file} cannot be read ({error}).', file=file, error=error) from None


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

"""Write text, or make pictures, with a trained experiment.

python -m jaxlab.main generate --workdir=runs/transformer-1a2b3c4d --prompt="def " --tokens=200 --temperature=0.8
python -m jaxlab.main generate --workdir=hf:openai-community/gpt2 --prompt="Once upon a time" --tokens=40 --beams=4
python -m jaxlab.main generate --workdir=runs/gan-1a2b3c4d --classes=0,1,2 --count=64 --seed=0
python -m jaxlab.main generate --workdir=runs/gan-1a2b3c4d --count=10000 --folder=made
"""

import argparse
from pathlib import Path
from typing import Any

from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.verbs import step

# Flags by what an experiment makes, with what they are where they are not given.
TEXT = {'prompt': '', 'tokens': 200, 'temperature': 0.8, 'top_k': 0, 'top_p': 1.0}
TEXT |= {'beams': 0, 'length_penalty': 1.0, 'early': 'no'}
PICTURES = {'classes': '', 'count': 64, 'folder': ''}
MOST = 1_000_000  # pictures


def arguments(parser: argparse.ArgumentParser) -> None:
    which = say('a checkpoint: its number, best or newest (default)')
    seed = say('of the choices: the same seed makes the same')
    package = say('a package that the config may import from')
    parser.add_argument('--workdir', required=True, help=say('the experiment'))
    parser.add_argument('--step', type=step, default='newest', help=which)
    parser.add_argument('--seed', type=int, default=0, help=seed)
    parser.add_argument('--allow_import', action='append', default=[], help=package)
    temperature = say('0: always the likeliest; 1: as the model says (default 0.8)')
    top_p = say('choose among the likeliest that make up p of the probability')
    text = parser.add_argument_group(say('where it writes text'))
    text.add_argument('--prompt', help=say('what the text starts with'))
    text.add_argument('--tokens', type=int, help=say('how many to write (default 200)'))
    text.add_argument('--temperature', type=float, help=temperature)
    text.add_argument('--top_k', type=int, help=say('choose among the k likeliest only; 0: among all'))
    text.add_argument('--top_p', type=float, help=top_p)
    beams = say('follow so many texts at a time and write the likeliest, without chance; 0: none (default)')
    penalty = say('with beams: above 0 favours long texts, below 0 short ones (default 1)')
    early = say('with beams: when to stop before --tokens: no (by a guess), yes (as soon as there are so many), never')
    text.add_argument('--beams', type=int, help=beams)
    text.add_argument('--length_penalty', type=float, help=penalty)
    text.add_argument('--early', choices=('no', 'yes', 'never'), help=early)
    classes = say('names or numbers of classes, 0,1,2: these alone, in turn; default: all')
    folder = say('a new folder, in which each class has one for its pictures; default: one grid, in the workdir')
    pictures = parser.add_argument_group(say('where it makes pictures'))
    pictures.add_argument('--classes', help=classes)
    pictures.add_argument('--count', type=int, help=say('how many to make (default 64)'))
    pictures.add_argument('--folder', help=folder)


def run(parsed: argparse.Namespace) -> int:
    from jaxlab.experiment import load

    experiment = load(parsed.workdir, step=parsed.step, overrides=parsed.overrides, allow_import=parsed.allow_import)
    if hasattr(experiment.task, 'pictures'):
        check_flags(parsed, TEXT, PICTURES)
        make_pictures(experiment, parsed)
    elif hasattr(experiment.task, 'stream'):
        check_flags(parsed, PICTURES, TEXT)
        write_text(experiment, parsed)
    else:
        raise UserError('--workdir={workdir}: this experiment makes nothing; predict asks it.', workdir=parsed.workdir)
    return 0


def check_flags(parsed: argparse.Namespace, others: dict[str, Any], ours: dict[str, Any]) -> None:
    """Gives the flags of what the experiment makes their defaults.

    Raises:
      UserError: a flag is given that belongs to what it does not make.
    """
    wrong = next((name for name in others if getattr(parsed, name) is not None), '')
    about = {'name': wrong, 'flags': ', '.join(f'--{name}' for name in ours)}
    if wrong and others is TEXT:
        raise UserError('--{name}: this experiment makes pictures, and its flags are {flags}.', **about)
    if wrong:
        raise UserError('--{name}: this experiment writes text, and its flags are {flags}.', **about)
    for name, default in ours.items():
        if getattr(parsed, name) is None:
            setattr(parsed, name, default)


def write_text(experiment: Any, parsed: argparse.Namespace) -> None:
    if parsed.beams:
        how = {name: getattr(parsed, name) for name in ('beams', 'tokens', 'length_penalty', 'early')}
        text, _ = experiment.beams(parsed.prompt, **how)[0]
        print(parsed.prompt + text)
        return
    print(parsed.prompt, end='', flush=True)
    pieces = experiment.stream(
        parsed.prompt,
        tokens=parsed.tokens,
        temperature=parsed.temperature,
        top_k=parsed.top_k,
        top_p=parsed.top_p,
        seed=parsed.seed,
    )
    for piece in pieces:
        print(piece, end='', flush=True)
    print()


def make_pictures(experiment: Any, parsed: argparse.Namespace) -> None:
    """Makes a grid, or a folder of files."""
    import numpy as np

    from jaxlab.data import sheet
    from jaxlab.experiment import COLUMNS, MOST_COLUMNS, picture_grid
    from jaxlab.tasks.gan import number_of
    from jaxlab.trust import place

    if not 1 <= parsed.count <= MOST:
        raise UserError('--count={count}: from 1 to {most} are wanted.', count=parsed.count, most=MOST)
    names = experiment.processor.labels if experiment.task.model.classes else ()
    asked = [word.strip() for word in parsed.classes.split(',') if word.strip()]
    classes = [number_of(word, names) for word in asked] or list(range(len(names))) or [0]
    labels = [classes[n % len(classes)] for n in range(parsed.count)]
    pictures = experiment.draw(labels, parsed.seed)
    if parsed.folder:
        write_folder(Path(parsed.folder), pictures, [names[label] if names else 'all' for label in labels])
        print(say('{count:,} pictures: {folder}', count=parsed.count, folder=parsed.folder))
        return
    columns = len(classes) if 1 < len(classes) <= MOST_COLUMNS else min(COLUMNS, parsed.count)
    file = experiment.workdir / 'samples' / f'of_step_{experiment.step}_seed_{parsed.seed}.png'
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        place.write(file, sheet.png(picture_grid(np.stack(list(pictures)), columns)))
    except OSError as error:
        raise UserError('{file} cannot be written ({error}).', file=file, error=error.strerror or error) from None
    print(file)


def write_folder(folder: Path, pictures: Any, labels: list[str]) -> None:
    """Writes <folder>/<class>/<number>.png, as `data.sources.image_folder` reads them.

    Raises:
      UserError: something lies in the folder already, or it cannot be written.
    """
    from jaxlab.data.sheet import png
    from jaxlab.data.sources.image_folder import folder_name

    if folder.exists() and any(folder.iterdir()):
        raise UserError('--folder={folder}: something lies there already; a new folder is wanted.', folder=folder)
    file = folder
    try:
        for label in sorted(set(labels)):
            (folder / folder_name(label)).mkdir(parents=True, exist_ok=True)
        for number, (picture, label) in enumerate(zip(pictures, labels)):
            file = folder / folder_name(label) / f'{number:06}.png'
            file.write_bytes(png(picture))
    except OSError as error:
        raise UserError('{file} cannot be written ({error}).', file=file, error=error.strerror or error) from None

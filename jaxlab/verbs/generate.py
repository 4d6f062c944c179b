"""Write text with a trained experiment.

python -m jaxlab.main generate --workdir=runs/transformer-1a2b3c4d --prompt="def " --tokens=200 --temperature=0.8
"""

import argparse

from jaxlab.messages import say
from jaxlab.verbs import step


def arguments(parser: argparse.ArgumentParser) -> None:
    temperature = say('0: always the likeliest; 1: as the model says (default 0.8)')
    top_p = say('choose among the likeliest that make up p of the probability')
    seed = say('of the choices: the same seed writes the same text')
    package = say('a package that the config may import from')
    parser.add_argument('--workdir', required=True, help=say('the experiment'))
    which = say('a checkpoint: its number, best or newest (default)')
    parser.add_argument('--step', type=step, default='newest', help=which)
    parser.add_argument('--prompt', default='', help=say('what the text starts with'))
    parser.add_argument('--tokens', type=int, default=200, help=say('how many to write (default 200)'))
    parser.add_argument('--temperature', type=float, default=0.8, help=temperature)
    parser.add_argument('--top_k', type=int, default=0, help=say('choose among the k likeliest only; 0: among all'))
    parser.add_argument('--top_p', type=float, default=1.0, help=top_p)
    parser.add_argument('--seed', type=int, default=0, help=seed)
    parser.add_argument('--allow_import', action='append', default=[], help=package)


def run(parsed: argparse.Namespace) -> int:
    from jaxlab.experiment import load

    experiment = load(parsed.workdir, step=parsed.step, overrides=parsed.overrides, allow_import=parsed.allow_import)
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
    return 0

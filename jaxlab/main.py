"""python -m jaxlab.main [verb] [--config=configs/transformer.py[:size]] [--config.key=value …] [--workdir=…] [flags of
the verb]

Picks a verb (train when none is given), reads the command line, and turns every user's mistake into one clear sentence
and exit code 2.
"""

import argparse
import importlib
import os
import pkgutil
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from jaxlab import verbs
from jaxlab.errors import UserError, nearest


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UserError, with the nearest right flag."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f'{message[0].lower()}{message[1:]}; --help lists what there is.')


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Reads a command line; `--config.key=value` overrides are gathered, in order, in `overrides`.

    Raises:
      UserError: an unknown verb or flag, a missing value.
    """
    arguments = list(arguments)
    names = [verb.name for verb in pkgutil.iter_modules(verbs.__path__)]
    if arguments and not arguments[0].startswith('-'):
        verb = arguments.pop(0)
        if verb not in names:
            raise UserError(f'"{verb}" is no verb; they are {", ".join(names)}.{nearest(verb, names)}')
    else:
        verb = '' if {'-h', '--help'} & set(arguments) else 'train'
    if not verb:
        _print_help(names)
        raise SystemExit(0)
    module = importlib.import_module(f'jaxlab.verbs.{verb}')
    parser = Parser(
        prog=f'python -m jaxlab.main {verb}',
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.arguments(parser)
    overrides, rest = _overrides(arguments)
    parsed, unknown = parser.parse_known_intermixed_args(rest)  # so that flags may stand between workdirs
    if unknown:
        flag = unknown[0].partition('=')[0]
        known = [option for action in parser._actions for option in action.option_strings]
        raise UserError(f'{flag}: {verb} has no such flag.{nearest(flag, known)}')
    parsed.overrides, parsed.run = overrides, module.run
    return parsed


def _overrides(arguments: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Splits a command line into [('model.width', '384'), …] and what remains; both --key=value and --key value."""
    found, rest, waiting = [], [], list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if match := re.fullmatch(r'--config\.([^=]*)(=.*)?', argument, re.DOTALL):
            key, value = match.groups()
            if value is None and (not waiting or waiting[0].startswith('--')):
                raise UserError(f'--config.{key} wants a value: --config.{key}=…')
            found.append((key, waiting.pop(0) if value is None else value[1:]))
        else:
            rest.append(argument)
    return found, rest


def _print_help(names: Sequence[str]) -> None:
    print(__doc__)
    print('verbs:')
    for name in names:
        description = importlib.import_module(f'jaxlab.verbs.{name}').__doc__ or ''
        print(f'  {name:10} {description.partition(chr(10))[0]}')
    print('\nEach has its own flags: python -m jaxlab.main generate --help')


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line (default: the process's own); returns the exit code."""
    try:
        parsed = parse(sys.argv[1:] if arguments is None else arguments)
        return parsed.run(parsed)
    except UserError as error:
        print(f'jaxlab: {error}', file=sys.stderr)
        return 2
    except BrokenPipeError:  # `… | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its exit
        return 141
    except KeyboardInterrupt:
        print('jaxlab: interrupted', file=sys.stderr)
        return 130


if __name__ == '__main__':
    sys.exit(main())

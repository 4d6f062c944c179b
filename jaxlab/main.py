"""python -m jaxlab.main [verb] [--config=configs/transformer.py[:size]] [--config.key=value …] [--workdir=…] [flags of
the verb]

Picks a verb (train when none is given), reads the command line, and turns every user's mistake into one clear sentence
and exit code 2.
"""

import argparse
import importlib
import io
import os
import pkgutil
import re
import sys
import threading
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import NoReturn

from jaxlab import verbs
from jaxlab.allocator import keep_freed_memory
from jaxlab.data import cache
from jaxlab.errors import UserError, nearest
from jaxlab.messages import say
from jaxlab.parallel import flags
from jaxlab.trust.secrets import hidden

PROGRAMS = 4 << 30  # bytes of compiled programs that are kept


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UserError, in the reader's language."""

    def error(self, message: str) -> NoReturn:
        # argparse composes its sentences, in English; those that our flags can bring about are said anew.
        if found := re.fullmatch(r'the following arguments are required: (.*)', message):
            raise UserError(
                'the following arguments are required: {flags}; --help lists what there is.', flags=found[1]
            )
        if found := re.fullmatch(r'argument (.*?): expected one argument', message):
            raise UserError('argument {flag}: expected one argument; --help lists what there is.', flag=found[1])
        if found := re.fullmatch(r'argument (.*?): ignored explicit argument (.*)', message, re.DOTALL):
            raise UserError(
                'argument {flag}: ignored explicit argument {value}; --help lists what there is.',
                flag=found[1],
                value=found[2],
            )
        if found := re.fullmatch(r'argument (.*?): invalid (\w+) value: (.*)', message, re.DOTALL):
            raise UserError(
                'argument {flag}: invalid {type} value: {value}; --help lists what there is.',
                flag=found[1],
                type=found[2],
                value=found[3],
            )
        if found := re.fullmatch(r'argument (.*?): invalid choice: (.*?) \(choose from (.*)\)', message, re.DOTALL):
            raise UserError(
                'argument {flag}: invalid choice: {value} (choose from {choices}); --help lists what there is.',
                flag=found[1],
                value=found[2],
                choices=found[3],
            )
        raise UserError('{message}; --help lists what there is.', message=f'{message[0].lower()}{message[1:]}')

    def format_help(self) -> str:
        return super().format_help().replace('usage: ', say('usage: '), 1)


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
            raise UserError(
                '"{verb}" is no verb; they are {verbs}.{nearest}',
                verb=verb,
                verbs=', '.join(names),
                nearest=nearest(verb, names),
            )
    else:
        verb = '' if {'-h', '--help'} & set(arguments) else 'train'
    if not verb:
        _print_help(names)
        raise SystemExit(0)
    module = importlib.import_module(f'jaxlab.verbs.{verb}')
    about, examples = _about(verb)
    parser = Parser(
        prog=f'python -m jaxlab.main {verb}',
        description=f'{about}\n{examples}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    parser._optionals.title = say('options')
    parser.add_argument('-h', '--help', action='help', help=say('show this help message and exit'))
    module.arguments(parser)
    overrides, rest = _overrides(arguments)
    parsed, unknown = parser.parse_known_intermixed_args(rest)  # so that flags may stand between workdirs
    if unknown:
        flag = unknown[0].partition('=')[0]
        known = [option for action in parser._actions for option in action.option_strings]
        head, dot, key = flag.partition('.')
        near = nearest(flag, known)
        if dot and nearest(head, ['--config']):  # --confg.model.width=…
            near = say(' Did you mean "{name}"?', name=f'--config.{key}')
        raise UserError('{flag}: {verb} has no such flag.{nearest}', flag=flag, verb=verb, nearest=near)
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
                raise UserError('--config.{key} wants a value: --config.{key}=…', key=key)
            found.append((key, waiting.pop(0) if value is None else value[1:]))
        else:
            rest.append(argument)
    return found, rest


def _about(verb: str) -> tuple[str, str]:
    """Returns what a verb does, in the reader's language, and examples: the first line of its module, and the rest."""
    line, _, examples = (importlib.import_module(f'jaxlab.verbs.{verb}').__doc__ or '').partition('\n')
    return say(line), examples


def _print_help(names: Sequence[str]) -> None:
    usage = 'python -m jaxlab.main [verb] [--config=configs/transformer.py[:size]] [--config.key=value …] [--workdir=…]'
    print(say('{usage} [flags of the verb]', usage=usage) + '\n')
    print(say('verbs (train when none is given):'))
    for name in names:
        print(f'  {name:10} {_about(name)[0]}')
    print('\n' + say('Each has its own flags: {command}', command='python -m jaxlab.main generate --help'))


def keep_programs() -> None:
    """Sees to it that what XLA compiled is found again by the next process. JAX reads this when it is imported.

    A folder that the user has named is the user's own affair, its size and who may write to it included.
    """
    if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
        os.environ['JAX_COMPILATION_CACHE_DIR'] = str(cache.room('compiled'))
        # Beyond it, what was not used for longest goes.
        os.environ.setdefault('JAX_COMPILATION_CACHE_MAX_SIZE', str(PROGRAMS))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line (default: the process's own); returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')  # a terminal that cannot show a character ends no run
    try:
        parsed = parse(sys.argv[1:] if arguments is None else arguments)
        keep_freed_memory()  # here, while there are no threads
        keep_programs()
        flags.switch()
        return parsed.run(parsed)
    except UserError as error:
        print(f'jaxlab: {hidden(str(error))}', file=sys.stderr)
        return 2
    except BrokenPipeError:  # `… | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its exit
        return 141
    except KeyboardInterrupt:
        print(say('jaxlab: interrupted'), file=sys.stderr)
        return 130


def crash(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Prints a traceback, our own mistake, as Python does, without secrets: people send it to others."""
    print(hidden(''.join(traceback.format_exception(kind, error, trace))), end='', file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.excepthook = crash
    threading.excepthook = lambda told: crash(told.exc_type, told.exc_value, told.exc_traceback)
    sys.exit(main())

"""Verbs of the command line. One file each: `arguments(parser)` declares its flags, `run(parsed)` does it and returns
the exit code.

Their first lines must import fast: JAX is imported inside `run`, so that --help and a mistyped flag answer at once.
"""

import argparse

from jaxlab.messages import say


def step(text: str) -> int | str:
    """Reads the flag --step: the number of a checkpoint, 'best' or 'newest'."""
    if text in ('best', 'newest'):
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(say('"{text}" is no step: a number, best or newest is', text=text)) from None

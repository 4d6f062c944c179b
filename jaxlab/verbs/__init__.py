"""Verbs of the command line. One file each: `arguments(parser)` declares its flags, `run(parsed)` does it and returns
the exit code.

Their first lines must import fast: JAX is imported inside `run`, so that --help and a mistyped flag answer at once.
"""

"""One switch, `config.deterministic`: the same numbers, bit for bit, whenever the same steps run on the same devices.

On a CPU and on a TPU that is so anyway. On a GPU some kernels add up in whatever order their threads finish, and XLA
tries several algorithms, takes the one that happened to be fastest, and each rounds otherwise. The switch forbids both,
at some cost in speed: `launch/bench/determinism.py` measures it. It promises nothing between different devices, meshes
or versions.
"""

import os
import re

import jax

from jaxlab.errors import UserError
from jaxlab.parallel import flags

# Of XLA, for GPUs; on other devices they do nothing.
FLAGS = {
    '--xla_gpu_deterministic_ops': 'true',  # "guarantees run-to-run determinism": no kernel that is not, or none at all
    '--xla_gpu_autotune_level': '0',  # the first algorithm that will do, in place of the fastest of this minute
}


def switch(on: bool) -> None:
    """Sees to it that what compiles from now on is deterministic; to be called before JAX starts its devices.

    What XLA_FLAGS says already is kept: who pins the algorithms in a file of their own may set another autotune level.

    Raises:
      UserError: XLA_FLAGS forbids it, or it is too late, since this process has a GPU running without it.
    """
    if not on:
        return
    given = os.environ.get('XLA_FLAGS', '')
    if found := re.search(r'--xla_gpu_deterministic_ops=(false|0)\b', given, re.IGNORECASE):
        raise UserError('config.deterministic=true, and XLA_FLAGS says {flag}: take one of them away.', flag=found[0])
    missing = flags.missing(FLAGS)
    if missing and _has_started():
        if jax.default_backend() == 'gpu':
            raise UserError(
                'config.deterministic=true comes too late: JAX has started its devices in this process.'
                ' Start anew with XLA_FLAGS="{flags}".',
                flags=' '.join(missing),
            )
        return  # no other device needs it
    flags.add(FLAGS)


def _has_started() -> bool:
    from jax._src import xla_bridge  # JAX says it nowhere else without starting them

    return xla_bridge.backends_are_initialized()

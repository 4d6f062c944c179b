"""Speed choices that are the compiler's: flags of XLA for each kind of device, a reason each, set here alone.

XLA reads them when its first device starts, so `jaxlab.main` sets them before anything imports JAX. What the user's own
XLA_FLAGS (or LIBTPU_INIT_ARGS) say is never said otherwise. A flag that XLA does not know ends the process: tests start
one with all of these, so each is known to the oldest and the newest jax that we support.

None of them changes what is computed; order and overlap of the work are all they are about. None has been measured on
several GPUs or a TPU by us: they are their makers' advice for large language models.
"""

import glob
import importlib.util
import os
import re
from collections.abc import Mapping

from jaxlab.messages import say

MIB = 1 << 20

# docs.nvidia.com/jax-toolbox, "Tips for High-Performance LLMs with JAX and XLA". Left as XLA has them: Triton's matrix
# products and command buffers, which are on, and what is kept of autotuning, for which JAX cares.
GPU = {
    # Without it a collective is waited for where it stands. With it, one begins as early as memory allows, and its end
    # is moved behind whatever does not need it.
    '--xla_gpu_enable_latency_hiding_scheduler': 'true',
    # In a loop over layers (scan=True): the parameters of the next layer are gathered while this one computes (fsdp),
    # and what is added up over devices is sent while the next one does. (That of scattered sums is on by itself.)
    '--xla_gpu_enable_pipelined_all_gather': 'true',
    '--xla_gpu_enable_pipelined_all_reduce': 'true',
    # Few large messages use links better than many small ones. XLA puts them together up to 30 MiB; a layer of 8 B
    # parameters in bfloat16 is 420 MiB, and is wanted whole.
    '--xla_gpu_all_gather_combine_threshold_bytes': str(512 * MIB),
    '--xla_gpu_reduce_scatter_combine_threshold_bytes': str(512 * MIB),
    # Gradients are added up while the backward pass goes on, so these must not wait for the last of them.
    '--xla_gpu_all_reduce_combine_threshold_bytes': str(128 * MIB),
}

# In LIBTPU_INIT_ARGS; github.com/AI-Hypercomputer/maxtext trains with these.
TPU = {
    # A collective runs inside of a matrix product that does not wait for it, and in steps, over several of them.
    '--xla_tpu_enable_async_collective_fusion': 'true',
    '--xla_tpu_enable_async_collective_fusion_fuse_all_gather': 'true',
    '--xla_tpu_enable_async_collective_fusion_multiple_steps': 'true',
    '--xla_tpu_overlap_compute_collective_tc': 'true',
    '--xla_enable_async_all_gather': 'true',
    # Sums of gradients over mesh axis data are taken when the links are free, and those of unlike sizes together.
    '--xla_tpu_enable_data_parallel_all_reduce_opt': 'true',
    '--xla_tpu_data_parallel_opt_different_sized_ops': 'true',
}

# None: no flag was shown to be faster than what XLA does by itself. What costs time on a CPU is in jaxlab/allocator.py.
CPU: dict[str, str] = {}

# For several devices that one CPU plays, which is about no speed. A program that comes out of the compilation cache has
# lost the order of collectives that do not wait for each other (jaxlib 0.10.2): some devices then begin with one and
# some with another, and all wait for good, which XLA ends after 40 s. Without this scheduler there is one order.
SIMULATED = {'--xla_cpu_enable_concurrency_optimized_scheduler': 'false'}
DEVICES = 'xla_force_host_platform_device_count'

VARIABLES = {'gpu': ('XLA_FLAGS', GPU), 'tpu': ('LIBTPU_INIT_ARGS', TPU), 'cpu': ('XLA_FLAGS', CPU)}
_set: list[str] = []  # by this process


def switch() -> None:
    """Sets what is for the kind of device that JAX will start; to be called before it does."""
    here = kind()
    variable, flags = VARIABLES.get(here, ('XLA_FLAGS', {}))
    _set.extend(add(flags, variable))
    if here == 'cpu' and DEVICES in os.environ.get('XLA_FLAGS', ''):
        add(SIMULATED)


def told() -> str:
    """Returns a line for people: what was set here; '' where nothing was."""
    if not _set:
        return ''
    return say('flags       {flags} (your own XLA_FLAGS come first)', flags=' '.join(_set))


def add(flags: Mapping[str, str], variable: str = 'XLA_FLAGS') -> list[str]:
    """Adds those flags to a variable of the environment that it does not name yet; returns them."""
    new = missing(flags, variable)
    if new:
        os.environ[variable] = ' '.join([os.environ.get(variable, ''), *new]).strip()
    return new


def missing(flags: Mapping[str, str], variable: str = 'XLA_FLAGS') -> list[str]:
    """Returns those flags that a variable of the environment does not name, with any value."""
    given = os.environ.get(variable, '')
    return [
        f'{flag}={value}'
        for flag, value in flags.items()
        if not re.search(rf'(?:^|\s)--?(?:no)?{flag.lstrip("-")}(?:=|\s|$)', given)
    ]


def kind() -> str:
    """Returns 'gpu', 'tpu' or 'cpu': what JAX will start, as far as it can be known without starting it."""
    asked_for = os.environ.get('JAX_PLATFORMS', '').split(',')[0]
    if asked_for:
        return {'cuda': 'gpu', 'rocm': 'gpu'}.get(asked_for, asked_for)
    system = os.environ.get('JAXLAB_SYSTEM_ROOT', '')  # tests put another machine's /dev here
    plugin = any(importlib.util.find_spec(f'jax_cuda{version}_plugin') for version in (12, 13))
    if plugin and glob.glob(f'{system}/dev/nvidia[0-9]*') + glob.glob(f'{system}/dev/dxg'):  # dxg: in Windows' Linux
        return 'gpu'
    if importlib.util.find_spec('libtpu'):
        from jaxlab.devices import sees_tpu

        if sees_tpu():
            return 'tpu'
    return 'cpu'

"""Several processes that train as one: how they find each other, and how they all end when one does.

JAX's own runtime (`jax.distributed`) connects them, and GSPMD makes one program of all devices; see layout.py. What it
lacks for people is here: a sentence where a process or a device is missing; and, where a process is gone, an end of all
with one sentence in watch.py. (By itself JAX waits for 100 seconds, and then ends with a stack of C++.)
"""

import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.parallel.cluster import Cluster
from jaxlab.parallel.watch import Watch, end, tell

TO_COME = 300.0  # seconds that processes have to come; JAXLAB_WAIT says otherwise
HEARTBEAT = 30  # seconds after which JAX itself gives up a process; watch.py is quicker, and says so
TO_END = 600  # seconds that the others wait for process 0 at the end, which writes the report


@contextmanager
def together(found: Cluster | None, devices: int = 0) -> Iterator[None]:
    """A context in which this process is one of several; nothing may have used a device before. Alone it does nothing
    but count the devices.

    Where an exception ends it, all processes end, and this one at once: nothing behind it is reached.

    Args:
      found: what `cluster.find` returns.
      devices: how many all must see together; 0: any number.

    Raises:
      UserError: a process did not come, or a device is missing.
    """
    if found is None:
        check(devices)
        yield
        return
    join(found)
    with watch(found):
        check(devices)
        yield


def join(found: Cluster) -> None:
    """Connects this process with the others, and waits for them. Where not all come, the process ends."""
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    wait = float(os.environ.get('JAXLAB_WAIT') or TO_COME)
    known: dict[str, Any] = {}
    if found.coordinator:
        known = {
            'coordinator_address': found.coordinator,
            'num_processes': found.processes,
            'process_id': found.process,
            'local_device_ids': found.local_devices or None,
            'cluster_detection_method': 'deactivate',
        }
    # Of who does not come JAX makes the end of the process, with a stack of C++: so it is given more time than we are.
    alarm = threading.Timer(wait, not_all_came, [found, wait])
    alarm.daemon = True
    alarm.start()
    try:
        jax.distributed.initialize(
            **known,
            initialization_timeout=int(wait) + 60,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=TO_END,
        )
    finally:
        alarm.cancel()


def not_all_came(found: Cluster, seconds: float) -> None:
    """Ends the process, and says who is missing, as far as it can be known here."""
    about = {'process': found.process, 'processes': found.processes, 'by': found.by, 'seconds': f'{seconds:.0f}'}
    host, _, port = found.coordinator.rpartition(':')
    if found.process and host and not answers(host.strip('[]'), int(port)):
        tell(
            say(
                'process {process} of {processes} ({by}): for {seconds} s nothing has answered at {coordinator}, where'
                ' process 0 should be.\nSee that it is started, and that this machine reaches it; JAXLAB_WAIT=… waits'
                ' longer.',
                coordinator=found.coordinator,
                **about,
            )
        )
    elif not found.process:
        tell(
            say(
                'process {process} of {processes} ({by}): for {seconds} s it has waited for the others, and not all'
                ' came.\nSee that all are started, with the same number of processes; JAXLAB_WAIT=… waits longer.',
                **about,
            )
        )
    end(2)


def answers(host: str, port: int) -> bool:
    """Whether anything listens there."""
    with suppress(OSError), socket.create_connection((host, port), timeout=5):
        return True
    return False


def watch(found: Cluster) -> Watch:
    """Returns the watch of this process, connected with that of process 0."""
    from jax._src import distributed  # the store of the coordination service has no other name

    store: Any = distributed.global_state.client
    if found.process == 0:
        made = Watch.of_first(found.processes, found.coordinator.rpartition(':')[0].strip('[]'))
        store.key_value_set('jaxlab/watch', made.address)
        return made
    return Watch.of_other(found.process, found.processes, store.blocking_key_value_get('jaxlab/watch', 60_000))


def first_says(value: bool) -> bool:
    """Returns what process 0 gives; all call it. What each sees for itself, on a slow disk, may differ for a while."""
    if jax.process_count() == 1:
        return value
    return bool(multihost_utils.broadcast_one_to_all(np.int32(value)))


def meet() -> None:
    """Waits until all processes are here.

    Before devices compute together for the first time: over Gloo, whoever comes first waits for the others of its group
    for 30 seconds and then ends, and programs may take longer to compile in one process than in another by more.
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices('jaxlab')


def check(devices: int) -> None:
    """Counts the devices of all processes.

    Raises:
      UserError: there are more or fewer than `devices` (0: any number); it says which processes have how many.
    """
    if not devices or devices == jax.device_count():
        return
    seen = Counter(device.process_index for device in jax.devices())
    each, more = divmod(devices, jax.process_count())
    others = [(n, seen[n]) for n in range(jax.process_count()) if more or seen[n] != each]
    raise UserError(
        '{expected} devices are expected (JAXLAB_DEVICES), and {seen} are seen ({kind}, {processes} processes):'
        ' {others}.\nLook at these machines first.',
        expected=devices,
        seen=jax.device_count(),
        kind=jax.devices()[0].device_kind,
        processes=jax.process_count(),
        others=', '.join(say('process {process} has {count}', process=n, count=count) for n, count in others[:8]),
    )


def check_mesh(mesh: Mesh) -> None:
    """Sees that each process has a device of the mesh.

    Raises:
      UserError: one has none: it would have nothing to do, and the others would wait for it.
    """
    idle = set(range(jax.process_count())) - {device.process_index for device in mesh.devices.flat}
    if idle:
        raise UserError(
            'config.mesh uses {count} of {seen} devices, and process {process} has none of them: start fewer processes,'
            ' or make the axes larger.',
            count=mesh.size,
            seen=jax.device_count(),
            process=min(idle),
        )

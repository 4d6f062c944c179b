"""Which process of how many this one is, as whoever started it says in its variables. Nothing of JAX is needed for it.

    plain        JAXLAB_COORDINATOR=node-0:8476  JAXLAB_PROCESSES=4  JAXLAB_PROCESS=0 (… 3)
    Kubernetes   an indexed job, whose manifest sets JAXLAB_COORDINATOR (the first pod, by way of a headless service:
                 job-0.service:8476) and JAXLAB_PROCESSES; Kubernetes itself sets JOB_COMPLETION_INDEX
    Slurm        what srun sets for each task of a step
    TPU VM       TPU_WORKER_HOSTNAMES and TPU_WORKER_ID, or else what the metadata server of the machine says

JAXLAB_DEVICES, where it is set, is how many devices all processes must see together.
"""

import os
import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from jaxlab.errors import UserError

PLAIN = {'JAXLAB_COORDINATOR': 'node-0:8476', 'JAXLAB_PROCESSES': '4', 'JAXLAB_PROCESS': '0'}
SLURM = {'SLURM_JOB_ID': '7', 'SLURM_STEP_NODELIST': 'node[0-3]', 'SLURM_STEP_NUM_TASKS': '4', 'SLURM_PROCID': '0'}
TPU = {'TPU_WORKER_HOSTNAMES': '10.0.0.2,10.0.0.3', 'TPU_WORKER_ID': '0'}
METADATA = 'metadata.google.internal'  # of Google's machines
PATIENCE = 3.0  # seconds that the metadata server may take


@dataclass(frozen=True)
class Cluster:
    """The processes of one run, and which of them this is."""

    by: str  # who says so: 'variables', 'Kubernetes', 'Slurm', 'TPU VM'
    processes: int
    process: int
    coordinator: str = ''  # host:port of process 0; '': JAX finds it by itself
    local_devices: tuple[int, ...] = ()  # the GPUs of this process, of those that it could see; (): all


def find(environment: Mapping[str, str] | None = None) -> Cluster | None:
    """Returns what the variables say; None where this process is alone.

    Args:
      environment: the variables; default: the process's own.

    Raises:
      UserError: some are set and others are missing, or one has no sense.
    """
    environment = os.environ if environment is None else environment
    found = _plain(environment) or _slurm(environment) or _tpu(environment)
    if found is None or found.processes == 1:
        return None
    if not 0 <= found.process < found.processes:
        raise UserError(
            '{by}: this is process {process} of {processes}; the numbers are 0 to {last}.',
            by=found.by,
            process=found.process,
            processes=found.processes,
            last=found.processes - 1,
        )
    return found


def devices(environment: Mapping[str, str] | None = None) -> int:
    """Returns how many devices all processes must see together; 0: nobody says so.

    Raises:
      UserError: JAXLAB_DEVICES is no number.
    """
    environment = os.environ if environment is None else environment
    return _number(environment, 'JAXLAB_DEVICES') if environment.get('JAXLAB_DEVICES') else 0


def _plain(environment: Mapping[str, str]) -> Cluster | None:
    given = {name: environment[name] for name in PLAIN if environment.get(name)}
    if not given:
        return None
    by = 'variables'
    if 'JAXLAB_PROCESS' not in given and environment.get('JOB_COMPLETION_INDEX'):
        by, given['JAXLAB_PROCESS'] = 'Kubernetes', environment['JOB_COMPLETION_INDEX']
    _check_whole(given, PLAIN)
    coordinator = given['JAXLAB_COORDINATOR']
    if not re.fullmatch(r'(\[[0-9a-fA-F:]+\]|[^:/\s]+):[0-9]+', coordinator):
        raise UserError(
            'JAXLAB_COORDINATOR={coordinator}: host:port of process 0 is wanted, such as node-0:8476.',
            coordinator=coordinator,
        )
    return Cluster(by, _number(given, 'JAXLAB_PROCESSES'), _number(given, 'JAXLAB_PROCESS'), coordinator)


def _slurm(environment: Mapping[str, str]) -> Cluster | None:
    if not environment.get('SLURM_STEP_NODELIST'):  # srun sets it: a script of sbatch alone is one process
        return None
    _check_whole(environment, SLURM)
    # By the rule of `jax.distributed`: the number of the job says which port, so that two jobs have two.
    port = environment.get('JAX_COORDINATOR_PORT') or 61440 + _number(environment, 'SLURM_JOB_ID') % 4096
    return Cluster(
        'Slurm',
        _number(environment, 'SLURM_STEP_NUM_TASKS'),
        _number(environment, 'SLURM_PROCID'),
        f'{first_host(environment["SLURM_STEP_NODELIST"])}:{port}',
        _gpus(environment),
    )


def first_host(nodes: str) -> str:
    """Returns the first name of a Slurm list: 'gpu-007' of 'gpu-[007-009,12],login'."""
    first = re.match(r'(?:[^,\[]|\[[^\]]*\])*', nodes)
    return re.sub(r'\[([^\],-]+)[^\]]*\]', r'\1', first[0] if first else nodes)


def _gpus(environment: Mapping[str, str]) -> tuple[int, ...]:
    """Returns this task's share of the node's GPUs, where several tasks of a node see all of them; else ()."""
    seen = [gpu for gpu in environment.get('CUDA_VISIBLE_DEVICES', '').split(',') if gpu]
    tasks = _tasks(environment.get('SLURM_STEP_TASKS_PER_NODE', ''), environment.get('SLURM_NODEID', ''))
    local = environment.get('SLURM_LOCALID', '')
    shared = str(len(seen)) == environment.get('SLURM_GPUS_ON_NODE')  # else Slurm has shared them out
    if not (shared and tasks > 1 and len(seen) % tasks == 0 and local.isdecimal()):
        return ()
    each = len(seen) // tasks
    return tuple(range(int(local) * each, (int(local) + 1) * each))


def _tasks(counts: str, node: str) -> int:
    """Returns the tasks of a node: 4 of '4(x2),3' for nodes 0 and 1; 0: not known."""
    each: list[int] = []
    for count, times in re.findall(r'(\d+)(?:\(x(\d+)\))?', counts):
        each += [int(count)] * int(times or 1)
    return each[int(node)] if node.isdecimal() and int(node) < len(each) else 0


def _tpu(environment: Mapping[str, str]) -> Cluster | None:
    if environment.get('JAX_PLATFORMS', '').split(',')[0] == 'cpu':
        return None
    names = environment.get('TPU_PROCESS_ADDRESSES') or environment.get('TPU_WORKER_HOSTNAMES', '')
    if names:
        given = dict(environment) | {'TPU_WORKER_HOSTNAMES': names}
        if ',' in names:
            _check_whole(given, TPU)
        workers, worker = len(names.split(',')), _number(given, 'TPU_WORKER_ID') if ',' in names else 0
    else:
        from jaxlab.devices import sees_tpu

        if 'TPU_SKIP_MDS_QUERY' in environment or not sees_tpu():
            return None
        names, index = _metadata(environment, 'worker-network-endpoints'), _metadata(environment, 'agent-worker-number')
        if not names or not index.isdecimal():
            return None  # a TPU that is no machine of Google's cloud, or one machine alone
        workers, worker = len(names.split(',')), int(index)
    slices = _number(environment, 'MEGASCALE_NUM_SLICES') if environment.get('MEGASCALE_NUM_SLICES') else 1
    part = _number(environment, 'MEGASCALE_SLICE_ID') if slices > 1 else 0
    return Cluster('TPU VM', workers * slices, part * workers + worker)


def _metadata(environment: Mapping[str, str], key: str) -> str:
    """Returns what the metadata server says of this machine; '' where there is none, or it says nothing."""
    host = environment.get('GCE_METADATA_IP') or METADATA
    request = urllib.request.Request(
        f'http://{host}/computeMetadata/v1/instance/attributes/{key}', headers={'Metadata-Flavor': 'Google'}
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=PATIENCE) as answer:
            return answer.read().decode().strip()
    except (OSError, ValueError):
        return ''


def _check_whole(given: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    missing = [name for name in wanted if not given.get(name)]
    if missing:
        raise UserError(
            '{given} is set and {missing} is not: one of several processes is told all of {example}.',
            given=', '.join(name for name in wanted if given.get(name)),
            missing=', '.join(missing),
            example=' '.join(f'{name}={value}' for name, value in wanted.items()),
        )


def _number(given: Mapping[str, str], name: str) -> int:
    value = given.get(name, '')
    if not value.isdecimal():
        raise UserError('{name}={value}: a whole number is wanted.', name=name, value=value)
    return int(value)

"""Which process of how many this is, by variables of Slurm, Kubernetes, TPU VMs and our own; half of them is none."""

import http.server
import threading

import pytest

from jaxlab.parallel import cluster
from jaxlab.parallel.cluster import Cluster, find, first_host
from tests.experiments import message

PLAIN = {'JAXLAB_COORDINATOR': 'node-0:8476', 'JAXLAB_PROCESSES': '4', 'JAXLAB_PROCESS': '3'}
SLURM = {
    'SLURM_JOB_ID': '4097',
    'SLURM_STEP_NODELIST': 'gpu-[007-008],login',
    'SLURM_STEP_NUM_TASKS': '16',
    'SLURM_STEP_TASKS_PER_NODE': '8(x2)',
    'SLURM_PROCID': '10',
    'SLURM_NODEID': '1',
    'SLURM_LOCALID': '2',
    'SLURM_GPUS_ON_NODE': '8',
}


@pytest.fixture
def no_tpu(monkeypatch, tmp_path):
    monkeypatch.setenv('JAXLAB_SYSTEM_ROOT', str(tmp_path))


@pytest.mark.parametrize(
    'alone',
    [
        {},
        PLAIN | {'JAXLAB_PROCESSES': '1', 'JAXLAB_PROCESS': '0'},
        {'JOB_COMPLETION_INDEX': '3'},  # one of many runs that know nothing of each other
        {name: value for name, value in SLURM.items() if 'STEP' not in name},  # a script of sbatch, without srun
        SLURM | {'SLURM_STEP_NUM_TASKS': '1', 'SLURM_PROCID': '0'},
        {'TPU_WORKER_HOSTNAMES': 'localhost', 'TPU_WORKER_ID': '0'},
        {'TPU_WORKER_HOSTNAMES': 'a,b', 'TPU_WORKER_ID': '1', 'JAX_PLATFORMS': 'cpu'},
    ],
)
def test_one_process_is_alone(alone, no_tpu):
    assert find(alone) is None


@pytest.mark.parametrize(
    ('variables', 'found'),
    [
        (PLAIN, Cluster('variables', 4, 3, 'node-0:8476')),
        (PLAIN | {'JAXLAB_COORDINATOR': '[fe80::1]:80'}, Cluster('variables', 4, 3, '[fe80::1]:80')),
        (PLAIN | SLURM, Cluster('variables', 4, 3, 'node-0:8476')),  # what is said for us comes first
        (
            {'JAXLAB_COORDINATOR': 'job-0.pods:1', 'JAXLAB_PROCESSES': '2', 'JOB_COMPLETION_INDEX': '1'},
            Cluster('Kubernetes', 2, 1, 'job-0.pods:1'),
        ),
        (SLURM, Cluster('Slurm', 16, 10, 'gpu-007:61441')),
        (SLURM | {'JAX_COORDINATOR_PORT': '99'}, Cluster('Slurm', 16, 10, 'gpu-007:99')),
        # Eight tasks that see all eight GPUs have one each; four have two; what Slurm has shared out is left alone.
        (SLURM | {'CUDA_VISIBLE_DEVICES': '0,1,2,3,4,5,6,7'}, Cluster('Slurm', 16, 10, 'gpu-007:61441', (2,))),
        (
            SLURM | {'CUDA_VISIBLE_DEVICES': '0,1,2,3,4,5,6,7', 'SLURM_STEP_TASKS_PER_NODE': '8,4'},
            Cluster('Slurm', 16, 10, 'gpu-007:61441', (4, 5)),
        ),
        (SLURM | {'CUDA_VISIBLE_DEVICES': '2'}, Cluster('Slurm', 16, 10, 'gpu-007:61441')),
        ({'TPU_WORKER_HOSTNAMES': 'a,b,c,d', 'TPU_WORKER_ID': '2'}, Cluster('TPU VM', 4, 2)),
        (
            {
                'TPU_WORKER_HOSTNAMES': 'a,b',
                'TPU_WORKER_ID': '1',
                'MEGASCALE_NUM_SLICES': '3',
                'MEGASCALE_SLICE_ID': '2',
            },
            Cluster('TPU VM', 6, 5),
        ),
    ],
)
def test_one_of_several(variables, found):
    assert find(variables) == found


@pytest.mark.parametrize(
    ('variables', 'said'),
    [
        *((PLAIN | {name: ''}, f'{name} is not') for name in PLAIN),
        *((SLURM | {name: ''}, f'{name} is not') for name in ('SLURM_JOB_ID', 'SLURM_STEP_NUM_TASKS', 'SLURM_PROCID')),
        ({'TPU_WORKER_HOSTNAMES': 'a,b'}, 'TPU_WORKER_ID is not'),
        (PLAIN | {'JAXLAB_PROCESS': '4'}, '0 to 3'),
        (PLAIN | {'JAXLAB_PROCESSES': 'four'}, 'JAXLAB_PROCESSES=four'),
        (PLAIN | {'JAXLAB_COORDINATOR': 'node-0'}, 'host:port'),
        (PLAIN | {'JAXLAB_COORDINATOR': 'http://node-0:1'}, 'host:port'),
    ],
)
def test_what_is_half_said_is_refused(variables, said):
    assert said in message(find, variables)


def test_devices_that_are_expected():
    assert cluster.devices({}) == 0 and cluster.devices({'JAXLAB_DEVICES': '64'}) == 64
    assert 'JAXLAB_DEVICES=all' in message(cluster.devices, {'JAXLAB_DEVICES': 'all'})


@pytest.mark.parametrize(
    ('nodes', 'first'),
    [('n1', 'n1'), ('n1,n2', 'n1'), ('n[3,7-9],m', 'n3'), ('n[01-04]-ib', 'n01-ib'), ('r[0-1]n[2-3],x', 'r0n2')],
)
def test_the_first_host_of_a_list(nodes, first):
    assert first_host(nodes) == first


def test_a_tpu_vm_is_asked_what_it_is(monkeypatch, tmp_path):
    """A stand-in for the metadata server of a machine that has a TPU."""
    answers = {'worker-network-endpoints': 'x:y:10.0.0.2,x:y:10.0.0.3', 'agent-worker-number': '1'}
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers['Metadata-Flavor']))
            known = answers.get(self.path.removeprefix('/computeMetadata/v1/instance/attributes/'))
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write((known or 'no such key').encode())

        def log_message(self, *_):
            pass

    (tmp_path / 'dev').mkdir()
    (tmp_path / 'dev' / 'accel0').touch()
    monkeypatch.setenv('JAXLAB_SYSTEM_ROOT', str(tmp_path))
    with http.server.ThreadingHTTPServer(('localhost', 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        there = {'GCE_METADATA_IP': f'localhost:{server.server_port}'}
        assert find(there) == Cluster('TPU VM', 2, 1)
        assert {flavor for _, flavor in asked} == {'Google'}
        assert find(there | {'TPU_SKIP_MDS_QUERY': '1'}) is None
        answers['worker-network-endpoints'] = 'x:y:10.0.0.2'
        answers['agent-worker-number'] = '0'
        assert find(there) is None
        answers.clear()
        assert find(there) is None
        server.shutdown()

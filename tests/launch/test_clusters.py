"""tpu_vm.sh and slurm.sbatch against stand-ins for gcloud and Slurm, which refuse flags that no documentation has.

None of it has met the real programs: what a stand-in answers is what the documentation says.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = Path(__file__).parent / 'flags.json'

# A stand-in: looks its words up in the table, notes the call, and answers with the next line of the file for them.
STAND_IN = """#!{python} -IS
import json, sys
from pathlib import Path
folder, program = Path({folder!r}), Path(sys.argv[0]).name
table = json.loads(Path({flags!r}).read_text())[program]
text = ' '.join(sys.argv[1:])
words = next((words for words in table if text.startswith(words)), None)
if words is None:
    sys.exit(f'{{program}}: no such command: {{text}}')
rest = sys.argv[1 + len(words.split()):]
for at, word in enumerate(rest):
    if program in ('sbatch', 'srun') and not word.startswith('-'):
        break  # the program and its own arguments
    if word.startswith('-') and word.partition('=')[0] not in table[words]:
        sys.exit(f'{{program}} {{words}}: unrecognized arguments: {{word}}')
with (folder / 'calls').open('a') as calls:
    calls.write(json.dumps([program, *sys.argv[1:]]) + chr(10))
key = words.rpartition(' ')[2] or program
if any('run.code' in word and 'cat' in word for word in rest):
    key = 'code'
answers = folder / key
if answers.exists():
    line, _, more = answers.read_text().partition(chr(10))
    answers.write_text(more)
    if line == 'fail':
        sys.exit(1)
    if line.startswith('exit '):
        sys.exit(int(line[5:]))
    print(line)
"""


class Cloud:
    """Stand-ins on the PATH, what they are to answer, and what they were called with."""

    def __init__(self, folder):
        self.folder = folder
        (folder / 'bin').mkdir()
        for program in ('gcloud', 'sbatch', 'srun', 'scancel', 'scontrol'):
            file = folder / 'bin' / program
            file.write_text(STAND_IN.format(python=sys.executable, folder=str(folder), flags=str(FLAGS)))
            file.chmod(0o755)

    def answers(self, **lines):
        for key, said in lines.items():
            (self.folder / key).write_text('\n'.join(said) + '\n')

    def run(self, script, *arguments, **variables):
        environment = {'PATH': f'{self.folder / "bin"}:{os.environ["PATH"]}', 'HOME': str(self.folder)}
        done = subprocess.run(
            ['bash', str(ROOT / 'launch' / script), *arguments],
            env=environment | {'JAXLAB_LANG': 'en', 'JAXLAB_PAUSE': '0', **variables},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=120,
        )
        return done.returncode, done.stdout

    def calls(self):
        file = self.folder / 'calls'
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def verbs(self):
        """The fifth word of a call to `gcloud compute tpus tpu-vm create …`, and so on."""
        return [call[4] for call in self.calls()]


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path)


TPU = ('m1', '--zone=us-west4-a', '--workdir=gs://bucket/run', '--config=configs/mlp.py')


def test_a_stand_in_refuses_what_is_not_documented(cloud):
    program = str(cloud.folder / 'bin' / 'gcloud')
    known = [program, 'compute', 'tpus', 'tpu-vm', 'ssh', 'm1', '--worker=all', '--command=ls', '--zone=z']
    assert subprocess.run(known).returncode == 0
    for wrong in ([*known, '--workers=all'], [program, 'compute', 'tpus', 'tpu-vm', 'start', 'm1']):
        assert subprocess.run(wrong, capture_output=True).returncode == 1


def test_a_machine_is_made_used_and_deleted(cloud):
    cloud.answers(describe=['fail'], code=['0'])
    code, out = cloud.run('tpu_vm.sh', *TPU)
    assert code == 0, out
    assert cloud.verbs() == ['describe', 'create', 'scp', *['ssh'] * 5, 'gs://bucket/run', 'delete']


def test_a_machine_that_is_there_is_taken_and_kept(cloud):
    cloud.answers(describe=['READY'], code=['1'])
    code, out = cloud.run('tpu_vm.sh', *TPU, '--keep')
    assert code == 1 and 'takes the machine m1' in out
    assert 'create' not in cloud.verbs() and 'delete' not in cloud.verbs()


@pytest.mark.parametrize('queued', [False, True])
def test_after_a_preemption_it_goes_on_in_the_same_workdir(cloud, queued):
    queue = ['fail', 'WAITING_FOR_RESOURCES', 'ACTIVE', 'PREEMPTED', 'PREEMPTED', 'ACTIVE']
    cloud.answers(describe=queue if queued else ['fail', 'PREEMPTED', 'PREEMPTED'], code=['fail', '0'])
    code, out = cloud.run('tpu_vm.sh', *TPU, '--spot', *(['--queued'] if queued else []))
    assert code == 0 and 'once more, into the same workdir' in out, out
    verbs = cloud.verbs()
    assert verbs.count('create') == 2 and verbs.count('delete') == 2  # the one that was lost, and the one of the end
    assert all('--spot' in call for call in cloud.calls() if 'create' in call)
    assert all(('queued-resources' in call) == queued for call in cloud.calls() if 'create' in call)


def test_dry_run_does_nothing(cloud):
    code, out = cloud.run('tpu_vm.sh', *TPU, '--queued', '--dry_run')
    assert code == 0 and cloud.calls() == []
    commands = [shlex.split(line) for line in out.splitlines() if line.startswith('gcloud')]
    assert len(commands) == 8
    for command in commands:  # and each is one that is documented
        program = str(cloud.folder / 'bin' / 'gcloud')
        assert subprocess.run([program, *command[1:]], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--zone=z'], 'comes first'),
        (['m1', '--workdir=a'], '--zone'),
        (['m1', '--zone=z'], '--workdir'),
        (['m1', '--zone=z', '--workdir=a', '--spot'], 'gs://'),
        (['m1', '--zone=z', '--workdir=/a'], 'gs://'),
    ],
)
def test_what_is_missing_is_said_first(cloud, arguments, said):
    code, out = cloud.run('tpu_vm.sh', *arguments)
    assert code == 2 and said in out and out.count('\n') == 1 and cloud.calls() == []


def test_the_head_of_the_job_is_documented(cloud):
    head = re.findall(r'^#SBATCH (\S+)', (ROOT / 'launch' / 'slurm.sbatch').read_text(), re.MULTILINE)
    assert len(head) > 5
    command = [str(cloud.folder / 'bin' / 'sbatch'), *head, 'launch/slurm.sbatch', '--config=a.py']
    assert subprocess.run(command).returncode == 0


@pytest.mark.parametrize(('ended', 'again'), [('exit 0', False), ('exit 75', True), ('exit 2', False)])
def test_a_job(cloud, ended, again):
    (cloud.folder / '.venv/bin').mkdir(parents=True)
    (cloud.folder / '.venv/bin/python').symlink_to(sys.executable)
    cloud.answers(srun=[ended])
    own = {'SLURM_SUBMIT_DIR': str(cloud.folder), 'SLURM_JOB_ID': '7', 'SLURM_JOB_NUM_NODES': '2'}
    code, out = cloud.run('slurm.sbatch', '--config=a.py', '--config.log.prompt=a b', SLURM_GPUS_ON_NODE='8', **own)
    first, *more = cloud.calls()
    assert first[-4:] == ['-m', 'jaxlab.main', '--config=a.py', '--config.log.prompt=a b']
    assert more == ([['scontrol', 'requeue', '7']] if again else [])
    assert code == (0 if again else int(ended[5:])), out

"""The shell scripts on made-up machines: stand-ins for Python and nvidia-smi on the PATH; nothing is installed."""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [*sorted((ROOT / 'launch').glob('*.sh')), ROOT / 'launch/slurm.sbatch', ROOT / '.ci/run']
NOTHING = 'jaxlab: nothing to do\n'
TOOLS = ('bash', 'cat', 'chmod', 'cksum', 'cp', 'cut', 'dirname', 'du', 'grep', 'head', 'mkdir', 'sed', 'tail', 'tee')

PYTHON = """#!/usr/bin/env bash
echo "$*" >>{log}
case "$*" in
  *version_info*) echo {version} ;;
  *ensurepip*) exit {no_venv} ;;
  '-m venv --clear '*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
  *'pip install'*) [[ ! -e {log}.offline ]] || {{ echo 'ERROR: no route to host' >&2; exit 1; }} ;;
  '-m jaxlab.main'*) echo "JAX_PLATFORMS=${{JAX_PLATFORMS:-}} $*" ;;
esac
"""
NVIDIA_SMI = """#!/usr/bin/env bash
case "$*" in
  *compute_cap*) echo {capability} ;;
  *) echo '| NVIDIA-SMI 580.65.06    Driver Version: 580.65.06    CUDA Version: {cuda}     |' ;;
esac
"""


class Machine:
    """A folder that is a clone, a PATH of stand-ins, and a /dev, /proc and /sys of its own."""

    def __init__(self, folder: Path):
        self.clone, self.bin, self.log = folder / 'a clone', folder / 'bin', folder / 'log'
        self.system = folder / 'system'
        for path in (self.clone, self.bin, self.system):
            path.mkdir()
        for name in ('launch', 'third_party', 'configs'):
            shutil.copytree(ROOT / name, self.clone / name, ignore=shutil.ignore_patterns('__pycache__', 'results'))
        shutil.copy(ROOT / 'pyproject.toml', self.clone)
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))

    def add(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def python(self, name: str = 'python3', version: str = '3.12', venv: bool = True) -> None:
        self.add(name, PYTHON.format(log=self.log, version=version, no_venv=0 if venv else 1))

    def gpu(self, cuda: str = '13.0', capability: str = '9.0') -> None:
        self.add('nvidia-smi', NVIDIA_SMI.format(cuda=cuda, capability=capability))

    def device_file(self, path: str, text: str = '') -> None:
        (self.system / path).parent.mkdir(parents=True, exist_ok=True)
        (self.system / path).write_text(text)

    def run(self, script: str, *arguments: str, **environment: str) -> tuple[int, str]:
        environment |= {'PATH': str(self.bin), 'JAXLAB_SYSTEM_ROOT': str(self.system), 'HOME': '/nonexistent'}
        done = subprocess.run(
            ['bash', str(self.clone / 'launch' / script), *arguments],
            cwd=self.bin, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout

    def plan(self, *arguments: str, **environment: str) -> str:
        code, output = self.run('setup.sh', '--dry_run', *arguments, **environment)
        assert code == 0, output
        return output

    def calls(self, part: str) -> list[str]:
        """Returns the calls to a Python since the last question whose arguments hold `part`."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line for line in lines if part in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_shellcheck(script: Path):
    beside = Path(sys.executable).parent / 'shellcheck'  # where its wheel puts it, on the PATH or not
    program = str(beside) if beside.exists() else shutil.which('shellcheck')
    if program is None:
        pytest.skip('shellcheck is not here: it comes with the test extra')
    done = subprocess.run([program, '-x', str(script)], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout
    assert os.access(script, os.X_OK), f'{script} is not executable'


def test_takes_python3(machine: Machine):
    machine.python('python3', '3.11')
    machine.python('python3.12', '3.12')
    assert f'would make {machine.clone}/.venv with {machine.bin}/python3\n' in machine.plan()
    assert not (machine.clone / '.venv').exists()


def test_takes_a_newer_python_beside_an_old_python3(machine: Machine):
    machine.python('python3', '3.9')
    machine.python('python3.12', '3.12')
    assert f'with {machine.bin}/python3.12\n' in machine.plan()


def test_passes_over_a_shim_that_does_not_run(machine: Machine):
    machine.add('python3', '#!/usr/bin/env bash\necho no such version >&2; exit 127\n')
    machine.python('python3.11', '3.11')
    assert f'with {machine.bin}/python3.11\n' in machine.plan()


def test_takes_the_python_it_is_told(machine: Machine):
    machine.python('python3', '3.12')
    machine.python('mine', '3.13')
    assert f'with {machine.bin}/mine\n' in machine.plan(PYTHON=str(machine.bin / 'mine'))


def test_says_which_python_is_too_old(machine: Machine):
    machine.python('python3', '3.10')
    code, output = machine.run('local.sh')
    assert code == 2
    assert (
        'Python 3.11 or newer is needed (python3 is 3.10)' in output.splitlines()[-1]
        and 'apt install python3.12' in output
    )


def test_says_that_there_is_no_python(machine: Machine):
    code, output = machine.run('test.sh')
    assert code == 2 and 'found no python3' in output


def test_says_which_package_brings_venv(machine: Machine):
    machine.python('python3', '3.11', venv=False)
    code, output = machine.run('setup.sh')
    assert code == 2 and 'apt install python3.11-venv' in output
    assert not (machine.clone / '.venv').exists()


def test_a_second_call_starts_at_once(machine: Machine):
    machine.python()
    code, output = machine.run('local.sh', '--config.steps=1')
    assert code == 0 and 'making' in output and machine.calls('pip install')
    start = time.monotonic()
    code, output = machine.run('local.sh', '--config.steps=1')
    assert time.monotonic() - start < 2  # on a busy machine; about 0.03 s on a free one
    assert output == f'JAX_PLATFORMS= -m jaxlab.main --config={machine.clone}/configs/transformer.py --config.steps=1\n'
    assert len(machine.calls('')) == 2  # one to ask .venv for its version, one to run


def test_installs_again_when_something_changed(machine: Machine):
    machine.python()
    machine.run('setup.sh')
    assert machine.plan() == NOTHING
    assert '[test]' in machine.plan('--extras=test')
    machine.run('setup.sh', '--extras=test,reference')
    for extras in ('', 'test', 'reference'):
        assert machine.plan(f'--extras={extras}') == NOTHING

    with (machine.clone / 'third_party/constraints.txt').open('a') as constraints:
        constraints.write('# another version\n')
    plan = machine.plan()
    assert 'would run' in plan and 'would make' not in plan  # into the same environment
    machine.run('setup.sh')
    assert '[test]' in machine.plan('--extras=test')


def test_starts_anew_in_a_moved_clone_and_with_another_python(machine: Machine):
    machine.python()
    machine.run('setup.sh')
    machine.clone = machine.clone.rename(machine.clone.parent / 'moved')
    assert 'would make' in machine.plan()
    machine.run('setup.sh')
    assert machine.plan() == NOTHING
    machine.python(version='3.13')
    shutil.copy(machine.bin / 'python3', machine.clone / '.venv/bin/python')
    assert 'would make' in machine.plan()


def test_a_venv_that_is_a_link_is_not_emptied(machine: Machine):
    machine.python()
    (theirs := machine.clone.parent / 'theirs').mkdir()
    (theirs / 'file').write_text('')
    (machine.clone / '.venv').symlink_to(theirs)
    code, output = machine.run('setup.sh')
    assert code == 2 and 'is a link' in output and (theirs / 'file').exists() and machine.calls('-m venv') == []


def test_an_interrupted_installation_goes_on(machine: Machine):
    machine.python()
    offline = Path(f'{machine.log}.offline')
    offline.touch()
    code, output = machine.run('local.sh')
    assert code == 2 and 'ERROR: no route to host' in output and 'PIP_INDEX_URL' in output
    offline.unlink()
    plan = machine.plan()
    assert 'would run' in plan and 'would make' not in plan
    assert machine.run('local.sh')[0] == 0


@pytest.mark.parametrize(
    ('cuda', 'capability', 'device'),
    [
        ('13.0', '9.0', 'cuda13'),
        ('14.1', '10.0', 'cuda13'),
        ('12.8', '9.0', 'cuda12'),
        ('13.0', '7.0', 'cuda12'),  # CUDA 13 has dropped it
        ('13.0', '7.5', 'cuda13'),
    ],
)
def test_sees_a_gpu(machine: Machine, cuda: str, capability: str, device: str):
    machine.python()
    machine.gpu(cuda, capability)
    plan = machine.plan()
    assert f'jax[{device}] (an NVIDIA GPU' in plan and '--device=cpu overrides' in plan
    assert plan.endswith(f'[{device}]\n')


def test_old_drivers_and_absent_gpus_leave_the_cpu(machine: Machine):
    machine.python()
    machine.gpu('11.4')
    assert 'jax for the CPU (the NVIDIA driver is for CUDA 11' in machine.plan()
    machine.add('nvidia-smi', '#!/usr/bin/env bash\necho no devices were found; exit 6\n')
    assert 'jax for the CPU (nvidia-smi is here but sees no GPU)' in machine.plan()


def test_a_new_driver_is_seen_and_gets_an_environment_of_its_own(machine: Machine):
    machine.python()
    machine.device_file('proc/driver/nvidia/version', '575.1\nGCC\n')
    machine.gpu('12.9')
    machine.run('setup.sh')
    (machine.clone / '.venv/lib/python3.12/site-packages/jax_cuda12_plugin').mkdir(parents=True)
    machine.gpu('13.0')
    assert machine.plan() == NOTHING  # nvidia-smi is slow: it is not asked while the driver is the same
    machine.device_file('proc/driver/nvidia/version', '580.1\nGCC\n')
    plan = machine.plan()
    assert 'jax[cuda13]' in plan and 'would make' in plan


@pytest.mark.parametrize(
    ('files', 'environment', 'seen'),
    [
        ({'dev/accel0': ''}, {}, True),
        ({'dev/accel/accel0': ''}, {}, False),  # another maker's accelerator
        ({'dev/vfio/0': ''}, {}, False),
        ({'dev/vfio/0': ''}, {'TPU_WORKER_ID': '0'}, True),
        ({'dev/vfio/0': '', 'sys/bus/pci/devices/0/vendor': '0x1ae0\n'}, {}, True),
    ],
)
def test_sees_a_tpu(machine: Machine, files: dict[str, str], environment: dict[str, str], seen: bool):
    machine.python()
    for path, text in files.items():
        machine.device_file(path, text)
    assert ('jax[tpu] (a TPU)' in machine.plan(**environment)) == seen


def test_device_overrides(machine: Machine):
    machine.python()
    machine.gpu()
    assert 'jax for the CPU (--device=cpu)' in machine.plan('--device=cpu')
    assert 'jax for the CPU (--device=cpu)' in machine.plan('--device', 'cpu')
    assert machine.plan('--device=tpu').endswith('[tpu]\n')
    assert machine.plan('--device=cuda').endswith('[cuda13]\n')
    assert machine.plan('--device=cuda12').endswith('[cuda12]\n')
    (machine.bin / 'nvidia-smi').unlink()
    assert machine.plan('--device=cuda').endswith('[cuda12]\n')
    for wrong in (['--device=gpu'], ['--device']):
        code, output = machine.run('setup.sh', *wrong)
        assert code == 2 and len(output.splitlines()) == 1 and 'cpu, cuda' in output
    machine.calls('')
    code, output = machine.run('setup.sh', '--device=cpu', '--colour')
    assert code == 2 and 'it knows --device' in output and machine.calls('install') == [], 'nothing was installed'


@pytest.mark.parametrize(
    ('arguments', 'command'),
    [
        ([], '--config={config}'),
        (['--workdir=a b', '--config.steps=3'], '--config={config} --workdir=a b --config.steps=3'),
        (['--config=x.py:tiny', '--config.steps=3'], '--config=x.py:tiny --config.steps=3'),
        (['--config', 'x.py'], '--config x.py'),
        (['train', '--config.steps=3'], 'train --config={config} --config.steps=3'),
        (['generate', '--workdir=w', '--prompt=def '], 'generate --workdir=w --prompt=def '),
        (['--help'], '--config={config} --help'),
    ],
)
def test_local_passes_on(machine: Machine, arguments: list[str], command: str):
    machine.python()
    machine.run('setup.sh')
    expected = f'-m jaxlab.main {command.format(config=machine.clone / "configs/transformer.py")}\n'
    assert machine.run('local.sh', *arguments) == (0, f'JAX_PLATFORMS= {expected}')
    assert machine.run('local.sh', '--device=cpu', *arguments) == (0, f'JAX_PLATFORMS=cpu {expected}')


def test_speaks_chinese_where_that_is_asked_for(machine: Machine):
    machine.python()
    machine.gpu('11.4')
    for environment in ({'JAXLAB_LANG': 'zh'}, {'LANG': 'zh_CN.UTF-8'}, {'LC_ALL': 'zh_TW.UTF-8', 'LANG': 'C'}):
        plan = machine.plan(**environment)
        assert 'jaxlab: 使用 CPU 版的 jax（NVIDIA 驱动只支持 CUDA 11，' in plan
        assert f'jaxlab: 将会建立 {machine.clone}/.venv，使用 {machine.bin}/python3\n' in plan
    for environment in ({'JAXLAB_LANG': 'en', 'LANG': 'zh_CN'}, {'LC_MESSAGES': 'C', 'LANG': 'zh_CN'}, {'LANG': 'C'}):
        assert 'jaxlab: jax for the CPU (the NVIDIA driver is for CUDA 11' in machine.plan(**environment)
    code, output = machine.run('setup.sh', '--device=gpu', JAXLAB_LANG='zh')
    assert code == 2 and output.startswith('jaxlab: --device=gpu 不在 cpu, cuda, tpu 之中')


def test_help_before_anything_is_installed(machine: Machine):
    code, output = machine.run('local.sh', '--help')
    assert code == 0 and '--device=cpu|cuda|tpu' in output and not (machine.clone / '.venv').exists()
    code, output = machine.run('setup.sh', '--help')
    assert code == 0 and '--dry_run' in output


@pytest.mark.parametrize(
    ('arguments', 'pytest_arguments'),
    [([], '-m not slow'), (['--full'], ''), (['tests/nn', '-k', 'a b'], '-m not slow tests/nn -k a b')],
)
def test_test_ends_with_pytest(machine: Machine, arguments: list[str], pytest_arguments: str):
    machine.python()
    assert machine.run('test.sh', *arguments)[0] == 0
    assert 'test' in machine.calls('pip install')[0]
    machine.run('test.sh', *arguments)
    tests = f'-m pytest --numprocesses=2 --dist=loadfile {pytest_arguments}'.strip()
    assert machine.calls('-m ') == ['-m ruff check .', '-m ruff format --check .', '-m mypy', tests]


def test_constraints_pin_and_notices_name_every_package():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    pins = [line for line in (ROOT / 'third_party/constraints.txt').read_text().splitlines() if line and line[0] != '#']
    assert all('==' in pin and '/' not in pin for pin in pins)
    pinned = {pin.split('==')[0] for pin in pins}
    wanted = sum(project['optional-dependencies'].values(), project['dependencies'])
    assert {re.split(r'[\[<=>]', name)[0].replace('_', '-') for name in wanted} <= pinned

    notices = (ROOT / 'third_party/NOTICES.md').read_text()
    assert set(re.findall(r'^\| \**([a-z0-9-]+)\** \|', notices, re.MULTILINE)) - {'package'} == pinned

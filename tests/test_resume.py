"""A process is killed and started again: the run is the unbroken one, line by line and bit for bit.

Here one by one, at moments that matter; `tests/launch/test_chaos.py` and `launch/chaos.sh` do it again and again.
"""

import shutil
import signal
from pathlib import Path

import pytest

import jaxlab
from tests.experiments import TRANSFORMER, parameters, rows, run, start, tiny, write_corpus

STEPS, EVERY = 60, 10


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp('resume')
    write_corpus(folder / 'corpus')
    return folder


def flags(place: Path, workdir: Path, *more: str) -> list[str]:
    return [
        f'--config={TRANSFORMER}:tiny',
        f'--workdir={workdir}',
        f'--config.data.path={place / "corpus"}',
        f'--config.steps={STEPS}',
        f'--config.checkpoint.every={EVERY}',
        '--config.log.every=1',
        '--config.log.sample_every=0',
        '--config.evaluate.every=20',
        *more,
    ]


@pytest.fixture(scope='module')
def unbroken(place):
    code, output = run(*flags(place, place / 'unbroken'), cache=place / 'cache')
    assert code == 0, output
    return place / 'unbroken'


def kill_and_resume(place: Path, workdir: Path, kills: list[int], signal_number: int, *more: str) -> list[int]:
    """Runs to the end, with a kill after each of these logged steps; returns the steps it resumed from."""
    resumed = []
    for kill in [*kills, None]:
        process = start(*flags(place, workdir, *more), cache=place / 'cache')
        for line in process.stdout:
            if line.startswith('resumed at step'):
                resumed.append(int(line.split()[-1]))
            if kill is not None and line.startswith('step') and int(line.split()[1]) >= kill:
                process.send_signal(signal_number)
                break
        process.stdout.read()
        process.stdout.close()
        process.wait(60)
        if kill is None:
            assert process.returncode == 0
        else:
            assert process.returncode in (-signal_number, 128 + signal_number)
    return resumed


def test_ctrl_c_saves_the_step_it_was_in(place, unbroken):
    # No regular save comes before the end, so what is found was saved because of the signal.
    more = f'--config.checkpoint.every={STEPS}'
    (at,) = kill_and_resume(place, place / 'stopped', [23], signal.SIGINT, more)
    assert 23 <= at < STEPS
    assert rows(place / 'stopped') == rows(unbroken)
    assert parameters(place / 'stopped') == parameters(unbroken)


# No evaluation is better than the first, at step 10, by so much: after three more of them the run ends. And the rate
# falls with the loss.
IMPATIENT = (
    '--config.evaluate.every=10',
    '--config.best.patience=3',
    '--config.best.least=10',
    '--config.optimizer.schedule.name=plateau',
    '--config.optimizer.schedule.window=2',
    '--config.optimizer.schedule.patience=2',
    '--config.optimizer.schedule.least=0.2',
)


def test_a_killed_run_ends_early_where_the_unbroken_one_does(place):
    code, output = run(*flags(place, place / 'impatient', *IMPATIENT), cache=place / 'cache')
    assert code == 0 and 'ended early at step 40' in output and 'at step 10 (--step=best)' in output, output
    (at,) = kill_and_resume(place, place / 'impatient_killed', [32], signal.SIGKILL, *IMPATIENT)
    assert 10 < at < 40, 'evaluations before and after'
    assert rows(place / 'impatient_killed') == rows(place / 'impatient')
    assert rows(place / 'impatient')[-1]['step'] == 40
    rates = {row['train/learning_rate']: row['step'] for row in rows(place / 'impatient') if 'train/loss' in row}
    assert len(rates) >= 3 and max(rates.values()) > 30, 'the rate falls, before and after the kill'
    assert parameters(place / 'impatient_killed') == parameters(place / 'impatient')
    for workdir in ('impatient', 'impatient_killed'):  # the best one is kept, beside the two newest
        assert sorted(int(step.name) for step in (place / workdir / 'checkpoints').iterdir()) == [10, 30, 40]
    assert jaxlab.load(place / 'impatient_killed', step='best').step == 10

    # It is over, until one is more patient.
    code, output = run(*flags(place, place / 'impatient', *IMPATIENT), cache=place / 'cache')
    assert code == 0 and 'ended early at step 40' in output and '\nstep' not in output
    more = (*IMPATIENT, '--config.best.patience=4')
    code, output = run(*flags(place, place / 'impatient', *more), cache=place / 'cache')
    assert code == 0 and 'ended early at step 50' in output, output


def test_resumes_on_another_mesh_and_for_more_steps(place, unbroken):
    longer = shutil.copytree(unbroken, place / 'longer')  # others compare with the unbroken one
    code, output = run(
        *flags(place, longer, f'--config.steps={STEPS + 3}', '--config.mesh.fsdp=2'), cache=place / 'cache', devices=2
    )
    assert code == 0, output
    assert f'resumed at step {STEPS}' in output and f'step {STEPS + 3}' in output


def test_finished_run_has_nothing_left_to_do(place, tmp_path):
    workdir = tmp_path / 'run'
    assert run(*flags(place, workdir, '--config.steps=3'), cache=place / 'cache')[0] == 0
    before = rows(workdir)
    code, output = run(*flags(place, workdir, '--config.steps=3'), cache=place / 'cache')
    assert code == 0 and 'resumed at step 3' in output
    assert rows(workdir) == before


def test_killed_before_the_manifest(place, unbroken):
    """A step that is written but for its manifest is no step yet: the run goes on from the one before."""
    workdir = place / 'no_manifest'
    fault = 'between_commit_and_manifest:40:kill'
    code, output = run(*flags(place, workdir), cache=place / 'cache', JAXLAB_FAIL_AT=fault)
    assert code == -signal.SIGKILL and 'warning' not in output, output
    code, output = run(*flags(place, workdir), cache=place / 'cache')
    assert code == 0 and 'resumed at step 30' in output and 'warning' not in output, output
    assert rows(workdir) == rows(unbroken)
    assert parameters(workdir) == parameters(unbroken)


def test_a_full_disk(place, unbroken):
    """A save that fails is a warning, and tried again. Five in a row end the run, which goes on once there is room."""
    workdir = place / 'full'
    faults = ','.join(f'save_copied:{step}:enospc' for step in (10, 11, 30, 31, 32, 33, 34))
    code, output = run(
        *flags(place, workdir, '--config.checkpoint.retry=0'), cache=place / 'cache', JAXLAB_FAIL_AT=faults
    )
    assert code == 2 and 'Traceback' not in output, output
    assert output.count('could not be saved (') == 7 and output.count('; training goes on') == 6
    assert 'the newest good one is that of step 20' in output
    assert sorted(int(step.name) for step in (workdir / 'checkpoints').iterdir() if step.name.isdecimal()) == [12, 20]
    code, output = run(*flags(place, workdir), cache=place / 'cache')
    assert code == 0 and 'resumed at step 20' in output, output
    assert rows(workdir) == rows(unbroken)
    assert parameters(workdir) == parameters(unbroken)


def test_another_experiment_is_refused(place, unbroken):
    code, output = run(*flags(place, unbroken, '--config.model.width=32'), cache=place / 'cache')
    assert code == 2 and 'model.width: 64 → 32' in output and 'Traceback' not in output


def test_other_data_are_refused(place, tmp_path):
    corpus = write_corpus(tmp_path / 'corpus')
    arguments = [*flags(place, tmp_path / 'run', '--config.steps=2'), f'--config.data.path={corpus}']
    assert run(*arguments, cache=tmp_path / 'cache')[0] == 0
    (corpus / '00.txt').write_text('something else\n' * 100, 'utf-8')
    code, output = run(*arguments, cache=tmp_path / 'cache')
    assert code == 2 and 'data have changed' in output and 'Traceback' not in output


def test_tiny_is_what_it_says(place):
    """`tiny` is what the tests kill: at least 200 steps and three saves."""
    config = tiny(place / 'corpus')
    assert config.steps >= 200 and config.steps // config.checkpoint.every >= 3

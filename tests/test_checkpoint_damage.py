"""Whatever happens to a file of the newest step, it is noticed, told, and the step before it is taken."""

import random
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

import jaxlab.main
from jaxlab.best import Best
from jaxlab.checkpoint import Checkpoints
from jaxlab.errors import UserError
from jaxlab.step import TrainState
from jaxlab.trust import manifest
from jaxlab.trust.numbers import start as healthy
from tests.experiments import message

NEWEST, OLDER = 20, 10


def state(step):
    """A small state with everything in it: parameters, their average, moments, a key."""
    params = {'w': jax.random.normal(jax.random.key(step), (4, 3)), 'b': {'c': jnp.arange(5) + step}}
    n = jnp.int32(step)
    return TrainState(
        n, params, {'mean': jnp.ones(2)}, ({'mu': params},), jax.random.key(1), params, jnp.int32(0), healthy()
    )


def wanted():
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), jax.eval_shape(state, 0))


def numbers(of):
    of = of.replace(key=jax.random.key_data(of.key))
    return [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(of)]


def save(workdir, *steps):
    checkpoints = Checkpoints(workdir, keep=9)
    for step in steps:
        checkpoints.save(step, state(step), ConfigDict({'a': 1}), Best('held_out/loss', value=1.0, step=OLDER))
    checkpoints.close()
    return workdir


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    return save(tmp_path_factory.mktemp('damage') / 'run', OLDER, NEWEST)


@pytest.fixture
def run(two, tmp_path):
    """A workdir of one's own, with two good steps."""
    return shutil.copytree(two, tmp_path / 'run')


def files(workdir, step=NEWEST):
    folder = workdir / 'checkpoints' / str(step)
    return {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob('*')) if file.is_file()}


def flip(file, others):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(file, others):
    file.write_bytes(file.read_bytes()[:-1])


def delete(file, others):
    file.unlink()


def zero(file, others):
    file.write_bytes(bytes(file.stat().st_size))


def swap(file, others):
    """Puts another file of the workdir in its place: as large where there is one, else cut or filled to its size."""
    content = file.read_bytes()
    found = [found for other in others if (found := other.read_bytes()) != content]
    found.sort(key=lambda other: abs(len(other) - len(content)))
    file.write_bytes(found[0][: len(content)].ljust(len(content), b'\0'))


KINDS = [flip, truncate, delete, zero, swap]


def passed_over(workdir, capsys):
    """Whether the older step is restored, whole, and one line names the newest as damaged; returns that line."""
    checkpoints = Checkpoints(workdir, keep=9)
    try:
        found = checkpoints.restore(wanted())
        record = checkpoints.best()
    except Exception as error:  # a crash of whatever reads it is no fall-back
        print(error)
        return ''
    finally:
        checkpoints.close()
    lines = capsys.readouterr().out.splitlines()
    right = numbers(found) == numbers(state(OLDER)) and record['step'] == OLDER
    return lines[0] if right and len(lines) == 1 and f'checkpoints/{NEWEST} is damaged' in lines[0] else ''


def harmed(workdir, capsys, kinds):
    """Yields (file, kind, the warning or '') for every file of the newest step, and puts it right again."""
    there = files(workdir)
    others = [*there.values(), *files(workdir, OLDER).values()]
    for name, file in there.items():
        content = file.read_bytes()
        for kind in kinds:
            kind(file, others)
            yield name, kind.__name__, passed_over(workdir, capsys)
            file.write_bytes(content)


def test_good_steps_are_restored(run, capsys):
    checkpoints = Checkpoints(run)
    assert numbers(checkpoints.restore(wanted())) == numbers(state(NEWEST))
    assert capsys.readouterr().out == ''
    checkpoints.close()
    assert passed_over(run, capsys) == '', 'nothing is damaged, so the older one is not taken'


@pytest.mark.parametrize('kind', KINDS, ids=lambda kind: kind.__name__)
def test_every_file(run, capsys, kind):
    found = list(harmed(run, capsys, [kind]))
    assert {'manifest.json', '_CHECKPOINT_METADATA', 'params/_METADATA', 'best/metadata'} <= {
        name for name, *_ in found
    }
    assert len(found) >= 30
    for name, kind, warning in found:
        assert f'({name}: ' in warning, (name, kind, warning)


def flipped(workdir, capsys, count, seed):
    """Yields (file, byte, the warning or '') for flips of one random bit of a random file."""
    choose = random.Random(seed)
    there = list(files(workdir).items())
    for _ in range(count):
        name, file = choose.choice(there)
        content = bytearray(file.read_bytes())
        at = choose.randrange(len(content))
        file.write_bytes(content[:at] + bytes([content[at] ^ 1 << choose.randrange(8)]) + content[at + 1 :])
        yield name, at, passed_over(workdir, capsys)
        file.write_bytes(content)


def test_random_flips(run, capsys):
    for name, at, warning in flipped(run, capsys, 100, seed=0):
        assert f'({name}: other bytes than were saved)' in warning, (name, at)


@pytest.mark.slow
def test_many_random_flips(run, capsys):
    for name, at, warning in flipped(run, capsys, 1000, seed=1):
        assert f'({name}: other bytes than were saved)' in warning, (name, at)


def test_a_verifier_that_always_says_good_is_noticed(run, capsys, monkeypatch):
    monkeypatch.setattr(manifest, 'damage', lambda *arguments: [])
    found = [warning for *_, warning in flipped(run, capsys, 20, seed=0)]
    assert not any(found)


def test_a_verifier_that_looks_at_sizes_alone_is_noticed(run, capsys, monkeypatch):
    saved = {file: manifest._digest(file.parent, file.name, 0) for file in files(run).values()}
    monkeypatch.setattr(manifest, '_digest', lambda folder, name, number: saved[folder / name])
    found = {name: warning for name, _, warning in harmed(run, capsys, [zero]) if name != 'manifest.json'}
    assert not any(found.values())


def test_a_verifier_of_the_parameters_alone_is_noticed(run, capsys, monkeypatch):
    damage = manifest.damage
    monkeypatch.setattr(manifest, 'damage', lambda folder, step, parts, share: damage(folder, step, ['params'], share))
    found = {name.partition('/')[0] for name, _, warning in harmed(run, capsys, [zero]) if not warning}
    assert found >= {'average', 'best', 'config', 'extra', 'training'} and 'params' not in found


def test_what_is_not_read_is_not_checked(run, capsys):
    """To generate, the parameters must be good; the moments of the optimizer need not."""
    zero(files(run)['training/_METADATA'], [])
    checkpoints = Checkpoints(run)
    step, found = checkpoints.restore_items({'params': wanted().params})
    assert step == NEWEST and found['params']['b']['c'].tolist() == state(NEWEST).params['b']['c'].tolist()
    checkpoints.close()
    assert capsys.readouterr().out == ''


def test_a_step_that_is_asked_for_is_no_other(run):
    """Who says --step=20 wants no other; the message says which there are."""
    zero(files(run)['params/_METADATA'], [])
    checkpoints = Checkpoints(run)
    text = message(checkpoints.restore_items, {'params': wanted().params}, NEWEST)
    assert f'step {NEWEST} is damaged (params/_METADATA: other bytes than were saved); there are 10, 20.' in text
    step, _ = checkpoints.restore_items({'params': wanted().params}, 'best')
    assert step == OLDER
    zero(files(run, OLDER)['params/_METADATA'], [])
    assert 'step 10 is damaged' in message(checkpoints.restore_items, {'params': wanted().params}, 'best')
    checkpoints.close()


def test_no_step_is_good(run, capsys):
    delete(files(run)['manifest.json'], [])
    truncate(files(run, OLDER)['training/_METADATA'], [])
    checkpoints = Checkpoints(run)
    with pytest.raises(UserError) as caught:
        checkpoints.restore(wanted())
    checkpoints.close()
    first, second = str(caught.value).splitlines()
    assert 'no checkpoint is good: 20: manifest.json: missing; 10: training/_METADATA: ' in first
    assert 'copy' in second and '--workdir' in second
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_training_goes_on_over_the_damaged_step(run, capsys):
    """From the older one, it comes to the damaged step again, and saves it anew."""
    zero(files(run)['params/_METADATA'], [])
    checkpoints = Checkpoints(run, keep=9)
    assert int(checkpoints.restore(wanted()).step) == OLDER
    for step in (15, NEWEST):
        checkpoints.save(step, state(step), ConfigDict({}), Best())
    checkpoints.close()
    capsys.readouterr()
    again = Checkpoints(run, keep=9)
    assert numbers(again.restore(wanted())) == numbers(state(NEWEST))
    again.close()
    assert capsys.readouterr().out == ''


def test_other_shapes_are_told_before_anything_is_read(run, monkeypatch):
    other = wanted()
    other.params['w'] = jax.ShapeDtypeStruct((4, 5), 'float32', sharding=other.params['w'].sharding)
    checkpoints = Checkpoints(run)
    monkeypatch.setattr(checkpoints._orbax, 'restore', None)
    assert 'params/w is (4, 3), not (4, 5).' in message(checkpoints.restore, other)
    del other.params['w']
    assert 'params/w was saved and is not wanted.' in message(checkpoints.restore, other)
    assert 'nothing/x was not saved' in message(checkpoints.restore_items, {'nothing': {'x': wanted().step}})
    checkpoints.close()


def test_verify(run, capsys):
    """The verb says a line for each step, and its exit code whether all are good."""
    arguments = ['verify', f'--workdir={run}']
    assert jaxlab.main.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(' (')[0] for line in lines] == ['10: good', '20: good']
    flip(files(run, OLDER)['params/_METADATA'], [])
    assert jaxlab.main.main(arguments) == 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '10: damaged: params/_METADATA: other bytes than were saved' and lines[1].startswith('20: good')
    assert jaxlab.main.main(['verify', '--workdir=nowhere']) == 2
    assert 'there is no checkpoint yet' in capsys.readouterr().err


def test_a_step_that_is_a_link_is_passed_over_and_what_it_leads_to_is_left_alone(run, tmp_path, capsys):
    folder = run / 'checkpoints' / str(NEWEST)
    folder.rename(tmp_path / 'elsewhere')
    folder.symlink_to(tmp_path / 'elsewhere')
    there = sorted((tmp_path / 'elsewhere').rglob('*'))
    checkpoints = Checkpoints(run, keep=1)
    assert int(checkpoints.restore(wanted()).step) == OLDER
    assert f'{folder} is damaged (.: a link to elsewhere)' in capsys.readouterr().out
    checkpoints.save(30, state(30), ConfigDict({'a': 1}), Best())
    checkpoints.close()
    assert manifest.steps(run / 'checkpoints') == [30] and not folder.is_symlink()
    assert sorted((tmp_path / 'elsewhere').rglob('*')) == there


def test_a_file_that_no_checksum_covers_is_never_read(run, capsys):
    (run / 'checkpoints' / str(NEWEST) / 'params' / 'd' / 'more').write_bytes(b'x')
    assert int(Checkpoints(run).restore(wanted()).step) == OLDER
    assert 'params/d/more: not among what was saved' in capsys.readouterr().out

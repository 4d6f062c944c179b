"""A race: each in its own workdir, what is finished is left alone, and a table of how they did."""

import json

import pytest

from jaxlab import config as configs
from jaxlab import config_text
from jaxlab import race as races
from jaxlab import workdir as workdirs
from jaxlab.main import main
from jaxlab.observers.tracker import Tracker
from jaxlab.train import train
from tests.experiments import ROOT, write_corpus

OPTIMIZERS = str(ROOT / 'configs' / 'optimizers.py')


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp('race')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('JAXLAB_CACHE', str(folder / 'cache'))
        write_corpus(folder / 'corpus', documents=20)
        yield folder


def racers(place, *flags):
    """Two of the racers, on a small corpus."""
    found, _, _ = config_text.load_all(f'{OPTIMIZERS}:tiny')
    overrides = [('data.path', str(place / 'corpus')), ('evaluate.every', '3'), ('mesh.data', '1'), ('log.every', '1')]
    for config in found.values():
        config.steps = 6
    return {name: configs.check(config_text.override(found[name], [*overrides, *flags])) for name in ('sgd', 'muon')}


def run(place, *flags, stop=0):
    """Runs the race in place/'run'; returns its answer, and which experiments trained."""
    trained, experiments = [], racers(place, *flags)

    def train_one(name):
        trained.append(name)
        return stop or train(experiments[name], place / 'run' / name, [Tracker()])

    return races.race(experiments, place / 'run', train_one), trained


def test_a_race(place, capsys):
    assert run(place) == (0, ['sgd', 'muon'])
    *_, head, first, second = capsys.readouterr().out.splitlines()
    assert head.split()[0] == 'held_out/loss' and head.split()[-1] == 'tokens/s'
    losses = {}
    for name in ('sgd', 'muon'):
        rows = [json.loads(line) for line in (place / 'run' / name / 'metrics.jsonl').read_text('utf-8').splitlines()]
        assert rows[-1]['step'] == 6
        losses[name] = rows[-1]['eval/held_out/loss']
    order = sorted(losses, key=losses.__getitem__)
    assert [line.split()[:2] for line in (first, second)] == [[name, f'{losses[name]:.4f}'] for name in order]

    # Finished, and nothing runs again; a longer one goes on; one that was stopped has no table.
    assert run(place) == (0, [])
    assert 'sgd is finished' in capsys.readouterr().out
    assert run(place, ('steps', '7'), stop=15) == (15, ['sgd'])
    assert 'held_out' not in capsys.readouterr().out


def test_what_is_finished(place):
    run(place)  # 6 steps, if it has not been run yet
    folder = place / 'run' / 'sgd'

    def finished(*flags):
        return races.finished(folder, racers(place, *flags)['sgd'])

    assert finished() and not finished(('steps', '7')) and not finished(('steps', '5'))
    assert not finished(('epochs', '1'))  # so it was not trained
    assert not races.finished(place / 'nothing', racers(place)['sgd'])
    early = [('steps', '30'), ('best.patience', '1'), ('best.least', '100')]  # ends at the second evaluation
    config = racers(place, *early)['sgd']
    assert train(config, place / 'early', []) == 0
    assert races.finished(place / 'early', config)
    assert not races.finished(place / 'early', racers(place, *early[:1])['sgd'])


def test_diverged_ones_stand_last_and_higher_can_be_better(place):
    for name, loss, accuracy in (('sgd', float('nan'), 0.1), ('muon', 9.0, 0.2)):
        (place / 'made_up' / name / 'processor').mkdir(parents=True)
        about = json.dumps({'fingerprint': '', 'info': {}, 'batch': {}})
        (place / 'made_up' / name / 'processor' / 'data.json').write_text(about, 'utf-8')
        row = {'step': 6, 'eval/held_out/loss': loss, 'eval/held_out/accuracy': accuracy}
        (place / 'made_up' / name / 'metrics.jsonl').write_text(json.dumps(row) + '\n', 'utf-8')
    lines = races.table(place / 'made_up', racers(place))
    assert [line.split()[0] for line in lines[1:]] == ['muon', 'sgd']
    row['eval/held_out/accuracy'] = 0.05
    (place / 'made_up' / 'muon' / 'metrics.jsonl').write_text(json.dumps(row) + '\n', 'utf-8')
    lines = races.table(place / 'made_up', racers(place, ('best.score', 'held_out/accuracy')))
    assert [line.split()[0] for line in lines[1:]] == ['sgd', 'muon']


def test_on_the_command_line(place, capsys):
    flags = [f'--workdir={place / "chosen"}', f'--config.data.path={place / "corpus"}', '--config.steps=2']
    flags += ['--config.mesh.data=1']
    assert main([f'--config={OPTIMIZERS}:tiny:lion', *flags]) == 0
    out = capsys.readouterr().out
    assert '1 of 1: lion' in out and f'look at {place / "chosen" / "report.html"}' in out
    assert {entry.name for entry in (place / 'chosen').iterdir()} == {'lion', 'report.html'}


def test_one_of_them_lies_where_the_race_would_put_it():
    folders = []
    for words in ('', ':adam', ':adam:lion'):
        found, _, stem = config_text.load_all(OPTIMIZERS + words)
        folders.append(workdirs.default(stem, *found.values()))
    assert len(set(folders)) == 1 and folders[0].name.startswith('optimizers-')
    found['adam'].optimizer.beta1 = 0.5
    assert workdirs.default(stem, *found.values()) != folders[0]

"""Twenty kills and six signals at moments drawn by seed: the runs are the unbroken one, bit for bit."""

import random

import chaos
import pytest

from tests.experiments import write_corpus


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp('chaos')
    write_corpus(folder / 'corpus')
    return chaos.Place(folder, (f'--config.data.path={folder / "corpus"}', '--config.model.layers=1'))


def test_kills_and_signals(place):
    found = chaos.run(place, kills=20, signals=6, runs=2, seed=1)
    for name, count in (('kills', 20), ('signals', 6)):
        assert found[name]['wrong'] == [] and found[name]['count'] == count
        assert found[name]['runs_equal_to_the_unbroken_one'] == 2
    assert found['kills']['starts_that_resumed'] >= 8
    assert found['kills']['steps_done_again'] <= 20 * chaos.EVERY


def test_a_run_that_never_saves_is_noticed(place, monkeypatch):
    """The mutant of this file: nothing is there to go on from, and all is done again."""
    monkeypatch.setattr(chaos, 'POINTS', ())  # some are never met without saves: it is killed at steps
    never = chaos.Place(place.folder, (*place.flags, '--config.checkpoint.every=10000', '--config.best.score='))
    found = chaos.kill(never, place.folder / 'runs' / 'never', 2, random.Random(3), 1e6)
    assert not found.resumed and any('done again' in line for line in found.wrong)

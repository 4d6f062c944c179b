"""The ledger: every moment belongs to one kind of work, and all of them add up to the clock."""

import types

import pytest

from jaxlab.trust import ledger as ledgers
from jaxlab.trust.ledger import Ledger


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when it is told to: clock.now += 3."""
    clock = types.SimpleNamespace(now=100.0)
    monkeypatch.setattr(ledgers, 'time', types.SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def worked(clock):
    """A day's work, whose seconds are all different powers of two: no two mixtures have one sum."""
    ledger = Ledger()
    clock.now += 1  # start
    with ledger.of('compile'):
        clock.now += 2
    ledger.turn('train')

    def items():
        for n in range(2):
            clock.now += 4  # data, twice
            yield n

    @ledger.of('observe')
    def tell():
        clock.now += 16

    for n in ledger.waits('data', items()):
        clock.now += 32  # train, twice
        if n == 0:
            with ledger.of('evaluate'):
                clock.now += 128
                tell()
                clock.now += 256
    clock.now += 512  # train
    return ledger


def test_each_moment_counts_once_where_it_belongs(clock):
    seconds = worked(clock).seconds()
    assert seconds == {
        'start': 1,
        'compile': 2,
        'train': 64 + 512,
        'data': 8,
        'evaluate': 128 + 256,
        'observe': 16,
    }
    assert sum(seconds.values()) == clock.now - 100


def test_it_may_be_asked_at_any_time_and_goes_on(clock):
    ledger = worked(clock)
    before = ledger.seconds()
    assert ledger.seconds() == before
    clock.now += 3
    assert ledger.seconds() == before | {'train': before['train'] + 3}


def test_what_is_raised_ends_its_kind_of_work(clock):
    ledger = Ledger('train')
    with pytest.raises(KeyError), ledger.of('evaluate'):
        clock.now += 1
        raise KeyError
    clock.now += 2
    assert ledger.seconds() == {'train': 2, 'evaluate': 1}


def test_the_last_wait_counts_too(clock):
    def items():
        yield 0
        clock.now += 5

    ledger = Ledger('train')
    assert list(ledger.waits('data', items())) == [0]
    assert ledger.seconds() == {'train': 0, 'data': 5}


def test_a_second_that_is_lost_is_noticed(clock, monkeypatch):
    """The mutant of this file: a turn that forgets to charge what was."""

    def turn(self, kind):
        before, self._kind = self._kind, kind
        self._since = clock.now
        self._seconds.setdefault(kind, 0.0)
        return before

    monkeypatch.setattr(Ledger, 'turn', turn)
    assert sum(worked(clock).seconds().values()) != clock.now - 100

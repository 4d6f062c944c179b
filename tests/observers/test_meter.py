"""From terms to rows: the speed between two rows, FLOPs and MFU where they are known, and nothing made up."""

import time

import pytest
from ml_collections import ConfigDict

from jaxlab import devices, flops
from jaxlab import train as loop
from jaxlab.memory import Expected
from jaxlab.observers import Compiled
from jaxlab.observers.meter import Meter
from jaxlab.task import Term
from tests.experiments import tiny, write_corpus

SKIPPED = {name: Term(0.0, 1.0, 0.0) for name in ('skipped', 'skipped_in_a_row')}
TERMS = {'loss': Term(8.0, 4.0), 'z': Term(6.0, 4.0, 0.5), **SKIPPED}
CONFIG = ConfigDict({'batch_size': 32, 'steps': 100})


def rows(monkeypatch, work: int, peak: float, info=None) -> list[dict[str, float]]:
    """Rows at steps 10 and 20, two seconds between them."""
    now = [50.0]
    monkeypatch.setattr(time, 'perf_counter', lambda: now[0])
    meter = Meter(CONFIG, info or {}, 0, Compiled(1.0, work, peak, Expected(0, 0, '')))
    first = meter.row(10, TERMS)
    now[0] += 2
    return [first, meter.row(20, TERMS)]


def test_rates(monkeypatch):
    first, second = rows(monkeypatch, work=500, peak=1e4, info={'length': 16})
    assert first == {'train/loss': 2.75, 'train/z': 1.5}  # its time was mostly compilation
    assert second == first | {
        'train/examples_per_second': pytest.approx(160),
        'train/tokens_per_second': pytest.approx(2560),
        'train/flops_per_second': pytest.approx(2500),
        'train/mfu': pytest.approx(0.25),
        'train/seconds_left': pytest.approx(16),
    }


def test_updates_that_were_left_out_are_told_once_there_are_some():
    meter = Meter(CONFIG, {}, 0, Compiled(1.0, 0, 0.0, Expected(0, 0, '')))
    row = meter.row(10, TERMS | {'skipped': Term(3.0, 1.0, 0.0), 'skipped_in_a_row': Term(2.0, 1.0, 0.0)})
    assert row == {'train/loss': 2.75, 'train/z': 1.5, 'train/skipped': 3.0}


def test_what_is_not_known_has_no_key(monkeypatch):
    _, row = rows(monkeypatch, work=500, peak=0.0)
    assert 'train/mfu' not in row and row['train/flops_per_second'] == pytest.approx(2500)
    _, row = rows(monkeypatch, work=0, peak=1e4)
    assert not {'train/mfu', 'train/flops_per_second', 'train/tokens_per_second'} & row.keys()


def test_tokens_of_batches_of_many_widths_are_counted(monkeypatch):
    """Those of the ten batches between two rows, wherever a rollback has moved them."""
    now = [50.0]
    monkeypatch.setattr(time, 'perf_counter', lambda: now[0])
    compiled = Compiled(1.0, 0, 0.0, Expected(0, 0, ''))
    meter = Meter(CONFIG, {'length': 64}, 10, compiled, lambda n: 64 if n < 115 else 16)
    meter.start(10)
    now[0] += 2
    found = meter.row(20, TERMS, offset=100)['train/tokens_per_second']
    assert found == pytest.approx(32 * (5 * 64 + 5 * 16) / 2)


@pytest.mark.parametrize('kind', ['cpu', 'stand-in'])
def test_a_run(tmp_path, monkeypatch, kind):
    """On a CPU no MFU is written; on two devices of a kind whose peak is known, FLOPs/s over both peaks."""
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    if kind == 'stand-in':
        monkeypatch.setitem(devices._PEAKS, 'cpu', (1, 0.5, 0))
    counted, seen = [], []
    of_step = flops.of_step
    monkeypatch.setattr(flops, 'of_step', lambda *a: counted.append(of_step(*a)) or counted[-1])

    class Recorder:
        def start(self, run):
            run.compiled.add_done_callback(lambda known: seen.append(known.result()))
            self.rows = []

        def row(self, step, row):
            self.rows.append(row)

        def sample(self, step, text): ...

        def end(self, step): ...

    recorder = Recorder()
    quiet = {'steps': 4, 'log__every': 1, 'log__sample_every': 0, 'evaluate__every': 0}
    loop.train(tiny(write_corpus(tmp_path / 'corpus'), mesh__data=2, **quiet), tmp_path / 'run', [recorder])
    (compiled,) = seen
    assert compiled.flops == counted[0] > 1e8 and compiled.seconds > 0
    assert 0 < compiled.memory.taken < compiled.memory.limit and compiled.memory.advice == ''
    timed = [row for row in recorder.rows if 'train/flops_per_second' in row]
    assert len(timed) == 3
    for row in timed:
        assert row['train/flops_per_second'] == pytest.approx(
            compiled.flops * row['train/examples_per_second'] / 8, rel=1e-6
        )
        if kind == 'cpu':
            assert 'train/mfu' not in row and compiled.peak == 0
        else:
            assert row['train/mfu'] == pytest.approx(row['train/flops_per_second'] / (2 * 0.5e12), rel=1e-6)

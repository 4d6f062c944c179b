"""The rounds of a benchmark: order, what counts, ratios round by round."""

from pathlib import Path

import pytest
import rounds


def test_every_round_runs_all_and_turns_the_order():
    ran = []
    candidates = {name: lambda name=name: ran.append(name) for name in 'abc'}
    seconds = rounds.interleave(candidates, rounds=3, warm_up=1)
    assert [''.join(ran[i : i + 3]) for i in range(0, 12, 3)] == ['cab', 'abc', 'bca', 'cab']
    assert {name: len(taken) for name, taken in seconds.items()} == {'a': 3, 'b': 3, 'c': 3}


def test_a_candidate_may_time_itself():
    assert rounds.interleave({'a': lambda: 7.0}, rounds=2) == {'a': [7.0, 7.0]}


def test_speed_is_the_median_of_ratios_of_one_round():
    """A slow minute that hits both leaves the ratio as it is; the ratio of the medians would not."""
    seconds = {'peer': [1.0, 10.0, 2.0], 'ours': [0.5, 5.0, 4.0]}
    found = rounds.summary(seconds, 'peer', work=100)
    assert found['ours'] == {'median': 4.0, 'fastest': 0.5, 'speed': 2.0, 'rate': 25.0}
    assert found['peer']['speed'] == 1.0


def test_a_worker_says_something_and_then_runs_when_it_is_asked(tmp_path, monkeypatch):
    program = tmp_path / 'worker.py'
    log = tmp_path / 'ran'
    program.write_text(
        f'import sys; sys.path.insert(0, {str(Path(rounds.__file__).parent)!r}); import rounds, time\n'
        f"rounds.serve({{'losses': [1.0]}}, lambda: (time.sleep(0.01), open({str(log)!r}, 'a').write('x')))\n"
    )
    worker = rounds.Worker(str(program))
    assert worker.said == {'losses': [1.0]} and not log.exists()
    assert worker() >= 0.01 and worker() >= 0.01
    worker.close()
    assert log.read_text() == 'xx'


def test_a_worker_that_dies_is_noticed(tmp_path):
    with pytest.raises(SystemExit, match='exit code 3'):
        rounds.Worker('-c', 'raise SystemExit(3)')

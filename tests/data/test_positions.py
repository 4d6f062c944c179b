"""The stream from any position on is what the unbroken one has there, whoever makes which rows of it."""

from dataclasses import replace

import numpy as np
import pytest

from jaxlab import calls
from jaxlab.data.records import Losses, Tolerance
from jaxlab.data.sequences import TrainingRows
from jaxlab.data.stream import prefetch
from jaxlab.data.token_store import Counts, Part

BATCH, LENGTH, LAST = 8, 16, 160  # about four epochs
POSITIONS = 500
SEEDS = (0, 1, 2)


class Damaged:
    """Tokens some of which cannot be read."""

    def __init__(self, tokens, bad):
        self.tokens, self.bad = tokens, bad

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, span):
        found = self.tokens[span]
        if set(range(*span.indices(len(self.tokens)))) & self.bad:
            raise OSError(5, 'Input/output error', 'train.tokens')
        return found


def stream(seed, processes=1, process=0, bad=()):
    """Returns n -> the rows of batch n that one of several processes makes: one contiguous block."""
    tokens = np.random.default_rng(7).integers(1, 60_000, 5000).astype(np.uint16)
    tokens[np.random.default_rng(8).integers(0, 5000, 80)] = 0
    part = Part(Damaged(tokens, set(bad)) if bad else tokens, np.array([0, 5000]), Counts(1, 5000, 0))
    rows = slice(process * BATCH // processes, (process + 1) * BATCH // processes)
    losses = Losses(Tolerance(True, 1.0))
    return TrainingRows(part, BATCH, rows, LENGTH, seed, 0, losses).batch


@pytest.fixture(scope='module')
def unbroken():
    """The whole stream of each seed, read from the beginning through the threads of a run: {name: [n, b, …]}."""

    def whole(seed):
        batches = list(prefetch(stream(seed), 0, LAST))
        return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}

    return {seed: whole(seed) for seed in SEEDS}


def joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def drawn(number):
    """Yields (seed, start, processes, steps in a call), drawn at random."""
    choose = np.random.default_rng(42)
    for _ in range(number):
        yield (
            int(choose.choice(SEEDS)),
            int(choose.integers(0, LAST - 5)),
            int(choose.choice([1, 2, 4])),
            int(choose.choice([1, 3, 10])),
        )


def differences(unbroken, make, positions):
    """Returns the positions from which the stream is another one: the next five batches, every row of every array."""
    found = []
    for seed, start, processes, _ in positions:
        streams = [make(seed, processes, process) for process in range(processes)]
        for n in range(start, start + 5):
            batch = joined([one(n) for one in streams])
            same = [np.array_equal(batch[name], rows[n]) for name, rows in unbroken[seed].items()]
            if not all(same) or batch.keys() != unbroken[seed].keys():
                found.append((seed, start, processes))
                break
    return found


def test_500_positions(unbroken):
    positions = list(drawn(POSITIONS))
    assert {processes for _, _, processes, _ in positions} == {1, 2, 4}
    assert len({(seed, start) for seed, start, _, _ in positions}) > 250
    assert differences(unbroken, stream, positions) == []


def test_positions_through_the_threads_of_a_run(unbroken):
    """As the loop reads them: from a step on, one or several steps in a call, whose ends lie where something is due."""
    for seed, start, processes, most in drawn(25):
        ends = calls.ends(start, LAST, most, (7, 20))[:4]
        streams = [
            prefetch(calls.batches(stream(seed, processes, process), start, ends, most), 0, len(ends))
            for process in range(processes)
        ]
        n = start
        for end in ends.tolist():
            parts = [next(one) for one in streams]
            if most == 1:
                batches = [joined(parts)]
            else:
                assert {int(count) for _, count in parts} == {end - n}
                batches = [joined([{k: v[i] for k, v in stack.items()} for stack, _ in parts]) for i in range(end - n)]
            for batch in batches:
                for name, rows in unbroken[seed].items():
                    np.testing.assert_array_equal(batch[name], rows[n])
                n += 1
        for one in streams:
            one.close()


def test_records_that_cannot_be_read_move_no_other_row(unbroken):
    bad = set(range(2000, 2050)) | {4321}
    lost = 0
    for seed, start, processes, _ in drawn(100):
        streams = [stream(seed, processes, process, bad) for process in range(processes)]
        batch, whole = joined([one(start) for one in streams]), {k: v[start] for k, v in unbroken[seed].items()}
        masked = ~batch['mask'].any(axis=1)
        lost += int(masked.sum())
        for name, rows in batch.items():
            np.testing.assert_array_equal(rows[~masked], whole[name][~masked])
            assert not rows[masked].any()
    assert 5 <= lost < 100 * BATCH / 10


def strided(rows, n):
    number = BATCH // (rows.rows.stop - rows.rows.start)
    return TrainingRows.batch(replace(rows, rows=slice(rows.rows.start * number // BATCH, None, number)), n)


def counted_from_the_start_of_the_process(rows, n):
    rows.__dict__['calls'] = rows.__dict__.get('calls', -1) + 1
    return TrainingRows.batch(rows, rows.__dict__['calls'])


def seeded_by_process(rows, n):
    return TrainingRows.batch(replace(rows, seed=rows.seed + rows.rows.start), n)


@pytest.mark.parametrize('mistake', [strided, counted_from_the_start_of_the_process, seeded_by_process])
def test_another_stream_is_noticed(unbroken, mistake):
    def make(seed, processes, process):
        rows = stream(seed, processes, process).__self__
        return lambda n: mistake(rows, n)

    assert len(differences(unbroken, make, list(drawn(60)))) > 30

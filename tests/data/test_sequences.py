import numpy as np
import pytest

from jaxlab.data.sequences import HeldOutWindows, TrainingRows
from jaxlab.data.token_store import Counts, Part

END = 99


def part_of(*documents):
    """A part whose documents are the given tokens, each behind an end_of_text, as a store holds them."""
    stored = [[END, *document] for document in documents]
    tokens = np.concatenate(stored).astype(np.uint16)
    offsets = np.cumsum([0, *map(len, stored)])
    return Part(tokens, offsets, Counts(len(documents), len(tokens), 0))


def lengths(*sizes):
    """Documents of these sizes, with all tokens different."""
    return part_of(*(np.arange(size) + 100 * (n + 1) for n, size in enumerate(sizes)))


def training(part, **changes):
    return TrainingRows(
        **{'part': part, 'batch_size': 4, 'rows': slice(0, 4), 'length': 8, 'seed': 0, 'end_of_text': END} | changes
    )


def held_out(part, **changes):
    standard = {'part': part, 'batch_size': 4, 'rows': slice(0, 4), 'length': 8, 'stride': 8, 'end_of_text': END}
    return HeldOutWindows(**standard | {'token_bytes': np.arange(1000) % 7} | changes)


# --- training --------------------------------------------------------------------------------------------------------


def test_a_batch_is_a_function_of_its_number_alone():
    part = lengths(30, 5, 50, 17)
    forward = [training(part).batch(n) for n in range(12)]
    again = training(part)
    for n in reversed(range(12)):
        for name, rows in again.batch(n).items():
            np.testing.assert_array_equal(rows, forward[n][name])


def test_processes_share_out_the_rows_of_a_batch():
    part = lengths(30, 5, 50, 17)
    whole = training(part, batch_size=6, rows=slice(0, 6)).batch(7)
    for rows in (slice(0, 2), slice(2, 3), slice(3, 6)):
        for name, found in training(part, batch_size=6, rows=rows).batch(7).items():
            np.testing.assert_array_equal(found, whole[name][rows])


def test_the_seed_chooses_the_order():
    part = lengths(300)
    assert not np.array_equal(training(part).batch(0)['tokens'], training(part, seed=1).batch(0)['tokens'])


def test_an_epoch_has_every_token_as_a_target_once():
    part = lengths(60, 19)  # 81 tokens: ten blocks of 8, and one token left over
    rows = training(part, batch_size=1, rows=slice(0, 1))
    assert rows.blocks == 10
    epochs = []
    for epoch in range(20):
        batches = [rows.batch(n) for n in range(10 * epoch, 10 * epoch + 10)]
        targets = np.concatenate([batch['targets'][0] for batch in batches])
        values, counts = np.unique(targets[targets != END], return_counts=True)
        assert np.all(counts == 1) and len(targets) == 80 and len(values) >= 78
        epochs.append([tuple(batch['tokens'][0]) for batch in batches])
    assert len({tuple(epoch) for epoch in epochs}) == 20, 'each epoch has another order'
    assert len({epoch[0][0] % 8 for epoch in epochs}) > 2, 'each epoch cuts at other places'


def test_targets_segments_and_positions_of_a_row():
    part = lengths(3, 1, 6, 2, 40)
    ring = part.tokens.tolist()
    for n in range(30):
        batch = training(part).batch(n)
        for row in range(4):
            tokens = batch['tokens'][row].tolist()
            begin = next(i for i in range(len(ring)) if all(ring[(i + j) % len(ring)] == tokens[j] for j in range(8)))
            assert batch['targets'][row].tolist() == [ring[(begin + j + 1) % len(ring)] for j in range(8)]
            segment, position, expected = 1, -1, []
            for column, token in enumerate(tokens):
                if token == END and column > 0:
                    segment, position = segment + 1, -1
                position += 1
                expected.append((segment, position))
            assert list(zip(batch['segments'][row], batch['positions'][row])) == expected
    assert batch['mask'].tolist() == [[1.0] * 8] * 4


def test_types_of_a_batch():
    for batch in (training(lengths(50)).batch(0), held_out(lengths(50)).batch(0)):
        for name, array in batch.items():
            assert array.shape == (4, 8)
            assert array.dtype == (np.float32 if name in ('mask', 'bytes') else np.int32), name
            assert type(array) is np.ndarray


def test_a_corpus_shorter_than_a_row_goes_round():
    batch = training(part_of([1, 2])).batch(3)
    assert np.all(np.diff(np.flatnonzero(batch['tokens'][0] == END)) == 3)


# --- evaluation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('stride', [1, 3, 7, 8])
def test_every_held_out_token_counts_once(stride):
    sizes = (1, 6, 7, 8, 9, 15, 16, 17, 40)  # with end_of_text: shorter than a window, as long, one more, …
    part = lengths(*sizes)
    windows = held_out(part, stride=stride)
    counted, size = [], 0.0
    for n in range(windows.batches):
        batch = windows.batch(n)
        counted += batch['targets'][batch['mask'] == 1].tolist()
        size += batch['bytes'].sum()
    closing = [END] * len(sizes)
    assert sorted(counted) == sorted([t for t in part.tokens.tolist() if t != END] + closing)
    assert size == sum(t % 7 for t in counted)


@pytest.mark.parametrize('stride', [3, 8])
def test_windows_against_a_loop(stride):
    part = lengths(2, 30, 11)
    expected = []
    for begin, end in zip(part.offsets, part.offsets[1:]):
        document = part.tokens[begin:end].tolist()
        targets = [*document[1:], END]
        first, counted = 0, 0
        while counted < len(document):
            tokens = document[first : first + 8]
            mask = [float(first + i >= counted) for i in range(len(tokens))]
            counted = first + len(tokens)
            pad = 8 - len(tokens)
            expected.append(
                (
                    tuple(tokens + [END] * pad),
                    tuple(targets[first : first + 8] + [END] * pad),
                    tuple([*range(len(tokens))] + [0] * pad),
                    tuple([1] * len(tokens) + [0] * pad),
                    tuple(mask + [0.0] * pad),
                )
            )
            first += stride
    windows = held_out(part, stride=stride)
    found, empty = [], 0
    for n in range(windows.batches):
        batch = windows.batch(n)
        for row in range(4):
            if batch['segments'][row].any():
                found.append(
                    tuple(tuple(batch[k][row].tolist()) for k in ('tokens', 'targets', 'positions', 'segments', 'mask'))
                )
            else:
                empty += 1
                assert not batch['mask'][row].any() and not batch['bytes'][row].any()
    assert sorted(found) == sorted(expected)
    assert empty == windows.batches * 4 - len(expected) < 4


def test_windows_are_shuffled_and_shared_out_like_rows():
    part = lengths(500)
    whole = held_out(part)
    first = np.concatenate([whole.batch(n)['tokens'][:, 0] for n in range(5)])
    assert np.mean(np.diff(first) == 8) < 0.3
    for rows in (slice(0, 1), slice(1, 4)):
        for name, found in held_out(part, rows=rows).batch(2).items():
            np.testing.assert_array_equal(found, whole.batch(2)[name][rows])

"""A record that cannot be read keeps its slot, is named and counted, and too many end the run."""

import errno
import threading

import numpy as np
import pytest

from jaxlab.data.records import FEW, LEAST, BadRecord, Losses, Omitted, Tolerance, tolerance
from jaxlab.errors import UserError
from jaxlab.trust import faults

EMPTY = {'image': np.zeros((2, 3), np.uint8), 'label': np.int32(0)}


def example(record):
    return {'image': np.full((2, 3), record % 251, np.uint8), 'label': np.int32(record)}


def reader(bad=(), gone=()):
    """Reads records, but for some that are corrupt and some whose file is gone."""

    def read(record):
        if record in bad:
            raise BadRecord('{record} is corrupt.\nMend it.', record=f'"images/{record}.png"')
        if record in gone:
            raise FileNotFoundError(errno.ENOENT, 'No such file or directory', f'images/{record}.png')
        return example(record)

    return read


def skipping(rate=1.0):
    return Losses(Tolerance(True, rate))


def test_a_bad_record_leaves_its_slot_empty_and_every_other_row_in_its_place():
    losses = skipping()
    for n, records in enumerate(([7, 4, 9, 5], [4, 4, 1, 2], [1, 2, 3, 6])):
        rows, good = losses.rows(n, records, reader(bad={4}, gone={9}), EMPTY)
        assert good.dtype == bool and good.tolist() == [record not in (4, 9) for record in records]
        assert rows['image'].shape == (4, 2, 3) and rows['image'].dtype == np.uint8 and rows['label'].dtype == np.int32
        for slot, record in enumerate(records):
            wanted = example(record) if good[slot] else EMPTY
            np.testing.assert_array_equal(rows['image'][slot], wanted['image'])
            assert rows['label'][slot] == wanted['label']
    assert [losses.before(n) for n in (0, 1, 2, 3)] == [0, 2, 4, 4]


def test_a_batch_of_bad_records_alone_has_its_shape():
    rows, good = skipping().rows(0, [1, 1], reader(bad={1}), EMPTY)
    assert rows['image'].shape == (2, 2, 3) and not rows['image'].any() and not good.any()


@pytest.mark.parametrize('kind', ['bad', 'gone'])
def test_the_first_one_ends_the_run_where_none_may_be_left_out(kind):
    with pytest.raises(UserError, match=r'"images/4\.png"'):
        Losses(Tolerance(False, 1.0)).rows(0, [3, 4], reader(**{kind: {4}}), EMPTY)


def test_a_mistake_in_the_code_is_no_bad_record():
    with pytest.raises(ZeroDivisionError):
        skipping().rows(0, [0], lambda record: {'label': 1 // record}, EMPTY)


def test_records_are_named_once_and_only_a_few(capsys):
    losses = skipping()
    for n in range(3):
        losses.rows(n, [4, 1, 4], reader(bad={4}), EMPTY)
    assert capsys.readouterr().out == 'warning: "images/4.png" is corrupt. Its row counts for nothing.\n'
    losses.rows(3, range(100, 130), reader(bad=range(100, 130)), EMPTY)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == FEW and 'data/skipped' in lines[-1] and all('Its row' in line for line in lines[:-1])
    losses.rows(4, range(200, 230), reader(bad=range(200, 230)), EMPTY)
    assert capsys.readouterr().out == ''
    assert losses.before(5) == 6 + 30 + 30


def test_what_is_read_ahead_is_not_told_before_its_time_and_a_batch_read_twice_counts_once():
    losses = skipping()
    for n in (0, 0, 1, 2, 3):  # 0 is read once more, for its shapes
        losses.rows(n, [4, 1], reader(bad={4}), EMPTY)
    assert losses.before(1) == 1
    losses.rows(4, [4, 4], reader(bad={4}), EMPTY)
    assert losses.before(3) == 3
    assert losses.before(5) == 6


def test_more_than_the_rate_ends_the_run():
    losses = skipping(rate=0.01)
    allowed = LEAST // 100  # of the first thousand
    for n in range(allowed):
        losses.rows(n, [4], reader(bad={4}), EMPTY)
    with pytest.raises(UserError, match=rf'{allowed + 1} of {allowed + 1} records .*bad_rate=0\.01.*\n.*batch 99: "im'):
        losses.rows(99, [4], reader(bad={4}), EMPTY)

    losses = skipping(rate=0.01)
    for n in range(50):  # one in a hundred is what is allowed
        losses.rows(n, [4, *range(100, 199)], reader(bad={4}), EMPTY)
    assert losses.before(50) == 50
    with pytest.raises(UserError, match='more than'):
        losses.rows(50, [4, 4], reader(bad={4}), EMPTY)
    with pytest.raises(UserError, match='more than'):
        skipping(rate=0.0).rows(0, [4], reader(bad={4}), EMPTY)


def test_threads_that_read_at_once_lose_no_count():
    losses = skipping()
    start = threading.Barrier(8)

    def work(first):
        start.wait()
        for n in range(first, 400, 8):
            losses.rows(n, [4, 1, 4], reader(bad={4}), EMPTY)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert losses.before(400) == 800


def test_a_fault_at_a_batch(capsys):
    losses = skipping()
    with faults.fail_at('record', 5, 'eio'):
        assert losses.rows(4, [1, 2], reader(), EMPTY)[1].all()
        rows, good = losses.rows(5, [1, 2], reader(), EMPTY)
        assert not good.any() and not rows['image'].any()
        with pytest.raises(UserError, match='Input/output error'):
            Losses().rows(5, [1, 2], reader(), EMPTY)
    assert losses.before(6) == 2


@pytest.mark.parametrize(('bad', 'rate'), [('ignore', 0.01), ('skip', -0.1), ('skip', 1.1), ('raise', float('nan'))])
def test_arguments_out_of_range(bad, rate):
    with pytest.raises(UserError, match='bad'):
        tolerance(bad, rate)


def test_what_is_left_out_is_measured_in_records_and_in_bytes():
    lines = Omitted(records=1, bytes=10, all_records=1000, all_bytes=10_000, first=('"a", line 3',))
    file = Omitted(records=1, bytes=5000, all_records=1000, all_bytes=10_000, first=('"a", line 3',))
    assert (lines.share, file.share, Omitted().share) == (0.001, 0.5, 0.0)
    lines.check(Tolerance(True, 0.01), 'these')
    for omitted, rate in ((file, 0.01), (lines, 0.0)):
        with pytest.raises(UserError, match=rf'more of these cannot be read than .*={rate} allows: 1 rec.*\n.*line 3'):
            omitted.check(Tolerance(True, rate), 'these')

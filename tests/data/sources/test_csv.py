"""Tables: what becomes of numbers, categories, targets and what is missing; pictures a line each; and mistakes."""

import gzip

import numpy as np
import pytest

from jaxlab.data import columns
from jaxlab.data.records import BadRecord
from jaxlab.data.sources import csv
from jaxlab.data.sources.csv import make
from jaxlab.errors import UserError

TABLE = """age, colour, size, kind
31, red, 2.5, cat
 , blue, 1e2, dog
20, red, ?, cat
40, , -3, dog
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name='table.csv'):
        path = tmp_path / name
        packed = gzip.compress(text.encode()) if name.endswith('.gz') else text.encode()
        path.write_bytes(packed)
        return str(path)

    return write


def rows(part):
    return np.stack([part[i]['inputs'] for i in range(len(part))]), [part[i]['targets'] for i in range(len(part))]


@pytest.mark.parametrize('name', ['table.csv', 'table.csv.gz'])
def test_numbers_and_categories(write, capsys, name):
    source = make(path=write(TABLE, name))
    assert source.labels == ('cat', 'dog')
    inputs, targets = rows(source.parts['train'])
    wanted = [[31, 1, 0, 2.5], [31, 0, 1, 100], [20, 1, 0, 2.5], [40, 0, 0, -3]]
    assert inputs.dtype == np.float32 and targets == [0, 1, 0, 1]
    np.testing.assert_array_equal(inputs, np.float32(wanted))
    assert '3 cells are missing' in capsys.readouterr().out


def test_other_parts_are_read_as_the_training_part(write):
    """Medians and categories come from there; columns may stand in another order, and there may be more of them."""
    other = 'kind,more,size,colour,age\ndog,1,,green,\ncat,2,7,blue,5\n'
    source = make(path=write(TABLE), test_path=write(other, 'test.csv'), validation_path=write(TABLE, 'v.csv'))
    inputs, targets = rows(source.parts['test'])
    np.testing.assert_array_equal(inputs, np.float32([[31, 0, 0, 2.5], [5, 0, 1, 7]]))
    assert targets == [1, 0]
    np.testing.assert_array_equal(rows(source.parts['validation'])[0], rows(source.parts['train'])[0])


def test_a_median_of_the_wrong_part_is_noticed(write, monkeypatch):
    """The mutant: each part by its own medians."""
    original = csv.encoded

    def mistake(table, encodings):
        return original(table, {name: columns.encoding_of(name, table.columns[name]) for name in encodings})

    monkeypatch.setattr(csv, 'encoded', mistake)
    with pytest.raises((AssertionError, UserError)):
        test_other_parts_are_read_as_the_training_part(write)


def test_a_file_without_names(write):
    source = make(path=write('1,2,3.5\n4,5,6\n'), target='0', kind='number')
    inputs, targets = rows(source.parts['train'])
    np.testing.assert_array_equal(inputs, np.float32([[2, 3.5], [5, 6]]))
    assert targets == [1.0, 4.0] and source.labels == ()
    assert len(make(path=write('a,b\nc,d\ne,a\n'), header='no').parts['train']) == 3
    assert len(make(path=write('1,2\n3,4\n5,6\n'), header='yes', kind='number').parts['train']) == 2


@pytest.mark.parametrize(
    ('targets', 'kind', 'labels', 'wanted'),
    [
        ('10 9 10 2', 'auto', ('2', '9', '10'), [2, 1, 2, 0]),
        ('1.0 2 01 2.0', 'auto', ('1', '2'), [0, 1, 0, 1]),
        ('1 2 3 4', 'number', (), [1.0, 2.0, 3.0, 4.0]),
        ('1.5 2 1.5 2', 'auto', (), [1.5, 2.0, 1.5, 2.0]),
        ('1.5 2 1.5 2', 'class', ('1.5', '2'), [0, 1, 0, 1]),
        ('no yes no no', 'auto', ('no', 'yes'), [0, 1, 0, 0]),
        ('1 yes 1 yes', 'auto', ('1', 'yes'), [0, 1, 0, 1]),
    ],
)
def test_targets(write, targets, kind, labels, wanted):
    text = 'x,y\n' + ''.join(f'{n},{word}\n' for n, word in enumerate(targets.split()))
    source = make(path=write(text), kind=kind)
    found = rows(source.parts['train'])[1]
    assert source.labels == labels and found == wanted
    assert source.parts['train'].targets.dtype == (np.int32 if labels else np.float32)


def test_many_whole_numbers_are_a_quantity(write):
    for count, classes in ((20, 20), (21, 0)):
        assert len(make(path=write('x,y\n' + ''.join(f'1,{n}\n' for n in range(count)))).labels) == classes


def test_columns_that_are_told(write):
    path = write('id,code,x,y\na,1,5,0\nb,2,6,1\nc,1,7,0\n')
    inputs, _ = rows(make(path=path, ignore=('id',), categorical=('code',)).parts['train'])
    np.testing.assert_array_equal(inputs, np.float32([[1, 0, 5], [0, 1, 6], [1, 0, 7]]))
    inputs, targets = rows(make(path=path, target='x', ignore=('id', 'y'), kind='number').parts['train'])
    np.testing.assert_array_equal(inputs, np.float32([[1], [2], [1]]))
    assert targets == [5.0, 6.0, 7.0]


@pytest.mark.parametrize(('separator', 'text'), [(';', '1;2\n3;4\n'), ('tab', '1\t2\n3\t4\n'), ('\\t', '1\t2\n3\t4\n')])
def test_separators(write, separator, text):
    assert rows(make(path=write(text), separator=separator, kind='number').parts['train'])[1] == [2.0, 4.0]


def test_quotes_empty_lines_and_byte_order_marks(write):
    source = make(path=write('\ufeffname,y\r\n"red, or ""pink""",0\r\n\r\n,1\r\nblue,0\r\n'))
    np.testing.assert_array_equal(rows(source.parts['train'])[0], np.float32([[1, 0], [0, 0], [0, 1]]))


# --- rows that cannot be used ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('line', 'why'),
    [
        ('1,b', '2 cells instead of 3'),
        ('1,2,3,b', '4 cells instead of 3'),
        ('lots,2,b', r'"lots" in the column "x" is no number .*categorical=\("x",\)'),
        ('8,inf,b', '"inf" in the column "y" is no number'),
        ('8,1_0,b', '"1_0" in the column "y" is no number'),
        ('4,5,', 'the target "z" is missing'),
    ],
)
def test_a_bad_line_is_named_or_left_out(write, capsys, line, why):
    path = write(f'x,y,z\n1,2,a\n{line}\n6,7,b\n')
    with pytest.raises(BadRecord, match=rf'table.csv", line 3: {why}') as caught:
        make(path=path)
    assert 'source.bad=skip' in str(caught.value) and 'table.csv' in caught.value.record
    with pytest.raises(BadRecord, match='line 3'):
        make(path=path, bad='skip', bad_rate=0.3)
    inputs, targets = rows(make(path=path, bad='skip', bad_rate=0.4).parts['train'])
    assert inputs.tolist() == [[1, 2], [6, 7]] and targets == [0, 1]
    out = capsys.readouterr().out
    assert '1 of 3 lines of' in out and 'line 3' in out and 'missing' not in out.replace('is missing', '')


def test_targets_that_training_does_not_know(write):
    path, test = write('x,z\n1,a\n1,b\n'), write('x,z\n1,c\n1,b\n', 'test.csv')
    with pytest.raises(BadRecord, match='line 2: the training part has no class "c"'):
        make(path=path, test_path=test)
    assert rows(make(path=path, test_path=test, bad='skip', bad_rate=0.5).parts['test'])[1] == [1]
    with pytest.raises(BadRecord, match='line 2: the target "high" is no number'):
        make(path=write('x,y\n1,high\n2,3\n'), kind='number')
    with pytest.raises(UserError, match='bad="drop"'):
        make(path=path, bad='drop')


# --- pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('head', [True, False])
def test_pictures(write, head):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 2, 3, 3))
    names = 'label,' + ','.join(f'pixel{n}' for n in range(18)) + '\n'
    lines = ''.join(f'{n % 3},' + ','.join(map(str, picture.ravel())) + '\n' for n, picture in enumerate(pixels))
    source = make(path=write(names * head + lines), shape=(2, 3, 3))
    inputs, targets = rows(source.parts['train'])
    assert inputs.dtype == np.uint8 and targets == [0, 1, 2, 0, 1] and source.labels == ('0', '1', '2')
    np.testing.assert_array_equal(inputs, pixels)
    assert make(path=write(names * head + lines), shape=(3, 6)).parts['train'][0]['inputs'].shape == (3, 6, 1)


def test_pixels(write):
    part = make(path=write('0,1.0,2\n1, 0,255\n'), shape=(1, 2)).parts['train']
    assert part[0]['inputs'].ravel().tolist() == [1, 2] and part[1]['inputs'].ravel().tolist() == [0, 255]
    text = 'a,label,b\n1,0,2\n3,1,4\n'
    assert make(path=write(text), target='label', shape=(1, 2)).parts['train'][1]['inputs'].ravel().tolist() == [3, 4]


@pytest.mark.parametrize('line', ['1,3,256', '1,-1,0', '1,1.5,0', '1,x,0', '1,,0', '1,nan,0'])
def test_what_is_no_pixel(write, line):
    path = write(f'0,1,2\n{line}\n1,0,255\n')
    with pytest.raises(BadRecord, match='line 2: pixels are whole numbers from 0 to 255'):
        make(path=path, shape=(1, 2))
    kept = make(path=path, shape=(1, 2), bad='skip', bad_rate=0.5).parts['train']
    assert kept.inputs.reshape(2, 2).tolist() == [[1, 2], [0, 255]]
    with pytest.raises(BadRecord, match='2 cells instead of 3'):
        make(path=write('0,1,2\n1,0,0\n1,2\n'), shape=(1, 2))


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('text', 'arguments', 'said'),
    [
        ('', {}, 'is empty'),
        ('x,y\n', {}, 'no line of data'),
        ('x;y\n1;2\n', {}, 'one column only.*separator'),
        ('x,x\n1,2\n', {}, 'two columns of the name "x"'),
        ('x,y\n1,2\n', {'target': 'z'}, 'target: .* has no column "z"; there are x, y'),
        ('x,y\n1,2\n', {'categorical': ('colour',)}, 'categorical: .* has no column "colour"'),
        ('x,y\n1,2\n', {'ignore': ('y',)}, 'ignore: "y" is the target'),
        ('x,y\n1,2\n2,2\n', {'kind': 'class'}, 'one class only'),
        ('x,y\n,1\n,2\n', {}, 'the column "x" is empty'),
        ('x,y\n' + ''.join(f'n{n},{n % 2}\n' for n in range(1001)), {}, r'1,001 different words.*ignore=\("x",\)'),
        ('x,y\n1\n2\n', {}, 'line 2: 1 cells instead of 2'),
        ('0,1,2\n', {'shape': (2, 2)}, '4 pixels, and a row .* has 2'),
        ('x,y\n1,2\n', {'shape': (2,)}, 'shape='),
        ('x,y\n1,2\n', {'kind': 'klass'}, 'kind="klass"'),
        ('x,y\n1,2\n', {'header': 'true'}, 'header="true"'),
        ('x,y\n1,2\n', {'separator': ', '}, 'separator'),
    ],
)
def test_mistakes(write, text, arguments, said):
    with pytest.raises(UserError, match=said):
        make(path=write(text), **arguments)


def test_files_that_are_no_text(tmp_path, write):
    (tmp_path / 'old.csv').write_bytes('x,y\n1,狗\n'.encode('gb18030'))
    with pytest.raises(UserError, match=r'old\.csv" is not UTF-8 text.*iconv'):
        make(path=str(tmp_path / 'old.csv'))
    whole = gzip.compress(TABLE.encode() * 50)
    (tmp_path / 'cut.csv.gz').write_bytes(whole[:-20])
    with pytest.raises(UserError, match='damaged'):
        make(path=str(tmp_path / 'cut.csv.gz'))
    for arguments, said in (
        ({}, 'path is not set'),
        ({'path': str(tmp_path / 'no.csv')}, 'path: there is no file'),
        ({'path': str(tmp_path)}, 'path: there is no file'),
        ({'path': write(TABLE), 'test_path': 'no.csv'}, 'test_path: there is no file'),
    ):
        with pytest.raises(UserError, match=said):
            make(**arguments)


def test_a_part_lacks_a_column(write):
    with pytest.raises(UserError, match=r'test\.csv" has no column "colour"'):
        make(path=write(TABLE), test_path=write('age,size,kind\n1,2,cat\n', 'test.csv'))
    with pytest.raises(UserError, match='has 3 columns, and the training part has 2'):
        make(path=write('1,2\n3,4\n'), test_path=write('1,2,3\n', 'test.csv'))


def test_the_fingerprint(write):
    first = make(path=write(TABLE)).fingerprint
    assert make(path=write(TABLE, 'copy.csv')).fingerprint == first
    found = {
        make(path=write(TABLE.replace('31', '32'))).fingerprint,
        make(path=write(TABLE), ignore=('age',)).fingerprint,
        make(path=write(TABLE), test_path=write(TABLE, 'test.csv')).fingerprint,
    }
    assert len(found | {first}) == 4

"""Tables of your own: .csv files (or .csv.gz), a line an example; also pictures, a line of numbers each.

age,colour,price              31 is a number, red a category, and the last column is what is predicted
31,red,2.5
label,pixel0,…,pixel783       with shape=(28,28,1): the classic file of MNIST
5,0,…,0
"""

import os
from pathlib import Path

import numpy as np

from jaxlab.data.columns import Table, classes_of, encoded, encoding_of, is_class, names_of, read_table, targets_of
from jaxlab.data.documents import existing
from jaxlab.data.fingerprints import of_files
from jaxlab.data.records import Tolerance, tolerance
from jaxlab.data.sources import Arrays, Source
from jaxlab.errors import UserError, alternatives
from jaxlab.messages import say
from jaxlab.trust.secrets import hidden

# f numbers of a row, h height, w width, c channels

MISSING = ('', '?', 'NA', 'N/A', 'nan', 'NaN', 'null', 'NULL', 'None')


def make(
    *,
    path: str = '',
    validation_path: str = '',
    test_path: str = '',
    target: str = '',
    kind: str = 'auto',
    separator: str = ',',
    header: str = 'auto',
    categorical: tuple = (),
    ignore: tuple = (),
    missing: tuple = MISSING,
    shape: tuple = (),
    bad: str = 'raise',
    bad_rate: float = 0.01,
) -> Source:
    """Returns the rows of  All of them are read when this is called, and lie in memory.

    Columns are called by their names in the first line, or by their numbers from 0 where the files have no names.
    A column of numbers is one number of a row; of a missing one it is the median of the column in the training part.
    A column of categories is as many numbers as the training part has categories, in the order in which these come
    there first: 1 for the row's own, 0 for the others; 0 for all where it is missing or was never seen in training.

    Args:
      path: the file of the training part.
      validation_path: that of the validation part; '': none.
      test_path: that of the test part; '': none.
      target: the column that is to be predicted; '': the last one, or of pictures the first.
      kind: 'class', 'number', or 'auto': a number, unless some targets are no numbers, or all are whole numbers of at
        most 20 different values.
      separator: what stands between columns; '\\t' or 'tab' is a tab.
      header: whether the first line names the columns: 'yes', 'no', or 'auto': where none of its cells is a number.
      categorical: columns of categories; others of which no cell is a number are so too.
      ignore: columns that are left out.
      missing: cells that mean that nothing is known.
      shape: (h, w, c) where rows are pictures of whole numbers from 0 to 255, in this order; (): they are not.
      bad: what becomes of lines that cannot be used: 'raise' (the first is an error) or 'skip' (they are left out).
      bad_rate: the share of a file's lines that may be left out; more is an error.

    Returns:
      a Source of inputs float32 [f], or uint8 [h w c]; targets are classes, or numbers.

    Raises:
      UserError: a file is missing, empty or no text, an argument is out of range, or a column is missing.
      BadRecord: a line has too few or too many cells, a word in place of a number, or no target that is known.
    """
    tolerated = tolerance(bad, bad_rate)
    if not path:
        raise UserError('path is not set: give a .csv file.')
    if kind not in (kinds := ('auto', 'class', 'number')):
        raise UserError('kind="{kind}": {alternatives}', kind=kind, alternatives=alternatives(kind, kinds))
    if header not in (headers := ('auto', 'yes', 'no')):
        raise UserError('header="{header}": {alternatives}', header=header, alternatives=alternatives(header, headers))
    separator = {'tab': '\t', '\\t': '\t'}.get(separator, separator)
    if len(separator) != 1 or separator in '"\r\n':
        raise UserError('separator="{separator}": one character is wanted, or tab.', separator=separator)
    if shape and not (len(shape) in (2, 3) and all(isinstance(size, int) and size > 0 for size in shape)):
        raise UserError('shape={shape}: (height, width, channels) is wanted, such as (28,28,1).', shape=shape)
    shape = (*shape, 1) if len(shape) == 2 else tuple(shape)

    files = {
        part: found(key, file)
        for part, key, file in (
            ('train', 'path', path),
            ('validation', 'validation_path', validation_path),
            ('test', 'test_path', test_path),
        )
        if file
    }
    columns, named = names_of(files['train'], separator, header)
    target = target or columns[0 if shape else -1]
    ignored = set(map(str, ignore))
    words = {*map(str, categorical), target}
    for argument, names in (('target', {target}), ('categorical', words), ('ignore', ignored)):
        for name in sorted(names - set(columns)):
            raise UserError(
                '{argument}: "{path}" has no column "{name}"; {alternatives}',
                argument=argument,
                path=path,
                name=name,
                alternatives=alternatives(name, columns),
            )
    if target in ignored:
        raise UserError('ignore: "{name}" is the target.', name=target)
    inputs = [name for name in columns if name != target and name not in ignored]
    if shape and len(inputs) != np.prod(shape):
        raise UserError(
            'shape={shape}: these are {wanted:,} pixels, and a row of "{path}" has {count:,}.',
            shape=shape,
            wanted=int(np.prod(shape)),
            path=path,
            count=len(inputs),
        )
    pixels, inputs = (inputs, []) if shape else ([], inputs)

    read: dict[str, Table] = {}
    for part, file in files.items():
        there = columns if part == 'train' else names_of(file, separator, 'yes' if named else 'no')[0]
        check_columns(file, there, columns if not named else [target, *inputs, *pixels], named)
        read[part] = read_table(
            file, separator, named, there, [target, *inputs], words, set(map(str, missing)), pixels, shape
        )
        if part == 'train':
            words |= {name for name in inputs if read[part].columns[name].is_of_words()}
    rest = [columns, sorted(words), list(missing), shape]
    return source_of(f'"{hidden(path)}"', files, read, target, inputs, kind, tolerated, rest)


def check_columns(file: Path, there: list[str], wanted: list[str], named: bool) -> None:
    """Raises UserError where a part lacks a column of the training part."""
    for name in wanted if named else ():
        if name not in there:
            raise UserError('"{path}" has no column "{name}", which the training part has.', path=file, name=name)
    if not named and len(there) != len(wanted):
        raise UserError(
            '"{path}" has {count} columns, and the training part has {wanted}.',
            path=file,
            count=len(there),
            wanted=len(wanted),
        )


def source_of(
    name: str,
    files: dict[str, Path],
    read: dict[str, Table],
    target: str,
    inputs: list[str],
    kind: str,
    tolerated: Tolerance,
    rest: list,
) -> Source:
    """Returns what the tables are, by what stands in the training part."""
    train = read['train']
    if len(train.bad) == len(train.lines):
        for error in train.bad.values():
            raise error  # the first
        raise UserError('"{path}" has no line of data.', path=files['train'])
    column = train.columns[target]
    labels: tuple[str, ...] = ()
    if kind == 'class' or (kind == 'auto' and is_class(column)):
        labels = classes_of(column)
        if len(labels) < 2:
            raise UserError(
                'target: the column "{column}" has one class only: "{name}".', column=target, name=labels[0]
            )
    encodings = {each: encoding_of(each, train.columns[each]) for each in inputs}
    parts, unknown = {}, 0
    for part, table in read.items():
        rows, cells = encoded(table, encodings) if inputs else (np.stack(table.pixels), 0)
        unknown += cells
        targets = targets_of(table, target, labels)
        good = without_bad(table, tolerated)
        parts[part] = Arrays(rows[good], targets[good])
    if unknown:
        note = say(
            'note: {name}: {count:,} cells are missing: a number becomes the median of its column, a category none',
            name=name,
            count=unknown,
        )
        print(note, flush=True)
    return Source(name, parts, labels, of_files(name, files, target, inputs, labels, *rest))


def without_bad(table: Table, tolerated: Tolerance) -> np.ndarray:
    """Returns the numbers of the rows that can be used.

    Raises:
      BadRecord: one cannot, and none may be left out, or too many cannot.
    """
    if table.bad:
        first = table.bad[min(table.bad)]
        if not tolerated.skip or len(table.bad) > tolerated.rate * len(table.lines):
            raise first
        line = say(
            'warning: {count:,} of {all:,} lines of "{path}" are left out; the first: {error}',
            count=len(table.bad),
            all=len(table.lines),
            path=table.name,
            error=str(first).partition('\n')[0],
        )
        print(line, flush=True)
    return table.good()


def found(key: str, path: str) -> Path:
    file = existing(path, f'config.data.source.{key}')
    if file is None or file.is_dir():
        raise UserError(
            '{key}: there is no file "{path}" (looked from "{here}").', key=key, path=path, here=os.getcwd()
        )
    return file

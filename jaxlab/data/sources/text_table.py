"""Texts of your own with classes: .tsv, .csv or .jsonl files (or .gz of them), a line an example, of one text or two.

text<tab>label                          columns are called by their names, or by their numbers where there are none
a gripping film<tab>1
{"sentence1": "…", "sentence2": "…", "label": "same"}      with text=sentence1 second=sentence2
"""

import hashlib

import numpy as np

from jaxlab.data import text_tables
from jaxlab.data.fingerprints import of_files
from jaxlab.data.records import tolerance
from jaxlab.data.sources import Source, Texts
from jaxlab.data.sources.csv import found
from jaxlab.errors import UserError, alternatives
from jaxlab.trust.secrets import hidden


def make(
    *,
    path: str = '',
    validation_path: str = '',
    test_path: str = '',
    text: str = '',
    second: str = '',
    label: str = '',
    separator: str = 'auto',
    header: str = 'auto',
    divide: bool = True,
    bad: str = 'raise',
    bad_rate: float = 0.01,
) -> Source:
    """Returns the lines of files. All of them are read when this is called, and lie in memory.

    Cells of .csv files may be quoted; those of .tsv files are taken as they are. A column is called by its name in the
    first line, or key of JSON, or by its number from 0 where the files have no names.

    Args:
      path: the file of the training part.
      validation_path: that of the validation part; '': none.
      test_path: that of the test part; '': none.
      text: the column of the text; '': the only one that is left beside the others.
      second: the column of a second text, where pairs of texts have classes; '': none.
      label: the column of the class; '': the one that is called label, class, target, …, or else the last.
      separator: what stands between columns: 'tab', any one character, or 'json' where each line is an object; 'auto':
        what the name of the file says.
      header: whether the first line names the columns: 'yes', 'no', or 'auto': where a column is asked for by
        a name, or where none is and its cells are names that are usual.
      divide: whether a tenth of `path` is the validation part and another the test part, by the sha256 of the text,
        where neither has a file: the same texts for everybody.
      bad: what becomes of lines that cannot be used: 'raise' (the first is an error) or 'skip' (they are left out).
      bad_rate: the share of a file's lines that may be left out; more is an error.

    Returns:
      a Source of texts and classes; those of the training part are all there are.

    Raises:
      UserError: a file is missing, empty or no text, an argument is out of range, a column is missing, or a part has
        classes that the training part has not.
      BadRecord: a line has too few or too many cells, no class, or no text.
    """
    tolerated = tolerance(bad, bad_rate)
    if not path:
        raise UserError('path is not set: give a .tsv, .csv or .jsonl file.')
    if header not in (headers := ('auto', 'yes', 'no')):
        raise UserError('header="{header}": {alternatives}', header=header, alternatives=alternatives(header, headers))
    if separator not in ('auto', 'tab', '\\t', 'json') and (len(separator) != 1 or separator in '"\r\n'):
        raise UserError('separator="{separator}": one character is wanted, or tab.', separator=separator)
    given = {'train': path, 'validation': validation_path, 'test': test_path}
    keys = {'train': 'path', 'validation': 'validation_path', 'test': 'test_path'}
    files = {part: found(keys[part], file) for part, file in given.items() if file}

    read = {}
    for part, file in files.items():
        between = text_tables.separator_of(file, separator)
        columns, named = text_tables.columns_of(file, between, header, (text, second, label))
        text, second, label = text_tables.chosen(file, columns, text, second, label)
        texts = (text, second) if second else (text,)
        read[part] = text_tables.read(file, between, columns, named, texts, label, bool(second))
        text_tables.check_bad(read[part], file, tolerated)
    labels = text_tables.labels_of(files, read)
    parts = {part: Texts(rows.texts, text_tables.targets_of(rows.names, labels)) for part, rows in read.items()}
    if divide and len(parts) == 1:
        parts = divided(parts['train'], f'"{hidden(path)}"')
    name = f'"{hidden(path)}"'
    return Source(name, parts, labels, of_files(name, files, text, second, label, separator, header, labels, divide))


def divided(whole: Texts, name: str) -> dict[str, Texts]:
    """Returns the parts 'train' (80 %), 'validation' and 'test' (10 % each) of texts, by the sha256 of the first.

    Raises:
      UserError: one of them would be empty.
    """
    tenth = np.array([int(hashlib.sha256(texts[0].encode()).hexdigest(), 16) % 10 for texts in whole.texts])
    found = {}
    for part, which in {'train': tenth < 8, 'validation': tenth == 8, 'test': tenth == 9}.items():
        numbers = np.flatnonzero(which)
        if not len(numbers):
            raise UserError(
                '{name} has {count} examples only, and none for the part "{part}": config.data.source.divide=false'
                ' leaves them whole.',
                name=name,
                count=len(whole),
                part=part,
            )
        found[part] = Texts([whole.texts[number] for number in numbers.tolist()], whole.targets[numbers])
    return found

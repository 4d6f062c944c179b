"""Files of texts with columns, .tsv, .csv or .jsonl (or packed, .gz): one or two texts a line, and the class of each.

A file is read once, a line a row; of one that cannot be used it is noted why.
"""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from jaxlab.data.columns import class_name, classes_of_names, lines_of
from jaxlab.data.records import BadRecord, Tolerance, cannot_be_read
from jaxlab.errors import UserError
from jaxlab.messages import say

SEPARATORS = {'.tsv': '\t', '.txt': '\t', '.csv': ','}
NAME = re.compile(
    r'[#]?[^\W\d][\w .#-]{0,39}'
)  # what a column may be called, where a first line does not say of itself
LABELS = ('label', 'labels', 'class', 'target', 'sentiment', 'category', 'gold_label')  # usual names
TEXTS = ('text', 'sentence', 'review', 'content', 'comment', 'document', 'sentence1', 'premise', 'question')
LOOKED_AT = 100  # lines of a .jsonl file whose keys are its columns

Row = tuple[int, Mapping[str, str] | str]  # the number of a line, and its cells by column or why it has none


@dataclass
class Rows:
    """What a file holds: texts, classes by their names, and in which line each row stands; and lines that are bad."""

    texts: list[tuple[str, ...]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: list[BadRecord] = field(default_factory=list)


# --- lines -----------------------------------------------------------------------------------------------------------


def separator_of(path: Path, separator: str) -> str:
    """Returns what stands between the columns of a file; '' where each line is an object of JSON.

    Raises:
      UserError: the name of the file says nothing, and nothing else does.
    """
    if separator != 'auto':
        return {'tab': '\t', '\\t': '\t', 'json': ''}.get(separator, separator)
    suffix = Path(path.name.removesuffix('.gz')).suffix.lower()
    if suffix in ('.jsonl', '.ndjson', '.json'):
        return ''
    if suffix not in SEPARATORS:
        raise UserError(
            '"{path}" is no .tsv, .csv or .jsonl file by its name: say what stands between its columns,'
            ' --config.data.source.separator=tab (or another character, or json).',
            path=path,
        )
    return SEPARATORS[suffix]


def columns_of(path: Path, separator: str, header: str, wanted: Sequence[str]) -> tuple[list[str], bool]:
    """Returns the columns of a file, and whether its first line names them; else they are numbers from 0.

    Args:
      path: the file.
      separator: as `separator_of` returns it.
      header: 'yes', 'no', or 'auto': where a column is `wanted` by a name that is no number, or where none is wanted
        and the cells of the first line are names that are usual.
      wanted: columns that are asked for; '' is none.

    Raises:
      UserError: the file is empty, or cannot be read, or nobody can say what its first line is.
    """
    if not separator:
        found: dict[str, None] = {}
        for _, line in islice(_lines(path), LOOKED_AT):
            value = _parsed(line)
            found |= dict.fromkeys(value) if isinstance(value, dict) else {}
        if not found:
            raise UserError('"{path}" has no line that is an object of JSON: {{"text": "…", "label": "…"}}.', path=path)
        return list(found), False
    _, first = next(lines_of(path, separator, quoted=separator != '\t'), (0, []))
    if not first:
        raise UserError('"{path}" is empty: it has no line of data.', path=path)
    cells = [cell.strip() for cell in first]
    named = header == 'yes'
    if header == 'auto':
        by_name = any(name and not name.isdecimal() for name in wanted)
        could = not any(wanted) and len(set(cells)) == len(cells) and all(NAME.fullmatch(cell) for cell in cells)
        usual = any(cell.lower() in (*LABELS, *TEXTS) for cell in cells)
        if could and not usual:
            raise UserError(
                'header="auto": the first line of "{path}" could be names or data: {cells}; say which, with yes or no.',
                path=path,
                cells=', '.join(f'"{cell}"' for cell in cells),
            )
        named = by_name or could
    return (cells, True) if named else (list(map(str, range(len(first)))), False)


def rows_of(path: Path, separator: str, columns: Sequence[str], named: bool) -> Iterator[Row]:
    """Yields (number of the line, its cells by column, or why it has none)."""
    if not separator:
        for number, line in _lines(path):
            value = _parsed(line)
            if isinstance(value, dict):
                yield number, {name: _text(cell) for name, cell in value.items() if cell is not None}
            else:
                yield number, say('no object of JSON')
        return
    lines = lines_of(path, separator, quoted=separator != '\t')
    for number, cells in islice(lines, int(named), None):
        if len(cells) == len(columns):
            yield number, dict(zip(columns, cells))
        else:
            yield number, say('{count} cells instead of {wanted}', count=len(cells), wanted=len(columns))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with path.open('rb') as file:
            packed = file.read(2) == b'\x1f\x8b'
            file.seek(0)
            stream = gzip.GzipFile(fileobj=file) if packed else file
            with io.TextIOWrapper(stream, 'utf-8-sig') as text:  # type: ignore[type-var]
                for number, line in enumerate(text, 1):
                    if line.strip():
                        yield number, line
    except UnicodeDecodeError:
        raise UserError(
            '"{path}" is not UTF-8 text, after line {number:,}. Convert it first, for example:'
            ' iconv -f GB18030 -t UTF-8 old.csv > new.csv',
            path=path,
            number=number,
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            '"{path}" is damaged after line {number:,} ({error}).', path=path, number=number, error=error
        ) from None
    except OSError as error:
        raise cannot_be_read(f'"{path}"', error) from None


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _text(cell: object) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)


# --- rows ------------------------------------------------------------------------------------------------------------


def chosen(path: Path, columns: Sequence[str], text: str, second: str, label: str) -> tuple[str, str, str]:
    """Returns the columns of the text, of the second text ('': none) and of the class.

    What is not asked for is the usual: the class is a column that is called so, or else the last; the text is the only
    column that is left then.

    Raises:
      UserError: a column is missing, or it is not clear which is which.
    """
    missing = [name for name in (text, second, label) if name and name not in columns]
    if missing:
        raise UserError(
            '"{path}" has no column {missing}; its columns are: {columns}.',
            path=path,
            missing=', '.join(f'"{name}"' for name in missing),
            columns=', '.join(f'"{name[:40]}"' for name in columns[:20]),
        )
    rest = [name for name in columns if name not in (text, second)]
    label = label or next((name for name in LABELS if name in rest), '') or (rest[-1] if rest else '')
    others = [name for name in columns if name not in (second, label)]
    if (not text and len(others) != 1) or not label:
        raise UserError(
            '"{path}" has the columns {columns}: say which are the text and its class,'
            ' --config.data.source.text=… --config.data.source.label=…',
            path=path,
            columns=', '.join(columns),
        )
    text = text or others[0]
    if len({text, second, label}) < 3:
        raise UserError('"{path}": text, second and label are three columns, and two of them are one.', path=path)
    return text, second, label


def read(
    path: Path, separator: str, columns: Sequence[str], named: bool, texts: Sequence[str], label: str, empty: bool
) -> Rows:
    """Reads a file whole: the columns `texts` and `label` of each line. `empty` says whether a text may be empty."""
    found = Rows()
    for number, cells in rows_of(path, separator, columns, named):
        why = cells if isinstance(cells, str) else ''
        if isinstance(cells, Mapping):
            gone = [name for name in (*texts, label) if name not in cells]
            name = class_name(cells.get(label, '').strip())
            some = tuple(cells.get(each, '').strip() for each in texts)
            if gone:
                why = say('the key "{name}" is missing', name=gone[0])
            elif not name:
                why = say('the target "{column}" is missing', column=label)
            elif not empty and not all(some):
                why = say('a text is empty')
            elif not all(map(_is_text, some)):
                why = say('half a character, which is no text')
        if why:
            found.bad.append(
                BadRecord(
                    '{record}: {why}.\nMend it, or leave such lines out: --config.data.source.bad=skip',
                    record=say('"{path}", line {number:,}', path=path, number=number),
                    why=why,
                )
            )
        else:
            found.texts.append(some)
            found.names.append(name)
            found.lines.append(number)
    return found


def _is_text(text: str) -> bool:
    return text.isascii() or not any('\ud800' <= character <= '\udfff' for character in text)


def check_bad(rows: Rows, path: Path, tolerated: Tolerance) -> None:
    """Says how many lines are left out.

    Raises:
      BadRecord: a line is bad, and none may be left out, or too many are.
      UserError: there is no line.
    """
    count = len(rows.texts) + len(rows.bad)
    if rows.bad:
        if not tolerated.skip or len(rows.bad) > tolerated.rate * count:
            raise rows.bad[0]
        line = say(
            'warning: {count:,} of {all:,} lines of "{path}" are left out; the first: {error}',
            count=len(rows.bad),
            all=count,
            path=path,
            error=str(rows.bad[0]).partition('\n')[0],
        )
        print(line, flush=True)
    if not rows.texts:
        raise UserError('"{path}" has no line of data.', path=path)


def labels_of(files: Mapping[str, Path], read: Mapping[str, Rows]) -> tuple[str, ...]:
    """Returns the names of the classes, which are those of the training part.

    Raises:
      UserError: there is one only, or another part has others.
    """
    labels = classes_of_names(set(read['train'].names))
    if len(labels) < 2:
        raise UserError('"{path}" has one class only: "{name}".', path=files['train'], name=labels[0])
    for part, rows in read.items():
        if new := sorted(set(rows.names) - set(labels)):
            where = rows.lines[rows.names.index(new[0])]
            raise UserError(
                '"{path}" has classes that the training part has not: {names} (the first in line {number:,}).\n'
                'The training part has: {labels}',
                path=files[part],
                names=', '.join(f'"{name}"' for name in new[:5]),
                number=where,
                labels=', '.join(labels[:20]),
            )
    return labels


def targets_of(names: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Returns the numbers of classes, int32 [n]."""
    place = {label: number for number, label in enumerate(labels)}
    return np.fromiter((place[name] for name in names), np.int32, len(names))

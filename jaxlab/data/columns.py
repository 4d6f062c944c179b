"""Lines of text become rows of numbers: columns of numbers, of categories and of pixels, and what a target is.

A file is read once, a line a row; of one that cannot be used it is noted why.
"""

import csv
import gzip
import io
import math
import zlib
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.data.records import BadRecord, cannot_be_read
from jaxlab.errors import UserError
from jaxlab.messages import say

# n rows, k categories of a column, h height, w width, c channels

UNKNOWN, NUMBER = -2, -1  # what a cell is that is no word
MOST_CATEGORIES = 1000  # of a column; more are names of rows rather than categories
PIXELS = {str(value): value for value in range(256)}
MOST_CLASSES = 20  # of a target of whole numbers; of more it is a quantity


@dataclass
class Column:
    """The cells of a column: numbers, words (by their place in `words`), and cells of which nothing is known."""

    numbers: array = field(default_factory=lambda: array('d'))
    codes: array = field(default_factory=lambda: array('l'))
    words: dict[str, int] = field(default_factory=dict)

    def add(self, cell: str, as_word: bool) -> None:
        if not as_word and (number := number_of(cell)) is not None:
            self.numbers.append(number)
            self.codes.append(NUMBER)
        else:
            self.numbers.append(0.0)
            self.codes.append(self.words.setdefault(cell, len(self.words)))

    def add_unknown(self) -> None:
        self.numbers.append(0.0)
        self.codes.append(UNKNOWN)

    def is_of_words(self) -> bool:
        """Whether there are words and no number."""
        return bool(self.words) and NUMBER not in self.codes


@dataclass
class Table:
    """What a file holds.

    Attributes:
      name: of the file, for messages.
      columns: by name, without those that are ignored; those of pixels are none of them.
      pixels: of pictures, each uint8 [h w c].
      lines: in which line of the file each row stands.
      bad: the rows that cannot be used, by their numbers.
    """

    name: str
    columns: dict[str, Column]
    pixels: list[np.ndarray] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: dict[int, BadRecord] = field(default_factory=dict)

    def spoil(self, row: int, why: str) -> None:
        """Marks a row as one that cannot be used; the first reason counts."""
        if row not in self.bad:
            self.bad[row] = BadRecord(
                '{record}: {why}.\nMend it, or leave such lines out: --config.data.source.bad=skip',
                record=say('"{path}", line {number:,}', path=self.name, number=self.lines[row]),
                why=why,
            )

    def good(self) -> np.ndarray:
        """Returns the numbers of the rows that can be used, int64 [n]."""
        found = np.ones(len(self.lines), bool)
        found[list(self.bad)] = False
        return np.flatnonzero(found)


# --- files -----------------------------------------------------------------------------------------------------------


def lines_of(path: Path, separator: str, quoted: bool = True) -> Iterator[tuple[int, list[str]]]:
    """Yields (number of the line, its cells) of a text file, packed by gzip or not, without lines that are empty. Where
    cells are not `quoted`, a quotation mark is a character like any other.

    Raises:
      UserError: it is no UTF-8 text, or cannot be read.
    """
    number = 0
    try:
        with path.open('rb') as file:
            packed = file.read(2) == b'\x1f\x8b'
            file.seek(0)
            stream = gzip.GzipFile(fileobj=file) if packed else file
            with io.TextIOWrapper(stream, 'utf-8-sig', newline='') as text:  # type: ignore[type-var]
                how: Any = {'quoting': csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE}
                reader = csv.reader(text, delimiter=separator, skipinitialspace=quoted, **how)
                for cells in reader:
                    number = reader.line_num
                    if any(cells):
                        yield number, cells
    except UnicodeDecodeError:
        raise UserError(
            '"{path}" is not UTF-8 text, after line {number:,}. Convert it first, for example:'
            ' iconv -f GB18030 -t UTF-8 old.csv > new.csv',
            path=path,
            number=number,
        ) from None
    except (csv.Error, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            '"{path}" is damaged after line {number:,} ({error}).', path=path, number=number, error=error
        ) from None
    except OSError as error:
        raise cannot_be_read(f'"{path}"', error) from None


def names_of(path: Path, separator: str, header: str) -> tuple[list[str], bool]:
    """Returns the names of a file's columns, which are numbers where it has none, and whether it has."""
    _, first = next(lines_of(path, separator), (0, []))
    if not first:
        raise UserError('"{path}" is empty: it has no line of data.', path=path)
    if len(first) == 1:
        raise UserError(
            '"{path}" has one column only; what stands between columns: --config.data.source.separator="{separator}".',
            path=path,
            separator=separator,
        )
    named = header == 'yes' or (header == 'auto' and all(number_of(cell) is None for cell in first))
    names = (
        [cell.strip() or str(number) for number, cell in enumerate(first)]
        if named
        else list(map(str, range(len(first))))
    )
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError('"{path}" has two columns of the name "{name}".', path=path, name=twice[0])
    return names, named


def read_table(
    path: Path,
    separator: str,
    skip_first: bool,
    names: Sequence[str],
    wanted: Sequence[str],
    words: Collection[str],
    missing: Collection[str],
    pixels: Sequence[str] = (),
    shape: tuple[int, ...] = (),
) -> Table:
    """Reads a file whole.

    Args:
      path: the file.
      separator: what stands between its columns.
      skip_first: whether its first line is names.
      names: of its columns.
      wanted: those that are kept, in this order.
      words: those whose cells are words even where they look like numbers.
      missing: cells of which nothing is known.
      pixels: columns that make up a picture of `shape`, in this order.
    """
    table = Table(str(path), {name: Column() for name in wanted})
    places = [(table.columns[name], names.index(name), name in words) for name in wanted]
    of_pixels = [names.index(name) for name in pixels]
    one_run = bool(of_pixels) and of_pixels == list(range(of_pixels[0], of_pixels[0] + len(of_pixels)))
    for number, cells in lines_of(path, separator):
        if skip_first:
            skip_first = False
            continue
        row = len(table.lines)
        table.lines.append(number)
        if whole := len(cells) == len(names):
            for column, place, as_word in places:
                cell = cells[place].strip()
                if cell in missing:
                    column.add_unknown()
                else:
                    column.add(cell, as_word)
        else:
            count = say('{count} cells instead of {wanted}', count=len(cells), wanted=len(names))
            table.spoil(row, count)
            for column, _, _ in places:
                column.add_unknown()
        if pixels:
            some = (
                cells[of_pixels[0] : of_pixels[-1] + 1] if one_run else [cells[p] for p in of_pixels if p < len(cells)]
            )
            picture = picture_of(some) if whole else None
            if picture is None:
                table.spoil(row, say('pixels are whole numbers from 0 to 255'))
                picture = np.zeros(len(of_pixels), np.uint8)
            table.pixels.append(picture.reshape(shape))
    return table


def picture_of(cells: Sequence[str]) -> np.ndarray | None:
    """Returns uint8 [f], or None where a cell is no whole number from 0 to 255."""
    try:
        return np.frombuffer(bytes(map(PIXELS.__getitem__, cells)), np.uint8)  # twice as fast as int() of each
    except KeyError:
        values = [number_of(cell.strip()) for cell in cells]
        if any(value is None or not value.is_integer() or not 0 <= value <= 255 for value in values):
            return None
        return np.array(values, np.uint8)


def number_of(cell: str) -> float | None:
    """Returns the number that a cell holds; None where it is none, or none that 32 bits hold."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) < 3.4e38 and '_' not in cell else None


# --- rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoding:
    """How a column becomes numbers: its categories, or the median that stands where nothing is known."""

    categories: tuple[str, ...] = ()
    median: float = 0.0

    @property
    def width(self) -> int:
        return len(self.categories) or 1


def encoding_of(name: str, column: Column) -> Encoding:
    """Returns how a column of the training part is encoded. Categories come in the order of the rows.

    Raises:
      UserError: it holds nothing, or too many categories.
    """
    codes = np.array(column.codes)
    if NUMBER in codes:
        return Encoding(median=float(np.median(np.array(column.numbers)[codes == NUMBER])))
    if not column.words:
        raise UserError(
            'the column "{column}" is empty in the training part; leave it out:'
            ' --config.data.source.ignore=("{column}",)',
            column=name,
        )
    if len(column.words) > MOST_CATEGORIES:
        raise UserError(
            'the column "{column}" has {count:,} different words, more than {most:,}; leave it out:'
            ' --config.data.source.ignore=("{column}",)',
            column=name,
            count=len(column.words),
            most=MOST_CATEGORIES,
        )
    return Encoding(categories=tuple(column.words))


def encoded(table: Table, encodings: dict[str, Encoding]) -> tuple[np.ndarray, int]:
    """Returns (float32 [n f], how many cells are unknown); rows with a word in place of a number are spoiled."""
    found = np.zeros((len(table.lines), sum(each.width for each in encodings.values())), np.float32)
    unknown = begin = 0
    short = len(table.bad)  # lines with too few or too many cells, which are bad, not unknown
    for name, encoding in encodings.items():
        column = table.columns[name]
        codes = np.array(column.codes)
        unknown += int((codes == UNKNOWN).sum()) - short
        if encoding.categories:
            place = {word: number for number, word in enumerate(encoding.categories)}
            places = np.array([place.get(word, -1) for word in column.words] + [-1])  # [-1]: of what is no word
            of_row = places[np.maximum(codes, -1)]
            rows = np.flatnonzero(of_row >= 0)
            found[rows, begin + of_row[rows]] = 1.0
        else:
            found[:, begin] = np.where(codes == NUMBER, np.array(column.numbers), encoding.median)
            words = list(column.words)
            for row in np.flatnonzero(codes >= 0):
                why = say(
                    '"{cell}" in the column "{column}" is no number (is it one of categories?'
                    ' --config.data.source.categorical=("{column}",))',
                    cell=words[codes[row]],
                    column=name,
                )
                table.spoil(int(row), why)
        begin += encoding.width
    return found, unknown


# --- targets ---------------------------------------------------------------------------------------------------------


def is_class(column: Column) -> bool:
    """Whether a target looks like a class: some are no numbers, or all are whole and of few different values."""
    numbers = [number_of(word) for word in column.words]
    if any(number is None for number in numbers):
        return True
    return len(numbers) <= MOST_CLASSES and all(number is not None and number.is_integer() for number in numbers)


def classes_of(column: Column) -> tuple[str, ...]:
    """Returns the names of the classes: whole numbers by their values, and others by their names."""
    return classes_of_names({class_name(word) for word in column.words})


def classes_of_names(named: Collection[str]) -> tuple[str, ...]:
    """Returns what `classes_of` does, of names as `class_name` returns them."""
    if all(number_of(word) is not None for word in named):
        return tuple(sorted(named, key=lambda word: (number_of(word), word)))
    return tuple(sorted(named))


def class_name(word: str) -> str:
    """Returns the name of a class: '3' of '3.0' and '03'."""
    number = number_of(word)
    return str(int(number)) if number is not None and number.is_integer() and abs(number) < 1e15 else word


def targets_of(table: Table, name: str, labels: tuple[str, ...]) -> np.ndarray:
    """Returns int32 [n], classes, or where there are no labels float32 [n]; rows without are spoiled."""
    column = table.columns[name]
    place = {label: number for number, label in enumerate(labels)}
    words = list(column.words)
    found = np.zeros(len(table.lines), np.int32 if labels else np.float32)
    values = [place.get(class_name(word)) if labels else number_of(word) for word in words]
    for row, code in enumerate(column.codes):
        if code == UNKNOWN:
            table.spoil(row, say('the target "{column}" is missing', column=name))
        elif (value := values[code]) is not None:
            found[row] = value
        elif labels:
            table.spoil(row, say('the training part has no class "{name}"', name=words[code]))
        else:
            table.spoil(row, say('the target "{name}" is no number', name=words[code]))
    return found

"""Sentences whose words have tags: what sources of them give, and the files that CoNLL's tasks made usual."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxlab.data.records import BadRecord, Tolerance, cannot_be_read
from jaxlab.errors import UserError
from jaxlab.messages import say

BEGINS = '-DOCSTART-'  # the word of a line that begins a document


@dataclass(frozen=True)
class Sentence:
    """Words, and a tag for each."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Sentences:
    """What a source of sentences gives.

    Attributes:
      name: for the screen.
      parts: 'train', and where there are such 'validation' and 'test'.
      labels: names of the tags, those of the training part, sorted.
      fingerprint: sha256, in hexadecimal digits, of everything that they are made from.
    """

    name: str
    parts: Mapping[str, Sequence[Sentence]]
    labels: tuple[str, ...]
    fingerprint: str


def read(path: Path, word: int, tag: int, tolerated: Tolerance) -> list[Sentence]:
    """Returns the sentences of a file: a line a word, its columns between spaces or tabs, and an empty line between two
    sentences. Lines that begin a document, and comments of CoNLL-U, are no words.

    Args:
      path: the file.
      word: the column of the word, from 0.
      tag: that of the tag; -1 is the last one.
      tolerated: whether sentences with a bad line may be left out.

    Raises:
      UserError: it cannot be read, or holds no sentence.
      BadRecord: a line has too few columns, and none may be left out, or too many have.
    """
    found: list[Sentence] = []
    bad: list[BadRecord] = []
    words: list[str] = []
    tags: list[str] = []
    spoilt = False

    def close() -> None:
        nonlocal words, tags, spoilt
        if words and not spoilt:
            found.append(Sentence(tuple(words), tuple(tags)))
        words, tags, spoilt = [], [], False

    needed = max(word + 1, tag + 1, 2)
    try:
        with path.open(encoding='utf-8-sig') as lines:
            for number, line in enumerate(lines, 1):
                cells = line.split()
                if not cells:
                    close()
                elif cells[word if word < len(cells) else 0] == BEGINS or line.startswith('# '):
                    continue
                elif len(cells) < needed:
                    spoilt = True
                    bad.append(_bad(path, number, len(cells), needed))
                else:
                    words.append(cells[word])
                    tags.append(cells[tag])
    except OSError as error:
        raise cannot_be_read(f'"{path}"', error) from None
    except UnicodeDecodeError:
        raise UserError('"{path}" is not UTF-8 text.', path=path) from None
    close()
    if bad and (not tolerated.skip or len(bad) > tolerated.rate * (len(found) + len(bad))):
        raise bad[0]
    if bad:
        line = say(
            'warning: {count:,} of {all:,} sentences of "{path}" are left out; the first: {error}',
            count=len(bad),
            all=len(found) + len(bad),
            path=path,
            error=str(bad[0]).partition('\n')[0],
        )
        print(line, flush=True)
    if not found:
        raise UserError('"{path}" has no sentence: a line is a word and its tag.', path=path)
    return found


def _bad(path: Path, number: int, count: int, wanted: int) -> BadRecord:
    return BadRecord(
        '{record}: {count} columns, and {wanted} or more are wanted.\n'
        'Mend it, or leave such sentences out: --config.data.source.bad=skip',
        record=say('"{path}", line {number:,}', path=path, number=number),
        count=count,
        wanted=wanted,
    )


def labels_of(name: str, parts: Mapping[str, Sequence[Sentence]]) -> tuple[str, ...]:
    """Returns the tags of the training part.

    Raises:
      UserError: there is one only, or another part has others.
    """
    tags = {part: {tag for one in some for tag in one.tags} for part, some in parts.items()}
    if len(tags['train']) < 2:
        raise UserError('{name} has one tag only: "{tag}".', name=name, tag=min(tags['train']))
    for part, some in tags.items():
        if new := sorted(some - tags['train']):
            raise UserError(
                '{name}: its part "{part}" has tags that the training part has not: {names}.\n'
                'The training part has: {labels}',
                name=name,
                part=part,
                names=', '.join(f'"{tag}"' for tag in new[:5]),
                labels=', '.join(sorted(tags['train'])[:20]),
            )
    return tuple(sorted(tags['train']))


def divided(sentences: Sequence[Sentence]) -> dict[str, list[Sentence]]:
    """Returns the parts 'train' (80 %), 'validation' and 'test' (10 % each), by the sha256 of the words."""
    found: dict[str, list[Sentence]] = {'train': [], 'validation': [], 'test': []}
    for one in sentences:
        tenth = int(hashlib.sha256(' '.join(one.words).encode()).hexdigest(), 16) % 10
        found['train' if tenth < 8 else 'validation' if tenth == 8 else 'test'].append(one)
    return {name: part for name, part in found.items() if part}

"""Tokens on disk: written once, streaming, then read in spans by whoever wants them.

A store is a folder:
  meta.json                    fingerprint, dtype, counts, what was left out, checksums
  train.tokens                 uint16 or uint32: every document is [end_of_text] + its tokens, one after the other
  train.offsets                int64 [documents + 1]: document d is tokens[offsets[d]:offsets[d + 1]]
  held_out.tokens, .offsets    the same for the held-out part
  *.sums                       checksums of the blocks of each of these; see blocks.py
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jaxlab.data.blocks import BlockFile, BlockWriter
from jaxlab.data.cache import cached
from jaxlab.data.documents import Corpus, Document
from jaxlab.data.processors import TextProcessor
from jaxlab.data.records import BadRecord, Omitted
from jaxlab.errors import UserError
from jaxlab.messages import say

FORMAT = 2  # goes up when these files, the rules of what is held out, or how text is cut into pieces change
GROUP_CHARACTERS = 1 << 22  # so much text is encoded at a time, by all cores
CHECKED = 1 << 30  # bytes: a file of tokens up to this size is read once when it is opened, which takes a second


@dataclass(frozen=True)
class Counts:
    """How large a part is. `tokens` includes an end_of_text for every document; `bytes` is the text alone."""

    documents: int
    tokens: int
    bytes: int


class Numbers(Protocol):
    """Numbers of which a span is read when it is asked for: an array, or a BlockFile."""

    def __len__(self) -> int: ...

    def __getitem__(self, span: slice, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Part:
    """One part of a store: tokens uint16 or uint32 [tokens], offsets int64 [documents + 1]."""

    tokens: Numbers
    offsets: Numbers
    counts: Counts


@dataclass(frozen=True)
class TokenStore:
    """An opened store; see the head of this file.

    Attributes:
      fingerprint: sha256 of all that it was made from.
      train, held_out: its parts.
      omitted: what was left out of it.
    """

    fingerprint: str
    train: Part
    held_out: Part
    omitted: Omitted


def store_of(corpus: Corpus, processor: TextProcessor) -> TokenStore:
    """Returns the tokens of a corpus, from the cache where files (names, sizes, times) and processor are the same.

    Raises:
      UserError: a document cannot be read, a part stays empty, or the processor loses text.
    """
    key = [FORMAT, *corpus.key(), corpus.skips, digest_of_assets(processor)]
    return cached('tokens', key, partial(write_store, corpus, processor), open_store)


def digest_of_assets(processor: TextProcessor) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(processor.assets().items()):
        digest.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(content).digest())
    return digest.hexdigest()


# --- reading ---------------------------------------------------------------------------------------------------------


def open_store(folder: Path) -> TokenStore | None:
    """Opens a store; None where there is none, or a damaged one.

    Whether all of it is what was written is looked at here where it is small. Of a large one, each block is looked at
    when it is read.
    """
    seal = folder / 'meta.json'
    try:
        meta = json.loads(seal.read_text('utf-8'))
        if meta.pop('sha256') != digest_of_json(meta):
            return None
        train, held_out = (open_part(folder, part, meta, seal) for part in ('train', 'held_out'))
        omitted = Omitted(**meta['omitted'] | {'first': tuple(meta['omitted']['first'])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadRecord):
        return None
    return TokenStore(meta['fingerprint'], train, held_out, omitted)


def open_part(folder: Path, part: str, meta: dict[str, Any], seal: Path) -> Part:
    counts, sums = Counts(**meta[part]), meta['sums']
    tokens = BlockFile(folder / f'{part}.tokens', meta['dtype'], counts.tokens, sums[f'{part}.tokens'], seal)
    offsets = BlockFile(folder / f'{part}.offsets', np.int64, counts.documents + 1, sums[f'{part}.offsets'], seal)
    for file in (tokens, offsets):
        if file.size_in_bytes <= CHECKED:
            file.check()
    return Part(tokens, offsets, counts)


def digest_of_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


# --- writing ---------------------------------------------------------------------------------------------------------


def write_store(corpus: Corpus, processor: TextProcessor, folder: Path) -> None:
    """Encodes a corpus into `folder`. It takes the same memory however many documents there are, and however long.

    Documents without text are left out. The fingerprint covers the processor's assets and every document's name, part
    and text.
    """
    omitted = corpus.omitted()  # before anything is encoded: there may be too much of it
    megabytes = sum(size for _, size, _ in corpus.stamps()) / 1e6
    print(say('turning {megabytes:.1f} MB of text into tokens, once', megabytes=megabytes), flush=True)
    fingerprint = hashlib.sha256(digest_of_assets(processor).encode())
    dtype = np.dtype(np.uint16 if processor.vocabulary <= 1 << 16 else np.uint32)
    token_bytes = processor.token_bytes

    with PartWriter(folder, 'train', dtype) as train, PartWriter(folder, 'held_out', dtype) as held_out:
        for group in grouped(pieces_of(corpus.documents(), fingerprint)):
            encoded = processor.encode_pieces([piece.text for piece in group], [piece.begins for piece in group])
            for piece, ids in zip(group, encoded, strict=True):
                size = len(piece.text.encode())
                if token_bytes[ids].sum() != size + processor.lead * piece.begins:
                    raise UserError(
                        'config.data.processor: this vocabulary loses text of "{document}", so bits per byte would'
                        ' mean nothing.\nUse one that keeps every byte, such as --config.data.processor.name=bpe',
                        document=piece.document.name,
                    )
                writer = held_out if piece.document.held_out else train
                if piece.begins:
                    writer.begin_document(processor.end_of_text)
                writer.append(ids, size)
    if not train.documents:
        raise UserError(
            'config.data.path: {corpus} leaves no text to train on. Held out: {rule}.',
            corpus=corpus.name,
            rule=corpus.rule,
        )
    if not held_out.documents:
        raise UserError(
            'config.data.path: {corpus} leaves no text to evaluate on. Held out: {rule}.',
            corpus=corpus.name,
            rule=corpus.rule,
        )
    meta = {'fingerprint': fingerprint.hexdigest(), 'dtype': dtype.name, 'omitted': asdict(omitted)}
    meta |= {'train': asdict(train.counts()), 'held_out': asdict(held_out.counts()), 'sums': train.sums | held_out.sums}
    (folder / 'meta.json').write_text(json.dumps(meta | {'sha256': digest_of_json(meta)}, indent=2), 'utf-8')


@dataclass(frozen=True)
class Piece:
    """A piece of a document's text; `begins` for the document's first."""

    document: Document
    begins: bool
    text: str


def pieces_of(documents: Iterable[Document], fingerprint: Any) -> Iterator[Piece]:
    """Yields the pieces of all documents that have text, and takes each document into the fingerprint."""
    for document in documents:
        content, begins = hashlib.sha256(), True
        for text in filter(None, document.pieces()):
            yield Piece(document, begins, text)
            content.update(text.encode())
            begins = False
        if not begins:
            name = hashlib.sha256(document.name.encode())
            fingerprint.update(name.digest() + bytes([document.held_out]) + content.digest())


def grouped(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Gathers pieces into lists of about GROUP_CHARACTERS."""
    group: list[Piece] = []
    size = 0
    for piece in pieces:
        group.append(piece)
        size += len(piece.text)
        if size >= GROUP_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


class PartWriter:
    """Writes one part of a store, document after document, piece after piece."""

    def __init__(self, folder: Path, part: str, dtype: np.dtype):
        self.documents = self.tokens = self.bytes = 0
        self.dtype = dtype
        self.files = {f'{part}.{kind}': BlockWriter(folder / f'{part}.{kind}') for kind in ('tokens', 'offsets')}
        self.token_file, self.offset_file = self.files.values()
        self.sums: dict[str, str] = {}  # of each file, once it is closed

    def __enter__(self) -> 'PartWriter':
        return self

    def __exit__(self, *_: object) -> None:
        self.offset_file.write(np.int64(self.tokens).tobytes())  # where the last document ends
        self.sums = {name: file.close() for name, file in self.files.items()}

    def begin_document(self, end_of_text: int) -> None:
        self.offset_file.write(np.int64(self.tokens).tobytes())
        self.documents += 1
        self.append(np.array([end_of_text]), 0)

    def append(self, ids: np.ndarray, size: int) -> None:
        """Appends tokens that stand for `size` bytes to the document begun last."""
        self.token_file.write(ids.astype(self.dtype).tobytes())
        self.tokens += len(ids)
        self.bytes += size

    def counts(self) -> Counts:
        return Counts(self.documents, self.tokens, self.bytes)

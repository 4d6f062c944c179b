"""Sentences as tokens on disk, in their documents: written once, then read in spans by whoever wants them.

A store is a folder:
  meta.json             fingerprint, dtype, counts, what was left out, checksums
  train.tokens          uint16 or uint32: the tokens of all sentences, one after the other, without special ones
  train.sentences       int64 [sentences + 1]: sentence s is tokens[sentences[s]:sentences[s + 1]]
  train.documents       int64 [documents + 1]: document d is the sentences documents[d]..documents[d + 1] - 1
  held_out.…            the same for the held-out part
  *.sums                checksums of the blocks of each of these; see blocks.py
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxlab.data.blocks import BlockFile, BlockWriter
from jaxlab.data.cache import cached
from jaxlab.data.documents import Corpus, Document
from jaxlab.data.records import BadRecord, Omitted
from jaxlab.data.token_store import CHECKED, Numbers, digest_of_assets, digest_of_json
from jaxlab.errors import UserError
from jaxlab.messages import say

FORMAT = 1  # goes up when these files, or the rules by which sentences are found, change
GROUP = 1 << 14  # so many sentences are encoded at a time, by all cores
LONGEST = 128  # tokens of a sentence; what is longer is cut, and counts as several
# The end of a sentence: a blank line, or a full stop and the like with what closes quotations, before a space; the
# marks of Chinese and Japanese have no space after them.
END = re.compile(r'\n[ \t\r]*\n\s*|[.!?…]+["\'”’)\]]*\s+|[。！？；…]+[”’」』）]*\s*')
KINDS = {'sentences': np.int64, 'documents': np.int64}


@dataclass(frozen=True)
class Counts:
    """How large a part is; `bytes` is its text."""

    documents: int
    sentences: int
    tokens: int
    bytes: int


@dataclass(frozen=True)
class Part:
    """One part of a store: tokens uint16 or uint32 [tokens], which are read when they are asked for; sentences int64
    [sentences + 1] and documents int64 [documents + 1], which are in memory."""

    tokens: Numbers
    sentences: np.ndarray
    documents: np.ndarray
    counts: Counts


@dataclass(frozen=True)
class SentenceStore:
    """An opened store; see the head of this file."""

    fingerprint: str
    train: Part
    held_out: Part
    omitted: Omitted


def store_of(corpus: Corpus, processor: Any) -> SentenceStore:
    """Returns the sentences of a corpus, from the cache where files (names, sizes, times) and processor are the same.

    Raises:
      UserError: a document cannot be read, or a part stays empty.
    """
    key = [FORMAT, corpus.name, *corpus.key(), corpus.skips, digest_of_assets(processor)]
    return cached('sentences', key, partial(write_store, corpus, processor), open_store)


def sentences_of(document: Document) -> Iterator[str]:
    """Yields the sentences of a document, without the spaces around them. Joined, they are all of its words."""
    rest = ''
    for piece in document.pieces():
        rest += piece
        begin = 0
        for end in END.finditer(rest):
            if end.end() == len(rest):
                break  # more of what ends it may come
            if sentence := rest[begin : end.end()].strip():
                yield sentence
            begin = end.end()
        rest = rest[begin:]
    if sentence := rest.strip():
        yield sentence


# --- reading ---------------------------------------------------------------------------------------------------------


def open_store(folder: Path) -> SentenceStore | None:
    """Opens a store; None where there is none, or a damaged one."""
    seal = folder / 'meta.json'
    try:
        meta = json.loads(seal.read_text('utf-8'))
        if meta.pop('sha256') != digest_of_json(meta):
            return None
        train, held_out = (_open_part(folder, part, meta, seal) for part in ('train', 'held_out'))
        omitted = Omitted(**meta['omitted'] | {'first': tuple(meta['omitted']['first'])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, BadRecord):
        return None
    return SentenceStore(meta['fingerprint'], train, held_out, omitted)


def _open_part(folder: Path, part: str, meta: dict[str, Any], seal: Path) -> Part:
    counts, sums = Counts(**meta[part]), meta['sums']
    tokens = BlockFile(folder / f'{part}.tokens', meta['dtype'], counts.tokens, sums[f'{part}.tokens'], seal)
    if tokens.size_in_bytes <= CHECKED:
        tokens.check()
    ends = {}
    for kind, dtype in KINDS.items():
        name, size = f'{part}.{kind}', getattr(counts, kind) + 1
        ends[kind] = BlockFile(folder / name, dtype, size, sums[name], seal)[:]
    return Part(tokens, **ends, counts=counts)


# --- writing ---------------------------------------------------------------------------------------------------------


def write_store(corpus: Corpus, processor: Any, folder: Path) -> None:
    """Encodes a corpus into `folder`. It takes the same memory however many documents there are.

    Documents without text are left out. The fingerprint covers the processor's assets and every document's name, part
    and sentences.
    """
    omitted = corpus.omitted()  # before anything is encoded: there may be too much of it
    megabytes = sum(size for _, size, _ in corpus.stamps()) / 1e6
    print(say('turning {megabytes:.1f} MB of text into tokens, once', megabytes=megabytes), flush=True)
    fingerprint = hashlib.sha256(digest_of_assets(processor).encode())
    dtype = np.dtype(np.uint16 if processor.vocabulary <= 1 << 16 else np.uint32)
    parts = {held_out: _Writer(folder, name, dtype) for held_out, name in ((False, 'train'), (True, 'held_out'))}
    for group in _grouped(corpus):
        # Where a token holds the space before its word, a sentence has one that is not the first of its document.
        encoded = processor.encode_batch([text if begins else processor.space + text for _, begins, text in group])
        for (document, begins, text), ids in zip(group, encoded, strict=True):
            if begins:
                fingerprint.update(hashlib.sha256(document.name.encode()).digest() + bytes([document.held_out]))
            fingerprint.update(hashlib.sha256(text.encode()).digest())
            parts[document.held_out].append(begins, ids, len(text.encode()))
    for writer in parts.values():
        writer.close()
    if not parts[False].documents:
        raise UserError(
            'config.data.path: {corpus} leaves no text to train on. Held out: {rule}.',
            corpus=corpus.name,
            rule=corpus.rule,
        )
    if not parts[True].documents:
        raise UserError(
            'config.data.path: {corpus} leaves no text to evaluate on. Held out: {rule}.',
            corpus=corpus.name,
            rule=corpus.rule,
        )
    meta = {'fingerprint': fingerprint.hexdigest(), 'dtype': dtype.name, 'omitted': asdict(omitted)}
    meta |= {writer.part: asdict(writer.counts()) for writer in parts.values()}
    meta |= {'sums': parts[False].sums | parts[True].sums}
    (folder / 'meta.json').write_text(json.dumps(meta | {'sha256': digest_of_json(meta)}, indent=2), 'utf-8')


def _grouped(corpus: Corpus) -> Iterator[list[tuple[Document, bool, str]]]:
    """Gathers (document, whether it begins there, sentence) into lists of GROUP."""
    group: list[tuple[Document, bool, str]] = []
    for document in corpus.documents():
        begins = True
        for sentence in sentences_of(document):
            group.append((document, begins, sentence))
            begins = False
            if len(group) == GROUP:
                yield group
                group = []
    if group:
        yield group


class _Writer:
    """Writes one part of a store, sentence after sentence."""

    def __init__(self, folder: Path, part: str, dtype: np.dtype):
        self.part, self.dtype = part, dtype
        self.documents = self.sentences = self.tokens = self.bytes = 0
        self.files = {kind: BlockWriter(folder / f'{part}.{kind}') for kind in ('tokens', *KINDS)}
        self.begun = False  # whether the document begun last has a sentence
        self.sums: dict[str, str] = {}  # of each file, once it is closed

    def append(self, begins: bool, ids: np.ndarray, size: int) -> None:
        self.begun &= not begins
        for begin in range(0, len(ids), LONGEST):
            if not self.begun:
                self.files['documents'].write(np.int64(self.sentences).tobytes())
                self.documents, self.begun = self.documents + 1, True
            some = ids[begin : begin + LONGEST]
            self.files['sentences'].write(np.int64(self.tokens).tobytes())
            self.files['tokens'].write(some.astype(self.dtype).tobytes())
            self.sentences, self.tokens = self.sentences + 1, self.tokens + len(some)
        self.bytes += size

    def close(self) -> None:
        self.files['sentences'].write(np.int64(self.tokens).tobytes())
        self.files['documents'].write(np.int64(self.sentences).tobytes())
        self.sums = {f'{self.part}.{kind}': file.close() for kind, file in self.files.items()}

    def counts(self) -> Counts:
        return Counts(self.documents, self.sentences, self.tokens, self.bytes)

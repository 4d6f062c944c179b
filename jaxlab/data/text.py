"""Text to model: a corpus, its tokens on disk, and batches of them; `jaxlab/data/sequences.py` says what they hold."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxlab.config import build, module, spec
from jaxlab.data.cache import cached
from jaxlab.data.documents import Corpus, existing, stamp, without_bad
from jaxlab.data.processors import TextProcessor, check_reads
from jaxlab.data.records import Losses, tolerance
from jaxlab.data.sequences import HeldOutWindows, TrainingRows
from jaxlab.data.sources import python_library, text_files
from jaxlab.data.stream import Data, Split
from jaxlab.data.token_store import FORMAT, digest_of_assets, store_of
from jaxlab.errors import UserError
from jaxlab.messages import say

DIGEST = 'digest'  # file beside those of a processor in the cache, by which these are known again

# The processors that have a special token, by the token.
HAVE = {
    'end_of_text': ('bpe', 'bytes', 'published'),  # stands between documents
    'masked': ('wordpiece', 'roberta'),  # hides others
    'separator': ('wordpiece', 'roberta'),  # stands between two texts
}


def make(
    batch_size: int,
    seed: int,
    rows: slice,
    known: TextProcessor | None = None,
    *,
    path: str = '',
    length: int = 256,
    processor: ConfigDict = spec('data.processors.bpe'),
    stride: int = 0,
    bad: str = 'raise',
    bad_rate: float = 0.01,
) -> Data:
    """Reads a corpus, learns its tokens, stores it as tokens, all of it once; later starts find it in the cache.

    Args:
      batch_size: rows of a global batch.
      seed: chooses the order of training.
      rows: which rows of a global batch this process makes.
      known: the processor of an experiment that goes on; None: the one that `processor` describes.
      path: a .txt or .jsonl file, or a folder of them (see sources/text_files.py for what is held out);
        '': the source text of Python's standard library (see sources/python_library.py).
      length: tokens in a row.
      processor: text <-> tokens; a file of processors/.
      stride: how far windows over a held-out document advance; 0: by `length`, so they do not overlap.
      bad: what becomes of documents and rows that cannot be read: 'raise' (the first ends the run) or 'skip' (they are
        left out and counted); see records.py.
      bad_rate: the share of all that may be left out; more ends the run.

    Returns:
      Data with the split 'held_out' and info {'vocabulary', 'length'}.

    Raises:
      UserError: an argument is out of range, the corpus is missing or empty, or a document cannot be read.
    """
    if length < 1:
        raise UserError('length={length}: a row has at least one token.', length=length)
    if not 0 <= stride <= length:
        raise UserError(
            'stride={stride}: windows advance by 1 to length={length} tokens (0: by length).',
            stride=stride,
            length=length,
        )
    check_memory(len(range(batch_size)[rows]), length)
    tolerated = tolerance(bad, bad_rate)
    corpus = without_bad(text_files.corpus(path) if path else python_library.corpus(), tolerated)
    used = known or processor_of(corpus, processor, 'end_of_text')
    store = store_of(corpus, used)
    store.omitted.check(tolerated, corpus.name)  # it may have been stored when more was allowed

    shape: dict[str, Any] = {'batch_size': batch_size, 'rows': rows, 'length': length, 'end_of_text': used.end_of_text}
    losses = Losses(tolerated)
    training = TrainingRows(store.train, seed=seed, losses=losses, **shape)
    windows = HeldOutWindows(
        store.held_out,
        stride=stride or length,
        token_bytes=used.token_bytes,
        lead=used.lead,
        losses=Losses(tolerated),
        **shape,
    )
    held_out = store.held_out.counts
    # As many targets as tokens: the end_of_text that begins a document is none, but one more closes it.
    counts = {'documents': held_out.documents, 'bytes': held_out.bytes, 'tokens': held_out.tokens}
    return Data(
        batch=training.batch,
        splits={'held_out': Split(windows.batches, windows.batch, counts)},
        info={'vocabulary': used.vocabulary, 'length': length},
        processor=used,
        fingerprint=store.fingerprint,
        summary=summary_of(corpus, store),
        batches_per_epoch=training.blocks / batch_size,
        skipped=losses.before,
    )


def summary_of(corpus: Corpus, store: Any) -> str:
    """Returns one line about a corpus and what of it is stored; `store` has the counts of both parts."""
    train, held_out = store.train.counts, store.held_out.counts
    summary = say(
        '{name}: {size:.1f} MB in {documents:,} documents, {tokens:,} tokens;'
        ' held out {held_size:.1f} MB in {held_documents:,} ({rule}); fingerprint {fingerprint}',
        name=corpus.name,
        size=train.bytes / 1e6,
        documents=train.documents,
        tokens=train.tokens,
        held_size=held_out.bytes / 1e6,
        held_documents=held_out.documents,
        rule=corpus.rule,
        fingerprint=store.fingerprint[:16],
    )
    if store.omitted.records:
        summary = say('{summary}; {count:,} records left out', summary=summary, count=store.omitted.records)
    return summary


def check_memory(rows: int, length: int) -> None:
    """Raises UserError where a batch of so many rows alone is larger than the machine's memory."""
    wanted = rows * length * 48  # bytes that a token takes while a batch is made
    if wanted > 1 << 30:
        import psutil

        there = psutil.virtual_memory().total
        if wanted > there:
            raise UserError(
                'length={length} × {rows} rows of config.batch_size take {wanted:,.0f} GB, and this machine has'
                ' {there:,.0f} GB; make one of them smaller.',
                length=length,
                rows=rows,
                wanted=wanted / 1e9,
                there=there / 1e9,
            )


def processor_of(corpus: Corpus, node: ConfigDict, wants: str) -> Any:
    """Returns the processor that a config describes, learned from the training part where it learns; cached."""

    def training_text() -> Iterator[str]:
        return (text for document in corpus.documents() if not document.held_out for text in document.pieces())

    return learned(node, training_text, corpus.key(), wants)


def learned(node: ConfigDict, texts: Callable[[], Iterator[str]], made_from: Any, wants: str) -> Any:
    """Returns the processor that a config describes; it is cached.

    Args:
      node: the config of a part of processors/.
      texts: reads the text that it learns from, where it learns.
      made_from: what changes when that text does, any JSON value.
      wants: the special token that rows of these data need, a key of HAVE.

    Raises:
      UserError: it is no processor of texts, or one without such a token.
    """

    check_reads(node, 'texts')

    def write(folder: Path) -> None:
        made = build(node, texts, key='data.processor')
        made.save(folder)
        (folder / DIGEST).write_text(digest_of_assets(made), 'utf-8')

    def read(folder: Path) -> Any:
        load = module('data.processors', node.name).load
        try:
            digest = (folder / DIGEST).read_text('utf-8')
            found = load(folder)
        except Exception:  # what damaged files do to it, only its library knows
            return None
        return found if digest_of_assets(found) == digest else None

    # A processor made from files of its own is another one when those change.
    folder = existing(node.path, 'config.data.processor.path') if node.get('path') else None
    files = sorted(folder.glob('*')) or [folder] if folder else ()
    key = [FORMAT, node.to_dict(), [stamp(file) for file in files], made_from]
    found = cached('processors', key, write, read)
    if not hasattr(found, wants):
        raise UserError(
            'config.data.processor.name={name} has no token "{wants}", which these data put into rows; {have} have it.',
            name=node.name,
            wants=wants,
            have=', '.join(HAVE[wants]),
        )
    return found

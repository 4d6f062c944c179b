"""Text to model: a corpus, its tokens on disk, and batches of them; `jaxlab/data/sequences.py` says what they hold."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxlab.config import build, module, spec
from jaxlab.data.cache import cached
from jaxlab.data.documents import Corpus, stamp
from jaxlab.data.processors import TextProcessor
from jaxlab.data.sequences import HeldOutWindows, TrainingRows
from jaxlab.data.sources import python_library, text_files
from jaxlab.data.stream import Data, Split
from jaxlab.data.token_store import FORMAT, store_of
from jaxlab.errors import UserError
from jaxlab.messages import say


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

    Returns:
      Data with the split 'held_out' and info {'vocabulary', 'length'}.

    Raises:
      UserError: an argument is out of range, or the corpus is missing, empty or not UTF-8.
    """
    if length < 1:
        raise UserError('length={length}: a row has at least one token.', length=length)
    if not 0 <= stride <= length:
        raise UserError(
            'stride={stride}: windows advance by 1 to length={length} tokens (0: by length).',
            stride=stride,
            length=length,
        )
    corpus = text_files.corpus(path) if path else python_library.corpus()
    used = known or processor_of(corpus, processor)
    store = store_of(corpus, used)

    shape: dict[str, Any] = {'batch_size': batch_size, 'rows': rows, 'length': length, 'end_of_text': used.end_of_text}
    training = TrainingRows(store.train, seed=seed, **shape)
    windows = HeldOutWindows(store.held_out, stride=stride or length, token_bytes=used.token_bytes, **shape)
    train, held_out = store.train.counts, store.held_out.counts
    return Data(
        batch=training.batch,
        # As many targets as tokens: the end_of_text that begins a document is none, but one more closes it.
        splits={'held_out': Split(windows.batches, windows.batch, held_out.tokens, held_out.bytes, held_out.documents)},
        info={'vocabulary': used.vocabulary, 'length': length},
        processor=used,
        fingerprint=store.fingerprint,
        summary=say(
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
        ),
        batches_per_epoch=training.blocks / batch_size,
    )


def processor_of(corpus: Corpus, node: ConfigDict) -> TextProcessor:
    """Returns the processor that a config describes, learned from the training part where it learns; cached."""

    def training_text() -> Iterator[str]:
        return (text for document in corpus.documents() if not document.held_out for text in document.pieces())

    def write(folder: Path) -> None:
        build(node, training_text, key='data.processor').save(folder)

    def read(folder: Path) -> TextProcessor | None:
        return module('data.processors', node.name).load(folder) if folder.is_dir() else None

    # A processor made from files of its own is another one when those change.
    files = sorted(Path(node.path).expanduser().glob('*')) if node.get('path') else ()
    key = [FORMAT, node.to_dict(), [stamp(file) for file in files], corpus.stamps()]
    return cached('processors', key, write, read)

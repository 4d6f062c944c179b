"""Text to learn language from by filling gaps, as BERT is pre-trained; `masked_rows.py` says what a batch holds."""

from dataclasses import replace
from typing import Any

from ml_collections import ConfigDict

from jaxlab.config import spec
from jaxlab.data.documents import without_bad
from jaxlab.data.masked_rows import Hiding, MaskedRows
from jaxlab.data.records import Losses, tolerance
from jaxlab.data.sentence_store import store_of
from jaxlab.data.sources import english, text_files
from jaxlab.data.stream import Data, Split
from jaxlab.data.text import check_memory, processor_of, summary_of
from jaxlab.errors import UserError

HELD_OUT_SEED = 0  # what is hidden of the held-out part is the same in every experiment


def make(
    batch_size: int,
    seed: int,
    rows: slice,
    known: Any = None,
    *,
    path: str = '',
    length: int = 128,
    processor: ConfigDict = spec('data.processors.wordpiece'),
    pairs: bool = True,
    hidden: float = 0.15,
    hidden_held_out: float = 0.15,
    masked: float = 0.8,
    swapped: float = 0.1,
    whole_words: bool = False,
    bad: str = 'raise',
    bad_rate: float = 0.01,
) -> Data:
    """Reads a corpus, learns its tokens, stores its sentences as tokens, all of it once; later starts find it there.

    Args:
      batch_size: rows of a global batch.
      seed: chooses the order of training, which texts follow, and what is hidden.
      rows: which rows of a global batch this process makes.
      known: the processor of an experiment that goes on; None: the one that `processor` describes.
      path: a .txt or .jsonl file, or a folder of them (see sources/text_files.py for what is held out);
        '': the English that comes with Python (see sources/english.py).
      length: tokens in a row, special ones included.
      processor: text <-> tokens; a file of processors/ with special tokens.
      pairs: whether a row is two texts, of which the second follows the first or does not (BERT), or one (RoBERTa).
      hidden: the share of tokens that are to be told, in training: 0.15 in the paper; with more a row teaches more, at
        nearly the same cost, and up to 0.4 models of little training get better by it (Wettig et al. 2022).
      hidden_held_out: that share in what is held out, so that all experiments answer the same.
      masked: the share of these that [MASK] (or <mask>) stands for.
      swapped: the share of these that another token stands for; the rest stays as it is.
      whole_words: whether words are hidden whole; else their pieces are, one by one.
      bad: what becomes of documents and rows that cannot be read: 'raise' (the first ends the run) or 'skip' (they are
        left out and counted); see records.py.
      bad_rate: the share of all that may be left out; more ends the run.

    Returns:
      Data with the split 'held_out' and info {'vocabulary', 'length', 'types', 'padding'}.

    Raises:
      UserError: an argument is out of range, the corpus is missing or empty, or a document cannot be read.
    """
    if length < 8:
        raise UserError('length={length}: a row has at least 8 tokens.', length=length)
    shares = {'hidden': hidden, 'hidden_held_out': hidden_held_out, 'masked': masked, 'swapped': swapped}
    for name, value in shares.items():
        if not 0 <= value <= 1 or (name.startswith('hidden') and not 0 < value < 1):
            raise UserError('{name}={value}: a share is wanted, from 0 to 1, such as 0.15.', name=name, value=value)
    if masked + swapped > 1:
        raise UserError(
            'masked={masked} and swapped={swapped} are shares of the same tokens: together at most 1.',
            masked=masked,
            swapped=swapped,
        )
    check_memory(len(range(batch_size)[rows]), length)
    tolerated = tolerance(bad, bad_rate)
    corpus = without_bad(text_files.corpus(path) if path else english.corpus(), tolerated)
    used: Any = known or processor_of(corpus, processor, 'masked')
    store = store_of(corpus, used)
    store.omitted.check(tolerated, corpus.name)  # it may have been stored when more was allowed

    shape: dict[str, Any] = {'processor': used, 'batch_size': batch_size, 'rows': rows, 'length': length}
    shape |= {'pairs': pairs}
    hiding = Hiding(hidden, masked, swapped, whole_words)
    losses = Losses(tolerated)
    training = MaskedRows(store.train, seed=seed, losses=losses, hiding=hiding, **shape)
    shape |= {'hiding': replace(hiding, share=hidden_held_out), 'once': True}
    held_out = MaskedRows(store.held_out, seed=HELD_OUT_SEED, losses=Losses(tolerated), **shape)
    for some in (training, held_out):
        if not len(some.anchors):
            raise UserError('config.data.path: no document of {corpus} has two sentences.', corpus=corpus.name)
    train, other = store.train.counts, store.held_out.counts
    counts = {'documents': other.documents, 'tokens': other.tokens}
    return Data(
        batch=training.batch,
        splits={'held_out': Split(held_out.batches, held_out.batch, counts)},
        info={'vocabulary': used.vocabulary, 'length': length, 'types': 2, 'padding': used.padding},
        processor=used,
        fingerprint=store.fingerprint,
        summary=summary_of(corpus, store),
        batches_per_epoch=train.tokens / (batch_size * length),
        skipped=losses.before,
    )

"""The numbers that a language model has to beat, in bits per byte of the held-out text.

  python launch/bench/baselines.py                    the default corpus: the Python library
  python launch/bench/baselines.py --path=my/texts    text of your own, as --config.data.path takes it

- `gzip -9`, each held-out document by itself: what one gets without any training text.
- A byte 5-gram with back-off, learned on the training part: what four bytes of context and counting bring. Three ways
  to leave probability for what was never seen after a context: Witten-Bell (the escape of PPM's method C), Kneser-Ney,
  and Kneser-Ney with three discounts; the best of them is *the* 5-gram.
- For orientation: a 7-gram, and both once more adapting, that is counting on while they read a held-out document, as
  PPM and gzip do (and as a network does in its context).

A document is counted as the language model counts it: every byte once, the first one included, and the end of the
document too. Documents and the held-out rule are those of `jaxlab.data`.
"""

# n training symbols, m held-out symbols, g distinct n-grams, c distinct contexts

import argparse
import gzip
import time
from collections.abc import Iterable

import numpy as np
import record

from jaxlab.data.documents import Corpus
from jaxlab.data.sources import python_library, text_files

END = 256  # the end of a document, before and after every document
SYMBOLS = 257
LONGEST = 7  # SYMBOLS**7 fits an int64


def read(corpus: Corpus) -> tuple[list[bytes], list[bytes]]:
    """Returns the documents of the training part and those held out."""
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for document in corpus.documents():
        parts[document.held_out].append(''.join(document.pieces()).encode())
    return parts


def grams(documents: Iterable[bytes], order: int) -> np.ndarray:
    """Returns every symbol with the `order` - 1 symbols before it, as one number in base SYMBOLS: int64 [n].

    A document is `order` - 1 times END, its bytes, END: no context reaches into the document before.
    """
    codes = []
    for document in documents:
        symbols = np.full(len(document) + order, END, np.int64)
        symbols[order - 1 : -1] = np.frombuffer(document, np.uint8)
        code = np.zeros(len(document) + 1, np.int64)
        for i in range(order):
            code = code * SYMBOLS + symbols[i : i + len(code)]
        codes.append(code)
    return np.concatenate(codes)


def lookup(sorted_keys: np.ndarray, values: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Returns the rows of `values` at `keys`; zeros where a key is not among `sorted_keys`."""
    index = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    found = sorted_keys[index] == keys
    return np.where(found.reshape(-1, *[1] * (values.ndim - 1)), values[index], 0)


def probabilities(
    train: np.ndarray, queries: np.ndarray, order: int, method: str, documents: np.ndarray | None = None
) -> np.ndarray:
    """Returns the probability of each query's last symbol given the symbols before it: float64 [m].

    The distribution after a context is what was counted there, less a discount, plus the discounted mass times the
    distribution after the context without its first symbol (interpolation), and so on down to the uniform one.

    Arguments:
      train: n-grams of the training part, from `grams`: int64 [n].
      queries: the n-grams in question, in the order of the text: int64 [m].
      order: the n of both.
      method: 'witten_bell' (Witten and Bell 1991), 'kneser_ney' (Kneser and Ney 1995) or 'modified_kneser_ney' (Chen
        and Goodman 1999).
      documents: the document that each query belongs to, int [m], to adapt: then the queries before it in its document
        count as well as the training part. None: nothing counts but the training part.
    """
    types, counts = np.unique(train, return_counts=True)  # [g]
    counted = np.full(len(queries), documents is not None)  # the queries that add one to the counts of their n-gram
    levels = []
    for n in range(order, 0, -1):
        query = queries % SYMBOLS**n
        context = query // SYMBOLS
        # A count of 0, 1, 2, 3 or more is lowered by `take` and frees the mass `free` for the shorter contexts.
        if method == 'witten_bell':
            take, free = np.zeros(4), np.array([0.0, 1, 1, 1])
        else:
            take = free = estimate_discounts(counts, modified=method == 'modified_kneser_ney')
        starts = np.flatnonzero(np.diff(types // SYMBOLS, prepend=-1))  # of each context among the sorted n-grams: [c]
        sums = np.add.reduceat(np.stack([counts, free[np.minimum(counts, 3)]], -1), starts)  # [c 2]
        count = lookup(types, counts, query)
        total, freed = lookup(types[starts] // SYMBOLS, sums, context).T

        if documents is not None:
            count = count + sum_before(counted, documents, query).astype(np.int64)
            growth = free[np.minimum(count + 1, 3)] - free[np.minimum(count, 3)]
            total = total + sum_before(counted, documents, context)
            freed = freed + sum_before(counted * growth, documents, context)
        levels.append((count - take[np.minimum(count, 3)], freed, total + (freed if method == 'witten_bell' else 0)))

        # Witten-Bell counts a shorter n-gram as often as it occurs, Kneser-Ney once for every symbol seen before it.
        if method == 'witten_bell':
            occurrences = counts
        else:
            occurrences, counted = np.ones_like(counts), counted & (count == 0)
        types, inverse = np.unique(types % SYMBOLS ** (n - 1), return_inverse=True)
        counts = np.bincount(inverse, occurrences).astype(np.int64)

    p = np.full(len(queries), 1 / SYMBOLS)
    for count, freed, total in reversed(levels):
        known = total > 0  # after a context that was never seen, the shorter one says it all
        p = np.where(known, (count + freed * p) / np.where(known, total, 1), p)
    return p


def sum_before(values: np.ndarray, documents: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Returns, for every place, the sum of `values` at earlier places with its document and its key: float64 [m]."""
    order = np.lexsort((keys, documents))  # stable: the places of one document and key stay in order
    values, documents, keys = values[order].astype(np.float64), documents[order], keys[order]
    begins = np.append(True, (np.diff(documents) != 0) | (np.diff(keys) != 0))
    sums = np.cumsum(values) - values
    sums -= sums[begins][np.cumsum(begins) - 1]
    before = np.empty_like(sums)
    before[order] = sums
    return before


def estimate_discounts(counts: np.ndarray, modified: bool) -> np.ndarray:
    """Returns what to take off a count of 0, 1, 2 and 3 or more (Chen and Goodman 1999): float64 [4]."""
    n1, n2, n3, n4 = np.bincount(np.minimum(counts, 5), minlength=5)[1:5]
    if not modified or not n1 * n2 * n3:
        y = n1 / (n1 + 2 * n2) if n1 else 0.5  # without a count of one (a tiny text) there is nothing to estimate from
        return np.array([0, y, y, y])
    y = n1 / (n1 + 2 * n2)
    return np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument('--path', default='', help='a .txt or .jsonl file, or a folder of them')
    arguments.add_argument('--name', default='baselines', help='results/NAME.json is written')
    options = arguments.parse_args()

    start = time.perf_counter()
    corpus = text_files.corpus(options.path) if options.path else python_library.corpus()
    train, held_out = read(corpus)
    size = sum(map(len, held_out))
    bits_per_byte: dict[str, float] = {}
    result = {
        'corpus': corpus.name,
        'held_out': {'rule': corpus.rule, 'documents': len(held_out), 'bytes': size},
        'train': {'documents': len(train), 'bytes': sum(map(len, train))},
        'bits_per_byte': bits_per_byte,
    }
    print(f'{corpus.name}: {sum(map(len, train)):,} bytes to learn from, {size:,} held out')

    def report(name: str, bits: float) -> None:
        bits_per_byte[name] = round(bits / size, 4)
        print(f'{name:<36} {bits / size:.4f} bits per byte')

    report('gzip -9', 8 * sum(len(gzip.compress(document, 9)) for document in held_out))
    documents = np.repeat(np.arange(len(held_out)), [len(document) + 1 for document in held_out])
    for order, method, adapts in (
        (5, 'witten_bell', False),
        (5, 'kneser_ney', False),
        (5, 'modified_kneser_ney', False),
        (LONGEST, 'modified_kneser_ney', False),
        (5, 'modified_kneser_ney', True),
        (LONGEST, 'modified_kneser_ney', True),
    ):
        p = probabilities(grams(train, order), grams(held_out, order), order, method, documents if adapts else None)
        report(f'{order}-gram {method}' + ' adapting' * adapts, -np.log2(p).sum())
    result['seconds'] = round(time.perf_counter() - start, 1)
    path = record.write(options.name, result)
    print(f'{result["seconds"]} s; written to {path.relative_to(record.FOLDER.parents[2])}')


if __name__ == '__main__':
    main()

"""The 5-gram against a dictionary and a loop, and what it must be whatever the text: a distribution."""

from collections import Counter

import baselines
import numpy as np
import pytest
from baselines import END, SYMBOLS

TRAIN = [b'the cat sat on the mat. the rat sat.', b'', b'that hat, that cat: aaaaaaaaaa!', 'zhōng 中文 中文'.encode()]
HELD_OUT = [b'the hat sat on a cat, the hat', b'zzzz', '中文 the zzz'.encode()]
METHODS = ('witten_bell', 'kneser_ney', 'modified_kneser_ney')


def padded(document: bytes, order: int) -> list[int]:
    return [END] * (order - 1) + list(document) + [END]


def grams(document: bytes, order: int) -> list[tuple[int, ...]]:
    symbols = padded(document, order)
    return [tuple(symbols[i : i + order]) for i in range(len(document) + 1)]


def code(gram: tuple[int, ...]) -> int:
    return sum(symbol * SYMBOLS**i for i, symbol in enumerate(reversed(gram)))


def counts(full: Counter, method: str) -> list[Counter]:
    """Returns the counts of n-grams, the longest first, from those of the longest."""
    levels = [full]
    while len(next(iter(levels[-1]))) > 1:
        shorter: Counter = Counter()
        for gram, count in levels[-1].items():
            shorter[gram[1:]] += count if method == 'witten_bell' else 1
        levels.append(shorter)
    return levels


def slow_probability(gram: tuple[int, ...], levels: list[Counter], discounts: list[np.ndarray], method: str) -> float:
    if not levels:
        return 1 / SYMBOLS
    shorter = slow_probability(gram[1:], levels[1:], discounts[1:], method)
    after = {g: count for g, count in levels[0].items() if g[:-1] == gram[:-1]}
    total = sum(after.values())
    if not total:
        return shorter
    if method == 'witten_bell':
        return (after.get(gram, 0) + len(after) * shorter) / (total + len(after))
    take = {g: discounts[0][min(count, 3)] for g, count in after.items()}
    return (after.get(gram, 0) - take.get(gram, 0) + sum(take.values()) * shorter) / total


@pytest.mark.parametrize('adapts', [False, True])
@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('order', [2, 3, 5])
def test_equals_a_dictionary_and_a_loop(order: int, method: str, adapts: bool):
    train = Counter(gram for document in TRAIN for gram in grams(document, order))
    estimated = counts(train, method)
    modified = method == 'modified_kneser_ney'
    discounts = [baselines.estimate_discounts(np.array([*level.values()]), modified) for level in estimated]
    expected = []
    for document in HELD_OUT:
        seen = train.copy()
        for gram in grams(document, order):
            expected.append(slow_probability(gram, counts(seen, method), discounts, method))
            if adapts:
                seen[gram] += 1

    documents = np.repeat(np.arange(len(HELD_OUT)), [len(document) + 1 for document in HELD_OUT])
    actual = baselines.probabilities(
        baselines.grams(TRAIN, order), baselines.grams(HELD_OUT, order), order, method, documents if adapts else None
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('context', [b'the ', b'cat ', b'xxxx', b'zz a'])
def test_sums_to_one(context: bytes, method: str):
    queries = code((*context, 0)) + np.arange(SYMBOLS)
    p = baselines.probabilities(baselines.grams(TRAIN, 5), queries, 5, method)
    assert p.min() > 0
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-12)


def test_grams_count_every_byte_and_the_end():
    assert baselines.grams([b'ab', b''], 3).tolist() == [
        code((END, END, ord('a'))),
        code((END, ord('a'), ord('b'))),
        code((ord('a'), ord('b'), END)),
        code((END, END, END)),
    ]
    assert code((END,) * baselines.LONGEST) <= np.iinfo(np.int64).max

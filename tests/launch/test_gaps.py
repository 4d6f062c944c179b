"""What a model that fills gaps has to beat: counted by hand."""

import gaps
import numpy as np
import pytest

MASK = 99
A, B, C, D, E = range(5)


@pytest.fixture
def counts():
    return gaps.Counts(iter([[A, B, C, A, B, C, A, D, C], [E, B, E]]))


def test_what_stands_between(counts):
    assert counts.commonest == A  # 3 times, as B and C: the smallest
    assert counts.fill(A, C) == B  # twice, D once
    assert counts.fill(E, C) == B  # never between these; after E and before C there is B
    assert counts.fill(D, A) == C
    assert counts.fill(77, D) == A  # only the right one was seen
    assert counts.fill(77, 78) == counts.commonest


def test_what_follows(counts):
    assert counts.follow(A, B) == C and counts.follow(77, B) == C  # C twice after B, E once
    assert counts.follow(E, B) == E
    assert counts.follow(77, 78) == counts.commonest


def test_the_share_that_is_right(counts):
    batch = {
        'tokens': np.array([[50, A, MASK, C, MASK, B, 51], [50, E, D, 51, 0, 0, 0]]),
        'places': np.array([[2, 4], [2, 0]]),
        'targets': np.array([[B, A], [D, 0]]),
        'mask': np.array([[1.0, 1.0], [1.0, 0.0]]),
    }
    found = gaps.accuracies(counts, iter([batch]), MASK)
    # Unigram: A once. Fill: B and A, and D is shown. Before: after [CLS] A comes B; after C comes A; D is shown.
    assert found == {'unigram': round(1 / 3, 4), 'trigram_fill': 1.0, 'trigram_before': 1.0, 'gaps': 3}

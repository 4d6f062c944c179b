"""A table that scikit-learn brings along: how far diabetes went within a year, from 10 measurements of 442 people.

B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, "Least angle regression", Annals of Statistics, 2004. Published as
one part; here a fifth, drawn at random once and for all, is the test part.
"""

import hashlib

import numpy as np

from jaxlab.data.sources import Arrays, Source, a_fifth


def make() -> Source:
    """Returns the parts 'train' (354) and 'test' (88) with rows float32 [10] as measured, and targets in 25..346."""
    from sklearn.datasets import load_diabetes

    found = load_diabetes(scaled=False)
    rows, targets = found.data.astype(np.float32), found.target.astype(np.float32)
    test = a_fifth(len(targets))
    digest = hashlib.sha256(rows.tobytes() + targets.tobytes()).hexdigest()
    parts = {'train': Arrays(rows[~test], targets[~test]), 'test': Arrays(rows[test], targets[test])}
    return Source('diabetes', parts, (), digest)

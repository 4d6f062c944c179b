"""Handwritten digits that scikit-learn brings along: 1,797 pictures of 8 × 8 pixels in 17 shades, no network needed.

They are the test part of E. Alpaydin and C. Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning
Repository, 1998: 13 people wrote them. They are published as one part, in the order in which they were written: 0, 1,
2 … over and over. A fifth, drawn at random once and for all, is the test part here; all of the 13 are in both.
"""

import hashlib

import numpy as np

from jaxlab.data.sources import Arrays, Source, a_fifth


def make() -> Source:
    """Returns the parts 'train' (1,438) and 'test' (359) with pictures uint8 [8 8 1], white on black."""
    from sklearn.datasets import load_digits

    found = load_digits()
    pictures = np.round(found.images * (255 / 16)).astype(np.uint8)[..., None]
    classes = found.target.astype(np.int32)
    test = a_fifth(len(classes))
    digest = hashlib.sha256(pictures.tobytes() + classes.tobytes()).hexdigest()
    parts = {
        'train': Arrays(pictures[~test], classes[~test]),
        'test': Arrays(pictures[test], classes[test]),
    }
    return Source('digits', parts, tuple('0123456789'), digest)

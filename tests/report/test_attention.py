"""Where heads look, shown: one picture and one page, self-contained, in both languages, whatever the text says."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from jaxlab.report import attention
from tests.report.pages import Page
from tests.report.test_page import HOSTILE

TOKENS = ['[CLS]', 'good', '##ly', HOSTILE, '猫', '$x_1$', ' ', '']
WEIGHTS = np.random.default_rng(0).dirichlet(np.ones(8), (2, 3, 8)).astype(np.float32)


def squares(page):
    """The pictures of the heads, as they stand in the page: uint8 [t t 3] each."""
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(found))))
        for found in re.findall(r'src="data:image/png;base64,([^"]*)"', page)
    ]


@pytest.mark.parametrize('tokens', [TOKENS, ['a', *TOKENS[4:], 'b', 'c', 'd'], ['x'] * 8])
def test_the_picture_is_a_picture(tokens, recwarn):
    picture = Image.open(io.BytesIO(attention.png(tokens, WEIGHTS)))
    assert picture.format == 'PNG' and min(picture.size) > 200
    assert not [warning for warning in recwarn if 'Glyph' in str(warning.message)]


def test_a_long_text_and_many_heads_make_a_picture_of_bounded_size():
    weights = np.full((12, 12, 200, 200), 1 / 200, np.float32)
    assert max(Image.open(io.BytesIO(attention.png(['x'] * 200, weights))).size) < 14_000
    assert 'in numbers' not in attention.page('run', ['x'] * 200, weights[:1, :2])


def test_the_page_loads_nothing_and_runs_nothing():
    text = attention.page(HOSTILE, TOKENS, WEIGHTS)
    page = Page(text)
    assert not page.untranslated()
    assert not {'link', 'iframe', 'object'} & {name for name, _ in page.elements}
    assert all(given.get('src', 'data:').startswith('data:') and 'href' not in given for _, given in page.elements)
    assert '<script>alert' not in text and text.count('<script') == 1
    assert 'Attention' in text and '注意力' in text and '第 2 层，第 3 个头' in text and 'Layer 2, head 3' in text
    assert '##ly' in text and '猫' in text


def test_every_head_has_its_weights():
    found = squares(attention.page('run', TOKENS, WEIGHTS))
    assert len(found) == 6
    for square, weights in zip(found, WEIGHTS.reshape(6, 8, 8), strict=True):
        part = (255 - square[..., 0].astype(float)) / (255 - attention.COLOUR[0])
        np.testing.assert_allclose(part, weights / weights.max(), atol=0.01)  # rows look, columns are looked at
    text = attention.page('run', TOKENS, WEIGHTS)
    table = text[text.index('id="numbers"') :]
    cells = re.findall(r'<td style="[^"]*">([\d.]+)</td>', table)
    assert cells == [f'{part:.2f}' for part in WEIGHTS.mean(1).ravel()]


def test_what_is_looked_at_most_is_darkest():
    weights = np.zeros((1, 1, 3, 3))
    weights[..., 1] = 1
    text = attention.page('run', ['a', 'b', 'c'], weights)
    line = text[text.index('id="received"') : text.index('id="heads"')]
    shades = dict(zip('abc', re.findall(r'rgba\(\d+,\d+,\d+,([\d.]+)\)', line), strict=True))
    assert shades == {'a': '0.000', 'b': '0.750', 'c': '0.000'}

"""Where a model's heads look: one picture, and one page that opens from disk, in both languages."""

# l layers, n heads, t tokens; rows look, columns are looked at

import base64
import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from jaxlab.report.document import document, section
from jaxlab.report.html import Html, both, join, tag

LABELLED = 40  # tokens up to which their words stand at the axes of the picture, and whole tables in the page
FONTS = ('DejaVu Sans', 'Noto Sans CJK SC', 'Source Han Sans SC', 'WenQuanYi Zen Hei', 'PingFang SC', 'Microsoft YaHei')
COLOUR = 47, 109, 176  # --training of page.css


def png(tokens: Sequence[str], weights: np.ndarray) -> bytes:
    """Returns a picture of the weights of all heads: a row for each layer, a square for each head.

    Args:
      tokens: the words [t]. They stand at the axes where they are few, and where there are letters for them on this
        machine; else the numbers of their places do.
      weights: [l n t t], from 0 to 1.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layers, heads, t, _ = weights.shape
    side = min(max(0.16 * t, 1.6), 4.0)  # inches of a square
    figure = Figure(
        figsize=(side * heads + 1.2, side * layers + 1.2), dpi=min(110, 12_000 / (side * max(layers, heads)))
    )
    FigureCanvasAgg(figure)
    fonts = _fonts()
    readable = all(any(ord(letter) in letters for letters in fonts.values()) for letter in ''.join(tokens))
    words = [shown(token).replace('$', r'\$') for token in tokens] if readable else [str(n + 1) for n in range(t)]
    for number, axes in enumerate(figure.subplots(layers, heads, squeeze=False).flat):
        layer, head = divmod(number, heads)
        axes.imshow(weights[layer, head], vmin=0, vmax=max(float(weights[layer, head].max()), 1e-6), cmap='Blues')
        axes.set_title(f'{layer + 1}.{head + 1}', fontsize=7, pad=2)
        axes.tick_params(length=0, labelsize=5)
        axes.set_xticks([])
        axes.set_yticks([])
        if t <= LABELLED and head == 0:
            axes.set_yticks(range(t), words, family=list(fonts))
        if t <= LABELLED and layer == layers - 1:
            axes.set_xticks(range(t), words, rotation=90, family=list(fonts))
    figure.tight_layout(pad=0.4)
    written = io.BytesIO()
    figure.savefig(written, format='png', metadata={'Software': None})
    return written.getvalue()


@cache
def _fonts() -> dict[str, set[int]]:
    """Returns the fonts of FONTS that this machine has, and the letters of each."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    found = {}
    for name in FONTS:
        try:
            found[name] = set(FT2Font(font_manager.findfont(name, fallback_to_default=False)).get_charmap())
        except ValueError:  # there is none of that name
            continue
    return found


def shown(token: str) -> str:
    """Returns a token so that its spaces are seen."""
    return token.replace('\n', '⏎').replace(' ', '·') or '∅'


def page(title: str, tokens: Sequence[str], weights: np.ndarray) -> str:
    """Returns one self-contained page: each token is as dark as it is looked at, and a square shows every head.

    Args:
      title: of the page: the name of the experiment.
      tokens: the words [t].
      weights: [l n t t], from 0 to 1: row i is how much token i looks at each of them.
    """
    layers, heads, t, _ = weights.shape
    means = weights.mean(1)  # [l t t]
    body = [
        section(
            both('How much each token is looked at'),
            tag('p', both('By all tokens and all heads of a layer together: the darker, the more.'), class_='quiet'),
            *(_line(layer, tokens, means[layer]) for layer in range(layers)),
            name='received',
        ),
        section(
            both('Every head'),
            tag(
                'p',
                both(
                    'A square for each head: a row for each token that looks, a column for each that is looked at, in'
                    ' the order of the text. Dark is the largest weight of the square; its number stands above it.'
                ),
                class_='quiet',
            ),
            *(_heads(layer, weights[layer]) for layer in range(layers)),
            name='heads',
        ),
    ]
    if t <= LABELLED:
        body.append(
            section(
                both('The mean of the heads, in numbers'),
                *(
                    tag('details', tag('summary', both('Layer {layer}', layer=layer + 1)), _table(tokens, means[layer]))
                    for layer in range(layers)
                ),
                name='numbers',
            )
        )
    head = tag('h1', tag('code', title)) + tag(
        'p', both('{layers} layers of {heads} heads, {tokens} tokens', layers=layers, heads=heads, tokens=t)
    )
    return document(title, head, join(body), kind=both('Attention'))


def _shade(part: float) -> str:
    return f'background:rgba({COLOUR[0]},{COLOUR[1]},{COLOUR[2]},{part:.3f})'


def _line(layer: int, tokens: Sequence[str], mean: np.ndarray) -> Html:
    received = mean.mean(0)
    most = max(float(received.max()), 1e-9)
    words = [
        tag('samp', shown(token), style=f'{_shade(0.75 * float(part) / most)};padding:1px 3px', title=f'{part:.4f}')
        for token, part in zip(tokens, received)
    ]
    return tag('p', tag('small', both('Layer {layer}', layer=layer + 1), class_='quiet'), ' ', join(words, ' '))


def _heads(layer: int, weights: np.ndarray) -> Html:
    figures = []
    for head, square in enumerate(weights):
        words = both('Layer {layer}, head {head}', layer=layer + 1, head=head + 1), ' ', f'{square.max():.2f}'
        style = 'width:100%;image-rendering:pixelated;border:1px solid var(--faint)'
        figures.append(tag('figure', tag('figcaption', *words), tag('img', src=_square(square), alt='', style=style)))
    return tag(
        'div', join(figures), style='display:grid;grid-template-columns:repeat(auto-fill,minmax(180px,1fr));gap:14px'
    )


def _square(weights: np.ndarray) -> str:
    """Returns weights [t t] as an address that holds the picture itself, a pixel for each."""
    from PIL import Image

    part = (weights / max(float(weights.max()), 1e-9))[..., None]
    pixels: Any = np.round(255 + (np.array(COLOUR) - 255) * part).astype(np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, 'png')
    return 'data:image/png;base64,' + base64.b64encode(written.getvalue()).decode()


def _table(tokens: Sequence[str], mean: np.ndarray) -> Html:
    head = tag('tr', tag('th'), *(tag('th', tag('samp', shown(token))) for token in tokens))
    rows = [
        tag(
            'tr',
            tag('th', tag('samp', shown(token))),
            *(tag('td', f'{part:.2f}', style=_shade(0.75 * float(part))) for part in row),
        )
        for token, row in zip(tokens, mean)
    ]
    return tag(
        'div', tag('table', tag('thead', head), tag('tbody', *rows), style='font-size:11px'), class_='wide-table'
    )

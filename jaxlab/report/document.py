"""The frame that every page stands in, and how numbers are written in it."""

import base64
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

from jaxlab.messages import language
from jaxlab.report.html import Html, both, join, tag
from jaxlab.report.words import MEASURES

HERE = Path(__file__).parent


def document(title: str, head: Html, body: Html, reload: float = 0, kind: Html | None = None) -> str:
    """Returns a whole page: self-contained, in both languages, of which the writer's is shown first.

    Args:
      title: of the window; a name, and so the same in both languages.
      head: what stands at the top.
      body: the rest.
      kind: what it is, in both languages; None: a training report.
      reload: seconds after which the page loads itself again, while it is watched; 0: never.
    """
    style = (HERE / 'page.css').read_text('utf-8')
    script = (HERE / 'page.js').read_text('utf-8')
    # The page may run its own script and nothing else, whatever text a model has written into it.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    without_script = tag('noscript', tag('meta', http_equiv='refresh', content=f'{reload:g}')) if reload else ''
    return '<!doctype html>\n' + tag(
        'html',
        tag(
            'head',
            '\n',
            tag('meta', charset='utf-8'),
            tag('meta', http_equiv='Content-Security-Policy', content=policy),
            tag('meta', name='viewport', content='width=device-width, initial-scale=1'),
            tag('meta', name='color-scheme', content='light dark'),
            without_script,
            tag('title', title),
            '\n',
            tag('style', Html(style)),
            tag('script', Html(script)),
            '\n',
        ),
        tag(
            'body',
            tag('header', _languages(kind or both('Training report')), head),
            '\n',
            tag('main', body),
            '\n',
            tag('footer', _foot()),
        ),
        lang=language(),
        data_language=language(),
        **({'data_reload': f'{reload:g}'} if reload else {}),
    )


def _languages(kind: Html) -> Html:
    choices = [
        tag('button', name, type='button', data_speak=code, aria_pressed='false')
        for code, name in (('en', 'English'), ('zh', '中文'))
    ]
    return tag('div', kind, tag('span', join(choices, ' '), hidden=True, data_script=True), class_='top')


def _foot() -> Html:
    now = tag('time', time.strftime('%Y-%m-%d %H:%M:%S %z'))
    return tag('p', both('This page was written at {time}.', time=now)) + tag(
        'p', both('Nothing on this page is loaded from elsewhere: it can be kept, sent and printed.')
    )


def section(title: Html, *inside: object, name: str) -> Html:
    return tag('section', tag('h2', title), *inside, id=name) + '\n'


def named(name: str) -> Html:
    """Returns what a number of metrics.jsonl is called: 'Loss' for 'eval/held_out/loss'; unknown ones as they are."""
    last = name.rpartition('/')[2]
    return both(MEASURES[last]) if last in MEASURES else tag('code', name)


def number(value: float) -> str:
    """Returns a measurement with the digits that people compare: '2.7094', '18.1', '45,727', '3.0e-4'."""
    size = abs(value)
    if size >= 10_000:
        return f'{value:,.0f}'
    if size >= 100:
        return f'{value:,.1f}'
    if size >= 0.01:
        return f'{value:.4f}'
    if not size:
        return '0'
    return f'{value:.2e}'.replace('e-0', 'e-')


def duration(seconds: float) -> str:
    """Returns '0:41', '12:05' or '3:12:05'."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'


def memory(count: float) -> str:
    """Returns bytes as '15.6 GiB'."""
    for unit in ('B', 'KiB', 'MiB', 'GiB'):
        if count < 1024:
            return f'{count:.4g} {unit}'
        count /= 1024
    return f'{count:.4g} TiB'


def command(text: str) -> Html:
    """Returns a command line with a button that copies it."""
    button = tag('button', both('Copy'), type='button', hidden=True, data_script=True, data_copy=True)
    words = (tag('span', word) for word in text.split(' '))  # so that lines break between flags
    return tag('div', tag('pre', tag('code', join(words, ' '))), button, class_='command')


def table(
    head: Sequence[object], rows: Sequence[Sequence[object]], numbers: set[int], foot: Sequence[object] = ()
) -> Html:
    """Returns a table whose first column names the rows; columns in `numbers` stand to the right."""

    def line(cells: Sequence[object], first: str, rest: str) -> Html:
        return tag(
            'tr',
            *(
                tag(rest if at else first, cell, **({'class_': 'number'} if at in numbers else {}))
                for at, cell in enumerate(cells)
            ),
        )

    whole = tag(
        'table',
        *([tag('thead', line(head, 'th', 'th'))] if any(head) else []),
        tag('tbody', *(line(row, 'th', 'td') for row in rows)),
        *([tag('tfoot', line(foot, 'th', 'td'))] if foot else []),
    )
    return tag('div', whole, class_='wide-table')

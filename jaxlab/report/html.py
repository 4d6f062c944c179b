"""HTML that is safe by construction: text is escaped where it enters an element, and only `Html` goes in as it is."""

import html
from collections.abc import Iterable

from jaxlab.report.words import CHINESE

VOID = ('br', 'hr', 'img', 'input', 'link', 'meta', 'wbr')  # elements that have no end


class Html(str):
    """Text that is HTML already."""

    def __add__(self, more: str) -> 'Html':
        return Html(str.__add__(self, escape(more)))


def escape(text: object) -> Html:
    """Returns text as HTML that shows it; HTML is returned as it is."""
    return text if isinstance(text, Html) else Html(html.escape(printable(str(text))))


def tag(name: str, /, *inside: object, **attributes: object) -> Html:
    """Returns an element: tag('p', 'a < b', class_='note') is <p class="note">a &lt; b</p>.

    Args:
      name: of the element.
      *inside: what stands in it: text, which is escaped, or Html.
      **attributes: a trailing underscore is dropped (class_), others become hyphens (data_step); False leaves the
        attribute out, and True gives it no value.
    """
    words = [name]
    for key, value in attributes.items():
        key = key.rstrip('_').replace('_', '-')
        if value is True:
            words.append(key)
        elif value is not False:
            words.append(f'{key}="{escape(value)}"')
    start = f'<{" ".join(words)}>'
    return Html(start if name in VOID else start + ''.join(map(escape, inside)) + f'</{name}>')


def join(parts: Iterable[object], between: str = '') -> Html:
    return Html(escape(between).join(map(escape, parts)))


class Both(Html):
    """A sentence in both languages, of which the page shows one."""

    english: Html
    chinese: Html


def both(template: str, /, **values: object) -> Both:
    """Returns a sentence in English and in Chinese.

    Args:
      template: English, a key of `jaxlab.report.words.CHINESE`.
      **values: what stands in its places: text, which is escaped, or Html; of another `Both` the same language.
    """

    def say(text: str, language: str) -> Html:
        inside = {
            name: getattr(value, language) if isinstance(value, Both) else escape(value)
            for name, value in values.items()
        }
        return Html(escape(text).format(**inside) if inside else escape(text))

    english, chinese = say(template, 'english'), say(CHINESE[template], 'chinese')
    sentence = Both(tag('span', english, lang='en') + tag('span', chinese, lang='zh'))
    sentence.english, sentence.chinese = english, chinese
    return sentence


def printable(text: str) -> str:
    # Control characters are no part of HTML, and lone surrogates cannot be written as UTF-8: both show as one sign.
    return ''.join(
        '\ufffd' if (c < ' ' and c not in '\t\n\r') or '\ud800' <= c <= '\udfff' or c == '\x7f' else c for c in text
    )

"""A page as a browser takes it: parsed strictly, with what each language shows."""

from html.parser import HTMLParser

from jaxlab.report.html import VOID

OPEN = (*VOID, 'path', 'use', 'rect')  # and what SVG closes in itself
NEUTRAL = {'code', 'pre', 'samp', 'data', 'time', 'title', 'text', 'button'}  # what is the same in every language


class Page(HTMLParser):
    """Attributes: elements [(name, attributes)], texts [(text, names of the elements around it, language or '')]."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self._open = [], [], []
        self.feed(text)
        self.close()
        assert not self._open, f'never closed: {self._open}'

    def handle_starttag(self, name, attributes):
        attributes = dict(attributes)
        self.elements.append((name, attributes))
        if name not in VOID:
            self._open.append((name, attributes.get('lang', '')))

    def handle_startendtag(self, name, attributes):
        assert name in OPEN, f'<{name}/> is no empty element'
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self._open and self._open[-1][0] == name, f'</{name}> closes {self._open[-1:]}'
        self._open.pop()

    def handle_data(self, data):
        names = [name for name, _ in self._open]
        if data.strip() and not {'style', 'script'} & set(names):
            languages = {language for name, language in self._open if language and name != 'html'}
            assert len(languages) < 2, f'nobody ever sees {data!r}'
            self.texts.append((data, names, *(languages or {''})))

    def shown(self, language):
        """All that a reader of `language` sees, in one line."""
        return ' '.join(' '.join(text for text, _, of in self.texts if of in ('', language)).split())

    def untranslated(self):
        """Texts with words in them that stand outside both languages, though they are no names and no numbers."""
        return [
            text
            for text, names, language in self.texts
            if not language and any(c.isalpha() for c in text) and not NEUTRAL & set(names)
        ]

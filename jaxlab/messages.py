"""What is said to people, in their language.

English stands in the code, where it is said: `say('{count} files', count=3)`. `jaxlab/chinese.py` is the one table of
what it is in Chinese; the English template is the key.
"""

import os


def language() -> str:
    """Returns "zh" or "en": what JAXLAB_LANG says, or else the locale (LC_ALL, LC_MESSAGES, LANG, in this order)."""
    for variable in ('JAXLAB_LANG', 'LC_ALL', 'LC_MESSAGES', 'LANG'):
        if chosen := os.environ.get(variable):
            return 'zh' if chosen.lower().startswith('zh') else 'en'
    return 'en'


def say(template: str, /, **values: object) -> str:
    """Returns a sentence in the reader's language, with `values` in the places that `str.format` gives them."""
    if language() == 'zh':
        from jaxlab.chinese import CHINESE

        template = CHINESE.get(template, template)
    return template.format(**values) if values else template

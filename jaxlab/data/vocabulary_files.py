"""Files of a published vocabulary, in a folder or of the hub: what kind they are, and their special tokens."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from jaxlab import hub
from jaxlab.data.documents import existing
from jaxlab.data.encoder_tokens import SPECIAL
from jaxlab.errors import UserError, nearest

SETTINGS = 'tokenizer_config.json'
# Processors of encoders, and the files of which any set is a vocabulary of theirs; a tokenizer.json is of either.
KINDS = {'wordpiece': ('vocab.txt',), 'roberta': ('vocab.json', 'merges.txt')}
WHOLE = 'tokenizer.json'


def kind_of(source: str) -> str:
    """Returns which processor of encoders reads the vocabulary of a folder, or 'hf:owner/name': 'wordpiece' or
    'roberta'; '' where there is none.

    Raises:
      UserError: the hub is out of reach.
    """

    def there(name: str) -> Path | None:
        if hub.is_of_hub(source):
            return hub.fetch(source, name)
        file = Path(source).expanduser() / name
        return file if file.is_file() else None

    for kind, names in KINDS.items():
        if all(there(name) for name in names):
            return kind
    if not (whole := there(WHOLE)):
        return ''
    try:
        model = json.loads(whole.read_text('utf-8'))['model'].get('type', 'WordPiece')
    except (ValueError, KeyError, AttributeError, TypeError):
        return ''
    return {'WordPiece': 'wordpiece', 'BPE': 'roberta'}.get(model, '')


def fetched(source: str, names: Sequence[str]) -> Path:
    """Returns the folder in which those of these files that a repository of the hub has now lie.

    Raises:
      UserError: it has none, or cannot be reached.
    """
    found = [file for name in names if (file := hub.fetch(source, name))]
    if not any(file.name != SETTINGS for file in found):
        named = ', '.join(name for name in names if name != SETTINGS)
        raise UserError('path: "{source}" has no vocabulary: no {names}.', source=source, names=named)
    return found[0].parent


def read(
    path: str,
    kind: str,
    usual: Mapping[str, str],
    tokenizer_of: Callable[[Path, Mapping[str, Any], Mapping[str, str]], Tokenizer],
) -> tuple[Tokenizer, dict[str, int]]:
    """Returns a published tokenizer, and the numbers that a processor of encoders has of it.

    Args:
      path: a folder, a file, or 'hf:owner/name'.
      kind: what is wanted, of KINDS.
      usual: the names of its special tokens where the files do not say; by our words for them.
      tokenizer_of: (the folder or file, its tokenizer_config.json, the names of its special tokens) -> tokenizer.

    Raises:
      UserError: the files are absent or no such vocabulary, or a special token is not in it.
    """
    if hub.is_of_hub(path):
        place = fetched(path, (SETTINGS, *KINDS[kind], WHOLE))
    else:
        place = existing(path, 'path') or Path(path)
    try:
        settings = _settings(place if place.is_dir() else place.parent)
        names = {word: _name(settings.get(key), usual[word]) for word, key in SPECIAL.items()}
        tokenizer = tokenizer_of(place, settings, names)
    except UserError:
        raise
    except Exception as error:  # `tokenizers` raises bare Exceptions
        raise UserError('path: the vocabulary in "{path}" cannot be read: {error}', path=path, error=error) from None
    there = tokenizer.get_vocab()
    for name in names.values():
        if name not in there:
            raise UserError(
                'path: "{path}" has no token "{token}", and a vocabulary of {kind} has one.{nearest}',
                path=path,
                token=name,
                kind=kind,
                nearest=nearest(name, there),
            )
    numbers = {word: there[name] for word, name in names.items()}
    return tokenizer, {'vocabulary': max(there.values()) + 1, **numbers}


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / SETTINGS
    found = json.loads(file.read_text('utf-8')) if file.is_file() else {}
    return found if isinstance(found, dict) else {}


def _name(found: Any, usual: str) -> str:
    """Returns the name of a special token: published settings have it alone, or within a description."""
    found = found.get('content') if isinstance(found, dict) else found
    return found if isinstance(found, str) else usual

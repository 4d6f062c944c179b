"""A published byte-level vocabulary, given as files: GPT-2's, Llama 3's and their kin."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

from jaxlab import hub
from jaxlab.data.byte_level import ByteLevel, load
from jaxlab.data.documents import existing
from jaxlab.errors import UserError, nearest

__all__ = ['load', 'make']

PAIRS = (('encoder.json', 'vocab.bpe'), ('vocab.json', 'merges.txt'))  # OpenAI's names, Hugging Face's names


# What a model has read before every document, where the files do not say: GPT-2's, Llama 3's.
FIRST = ('<|endoftext|>', '<|begin_of_text|>')
FILES = ('tokenizer.json', 'vocab.json', 'merges.txt', 'encoder.json', 'vocab.bpe', 'tokenizer_config.json')


def make(documents: Callable[[], Iterable[str]], *, path: str = '', end_of_text: str = '') -> ByteLevel:
    """Reads a vocabulary.

    Special tokens keep their numbers, but text that spells their names is text like any other; a Unicode normalizer is
    left out, because what is encoded must come back as it was.

    Args:
      documents: not used; a published vocabulary has been learned already.
      path: a folder with encoder.json and vocab.bpe, or vocab.json and merges.txt, or tokenizer.json; or
        'hf:owner/name', a repository of the hub.
      end_of_text: the name of the token that stands before every document; '': the one that the published model has
        read there (its bos_token), or <|endoftext|>.

    Raises:
      UserError: the files are absent or no byte-level vocabulary, or hold no such token.
    """
    del documents
    if not path:
        raise UserError(
            'path is not set: give the folder of the vocabulary, with encoder.json and vocab.bpe (or tokenizer.json).'
        )
    folder = of_hub(path) if hub.is_of_hub(path) else existing(path, 'path') or Path(path)
    try:
        tokenizer = read(folder)
    except UserError:
        raise
    except Exception as error:  # `tokenizers` raises bare Exceptions
        raise UserError('path: the vocabulary in "{path}" cannot be read: {error}', path=path, error=error) from None
    names = tokenizer.get_vocab()
    end_of_text = end_of_text or first_of(folder) or next((name for name in FIRST if name in names), FIRST[0])
    if end_of_text not in names:
        raise UserError(
            'end_of_text="{token}" is no token of "{path}".{nearest}',
            token=end_of_text,
            path=path,
            nearest=nearest(end_of_text, names),
        )
    return ByteLevel(tokenizer, vocabulary=max(names.values()) + 1, end_of_text=names[end_of_text])


def of_hub(source: str) -> Path:
    """Returns the folder in which the files of a vocabulary of the hub now lie.

    Raises:
      UserError: it has none, or cannot be reached.
    """
    found = [file for name in FILES if (file := hub.fetch(source, name))]
    if not found:
        raise UserError('path: "{source}" has no vocabulary: no {names}.', source=source, names=', '.join(FILES[:3]))
    return found[0].parent


def first_of(folder: Path) -> str:
    """Returns the name of the token that tokenizer_config.json puts before every text; '' where it names none."""
    try:
        found = json.loads((folder / 'tokenizer_config.json').read_text('utf-8'))['bos_token']
        return found['content'] if isinstance(found, dict) else found or ''
    except (OSError, ValueError, KeyError, TypeError):
        return ''


def read(folder: Path) -> Tokenizer:
    """Returns the tokenizer whose files lie in a folder."""
    for vocabulary, merges in PAIRS:
        if (folder / vocabulary).is_file() and (folder / merges).is_file():
            model = models.BPE.from_file(str(folder / vocabulary), str(folder / merges))
            tokenizer = Tokenizer(model)
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
            return tokenizer
    file = folder / 'tokenizer.json'
    if not file.is_file():
        raise UserError(
            'path: "{folder}" holds neither encoder.json and vocab.bpe, nor vocab.json and merges.txt, '
            'nor tokenizer.json.',
            folder=folder,
        )
    content = json.loads(file.read_text(encoding='utf-8'))
    if content['model'].get('byte_fallback'):
        raise UserError(
            'path: "{file}" is a vocabulary like that of Llama 2, which does not give every text back as it was (it'
            ' writes spaces as ▁ and puts one before the text); byte-level ones are read: those of GPT-2 and Llama 3.',
            file=file,
        )
    if content['model']['type'] != 'BPE' or 'ByteLevel' not in json.dumps(content['pre_tokenizer']):
        raise UserError('path: "{file}" is no byte-level vocabulary (byte-pair encoding over bytes).', file=file)
    return Tokenizer.from_str(json.dumps(content | {'normalizer': None}))

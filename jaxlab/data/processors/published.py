"""A published vocabulary, given as files: byte-level ones (GPT-2's, Llama 3's and their kin), and Llama 2's."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers

from jaxlab import hub
from jaxlab.data import byte_fallback, byte_level
from jaxlab.data.byte_fallback import ByteFallback
from jaxlab.data.byte_level import ByteLevel
from jaxlab.data.documents import existing
from jaxlab.data.vocabulary_files import SETTINGS, fetched
from jaxlab.errors import UserError, nearest

__all__ = ['load', 'make']

READS = 'texts'
SENTENCEPIECE = 'tokenizer.model'
PAIRS = (('encoder.json', 'vocab.bpe'), ('vocab.json', 'merges.txt'))  # OpenAI's names, Hugging Face's names


# What a model has read before every document, where the files do not say: GPT-2's, Llama 3's, Llama 2's.
FIRST = ('<|endoftext|>', '<|begin_of_text|>', '<s>')
FILES = ('tokenizer.json', 'vocab.json', 'merges.txt', 'encoder.json', 'vocab.bpe', SENTENCEPIECE, SETTINGS)


def make(documents: Callable[[], Iterable[str]], *, path: str = '', end_of_text: str = '') -> ByteLevel | ByteFallback:
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
    folder = fetched(path, FILES) if hub.is_of_hub(path) else existing(path, 'path') or Path(path)
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
    kind = ByteFallback if is_fallback(json.loads(tokenizer.to_str())) else ByteLevel
    return kind(tokenizer, vocabulary=max(names.values()) + 1, end_of_text=names[end_of_text])


def load(folder: Path) -> ByteLevel | ByteFallback:
    """Returns what `save` of either wrote.

    Raises:
      ValueError, OSError: there is none, or it holds something else.
    """
    content = json.loads((folder / 'tokenizer.json').read_text('utf-8'))
    return (byte_fallback if is_fallback(content) else byte_level).load(folder)


def is_fallback(content: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json is one of characters, which writes others as bytes."""
    return bool(content['model'].get('byte_fallback'))


def first_of(folder: Path) -> str:
    """Returns the name of the token that tokenizer_config.json puts before every text; '' where it names none."""
    try:
        found = json.loads((folder / SETTINGS).read_text('utf-8'))['bos_token']
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
    if not file.is_file() and (folder / SENTENCEPIECE).is_file():
        raise UserError(
            'path: "{folder}" has its words in tokenizer.model alone, which is not read; put the tokenizer.json of the'
            ' same model beside it (transformers writes one: AutoTokenizer.from_pretrained("{folder}")'
            '.save_pretrained("{folder}")).',
            folder=folder,
        )
    if not file.is_file():
        raise UserError(
            'path: "{folder}" holds neither encoder.json and vocab.bpe, nor vocab.json and merges.txt, '
            'nor tokenizer.json.',
            folder=folder,
        )
    content = json.loads(file.read_text(encoding='utf-8'))
    if is_fallback(content):
        if byte_fallback.without_lead(content) is None:
            raise UserError(
                'path: "{file}" does not give every text back as it was: with characters for tokens, spaces are wanted'
                ' as ▁, with one before the text, as Llama 2 has them.',
                file=file,
            )
        return Tokenizer.from_str(json.dumps(content))
    if content['model']['type'] != 'BPE' or 'ByteLevel' not in json.dumps(content['pre_tokenizer']):
        raise UserError('path: "{file}" is no byte-level vocabulary (byte-pair encoding over bytes).', file=file)
    return Tokenizer.from_str(json.dumps(content | {'normalizer': None}))

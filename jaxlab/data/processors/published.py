"""A published byte-level vocabulary, given as files: GPT-2's, Llama 3's and their kin."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

from jaxlab.data.byte_level import ByteLevel, load
from jaxlab.data.documents import existing
from jaxlab.errors import UserError, nearest

__all__ = ['load', 'make']

PAIRS = (('encoder.json', 'vocab.bpe'), ('vocab.json', 'merges.txt'))  # OpenAI's names, Hugging Face's names


def make(documents: Callable[[], Iterable[str]], *, path: str = '', end_of_text: str = '<|endoftext|>') -> ByteLevel:
    """Reads a vocabulary.

    Special tokens keep their numbers, but text that spells their names is text like any other; a Unicode normalizer is
    left out, because what is encoded must come back as it was.

    Args:
      documents: not used; a published vocabulary has been learned already.
      path: a folder with encoder.json and vocab.bpe, or vocab.json and merges.txt, or tokenizer.json.
      end_of_text: the name of the token that separates documents.

    Raises:
      UserError: the files are absent or no byte-level vocabulary, or hold no such token.
    """
    del documents
    if not path:
        raise UserError(
            'path is not set: give the folder of the vocabulary, with encoder.json and vocab.bpe (or tokenizer.json).'
        )
    folder = existing(path, 'path') or Path(path)
    try:
        tokenizer = read(folder)
    except UserError:
        raise
    except Exception as error:  # `tokenizers` raises bare Exceptions
        raise UserError('path: the vocabulary in "{path}" cannot be read: {error}', path=path, error=error) from None
    names = tokenizer.get_vocab()
    if end_of_text not in names:
        raise UserError(
            'end_of_text="{token}" is no token of "{path}".{nearest}',
            token=end_of_text,
            path=path,
            nearest=nearest(end_of_text, names),
        )
    return ByteLevel(tokenizer, vocabulary=max(names.values()) + 1, end_of_text=names[end_of_text])


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
    if content['model']['type'] != 'BPE' or 'ByteLevel' not in json.dumps(content['pre_tokenizer']):
        raise UserError('path: "{file}" is no byte-level vocabulary (byte-pair encoding over bytes).', file=file)
    return Tokenizer.from_str(json.dumps(content | {'normalizer': None}))

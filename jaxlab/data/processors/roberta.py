"""RoBERTa's words: byte-level pairs as GPT-2's, with special tokens around a text or two (Liu et al. 2019).

The vocabulary is learned from the training part, or a published one: a folder with vocab.json and merges.txt, or with
tokenizer.json, as RoBERTa and DistilRoBERTa have them.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, pre_tokenizers, processors

from jaxlab.data import vocabulary_files
from jaxlab.data.encoder_tokens import RoBERTa, load
from jaxlab.data.processors import bpe, published
from jaxlab.errors import UserError

__all__ = ['load', 'make']

READS = 'texts'


# Its special tokens, by our words for them, as RoBERTa names them.
NAMES = {
    'first': '<s>',
    'padding': '<pad>',
    'separator': '</s>',
    'unknown': '<unk>',
    'masked': '<mask>',
}


def make(
    documents: Callable[[], Iterable[str]],
    *,
    vocabulary: int = 8192,
    path: str = '',
    add_prefix_space: bool = False,
    sample_bytes: int = 64_000_000,
) -> RoBERTa:
    """Learns a vocabulary, or reads a published one.

    Args:
      documents: reads the text to learn from, in pieces.
      vocabulary: how many tokens are learned, special ones included; of a published vocabulary all are taken. A very
        small corpus yields fewer.
      path: a folder with vocab.json and merges.txt, or with tokenizer.json, or 'hf:owner/name' of the hub; '': learn.
      add_prefix_space: whether the first word of a text is as one after a space. A published tokenizer.json or
        tokenizer_config.json says it itself.
      sample_bytes: learn from an even sample of about this much text, where there is more.

    Raises:
      UserError: an argument is out of range, the files are absent or no byte-level vocabulary, or a special token is
        not in it.
    """
    if path:
        tokenizer, numbers = vocabulary_files.read(path, 'roberta', NAMES, _reader(path, add_prefix_space))
        names = {word: tokenizer.id_to_token(number) for word, number in numbers.items() if word in NAMES}
        return _with_offsets(tokenizer, names, numbers)
    tokenizer = bpe.learn(documents, vocabulary, sample_bytes, tuple(NAMES.values()))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)  # type: ignore[assignment]
    there = tokenizer.get_vocab()
    numbers = {'vocabulary': len(there), **{word: there[name] for word, name in NAMES.items()}}
    return _with_offsets(tokenizer, NAMES, numbers)


def _with_offsets(tokenizer: Tokenizer, names: Mapping[str, Any], numbers: Mapping[str, int]) -> RoBERTa:
    """Returns the processor; the space before a word is none of the characters that its token stands for."""
    separator, first = ((names[word], numbers[word]) for word in ('separator', 'first'))
    space = bool(json.loads(tokenizer.to_str())['pre_tokenizer']['add_prefix_space'])
    tokenizer.post_processor = processors.RobertaProcessing(  # type: ignore[assignment]
        separator, first, trim_offsets=True, add_prefix_space=space
    )
    return RoBERTa(tokenizer, **numbers)


def _reader(path: str, add_prefix_space: bool) -> Callable[[Path, Mapping[str, Any], Mapping[str, str]], Tokenizer]:
    def tokenizer_of(place: Path, settings: Mapping[str, Any], names: Mapping[str, str]) -> Tokenizer:
        folder = place.parent if place.is_file() else place
        tokenizer = published.read(folder)
        content = json.loads(tokenizer.to_str())
        split = content['pre_tokenizer']
        if not split or split['type'] != 'ByteLevel' or not split.get('use_regex', True):
            raise UserError('path: "{path}" cuts texts into words in a way of its own, and not as RoBERTa.', path=path)
        space = settings.get('add_prefix_space', split['add_prefix_space'] or add_prefix_space)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(space))  # type: ignore[assignment]
        return tokenizer

    return tokenizer_of

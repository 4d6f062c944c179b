"""Byte-pair tokens over characters, where what is not in the vocabulary is written as bytes: Llama 2's, as it was made
by sentencepiece. The processor behind `processors/published.py` for such files.

A space is written ▁, and one is put before every text, so that its first word is as any other.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from jaxlab.data.decoder_tokens import DecoderTokens, described, ids_of
from jaxlab.data.processors import read_numbers

SPACE = '▁'


class ByteFallback(DecoderTokens):
    """Byte-pair tokens over characters. A text that has the character ▁ does not come back as it was: it is taken for a
    space."""

    @property
    def lead(self) -> int:
        return 1

    @cached_property
    def _further(self) -> Tokenizer:
        """The tokenizer of what is no beginning of a text: no space is put before it."""
        found = Tokenizer.from_str(json.dumps(without_lead(json.loads(self.tokenizer.to_str()))))
        found.encode_special_tokens = True
        return found

    @cached_property
    def pieces(self) -> list[bytes]:
        pieces = [b''] * self.vocabulary
        added = self.tokenizer.get_added_tokens_decoder()
        for token, id in self.tokenizer.get_vocab().items():
            if id == self.end_of_text or (id in added and added[id].special):
                continue
            is_byte = len(token) == 6 and token.startswith('<0x') and token.endswith('>')
            pieces[id] = bytes([int(token[3:5], 16)]) if is_byte else token.replace(SPACE, ' ').encode()
        return pieces

    def encode_pieces(self, texts: Sequence[str], begins: Sequence[bool]) -> list[np.ndarray]:
        found = [np.zeros(0, np.int32)] * len(texts)
        for tokenizer, wanted in ((self.tokenizer, True), (self._further, False)):
            numbers = [number for number, begin in enumerate(begins) if bool(begin) == wanted]
            some = ids_of(tokenizer, [texts[number] for number in numbers])
            for number, ids in zip(numbers, some, strict=True):
                found[number] = ids
        return found

    def published(self, length: int) -> dict[str, bytes]:
        name = self.tokenizer.id_to_token(self.end_of_text)
        assert name is not None, f'token {self.end_of_text} of {self.tokenizer.get_vocab_size()}'
        return {
            'tokenizer.json': self.tokenizer.to_str(pretty=True).encode(),
            'tokenizer_config.json': described(name, length),
        }


def without_lead(content: dict[str, Any]) -> dict[str, Any] | None:
    """Returns a tokenizer.json of this kind as it is, but that nothing is put before a text; None where it is of
    another kind. A file has it in one of two ways: that of Llama 2, or that of transformers since 5.0."""
    normalizer, split = content.get('normalizer'), content.get('pre_tokenizer')
    if split is None and normalizer and normalizer.get('type') == 'Sequence':
        prepend, *others = normalizer['normalizers']
        is_space = {'type': 'Replace', 'pattern': {'String': ' '}, 'content': SPACE}
        if prepend == {'type': 'Prepend', 'prepend': SPACE} and others == [is_space]:
            return content | {'normalizer': is_space}
    if normalizer is None and split and split['type'] == 'Metaspace':
        is_one_word = split['replacement'] == SPACE and not split.get('split', True)
        if is_one_word and split.get('prepend_scheme') in ('first', 'always'):
            return content | {'pre_tokenizer': split | {'prepend_scheme': 'never'}}
    return None


def load(folder: Path) -> ByteFallback:
    """Returns what `ByteFallback.save` wrote.

    Raises:
      ValueError, OSError: there is none, or it holds something else.
    """
    numbers = read_numbers(folder)
    content = json.loads((folder / 'tokenizer.json').read_text('utf-8'))
    tokenizer = Tokenizer.from_str(json.dumps(content))
    known = set(tokenizer.get_vocab().values())
    if numbers['vocabulary'] != max(known) + 1 or numbers['end_of_text'] not in known or not without_lead(content):
        raise ValueError('processor.json')
    return ByteFallback(tokenizer, **numbers)

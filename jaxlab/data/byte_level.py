"""Byte-level byte-pair encoding: the processor behind `processors/bpe.py` and `processors/published.py`."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, pre_tokenizers

from jaxlab.data.decoder_tokens import DecoderTokens, described, ids_of
from jaxlab.data.processors import read_numbers


def byte_of_character() -> dict[str, int]:
    """Returns the table by which byte-level vocabularies write bytes as printable characters.

    A byte that is a printable character of Latin-1 is written as that; the others, in order, as U+0100, U+0101, …
    (Radford et al., "Language models are unsupervised multitask learners", 2019: their `encoder.py`.)
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    table = {character: ord(character) for character in alphabet if ord(character) < 256}
    others = sorted(set(range(256)) - set(table.values()))
    return table | dict(zip(alphabet[len(table) :], others, strict=True))


def bytes_of(tokenizer: Tokenizer, vocabulary: int, special: set[int]) -> list[bytes]:
    """Returns the bytes of every token of a byte-level vocabulary: b'' for the special ones, those given among them."""
    table = byte_of_character()
    pieces = [b''] * vocabulary
    added = tokenizer.get_added_tokens_decoder()
    for token, id in tokenizer.get_vocab().items():
        if id in special:
            continue
        if id in added:
            pieces[id] = b'' if added[id].special else token.encode()
        elif all(character in table for character in token):
            pieces[id] = bytes(table[character] for character in token)
    return pieces


class ByteLevel(DecoderTokens):
    """Byte-pair tokens over bytes."""

    @property
    def lead(self) -> int:
        return 0

    @cached_property
    def pieces(self) -> list[bytes]:
        return bytes_of(self.tokenizer, self.vocabulary, {self.end_of_text})

    def encode_pieces(self, texts: Sequence[str], begins: Sequence[bool]) -> list[np.ndarray]:
        return ids_of(self.tokenizer, texts)

    def published(self, length: int) -> dict[str, bytes]:
        return published(self.tokenizer, self.end_of_text, length)


def published(tokenizer: Tokenizer, end_of_text: int, length: int) -> dict[str, bytes]:
    """Returns tokenizer.json and tokenizer_config.json; where no token ends a text, <|endoftext|> behind the last."""
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    if tokenizer.id_to_token(end_of_text) is None:
        tokenizer.add_special_tokens([END])
    name = tokenizer.id_to_token(end_of_text)
    assert name is not None, f'token {end_of_text} of {tokenizer.get_vocab_size()}'
    tokenizer.add_special_tokens([name])  # one that was a token of the vocabulary alone is special from now on
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    return {
        'tokenizer.json': tokenizer.to_str(pretty=True).encode(),
        'tokenizer_config.json': described(name, length),
    }


END = '<|endoftext|>'


def load(folder: Path) -> ByteLevel:
    """Returns what `ByteLevel.save` wrote."""
    numbers = read_numbers(folder)
    tokenizer = Tokenizer.from_buffer((folder / 'tokenizer.json').read_bytes())
    # Learned, the end of text stands behind the last token; published, it is one of them.
    if not 0 <= numbers['vocabulary'] - 1 - max(tokenizer.get_vocab().values()) <= 1:
        raise ValueError('processor.json')
    return ByteLevel(tokenizer, **numbers)

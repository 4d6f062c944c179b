"""Text <-> tokens for models that write: what `byte_level.py` and `byte_fallback.py` share."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from jaxlab.data.processors import save_assets


@dataclass(frozen=True)
class DecoderTokens(ABC):
    """Text <-> tokens without loss. See TextProcessor for the methods.

    Attributes:
      tokenizer: of the `tokenizers` library.
      vocabulary: how many tokens there are, end_of_text and published special tokens included.
      end_of_text: which of them begins every document.
    """

    tokenizer: Tokenizer
    vocabulary: int
    end_of_text: int

    def __post_init__(self) -> None:
        # Text that spells the name of a special token, "<|endoftext|>", is text. A tokenizer's file does not keep this.
        self.tokenizer.encode_special_tokens = True

    @property
    @abstractmethod
    def lead(self) -> int: ...

    @property
    @abstractmethod
    def pieces(self) -> list[bytes]:
        """The bytes of every token: b'' for special tokens, which no text makes."""

    @abstractmethod
    def encode_pieces(self, texts: Sequence[str], begins: Sequence[bool]) -> list[np.ndarray]: ...

    @abstractmethod
    def published(self, length: int) -> dict[str, bytes]:
        """Returns the files by which transformers makes this tokenizer, for texts of up to `length` tokens."""

    @cached_property
    def token_bytes(self) -> np.ndarray:
        return np.array([len(piece) for piece in self.pieces], np.int32)

    def encode(self, text: str) -> np.ndarray:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        return self.encode_pieces(texts, [True] * len(texts))

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return b''.join(self.pieces[id] for id in ids if id < self.vocabulary)  # a model's table may have more rows

    def decode(self, ids: Iterable[int]) -> str:
        return self.decode_bytes(ids).decode(errors='replace')

    def assets(self) -> dict[str, bytes]:
        numbers = {'vocabulary': self.vocabulary, 'end_of_text': self.end_of_text}
        return {'tokenizer.json': self.tokenizer.to_str().encode(), 'processor.json': json.dumps(numbers).encode()}

    def save(self, folder: Path) -> None:
        save_assets(self.assets(), folder)


def ids_of(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Returns the tokens of every text, int32 [t] each, without special ones around them."""
    encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [np.array(encoding.ids, np.int32) for encoding in encodings]


def described(name: str, length: int) -> bytes:
    """Returns a tokenizer_config.json: one special token, whose name is given, stands around texts."""
    about = {
        'tokenizer_class': 'PreTrainedTokenizerFast',
        'bos_token': name,
        'eos_token': name,
        'unk_token': name,
        'model_max_length': length,
        'clean_up_tokenization_spaces': False,
    }
    return (json.dumps(about, indent=2) + '\n').encode()

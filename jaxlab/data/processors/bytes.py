"""Plain bytes: a token a byte, nothing to learn, 257 tokens."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from jaxlab.data.processors import read_numbers, save_assets

READS = 'texts'


@dataclass(frozen=True)
class Bytes:
    """The bytes of the text (UTF-8) are the tokens; 256 is the end of a text. See TextProcessor for the methods."""

    vocabulary: int = 257
    end_of_text: int = 256

    @property
    def lead(self) -> int:
        return 0

    @property
    def token_bytes(self) -> np.ndarray:
        return (np.arange(self.vocabulary) != self.end_of_text).astype(np.int32)

    def encode(self, text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32)

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self.encode(text) for text in texts]

    def encode_pieces(self, texts: Sequence[str], begins: Sequence[bool]) -> list[np.ndarray]:
        return self.encode_batch(texts)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        return bytes(int(id) for id in ids if id != self.end_of_text)

    def decode(self, ids: Iterable[int]) -> str:
        return self.decode_bytes(ids).decode(errors='replace')

    def assets(self) -> dict[str, bytes]:
        return {'processor.json': json.dumps(asdict(self)).encode()}

    def save(self, folder: Path) -> None:
        save_assets(self.assets(), folder)

    def published(self, length: int) -> dict[str, bytes]:
        """Returns the files by which transformers makes this tokenizer, for texts of up to `length` tokens."""
        from tokenizers import Tokenizer, models, pre_tokenizers

        from jaxlab.data.byte_level import byte_of_character, published

        tokenizer = Tokenizer(models.BPE(vocab=byte_of_character(), merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
        return published(tokenizer, self.end_of_text, length)


def make(documents: Callable[[], Iterable[str]]) -> Bytes:
    """Returns the processor; the documents do not matter."""
    del documents
    return Bytes()


def load(folder: Path) -> Bytes:
    """Returns what `Bytes.save` wrote."""
    found = Bytes(**read_numbers(folder))
    if found != Bytes():
        raise ValueError('processor.json')
    return found

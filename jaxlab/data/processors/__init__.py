"""Processors: raw <-> model. One file a processor, with `make(…)`, `load(folder)` and READS: 'texts', 'pictures', …"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from ml_collections import ConfigDict

from jaxlab.config import module
from jaxlab.errors import UserError
from jaxlab.messages import say


class TextProcessor(Protocol):
    """Text <-> tokens, without loss: the bytes of the tokens, joined, are the bytes of the text, behind `lead` spaces.

    Implementations are frozen dataclasses. `encode` never makes the end-of-text token, whatever the text contains.
    """

    @property
    def vocabulary(self) -> int:
        """How many tokens there are: every token is in 0..vocabulary-1."""
        ...

    @property
    def end_of_text(self) -> int:
        """The token that stands before every document, and so also after it."""
        ...

    @property
    def token_bytes(self) -> np.ndarray:
        """int32 [vocabulary]: how many bytes of text each token stands for; 0 for end_of_text."""
        ...

    @property
    def lead(self) -> int:
        """How many spaces the tokens of a text begin with that are none of the text."""
        ...

    def encode(self, text: str) -> np.ndarray:
        """Returns the tokens of `text`, int32 [t]."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Returns the tokens of every text: `[encode(text) for text in texts]`, faster."""
        ...

    def encode_pieces(self, texts: Sequence[str], begins: Sequence[bool]) -> list[np.ndarray]:
        """Returns the tokens of pieces of texts, of which some `begins` one, and the others go on with one."""
        ...

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Returns the bytes the tokens stand for; they may begin or end inside a character."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text the tokens stand for, with U+FFFD where their bytes are no UTF-8."""
        ...

    def assets(self) -> Mapping[str, bytes]:
        """Returns the files it consists of: their names and what is in them."""
        ...

    def published(self, length: int) -> Mapping[str, bytes]:
        """Returns the files by which transformers makes this tokenizer, for texts of up to `length` tokens."""
        ...

    def save(self, folder: Path) -> None:
        """Writes the assets to a folder, where `load(folder)` of the same module reads them."""
        ...


def check_reads(node: ConfigDict, wanted: str) -> None:
    """Sees that a config's processor is one for such data: 'texts', 'pictures' or 'tables'.

    Raises:
      UserError: it is for others.
    """
    reads = getattr(module('data.processors', node.name), 'READS', wanted)  # a user's own need not say it
    if reads != wanted:
        words = {'texts': say('texts'), 'pictures': say('pictures'), 'tables': say('tables')}
        raise UserError(
            'config.data.processor.name={name} is for {reads}, and these data are {wanted}.',
            name=node.name,
            reads=words[reads],
            wanted=words[wanted],
        )


def read_numbers(folder: Path) -> dict[str, int]:
    """Returns {'vocabulary', 'end_of_text'} of the processor.json in a folder.

    Raises:
      ValueError, OSError: there is none, or it holds something else.
    """
    found = json.loads((folder / 'processor.json').read_text('utf-8'))
    if not isinstance(found, dict) or set(found) != {'vocabulary', 'end_of_text'}:
        raise ValueError('processor.json')
    if not all(type(number) is int for number in found.values()) or not 0 <= found['end_of_text'] < found['vocabulary']:
        raise ValueError('processor.json')
    return found


def save_assets(assets: Mapping[str, bytes], folder: Path) -> None:
    """Writes files into a folder, which is made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in assets.items():
        (folder / name).write_bytes(content)

"""Byte-pair tokens learned from the training part (Sennrich et al., 2016, over bytes as in GPT-2)."""

from collections.abc import Callable, Iterable, Sequence

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from jaxlab.data.byte_level import ByteLevel, load
from jaxlab.errors import UserError
from jaxlab.messages import say

__all__ = ['load', 'make']


READS = 'texts'


def make(
    documents: Callable[[], Iterable[str]], *, vocabulary: int = 2048, sample_bytes: int = 64_000_000
) -> ByteLevel:
    """Learns a vocabulary.

    Nothing is unknown and nothing is lost: all 256 bytes are tokens, pairs are merged within words as GPT-2 splits
    them, and the last token is the end of text. A very small corpus yields fewer tokens than asked for.

    Args:
      documents: reads the text to learn from, in pieces.
      vocabulary: how many tokens, end of text included.
      sample_bytes: learn from an even sample of about this much text, where there is more.

    Raises:
      UserError: an argument is out of range.
    """
    tokenizer = learn(documents, vocabulary, sample_bytes, beside=1)
    # End of text stands outside the tokenizer, behind its last token: text that spells its name cannot make it.
    learned = tokenizer.get_vocab_size()
    return ByteLevel(tokenizer, vocabulary=learned + 1, end_of_text=learned)


def learn(
    documents: Callable[[], Iterable[str]],
    vocabulary: int,
    sample_bytes: int,
    special: Sequence[str] = (),
    beside: int = 0,
) -> Tokenizer:
    """Returns byte-level pairs learned from documents.

    Args:
      documents: reads the text to learn from, in pieces.
      vocabulary: how many tokens there will be at most, special ones included.
      sample_bytes: learn from an even sample of about this much text, where there is more.
      special: names of tokens that stand before all others.
      beside: how many special tokens the tokenizer will not know of.

    Raises:
      UserError: an argument is out of range.
    """
    if vocabulary < (least := 256 + len(special) + beside):
        raise UserError(
            'vocabulary={vocabulary}: a byte-level vocabulary has at least {least} tokens.',
            vocabulary=vocabulary,
            least=least,
        )
    if sample_bytes < 1:
        raise UserError('sample_bytes={value}: must be positive.', value=sample_bytes)
    texts = even_sample(documents(), sample_bytes)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    learning = say('learning {tokens:,} tokens from {megabytes:.1f} MB of text', tokens=vocabulary, megabytes=megabytes)
    print(learning, flush=True)

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - beside,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def even_sample(texts: Iterable[str], size: int) -> list[str]:
    """Returns texts of at most `size` bytes, and of about half that at least where there is so much, evenly spread."""
    kept: list[str] = []
    every, total = 1, 0
    for number, text in enumerate(texts):
        if number % every == 0:
            kept.append(text)
            total += len(text.encode())
        while total > size and len(kept) > 1:  # too much: keep every second one of these, and of those to come
            kept, every = kept[::2], every * 2
            total = sum(len(text.encode()) for text in kept)
    return kept

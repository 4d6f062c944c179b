"""Answers that are pieces of a text: where they stand, and how good one is, as SQuAD counts it (Rajpurkar 2016)."""

import re
import string
from collections import Counter
from collections.abc import Iterable

PUNCTUATION = str.maketrans('', '', string.punctuation)
ARTICLES = re.compile(r'\b(a|an|the)\b')


def normalised(answer: str) -> str:
    """Returns an answer as it is compared: no capitals, no punctuation (of ASCII), no articles, single spaces."""
    return ' '.join(ARTICLES.sub(' ', answer.lower().translate(PUNCTUATION)).split())


def exact_match(said: str, right: Iterable[str]) -> float:
    """Returns 1.0 where an answer is one of those that are right, and else 0.0."""
    return float(any(normalised(said) == normalised(one) for one in right))


def f1(said: str, right: Iterable[str]) -> float:
    """Returns the largest F1 of the words of an answer against those that are right."""
    return max((_f1(normalised(said).split(), normalised(one).split()) for one in right), default=0.0)


def _f1(said: list[str], right: list[str]) -> float:
    same = sum((Counter(said) & Counter(right)).values())
    return 2 * same / (len(said) + len(right)) if same else 0.0


def place(context: str, answer: str, begin: int) -> int:
    """Returns where an answer begins in its context: at `begin`, or where it stands nearest to that; -1: nowhere."""
    if not answer:
        return -1
    if context.startswith(answer, begin):
        return begin
    found = [match.start() for match in re.finditer(re.escape(answer), context)]
    return min(found, key=lambda one: abs(one - begin), default=-1)

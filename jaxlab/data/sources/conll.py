"""Words with tags of your own, in files as CoNLL's tasks have them: a line a word, an empty line after a sentence.

EU NNP B-NP B-ORG
rejects VBZ B-VP O
"""

from jaxlab.data import sentences
from jaxlab.data.fingerprints import of_files
from jaxlab.data.records import tolerance
from jaxlab.data.sentences import Sentences
from jaxlab.data.sources.csv import found
from jaxlab.errors import UserError
from jaxlab.trust.secrets import hidden


def make(
    *,
    path: str = '',
    validation_path: str = '',
    test_path: str = '',
    word: int = 0,
    tag: int = -1,
    divide: bool = True,
    bad: str = 'raise',
    bad_rate: float = 0.01,
) -> Sentences:
    """Returns the sentences of files.

    Args:
      path: the file of the training part.
      validation_path: that of the validation part; '': none.
      test_path: that of the test part; '': none.
      word: the column of the words, from 0 (of CoNLL-U 1).
      tag: that of their tags; -1: the last one.
      divide: whether a tenth of `path` is the validation part and another the test part, by the sha256 of the words,
        where neither has a file.
      bad: what becomes of sentences with a line of too few columns: 'raise' (the first is an error) or 'skip'.
      bad_rate: the share of a file's sentences that may be left out; more is an error.

    Raises:
      UserError: a file is missing or is something else, or a part has tags that the training part has not.
      BadRecord: a line has too few columns.
    """
    tolerated = tolerance(bad, bad_rate)
    if not path:
        raise UserError('path is not set: give a file with a word and its tag a line.')
    if word < 0 or tag < -1:
        raise UserError(
            'word={word}, tag={tag}: columns are counted from 0, and -1 is the last one.', word=word, tag=tag
        )
    given = {
        'train': ('path', path),
        'validation': ('validation_path', validation_path),
        'test': ('test_path', test_path),
    }
    files = {part: found(key, file) for part, (key, file) in given.items() if file}
    parts = {part: sentences.read(file, word, tag, tolerated) for part, file in files.items()}
    name = f'"{hidden(path)}"'
    if divide and len(parts) == 1:
        parts = sentences.divided(parts['train'])
        if 'train' not in parts:
            raise UserError('"{path}" has too few texts to divide: config.data.source.divide=false.', path=path)
    return Sentences(name, parts, sentences.labels_of(name, parts), of_files(name, files, word, tag, divide))

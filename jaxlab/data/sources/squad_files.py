"""Questions of your own, in files as SQuAD v1.1 has them: SQuAD, XQuAD, DRCD, CMRC 2018 and others."""

from jaxlab.data import questions
from jaxlab.data.fingerprints import of_files
from jaxlab.data.questions import Questions
from jaxlab.data.sources.csv import found
from jaxlab.errors import UserError
from jaxlab.trust.secrets import hidden


def make(*, path: str = '', validation_path: str = '', test_path: str = '', divide: bool = True) -> Questions:
    """Returns the questions of files.

    Args:
      path: the file of the training part.
      validation_path: that of the validation part; '': none.
      test_path: that of the test part; '': none.
      divide: whether a tenth of the texts of `path` are the validation part and another the test part, by their sha256,
        where neither has a file.

    Raises:
      UserError: a file is missing, or is something else.
    """
    if not path:
        raise UserError('path is not set: give a .json file of questions, as SQuAD has them.')
    given = {
        'train': ('path', path),
        'validation': ('validation_path', validation_path),
        'test': ('test_path', test_path),
    }
    files = {part: found(key, file) for part, (key, file) in given.items() if file}
    read = {part: questions.read(file) for part, file in files.items()}
    parts = {part: some for part, (some, _) in read.items()}
    if divide and len(parts) == 1:
        parts = questions.divided(parts['train'])
        if 'train' not in parts:
            raise UserError('"{path}" has too few texts to divide: config.data.source.divide=false.', path=path)
    name = f'"{hidden(path)}"'
    return Questions(name, parts, of_files(name, files, divide), sum(without for _, without in read.values()))

"""The report of a run, made from its workdir alone: report.html, one file that holds everything it shows.

record.py                          what a workdir says
fit.py                             is it over-fitting?
pictures.py                        curves, by matplotlib
words.py                           every sentence, in both languages
learning.py, facts.py, page.py     the page of one run
evaluation.py, assessment.py       what the verb `evaluate` found of a classification
comparison.py                      the page of several
html.py, document.py, page.css, page.js
"""

from collections.abc import Sequence
from pathlib import Path

from jaxlab.report.record import NothingYet, Record, find, read
from jaxlab.trust import place as places


def write(folders: Sequence[Path], output: Path | None = None, reload: float = 0) -> Path:
    """Writes the report of a run, or the comparison of several; returns where.

    Args:
      folders: workdirs, or folders of workdirs.
      output: where to; default: see `place`.
      reload: seconds after which the page loads itself again; 0: never.

    Raises:
      UserError: there is no run, or nothing measured yet, or the page cannot be written.
    """
    from jaxlab.errors import UserError
    from jaxlab.report.comparison import comparison
    from jaxlab.report.page import page

    found = everything(folders)
    records = _read(found)
    file = output or place(found)
    text = page(records[0], reload) if len(found) == 1 else comparison(records, reload)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        places.write(file, text)
    except OSError as error:
        raise UserError('--output={file}: {error}.', file=file, error=error.strerror or error) from None
    return file


def everything(folders: Sequence[Path]) -> list[Path]:
    """Returns the workdirs among `folders` and in them, each once; UserError where there is none."""
    return list(dict.fromkeys(workdir for folder in folders for workdir in find(folder)))


def place(found: Sequence[Path]) -> Path:
    """Returns where a page goes: into the workdir; of several, into the folder that holds them all, or else runs/."""
    parents = {places.whole(workdir).parent for workdir in found}
    if len(found) == 1:
        return found[0] / 'report.html'
    return (found[0].parent if len(parents) == 1 else Path('runs')) / 'report.html'


def inputs(found: Sequence[Path]) -> list[Path]:
    """Returns the files and folders that a page of these workdirs is made from."""
    names = ('metrics.jsonl', 'runs.json', 'config.json', 'samples', 'evaluations')
    return [workdir / name for workdir in found for name in names]


def _read(found: Sequence[Path]) -> list[Record]:
    """Reads them; of several, those of which nothing is measured yet are left out, unless that is all of them."""
    records, missing = [], None
    for workdir in found:
        try:
            records.append(read(workdir))
        except NothingYet as error:
            missing = error
    if missing and not records:
        raise missing
    return records

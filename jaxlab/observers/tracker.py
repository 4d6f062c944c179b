"""metrics.jsonl: one JSON object a line, {"step": 20, "train/loss": 2.5, …}; never two lines for one step and kind."""

from collections.abc import Mapping

from jaxlab.observers import Run, Sample
from jaxlab.trust.lines import Lines


class Tracker:
    """Appends every row; a resumed run first cuts the rows that lie after the step it resumes from, and its evaluation
    where that is still owed.

    Nothing is lost while the disk takes no rows, and no checkpoint counts before the rows up to it are written.
    """

    _lines: Lines

    def start(self, run: Run) -> None:
        self._lines = Lines(run.workdir / 'metrics.jsonl')
        self._lines.start(run.start, run.best.owed)
        run.kept.append(self._lines.flush)

    def row(self, step: int, row: Mapping[str, float]) -> None:
        self._lines.add(step, row)

    def sample(self, step: int, sample: Sample) -> None:
        pass

    def back(self, step: int) -> None:
        self._lines.back(step)

    def end(self, step: int) -> None:
        self._lines.end()

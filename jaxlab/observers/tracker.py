"""metrics.jsonl: one JSON object a line, {"step": 20, "train/loss": 2.5, …}; never two lines for one step and kind."""

import json
from collections.abc import Mapping
from typing import TextIO

from jaxlab import workdir
from jaxlab.observers import Run
from jaxlab.trust import faults


class Tracker:
    """Appends every row; a resumed run first cuts the rows that lie after the step it resumes from."""

    _file: TextIO

    def start(self, run: Run) -> None:
        self._path = run.workdir / 'metrics.jsonl'
        self._open(run.start)

    def row(self, step: int, row: Mapping[str, float]) -> None:
        faults.reach('log_flush', step)
        print(json.dumps({'step': step, **row}), file=self._file, flush=True)

    def sample(self, step: int, text: str) -> None:
        pass

    def back(self, step: int) -> None:
        self._file.close()
        self._open(step)

    def end(self, step: int) -> None:
        self._file.close()

    def _open(self, step: int) -> None:
        if self._path.exists():
            # A killed process may have logged steps that no checkpoint holds (they run again), and half of a last line.
            lines = self._path.read_text('utf-8').split('\n')[:-1]
            kept = [line for line in lines if json.loads(line)['step'] <= step]
            workdir.write(self._path, ''.join(f'{line}\n' for line in kept))
        self._file = self._path.open('a', encoding='utf-8')

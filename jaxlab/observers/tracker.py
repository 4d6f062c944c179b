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
        path = run.workdir / 'metrics.jsonl'
        if path.exists():
            # A killed process may have logged steps that no checkpoint holds (they run again), and half of a last line.
            lines = path.read_text('utf-8').split('\n')[:-1]
            kept = [line for line in lines if json.loads(line)['step'] <= run.start]
            workdir.write(path, ''.join(f'{line}\n' for line in kept))
        self._file = path.open('a', encoding='utf-8')

    def row(self, step: int, row: Mapping[str, float]) -> None:
        faults.reach('log_flush', step)
        print(json.dumps({'step': step, **row}), file=self._file, flush=True)

    def sample(self, step: int, text: str) -> None:
        pass

    def end(self, step: int) -> None:
        self._file.close()

"""report.html in the workdir: see `jaxlab.report`, which makes it from the workdir alone."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping

from jaxlab.messages import say
from jaxlab.observers import Run, Sample
from jaxlab.trust import faults, place
from jaxlab.trust.secrets import hidden

EVERY = 60.0  # seconds that a page stays fresh while the run goes on


class Report:
    """Writes the page at the end, and now and then at an evaluation.

    While the run goes on another process draws, at the lowest priority, and training does not wait for it. Whatever
    goes wrong with a page is one line on the screen, and never the end of a run.
    """

    def __init__(self, every: float = EVERY) -> None:
        self._every = every
        self._drawing: subprocess.Popen[bytes] | None = None

    def start(self, run: Run) -> None:
        self._workdir, self._page = run.workdir, run.workdir / 'report.html'
        self._began = time.time()

    def row(self, step: int, row: Mapping[str, float]) -> None:
        try:
            if any(name.startswith('eval/') for name in row) and self._is_due():
                self._draw()
        except OSError as error:
            _warn(error)

    def sample(self, step: int, sample: Sample) -> None:
        pass

    def back(self, step: int) -> None:
        pass  # the next page is made from what the workdir holds then

    def end(self, step: int) -> None:
        if self._drawing is not None:
            self._drawing.kill()  # what it draws is old already
            self._drawing.wait()
        try:
            from jaxlab import report

            faults.reach('report', step)
            report.write([self._workdir])
        except Exception as error:
            _warn(error)

    def _is_due(self) -> bool:
        if self._drawing is not None and self._drawing.poll() is None:
            return False
        # The page's own age: one that `report --watch` keeps fresh is left to it.
        written = place.modified(self._page) if self._page.exists() else 0.0
        return time.time() - max(written, self._began) >= self._every

    def _draw(self) -> None:
        command = [sys.executable, '-m', 'jaxlab.main', 'report', f'--workdir={self._workdir}']
        self._drawing = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        if hasattr(os, 'setpriority'):
            os.setpriority(os.PRIO_PROCESS, self._drawing.pid, 19)


def _warn(error: Exception) -> None:
    reason = f'{type(error).__name__}: {error}'.splitlines()[0]
    sentence = say('the report could not be written ({reason}); the run is not concerned.', reason=reason)
    print(f'jaxlab: {hidden(sentence)}', file=sys.stderr, flush=True)

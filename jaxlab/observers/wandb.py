"""Weights & Biases, for those who keep their runs there: --config.log.wandb=PROJECT (extra: wandb).

wandb lives in a process of its own, which reads rows from a pipe. In the process that trains it would take seconds to
import, and during an outage its own handlers would hold up the end: by more than a minute, where the server refuses.
"""

import contextlib
import importlib.util
import io
import json
import os
import queue
import subprocess
import sys
import threading
from base64 import b64decode, b64encode
from collections.abc import Mapping
from html import escape
from typing import Any

from jaxlab.data.sheet import png
from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.observers import Run, Sample
from jaxlab.trust import place
from jaxlab.trust.secrets import without_secrets

ROWS = 10_000  # that may wait while wandb sets up a run, or cannot reach its server
PATIENCE = 60.0  # seconds that wandb has for its last words once the run has ended; nobody waits for them


class WandB:
    """Sends rows and samples to a project; wandb.log in the workdir says what came of it.

    It belongs behind `jaxlab.observers.background.Background`, since a pipe that nobody reads is full at some time.

    Args:
      project: its name at Weights & Biases. The run there is named after the workdir, and a resumed run goes on there.
      patience: seconds that wandb has after the end.

    Raises:
      UserError: wandb is not installed.
    """

    def __init__(self, project: str, patience: float = PATIENCE) -> None:
        found = importlib.util.find_spec('wandb')
        if found is None or found.origin is None:  # a folder of that name, as wandb itself leaves, is no library
            raise UserError(
                'config.log.wandb={project}: wandb is not installed; bash launch/setup.sh --extras=wandb installs it.',
                project=project,
            )
        self._project, self._patience = project, patience
        self._process: subprocess.Popen[str] | None = None

    def start(self, run: Run) -> None:
        folder = place.spool(run.workdir, '')
        self._log = folder / 'wandb.log'
        with self._log.open('w', encoding='utf-8') as log:
            self._process = subprocess.Popen(
                [sys.executable, '-m', __name__],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                encoding='utf-8',
                start_new_session=True,  # Ctrl-C is for the run, which then tells the rest
            )
        about = {'project': self._project, 'name': place.whole(run.workdir).name, 'dir': str(folder)}
        self._tell(about | {'config': without_secrets(run.config.to_dict()), 'patience': self._patience})

    def row(self, step: int, row: Mapping[str, float]) -> None:
        self._tell({'step': step, 'row': dict(row)})

    def sample(self, step: int, sample: Sample) -> None:
        if isinstance(sample, str):
            self._tell({'step': step, 'sample': sample})
        else:
            self._tell({'step': step, 'picture': b64encode(png(sample)).decode('ascii')})

    def back(self, step: int) -> None:
        self._tell({'step': step, 'row': {'back_to_step': float(step)}})  # what was sent cannot be taken back

    def end(self, step: int) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait():
            raise RuntimeError(self._last_words())

    def _tell(self, what: Mapping[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(what) + '\n')
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError(self._last_words()) from None

    def _last_words(self) -> str:
        lines = self._log.read_text('utf-8', errors='replace').split('\n')
        return next((line for line in reversed(lines) if line.strip()), 'it ended') + f'; see {self._log}'


# --- the other process -----------------------------------------------------------------------------------------------


def main() -> None:
    """Hands what comes through the pipe to wandb; gives up some time after the pipe has ended, whatever wandb does."""
    about = json.loads(sys.stdin.readline())
    waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(ROWS)
    threading.Thread(target=listen, args=(waiting, about['patience']), daemon=True).start()

    import wandb

    name = about['name']
    run = wandb.init(
        project=about['project'],
        id=name,
        name=name,
        resume='allow',
        dir=about['dir'],
        config=about['config'],
        settings=wandb.Settings(console='off'),
    )
    # Rows carry their own step: wandb's only ever grows, and a step may run again after a kill.
    run.define_metric('step')
    run.define_metric('*', step_metric='step')
    while (what := waiting.get()) is not None:
        run.log({'step': what['step'], **row_of(what, wandb)})
    run.finish()


def row_of(what: Mapping[str, Any], wandb: Any) -> dict[str, Any]:
    """Returns what came through the pipe as wandb takes it."""
    if 'sample' in what:
        return {'sample': wandb.Html(f'<pre>{escape(what["sample"])}</pre>')}
    if 'picture' in what:
        from PIL import Image

        return {'sample': wandb.Image(Image.open(io.BytesIO(b64decode(what['picture']))))}
    return what['row']


def listen(waiting: queue.Queue[dict[str, Any] | None], patience: float) -> None:
    """Reads the pipe to its end, whatever wandb does meanwhile; rows that find no room are left out."""
    for line in sys.stdin:
        with contextlib.suppress(queue.Full):
            waiting.put_nowait(json.loads(line))
    timer = threading.Timer(patience, give_up)
    timer.daemon = True
    timer.start()
    waiting.put(None)


def give_up() -> None:
    print(say('wandb did not come to an end; what it kept in the workdir can be sent by: wandb sync'), flush=True)
    os._exit(1)


if __name__ == '__main__':
    main()

"""Weights & Biases, for those who keep their runs there: --config.log.wandb=PROJECT (extra: wandb).

It belongs behind `jaxlab.observers.background.Background`: an outage there is no concern of the run.
"""

import importlib.util
from collections.abc import Mapping
from typing import Any

from jaxlab.errors import UserError
from jaxlab.observers import Run


class WandB:
    """Sends rows and samples to a project. Its run is named after the workdir, so that a resumed run goes on there.

    Raises:
      UserError: wandb is not installed.
    """

    def __init__(self, project: str) -> None:
        if importlib.util.find_spec('wandb') is None:
            raise UserError(
                'config.log.wandb={project}: wandb is not installed; bash launch/setup.sh --extras=wandb installs it.',
                project=project,
            )
        self._project = project
        self._run: Any = None

    def start(self, run: Run) -> None:
        import wandb

        name = run.workdir.resolve().name
        # Rows come with their own step, so that a step that runs again after a kill is no step backwards.
        self._run = wandb.init(
            project=self._project,
            id=name,
            name=name,
            resume='allow',
            dir=str(run.workdir),
            config=run.config.to_dict(),
        )
        self._run.define_metric('step')
        self._run.define_metric('*', step_metric='step')

    def row(self, step: int, row: Mapping[str, float]) -> None:
        self._run.log({'step': step, **row})

    def sample(self, step: int, text: str) -> None:
        import wandb

        self._run.log({'step': step, 'sample': wandb.Html(f'<pre>{_escaped(text)}</pre>', inject=False)})

    def end(self, step: int) -> None:
        self._run.finish()


def _escaped(text: str) -> str:
    return text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')

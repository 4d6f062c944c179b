"""samples/: what the model made at each step, one file each."""

from collections.abc import Mapping
from pathlib import Path

from jaxlab.observers import Run


class Samples:
    """Writes samples/<step>.txt."""

    _folder: Path

    def start(self, run: Run) -> None:
        self._folder = run.workdir / 'samples'

    def row(self, step: int, row: Mapping[str, float]) -> None:
        pass

    def sample(self, step: int, text: str) -> None:
        self._folder.mkdir(exist_ok=True)
        (self._folder / f'{step}.txt').write_text(text, 'utf-8')

    def end(self, step: int) -> None:
        pass

"""samples/: what the model made at each step, one file each."""

from collections.abc import Mapping
from pathlib import Path

from jaxlab.observers import Run


class Samples:
    """Writes samples/<step>.txt."""

    _folder: Path

    def start(self, run: Run) -> None:
        self._folder = run.workdir / 'samples'
        self.back(run.start)

    def row(self, step: int, row: Mapping[str, float]) -> None:
        pass

    def sample(self, step: int, text: str) -> None:
        self._folder.mkdir(exist_ok=True)
        (self._folder / f'{step}.txt').write_text(text, 'utf-8')

    def back(self, step: int) -> None:
        for file in self._folder.iterdir() if self._folder.is_dir() else ():
            if file.stem.isdecimal() and int(file.stem) > step:
                file.unlink()

    def end(self, step: int) -> None:
        pass

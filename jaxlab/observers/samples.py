"""samples/: what the model made at each step, one file each."""

from collections.abc import Mapping
from pathlib import Path

from jaxlab.observers import Run
from jaxlab.trust import faults, place
from jaxlab.trust.writes import Optional


class Samples:
    """Writes samples/<step>.txt. One that cannot be written is a warning."""

    _folder: Path

    def __init__(self) -> None:
        self._optional = Optional()

    def start(self, run: Run) -> None:
        self._folder = run.workdir / 'samples'
        self.back(run.start)

    def row(self, step: int, row: Mapping[str, float]) -> None:
        pass

    def sample(self, step: int, text: str) -> None:
        file = self._folder / f'{step}.txt'
        with self._optional.writing(file):
            faults.reach('sample', step)
            self._folder.mkdir(exist_ok=True)
            place.write(file, text)

    def back(self, step: int) -> None:
        with self._optional.writing(self._folder):
            for file in place.entries(self._folder):
                if file.stem.isdecimal() and int(file.stem) > step:
                    place.remove(file)

    def end(self, step: int) -> None:
        pass

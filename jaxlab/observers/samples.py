"""samples/: what the model made at each step, one file each."""

from collections.abc import Mapping
from pathlib import Path

from jaxlab.data.sheet import png
from jaxlab.observers import Run, Sample
from jaxlab.trust import faults, place
from jaxlab.trust.writes import Optional


def file_of(folder: Path, step: int, sample: Sample) -> Path:
    """Returns where the sample of a step lies, in samples/."""
    return folder / (f'{step}.txt' if isinstance(sample, str) else f'{step}.png')


class Samples:
    """Writes samples/<step>.txt, or .png where pictures are made, whole or not at all.

    One that cannot be written is a warning.
    """

    _folder: Path

    def __init__(self) -> None:
        self._optional = Optional()

    def start(self, run: Run) -> None:
        self._folder = run.workdir / 'samples'
        self.back(run.start)

    def row(self, step: int, row: Mapping[str, float]) -> None:
        pass

    def sample(self, step: int, sample: Sample) -> None:
        file = file_of(self._folder, step, sample)
        with self._optional.writing(file):
            faults.reach('sample', step)
            self._folder.mkdir(exist_ok=True)
            place.write(file, sample if isinstance(sample, str) else png(sample))

    def back(self, step: int) -> None:
        with self._optional.writing(self._folder):
            for file in place.entries(self._folder):
                if file.stem.isdecimal() and int(file.stem) > step:
                    place.remove(file)

    def end(self, step: int) -> None:
        pass

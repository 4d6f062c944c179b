"""Observers: they look, they never steer. `train.py` tells each of them what happens, in this order of words."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ml_collections import ConfigDict

from jaxlab.trust.ledger import Ledger


@dataclass(frozen=True)
class Run:
    """What is known when training begins."""

    config: ConfigDict
    workdir: Path
    start: int  # steps done before; 0 for a new run
    data: str  # one line on the data
    evaluation: str  # one line on how much of it is looked at while training
    devices: str  # one line on the devices and the mesh
    layout: list[dict[str, Any]]  # see `jaxlab.parallel.layout.describe`
    ledger: Ledger  # where the time goes; it may be asked at any time


class Observer(Protocol):
    """Rows are {'train/loss': 2.5, …}: slash-named floats, one row for each step and kind."""

    def start(self, run: Run) -> None: ...

    def row(self, step: int, row: Mapping[str, float]) -> None: ...

    def sample(self, step: int, text: str) -> None: ...

    def end(self, step: int) -> None: ...

"""Observers: they look, they never steer. `train.py` tells each of them what happens, in this order of words."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ml_collections import ConfigDict

from jaxlab.best import Best
from jaxlab.memory import Expected
from jaxlab.trust.ledger import Ledger

Sample = str | np.ndarray  # what a model makes: a text, or a picture, uint8 [h w c]


@dataclass(frozen=True)
class Compiled:
    """What is known once the step is compiled."""

    seconds: float  # that it took
    flops: int  # of one step, over all devices; see `jaxlab.flops`
    peak: float  # FLOPs/s of all devices at best; 0: not known
    memory: Expected


@dataclass(frozen=True)
class Run:
    """What is known when training begins, and what becomes known on the way: `add_done_callback` hears of it."""

    config: ConfigDict
    workdir: Path
    start: int  # steps done before; 0 for a new run
    data: str  # one line on the data
    evaluation: str  # one line on how much of it is looked at while training
    devices: str  # one line on the devices and the mesh
    layout: list[dict[str, Any]]  # see `jaxlab.parallel.inventory.describe`
    ledger: Ledger  # where the time goes; it may be asked at any time
    best: Best = field(default_factory=Best)  # what the evaluations before `start` came to
    unseen: Future[str] = field(default_factory=Future)  # see `jaxlab.devices.unseen`
    compiling_since: float = field(default_factory=time.monotonic)
    compiled: Future[Compiled] = field(default_factory=Future)
    base: int = 0  # parameters that are used and never trained: those that adapters stand beside
    kept: list[Callable[[], None]] = field(default_factory=list)  # see `jaxlab.checkpoint.Checkpoints.first`


class Observer(Protocol):
    """Rows are {'train/loss': 2.5, …}: slash-named floats, one row for each step and kind.

    `back(step)`: training goes on from an earlier state, and what was told of steps after `step` did not happen.
    """

    def start(self, run: Run) -> None: ...

    def row(self, step: int, row: Mapping[str, float]) -> None: ...

    def sample(self, step: int, sample: Sample) -> None: ...

    def back(self, step: int) -> None: ...

    def end(self, step: int) -> None: ...

"""Checkpoints: Orbax behind one small seam.

A step is one commit: a folder that appears whole or not at all, with one item for each part of the state, so that a
reader takes only what it needs (`params` to generate; everything to go on training):

    checkpoints/500/{params,extra,average,training,config,best}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxlab.best import Best
from jaxlab.errors import UserError
from jaxlab.step import TrainState


class Checkpoints:
    """The saved steps of one workdir. Orbax is imported by the first save or restore: it is slow to import."""

    def __init__(self, workdir: Path, keep: int = 1) -> None:
        self._folder = workdir.absolute() / 'checkpoints'
        self._keep = _Keep(keep)
        self._opened: Any = None

    @property
    def _manager(self) -> Any:
        if self._opened is None:
            import orbax.checkpoint as ocp

            options = ocp.CheckpointManagerOptions(preservation_policy=self._keep, enable_async_checkpointing=True)
            self._opened = ocp.CheckpointManager(self._folder, options=options)
        return self._opened

    def latest(self) -> int | None:
        """Returns the newest saved step, or None."""
        if not self._folder.is_dir() or not any(entry.name.isdigit() for entry in self._folder.iterdir()):
            return None
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState, config: ConfigDict, best: Best) -> None:
        """Starts to save the state after `step`: returns once it is copied, and writes while training goes on.

        Beside the newest checkpoints, that of the best evaluation is kept.
        """
        import orbax.checkpoint as ocp

        self._keep.best = best.step
        items = {name: ocp.args.StandardSave(tree) for name, tree in _items(state).items()}
        records = {'config': config.to_dict(), 'best': best.record()}
        items |= {name: ocp.args.JsonSave(record) for name, record in records.items()}
        self._manager.save(step, args=ocp.args.Composite(**items))

    def restore(self, abstract: TrainState) -> TrainState:
        """Returns the newest saved state, restored into the shardings of `abstract`."""
        _, found = self.restore_items(_items(abstract))
        parts = {name: found.get(name, {}) for name in _PARTS}
        return TrainState(**parts, **found['training'])

    def best(self) -> dict[str, Any]:
        """Returns the record of the best evaluation that came before the newest checkpoint; see `Best.record`."""
        import orbax.checkpoint as ocp

        return self._manager.restore(self.latest(), args=ocp.args.Composite(best=ocp.args.JsonRestore()))['best']

    def restore_items(self, items: Mapping[str, Any], step: int | str = 'newest') -> tuple[int, dict[str, Any]]:
        """Reads items of a saved step into the shardings that are asked for, from whatever mesh they were saved on.

        Args:
          items: name ('params', 'average', 'extra', 'training') -> tree of ShapeDtypeStruct with shardings; empty
            trees are not read.
          step: which step: its number, 'newest', or 'best', which is that of the best evaluation.

        Returns:
          (the step, the items).

        Raises:
          UserError: there is no such step.
        """
        saved = sorted(self._manager.all_steps()) if self.latest() is not None else []
        if not saved:
            raise UserError('{workdir}: there is no checkpoint yet.', workdir=self._folder.parent)
        wanted = saved[-1] if step == 'newest' else self.best()['step'] if step == 'best' else int(step)
        about = {'workdir': self._folder.parent, 'saved': ', '.join(map(str, saved))}
        if not wanted:
            raise UserError('{workdir}: no checkpoint is the best: none was evaluated; there are {saved}.', **about)
        if wanted not in saved:
            raise UserError('{workdir}: no checkpoint of step {step}; there are {saved}.', step=wanted, **about)
        import orbax.checkpoint as ocp

        args = {name: ocp.args.StandardRestore(tree) for name, tree in items.items() if jax.tree.leaves(tree)}
        return wanted, dict(self._manager.restore(wanted, args=ocp.args.Composite(**args)))

    def close(self) -> None:
        """Waits for saves, and lets go of Orbax's threads."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None


@dataclass
class _Keep:
    """An Orbax preservation policy: the newest so many checkpoints, and that of the best evaluation."""

    newest: int
    best: int = 0

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        steps = [checkpoint.step for checkpoint in checkpoints]
        return [step == self.best or step in sorted(steps)[-self.newest :] for step in steps]


_PARTS = ('params', 'extra', 'average')
_TRAINING = ('step', 'opt_state', 'key', 'data_offset', 'health')  # what only training wants


def _items(state: TrainState) -> dict[str, Any]:
    items = {name: getattr(state, name) for name in _PARTS}
    items['training'] = {name: getattr(state, name) for name in _TRAINING}
    return {name: tree for name, tree in items.items() if jax.tree.leaves(tree)}

"""Checkpoints: Orbax behind one small seam.

A step is one commit: a folder that appears whole or not at all, with one item for each part of the state, so that a
reader takes only what it needs (`params` to generate; everything to go on training), and a manifest of all its files:

    checkpoints/500/{params,extra,average,training,config,best,manifest.json}

Orbax writes the arrays; `jaxlab.trust.manifest` says how a step becomes whole, and finds what is damaged. Nothing is
read that was not checked before. Which steps are kept is decided here, after each save that went well, so there is
never a moment without a good one.
"""

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxlab.best import Best
from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.step import TrainState
from jaxlab.trust import faults, manifest, mismatch, place
from jaxlab.trust.secrets import without_secrets

ATTEMPTS = 5  # failed saves in a row after which a run ends
LONGEST = 600.0  # seconds between two of them, at most


class Checkpoints:
    """The saved steps of one workdir. Orbax is imported by the first save or restore: it is slow to import.

    With several processes, all of them call everything, in the same order: each writes and reads its part.

    Args:
      workdir: the experiment's.
      keep: the newest so many are kept.
      retry: seconds after which a save that failed is tried again; twice as many after each further failure.
    """

    def __init__(self, workdir: Path, keep: int = 1, retry: float = 10.0) -> None:
        self._folder = place.whole(workdir) / 'checkpoints'
        manifest.bring_back(self._folder)
        self._keep = keep
        self._opened: Any = None
        self._thread = ThreadPoolExecutor(1, 'checkpoint')
        self._saving: tuple[int, Future[None]] | None = None  # the save that is under way
        self._failed = 0  # saves in a row
        self._written: int | None = None  # the step of the last one that went well
        self._retry, self._wait_until = retry, 0.0
        self._damaged: set[int] = set()  # steps that were found to be
        self._restored: int | None = None
        self.first: list[Callable[[], None]] = []  # called before a step counts: what must outlive the process with it

    @property
    def _orbax(self) -> Any:
        if self._opened is None:
            import orbax.checkpoint as ocp

            self._opened = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
        return self._opened

    def latest(self, last: int | None = None) -> int | None:
        """Returns the newest saved step, of those up to `last` where that is given; or None. Whether it is whole is
        seen when it is read."""
        return max(self._steps(last), default=None)

    def _steps(self, last: int | None = None) -> list[int]:
        return [step for step in manifest.steps(self._folder) if last is None or step <= last]

    # --- saving ------------------------------------------------------------------------------------------------------

    def save(self, step: int, state: TrainState, config: ConfigDict, best: Best, again: bool = False) -> None:
        """Starts to save the state after `step`: returns once it is copied, and writes while training goes on.

        The save before is waited for. Beside the newest checkpoints, that of the best evaluation is kept. A step that
        is already saved is saved again only where that is asked for.

        Raises:
          UserError: too many saves failed in a row; see `check`.
        """
        import orbax.checkpoint as ocp

        self._settle(self._lost)
        # Of several processes one gives a step its name; the others know by themselves what they have saved.
        if not again and (step == self._written or step in set(manifest.steps(self._folder)) - self._damaged):
            return
        items = {name: ocp.args.StandardSave(tree) for name, tree in _items(state).items()}
        records = {'config': without_secrets(config.to_dict()), 'best': best.record()}
        items |= {name: ocp.args.JsonSave(record) for name, record in records.items()}
        try:
            faults.reach('save_start', step)
            self._orbax.save(place.native(self._unfinished(step)), args=ocp.args.Composite(**items), force=True)
            faults.reach('save_copied', step)
        except OSError as error:
            self._lost(step, error)
        else:
            self._saving = step, self._thread.submit(self._finish, self._orbax, step, best.step)

    def check(self) -> None:
        """Looks, without waiting, how the last save went; to be called after every step.

        A save that failed is a warning, and training goes on: another is tried before long.

        Raises:
          UserError: it was the last of `ATTEMPTS` in a row. (With several processes, the first: they are out of step
            with each other after it.)
        """
        if self._saving and self._saving[1].done():
            self._settle(self._lost)

    def due(self, regular: bool) -> bool:
        """Whether to save now: where it is due anyway; after a save that failed, when it is time to try again."""
        if self._failed and not self._saving:
            return time.monotonic() >= self._wait_until
        return regular

    def wait(self) -> None:
        """Waits for the last save.

        Raises:
          UserError: it failed, and there will be no other.
        """
        self._settle(self._over)

    def close(self) -> None:
        """Waits for the last save, whatever comes of it, and lets go of all threads."""
        self._settle(lambda step, error: print(_why(step, error), flush=True))
        self._thread.shutdown()
        self._let_go()

    def _unfinished(self, step: int) -> Path:
        return self._folder / (f'{step}.unfinished' if place.can(self._folder).rename else f'{step}')

    def _finish(self, orbax: Any, step: int, best: int) -> None:
        """Waits for Orbax's own commit, and makes a step of it; runs on a thread."""
        orbax.wait_until_finished()
        if jax.process_index() > 0:
            self._damaged.discard(step)
            return
        unfinished, final = self._unfinished(step), self._folder / str(step)
        faults.reach('between_commit_and_manifest', step)
        for keep in self.first:
            keep()
        manifest.write(unfinished, step)
        faults.reach('manifest_written', step)
        if unfinished != final:
            aside = self._folder / f'{step}{manifest.REPLACED}'
            if final.exists():
                final.rename(aside)
            unfinished.rename(final)
            place.flush(self._folder)
            _remove(aside)
        self._damaged.discard(step)
        self._forget(step, best)

    def _forget(self, step: int, best: int) -> None:
        """Removes what is not kept, once `step` is good: older and damaged steps, and what dead processes left."""
        good = [other for other in manifest.steps(self._folder) if other not in self._damaged]
        kept = {step, best, *good[-self._keep :]}
        for entry in place.entries(self._folder):
            if entry.name.partition('.')[0].isdecimal() and entry.name not in map(str, kept):
                _remove(entry)

    def _settle(self, failed: Callable[[int, BaseException], None]) -> None:
        """Waits for the save that is under way, if there is one; calls `failed(step, error)` where it did."""
        if self._saving is None:
            return
        (step, saving), self._saving = self._saving, None
        if error := saving.exception():
            failed(step, error)
        else:
            self._failed, self._written = 0, step

    def _lost(self, step: int, error: BaseException) -> None:
        self._failed += 1
        self._let_go()
        if self._failed >= ATTEMPTS or jax.process_count() > 1:
            self._over(step, error)
        self._wait_until = time.monotonic() + min(self._retry * 2 ** (self._failed - 1), LONGEST)
        print(say('warning: {why}; training goes on', why=_why(step, error)), flush=True)

    def _over(self, step: int, error: BaseException) -> None:
        good = [other for other in manifest.steps(self._folder) if other not in self._damaged]
        raise UserError(
            '{why}; {good}.\nMake room or mend the disk of {folder}; the same command then goes on.',
            why=_why(step, error),
            good=say('the newest good one is that of step {step}', step=good[-1]) if good else say('there is no other'),
            folder=self._folder,
        ) from error

    def _let_go(self) -> None:
        """Closes Orbax's checkpointer; the next use makes another."""
        opened, self._opened = self._opened, None
        if opened is not None:
            with suppress(Exception):  # of a save that failed, which is told elsewhere
                opened.close()

    def forget_after(self, step: int) -> None:
        """Removes the steps after `step`, the newest first: what is left is always what a run was at."""
        self._settle(self._lost)
        self._written = None
        for other in reversed(manifest.steps(self._folder)):
            if other > step and jax.process_index() == 0:
                _remove(self._folder / str(other))
        self._damaged = {other for other in self._damaged if other <= step}

    # --- restoring ---------------------------------------------------------------------------------------------------

    def restore(self, abstract: TrainState, last: int | None = None) -> TrainState:
        """Returns the newest good state, of steps up to `last` where that is given, restored into the shardings of
        `abstract`, from whatever mesh it was saved on.

        Every file is checked before it is read. A damaged step is a warning that names the file, and the one before it
        is tried.

        Raises:
          UserError: no step is good; or what was saved is not what is wanted, leaf by leaf.
        """
        self._restored = self._newest_good(last=last)
        found = self._read(self._restored, _items(abstract))
        parts = {name: found.get(name, {}) for name in _PARTS}
        return TrainState(**parts, **found['training'])

    def best(self) -> dict[str, Any]:
        """Returns the record of the best evaluation that came before the state that was restored, or else before the
        newest good checkpoint; see `Best.record`."""
        import orbax.checkpoint as ocp

        step = self._newest_good(['best']) if self._restored is None else self._restored
        args = ocp.args.Composite(best=ocp.args.JsonRestore())
        found = self._orbax.restore(place.native(self._folder / str(step)), args=args)['best']
        if {name: type(value) for name, value in found.items()} != {
            'score': str,
            'value': float,
            'step': int,
            'since': int,
            'owed': bool,
        }:
            raise UserError('{folder}: its record of the best evaluation is damaged.', folder=self._folder / str(step))
        return found

    def restore_items(self, items: Mapping[str, Any], step: int | str = 'newest') -> tuple[int, dict[str, Any]]:
        """Reads items of a saved step into the shardings that are asked for, from whatever mesh they were saved on.

        Args:
          items: name ('params', 'average', 'extra', 'training') -> tree of ShapeDtypeStruct with shardings; empty
            trees are not read. The files of these alone are checked.
          step: which step: its number, 'newest', which is the newest good one, or 'best', which is that of the best
            evaluation.

        Returns:
          (the step, the items).

        Raises:
          UserError: there is no such step, or it is damaged, or holds other arrays than are wanted.
        """
        saved = manifest.steps(self._folder)
        if not saved:
            raise UserError('{workdir}: there is no checkpoint yet.', workdir=self._folder.parent)
        parts = [name for name, tree in items.items() if jax.tree.leaves(tree)]
        if step == 'newest':
            wanted = self._newest_good(parts)
        else:
            wanted = self.best()['step'] if step == 'best' else int(step)
            about = {'workdir': self._folder.parent, 'saved': ', '.join(map(str, saved))}
            if not wanted:
                raise UserError('{workdir}: no checkpoint is the best: none was evaluated; there are {saved}.', **about)
            if wanted not in saved:
                raise UserError('{workdir}: no checkpoint of step {step}; there are {saved}.', step=wanted, **about)
            if damage := self._damage(wanted, parts):
                raise UserError(
                    '{workdir}: the checkpoint of step {step} is damaged ({damage}); there are {saved}.',
                    step=wanted,
                    damage=damage,
                    **about,
                )
        return wanted, self._read(wanted, items)

    def _newest_good(self, parts: Collection[str] = (), last: int | None = None) -> int:
        """Returns the newest step of which these items are good (none: all), with a warning for each that is not."""
        self._settle(self._lost)  # of the save that is under way
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices('checkpoints')  # all see the same steps
        told = []
        for step in reversed(self._steps(last)):
            damage = '' if step in self._damaged else self._damage(step, parts)
            if not damage and step not in self._damaged:
                return step
            self._damaged.add(step)
            told.append((step, damage))
            if damage:
                about = {'folder': self._folder / str(step), 'damage': damage}
                print(say('warning: {folder} is damaged ({damage}): an older checkpoint is taken', **about), flush=True)
        raise UserError(
            '{folder}: no checkpoint is good: {damage}.\nBring these files back from a copy, or give another --workdir'
            ' to start anew.',
            folder=self._folder,
            damage='; '.join(f'{step}: {damage}' for step, damage in told[:3]),
        )

    def _damage(self, step: int, parts: Collection[str]) -> str:
        """Returns the damage of a step in words, '' where there is none. Processes share the work, and agree."""
        mine = manifest.damage(self._folder / str(step), step, parts, (jax.process_index(), jax.process_count()))
        count = len(mine)
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            count = int(multihost_utils.process_allgather(np.int32(count)).sum())
        if not count:
            return ''
        return manifest.told(mine) if mine else say('another process says where')

    def _read(self, step: int, items: Mapping[str, Any]) -> dict[str, Any]:
        """Reads items of a step that was found good."""
        import orbax.checkpoint as ocp

        folder = self._folder / str(step)
        wanted = {name: tree for name, tree in items.items() if jax.tree.leaves(tree)}
        handler = ocp.StandardCheckpointHandler()
        items_at = place.native(folder)
        saved = {name: handler.metadata(items_at / name).tree for name in wanted if (folder / name).is_dir()}
        mismatch.check(wanted, saved, str(folder))
        args = {name: ocp.args.StandardRestore(tree) for name, tree in wanted.items()}
        return dict(self._orbax.restore(items_at, args=ocp.args.Composite(**args)))


def _remove(folder: Path) -> None:
    """Removes the folder of a step; the manifest first, so that half of one is never taken for a step. Of a link to
    elsewhere, the link alone goes."""
    for path in (folder,) if place.is_link(folder) else (folder / manifest.NAME, folder):
        with suppress(OSError):
            place.remove(path)


def _why(step: int, error: BaseException) -> str:
    """Returns on one line why a step was not saved; libraries write pages."""
    told = (str(error).splitlines() or [''])[0][:200]
    return say(
        'the checkpoint of step {step} could not be saved ({error})', step=step, error=told or type(error).__name__
    )


_PARTS = ('params', 'extra', 'average')
_TRAINING = ('step', 'opt_state', 'key', 'data_offset', 'health')  # what only training wants


def _items(state: TrainState) -> dict[str, Any]:
    items = {name: getattr(state, name) for name in _PARTS}
    items['training'] = {name: getattr(state, name) for name in _TRAINING}
    return {name: tree for name, tree in items.items() if jax.tree.leaves(tree)}

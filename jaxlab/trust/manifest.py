"""The manifest of a saved step: the size and checksums of each of its files, without which the step does not count.

How a step becomes whole (`jaxlab.checkpoint` calls, and Orbax writes, under another name than the step's):

    checkpoints/500.unfinished.orbax-checkpoint-tmp/   Orbax writes; with several processes, each its own files
    checkpoints/500.unfinished/                        Orbax's own commit: all processes have written all they had to
    checkpoints/500.unfinished/manifest.json           every file is flushed to the disk, then the manifest is
    checkpoints/500/                                   renamed: from here on there is a step 500

In an object store nothing can be renamed: Orbax writes under the step's own name there, and the manifest, which is
written last, makes it a step; a folder without one is unfinished.

So whoever sees a step sees its manifest with it, and all that the manifest names has reached the disk before it. A
process that dies on the way leaves a folder whose name is no number: it is no step, and the next good save removes it.
On a disk, a step without a manifest is therefore not an unfinished one, but a damaged one.

Checksums are SHA-256 of pieces of 64 MiB, so that many threads share the work on one large file too: 1.8 GB/s for each
thread where the processor has instructions for it. The manifest ends with the checksum of its own text.

A manifest may have been written by anybody: what it names lies within the step's folder, or is damage and is never
opened. A file that it does not name is damage as well, since Orbax might read it.
"""

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from jaxlab.messages import say
from jaxlab.trust import names, place

NAME = 'manifest.json'
REPLACED = '.replaced'  # a step that is saved again is called so until the new one has its name
PIECE = 64 << 20  # bytes
_BLOCK = 1 << 20  # bytes read at once
_THREADS = min(16, os.cpu_count() or 1)
_LEFT = ('.DS_Store', '._*', '.nfs*', 'Thumbs.db')  # what file systems leave lying about, and nobody reads


@dataclass(frozen=True)
class Damage:
    """A file of a step that is not what was saved."""

    file: str  # relative to the step's folder
    what: str  # in the reader's language


def steps(folder: Path) -> list[int]:
    """Returns the saved steps in a folder of checkpoints, in order, good or damaged."""
    found = [entry for entry in place.entries(folder) if entry.name.isdecimal()]
    if not place.can(folder).rename:
        found = [entry for entry in found if (entry / NAME).exists()]
    return sorted(int(entry.name) for entry in found)


def bring_back(folder: Path) -> None:
    """Gives a step its name back that was to be replaced when a process died, just before the new one had it."""
    for entry in place.entries(folder):
        if entry.name.endswith(REPLACED):
            with suppress(OSError):  # there is a new one; or another process was quicker
                entry.rename(folder / entry.name.removesuffix(REPLACED))


def write(folder: Path, step: int) -> None:
    """Flushes all files of a step to the disk, and then writes the manifest, itself flushed.

    Args:
      folder: where the files of the step lie.
      step: its number, which goes on record: a folder that was renamed is no other step.

    Raises:
      OSError: something cannot be read, written or flushed; then there is no manifest.
    """
    files = sorted(file for file in place.files(folder) if file.name != NAME)
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(place.flush, [*files, *place.folders(folder)]))
        sizes = {_below(folder, file): place.size(file) for file in files}
        found = dict(zip(pieces := _pieces(sizes), pool.map(lambda piece: _digest(folder, *piece), pieces)))
    about: dict[str, Any] = {'step': step, 'piece': PIECE, 'files': {}}
    for name, size in sizes.items():
        sums = [digest for (of, _), digest in found.items() if of == name]
        about['files'][name] = {'bytes': size, 'sha256': sums}
    place.write(folder / NAME, json.dumps({**about, 'sha256': _own_sum(about)}, indent=1) + '\n')


def damage(folder: Path, step: int, parts: Collection[str] = (), share: tuple[int, int] = (0, 1)) -> list[Damage]:
    """Returns what is damaged of a saved step; nothing where all is as it was saved.

    Args:
      folder: where the files of the step lie.
      step: its number.
      parts: its items that are looked at, such as 'params', beside what belongs to all of them; none: every one.
      share: (number, count): which share of the files is looked at, so that processes share the work.
    """
    if place.is_link(folder):
        return [Damage('.', say('a link to elsewhere'))]
    try:
        file = names.inside(folder, NAME)
        _regular(file)
        text = file.read_text('utf-8')
    except FileNotFoundError:
        return [Damage(NAME, say('missing'))]
    except UnicodeDecodeError:
        return [Damage(NAME, say('other bytes than were saved'))]
    except ValueError:
        return [Damage(NAME, say('a link to elsewhere'))]
    except OSError as error:
        return [Damage(NAME, say('cannot be read ({error})', error=error.strerror))]
    try:
        about = json.loads(text)
        own = about.pop('sha256')
        # The text itself is compared: a space more or less is damage, too.
        if own != _own_sum(about) or text != json.dumps({**about, 'sha256': own}, indent=1) + '\n':
            return [Damage(NAME, say('other bytes than were saved'))]
        files = {name: (int(file['bytes']), list(file['sha256'])) for name, file in about['files'].items()}
        whole = all(len(sums) == max(1, -(-size // PIECE)) for size, sums in files.values())
        if not whole or about['piece'] != PIECE:  # nobody of ours wrote that
            return [Damage(NAME, say('other bytes than were saved'))]
        if about['step'] != step:
            return [Damage(NAME, say('it is that of step {step}', step=about['step']))]
    except (ValueError, KeyError, AttributeError, TypeError, OverflowError, RecursionError):
        return [Damage(NAME, say('other bytes than were saved'))]

    def wanted(name: str) -> bool:
        item, _, below = name.partition('/')
        return not (parts and below) or item in parts

    found: list[Damage] = []
    sizes: dict[str, int] = {}
    for name, (saved, _) in files.items():
        if not wanted(name):
            continue
        try:
            size = _regular(names.inside(folder, name))
        except ValueError:
            found.append(Damage(name, say('not a name within this folder')))
        except FileNotFoundError:
            found.append(Damage(name, say('missing')))
        except OSError as error:
            found.append(Damage(name, say('cannot be read ({error})', error=error.strerror)))
        else:
            sizes[name] = size
            if size != saved:
                found.append(Damage(name, say('{size} bytes instead of {saved}', size=size, saved=saved)))
    found += [Damage(name, say('not among what was saved')) for name in _unnamed(folder, files) if wanted(name)]
    if found:
        return found  # no need to read anything
    wrong: dict[str, str] = {}
    pieces = _pieces(sizes)[share[0] :: share[1]]
    with ThreadPoolExecutor(_THREADS) as pool:
        for (name, number), digest in zip(pieces, pool.map(lambda piece: _try_digest(folder, *piece), pieces)):
            if isinstance(digest, OSError):
                wrong.setdefault(name, say('cannot be read ({error})', error=digest.strerror))
            elif digest != files[name][1][number]:
                wrong.setdefault(name, say('other bytes than were saved'))
    return [Damage(name, what) for name, what in wrong.items()]


def told(found: Iterable[Damage]) -> str:
    """Returns the first damaged file and what is wrong with it, and how many more there are, on one line."""
    first, *others = found
    if others:
        return say('{file}: {what}; and {count} more', file=first.file, what=first.what, count=len(others))
    return f'{first.file}: {first.what}'


def _below(folder: Path, file: Path) -> str:
    """Returns the name of a file below a folder, 'params/d/1f'."""
    return '/'.join(file.parts[len(folder.parts) :])


def _regular(file: Path) -> int:
    """Returns the size of a file; a pipe or a device, which would be waited for, counts as missing."""
    if place.can(file).local and not stat.S_ISREG(file.stat().st_mode):
        raise FileNotFoundError(file)
    return place.size(file)


def _unnamed(folder: Path, files: Collection[str]) -> list[str]:
    """Returns what lies in a step's folder, links among it, and is not in its manifest; folders count by what is in
    them."""
    if not place.can(folder).local:
        return sorted({_below(folder, file) for file in place.files(folder)} - {*files, NAME})
    found = []
    for where, folders, here in os.walk(folder):
        linked = [name for name in folders if Path(where, name).is_symlink()]
        for name in [*here, *linked]:
            path = Path(where, name).relative_to(folder).as_posix()
            if path not in files and path != NAME and not any(fnmatch(name, left) for left in _LEFT):
                found.append(path)
    return sorted(found)


def _pieces(sizes: dict[str, int]) -> list[tuple[str, int]]:
    """Returns (file, number of its piece) for all pieces; an empty file has one."""
    return [(name, number) for name, size in sizes.items() for number in range(max(1, -(-size // PIECE)))]


def _digest(folder: Path, name: str, number: int) -> str:
    digest, left = hashlib.sha256(), PIECE
    with (folder / name).open('rb') as file:
        file.seek(number * PIECE)
        while left and (block := file.read(min(left, _BLOCK))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def _try_digest(folder: Path, name: str, number: int) -> str | OSError:
    try:
        return _digest(folder, name, number)
    except OSError as error:
        return error


def _own_sum(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

"""Names that somebody else chose, such as those in a manifest, and the one folder that they may reach into."""

from pathlib import Path, PureWindowsPath

from jaxlab.trust import place


def inside(folder: Path, name: str) -> Path:
    """Returns the file or folder of a name, which lies in `folder` and nowhere else.

    Args:
      folder: where it has to lie.
      name: relative to it, with '/' between folders on every system.

    Raises:
      ValueError: it is no such name ('..', an absolute one, a backslash, …), or a symbolic link on the way leaves the
        folder. Nothing was opened.
      OSError: the links on the way go round in a circle.
    """
    words = name.split('/')
    if not all(words) or {'.', '..'} & set(words) or '\\' in name or '\0' in name or PureWindowsPath(name).anchor:
        raise ValueError(name)
    path = folder / name
    if place.can(path).local and not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(name)
    return path

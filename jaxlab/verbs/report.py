"""Write the report of a run, or one page that puts several runs side by side.

python -m jaxlab.main report runs/transformer-1a2b3c4d              writes report.html there
python -m jaxlab.main report runs/transformer-1a2b3c4d --watch      and again whenever something new is measured
python -m jaxlab.main report runs/a runs/b                          compares them, in runs/report.html
python -m jaxlab.main report runs                                   all runs that lie in a folder
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path

from jaxlab.errors import UserError
from jaxlab.messages import say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('workdirs', nargs='*', metavar='WORKDIR', help=say('a run, or a folder of runs'))
    parser.add_argument('--workdir', action='append', default=[], help=say('the same, as a flag'))
    parser.add_argument('--output', default='', help=say('the file to write; default: report.html beside the runs'))
    again = say('write it again whenever something changes, until Ctrl-C')
    parser.add_argument('--watch', action='store_true', help=again)
    parser.add_argument(
        '--every', type=float, default=5.0, help=say('seconds between two looks of --watch (default 5)')
    )


def run(parsed: argparse.Namespace) -> int:
    from jaxlab import report
    from jaxlab.trust import place

    if parsed.overrides:
        raise UserError('report takes no --config.…: it shows runs as they were.')
    folders = [place.of(folder) for folder in [*parsed.workdirs, *parsed.workdir]]
    if not folders:
        raise UserError('say which run: python -m jaxlab.main report runs/…')
    if not (math.isfinite(parsed.every) and parsed.every > 0):
        raise UserError('--every={every}: a number of seconds above 0 is wanted.', every=parsed.every)
    output = place.of(parsed.output) if parsed.output else None
    if parsed.watch:
        return watch(folders, output, parsed.every)
    print(report.write(folders, output))
    return 0


def watch(folders: Sequence[Path], output: Path | None, every: float) -> int:
    """Writes the page whenever what it is made from has changed, until Ctrl-C, and not only until the runs have ended:
    a run may be resumed. Then writes it once more, as a page that stays as it is."""
    from jaxlab import report
    from jaxlab.report.record import NothingYet

    seen: object = None
    file, told = None, ''
    try:
        while True:
            began = time.monotonic()
            found = report.everything(folders)
            page = output or report.place(found)
            made_from = stamps(report.inputs(found))
            if (made_from, stamps([page])) != seen:  # a training run writes this page now and then as well
                try:
                    file = report.write(folders, output, reload=every)
                    tell = say('{file}: written anew whenever something is measured; Ctrl-C ends.', file=file)
                except NothingYet as error:
                    tell = str(error)
                if tell != told:
                    print(tell, flush=True)
                    told = tell
                seen = made_from, stamps([page])
            time.sleep(max(every, 4 * (time.monotonic() - began)))  # a long run takes seconds to read
    except KeyboardInterrupt:
        if file:
            report.write(folders, output)
        return 0


def stamps(files: Sequence[Path]) -> list[tuple[float, int] | None]:
    """Returns (time of the last change, size) of each file; None where there is none."""

    from jaxlab.trust import place

    def stamp(file: Path) -> tuple[float, int] | None:
        try:
            return place.modified(file), place.size(file)
        except OSError:
            return None

    return [stamp(file) for file in files]

"""Say where two computations part: the first tensor, layer by layer forwards, then backwards, in 64 bits.

python -m jaxlab.main diff runs/cnn-1a2b3c4d runs/cnn-5e6f7a8b              two experiments, with what they learned
python -m jaxlab.main diff configs/cnn.py configs/cnn.py:small              two configs, as they begin
python -m jaxlab.main diff runs/cnn-1a2b3c4d runs/cnn-1a2b3c4d@tensor=2     two meshes
python -m jaxlab.main diff configs/vit.py weights/ --config.init_from=weights/     ours, and the original

Exit code 1: they part.
"""

import argparse
from typing import TYPE_CHECKING

from jaxlab.errors import UserError
from jaxlab.messages import say

if TYPE_CHECKING:
    from jaxlab.difference import Part


def arguments(parser: argparse.ArgumentParser) -> None:
    what = say('an experiment, a config file, or a folder of published weights; @tensor=2 lays it over a mesh')
    parser.add_argument('one', help=what)
    parser.add_argument('other', help=say('what it is compared with'))
    tolerance = say('by how much of its largest number a tensor may depart (default 1e-9)')
    parser.add_argument('--tolerance', type=float, default=1e-9, help=tolerance)
    package = say('a package that the config may import from')
    parser.add_argument('--allow_import', action='append', default=[], help=package)


def run(parsed: argparse.Namespace) -> int:
    import jax

    if not 0 <= parsed.tolerance < 1:
        raise UserError(
            '--tolerance={tolerance}: at least 0 and below 1 is wanted, such as 1e-9.', tolerance=parsed.tolerance
        )
    jax.config.update('jax_enable_x64', True)

    from jaxlab.difference import both, compare, side

    one, other = (side(text, parsed.overrides, parsed.allow_import) for text in (parsed.one, parsed.other))
    parts = {kind: compare(*tensors, parsed.tolerance) for kind, tensors in both(one, other).items()}
    print('\n'.join(table(parts)))
    print(sentence(parts, parsed.tolerance))
    return int(any(part.first for part in parts.values()))


def table(parts: dict[str, 'Part']) -> list[str]:
    """Returns a row for each kind of tensor."""
    kinds = {'batch': say('the batch'), 'forward': say('forwards'), 'backward': say('gradients')}
    heads = ['', say('compared'), say('largest difference'), say('first that departs')]
    rows = [[kinds[kind], f'{part.compared}', f'{part.worst:.1e}', part.first or '-'] for kind, part in parts.items()]
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(4)]
    return [
        '  '.join(
            cell.ljust(width) if column in (0, 3) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in [heads, *rows]
    ]


def sentence(parts: dict[str, 'Part'], tolerance: float) -> str:
    """Returns where the two part, and by how much."""
    if not (parting := next((kind for kind, part in parts.items() if part.first), '')):
        count = sum(part.compared for part in parts.values())
        return say(
            'They agree: {count} tensors, each within {off:.0e} of its largest number.', count=count, off=tolerance
        )
    about = {'name': parts[parting].first, 'how': parts[parting].how}
    if parting == 'batch':
        return say(
            'They part at "{name}" of their first batch ({how}): what follows is computed of that of the first.',
            **about,
        )
    if parting == 'forward':
        return say('They part at the output of {name} ({how}).', **about)
    return say('They agree forwards, and part at the gradient of {name} ({how}).', **about)

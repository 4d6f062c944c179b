"""How far the rooflines of `plan` predict what others have measured: MaxText's published runs on TPUs (maxtext.json).

    python launch/bench/plan_maxtext.py [--record]

The constants of jaxlab/planning/roofline.py are fitted on half of the families (a chip and a size of model), every
other one as they stand in the file, and predict the other half; then the two halves change places. What a prediction
must beat is the best constant of each chip, chosen on the very runs that are predicted. Nothing is compiled: the costs
of each run are written down by formula, and the functions that make times of them are those of `plan`. The form of the
model was chosen with all of the runs in view; only its constants were not.
"""

# t tokens of a chip, d width, h heads · head width, f width of the MLP

import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import record

from jaxlab import devices
from jaxlab.planning import chips
from jaxlab.planning.roofline import KERNELS, Constants, Times, times, torus_bandwidth

HERE = Path(__file__).parent
KINDS = {'v5e': 'TPU v5 lite', 'v5p': 'TPU v5'}
# Dims of the slices: 16 × 16, and those of v5p that are nearest to a cube.
TORUS = {('v5e', 256): (16, 16), ('v5p', 64): (4, 4, 4), ('v5p', 128): (4, 4, 8), ('v5p', 256): (4, 8, 8)}
TORUS |= {('v5p', 512): (8, 8, 8), ('v5p', 1024): (8, 8, 16), ('v5p', 2048): (8, 16, 16)}
BLOCK = 512  # of the kernel of attention
GRID = {
    'efficiency': [0.01 * n for n in range(70, 100)],
    'exposed': [0.1 * n for n in range(21)],
    'exposed_again': [0.1 * n for n in range(21)],
    'straggle': [0.004 * n for n in range(11)],
}


@dataclass(frozen=True)
class Point:
    """One published number, and what the rooflines are given of its run."""

    family: str
    name: str
    slices: int
    measured: float  # FLOPs/s of a chip
    flops: float  # of a chip and a step, as MaxText counts them
    times: Times
    again: bool  # whether activations are computed again

    def predicted(self, constants: Constants) -> float:
        """Returns FLOPs/s of a chip."""
        return self.flops / self.times.step(self.again, constants, self.slices)

    def error(self, predicted: float) -> float:
        return abs(predicted / self.measured - 1)


def points(data: dict[str, Any]) -> list[Point]:
    """Returns what is published, in the order of the file."""
    found = []
    for run in data['runs']:
        flops, work = costs(run, data)
        for slices, tflops in run['tflops'].items():
            family = f'{run["chip"]} {run["model"]}B'
            name = f'{slices} × {run["chips"]} {run["chip"]}, {run["model"]}B'
            found.append(Point(family, name, int(slices), 1e12 * tflops, flops, work, run['remat'] == 'full'))
    return found


def costs(run: dict[str, Any], data: dict[str, Any]) -> tuple[float, Times]:
    """Returns FLOPs as MaxText counts them (6 for each parameter and token, and half of attention), and the times of
    what one chip computes and sends."""
    base = data['base']
    size = {name: base[name] * factor for name, factor in data['models'][run['model']].items()}
    d, h, f, layers = size['width'], size['heads'] * base['head_width'], size['mlp_width'], size['layers']
    length, vocabulary = base['length'], base['vocabulary']
    t = run['rows'] * length
    layer = 4 * d * h + 3 * d * f
    parameters = layers * layer + 2 * vocabulary * d
    attention = 6 * layers * h * length * t  # forward and backward, of what the mask leaves
    counted = 6 * parameters * t + attention
    again = run['remat'] == 'full'
    # Products of attention: two forward, five backward, of blocks of BLOCK tokens, so some that the mask hides.
    kernels = layers * h * t * (length + BLOCK) * (7 + 2 * again)
    computed = 6 * (layers * layer + vocabulary * d) * t + kernels
    if again:  # all but the last product of a layer, of which no gradient wants the result
        computed += 2 * layers * (layer - d * f) * t
    tensor, chip, kind = run['tensor'], chips.find(KINDS[run['chip']]), KINDS[run['chip']]
    assert chip is not None
    sharded = run['chips'] // tensor
    # bfloat16: parameters are gathered forward and backward, gradients added up once.
    sent = {('fsdp',): 3 * 2 * parameters / tensor * (sharded - 1) / sharded}
    if tensor > 1:  # rows of the whole group are gathered before each half of a block, and added up after it
        rounds = 2 * 2 * (3 if again else 2)
        sent['tensor',] = layers * rounds * 2 * t * tensor * d * (tensor - 1) / tensor
    # Each parameter and its two moments are read and written, and activations at least by each product that makes them.
    traffic = 24 * parameters / run['chips'] + 2 * layers * t * (6 * d + 4 * h + 6 * f)
    whole = TORUS[run['chip'], run['chips']]

    def along(axes: tuple[str, ...]) -> float:
        """A group lies along the first dims of the torus, or beyond them along the last."""
        wanted = tensor if axes == ('tensor',) else sharded
        order = whole if axes == ('tensor',) else whole[::-1]
        extents = []
        for dim in order:
            extents.append(min(dim, wanted))
            wanted = max(wanted // dim, 1)
        return torus_bandwidth(chip, tuple(extents), order)

    return counted, times(computed, kernels, traffic, sent, devices.peak(kind, 'bfloat16'), chip, along)


def fit(known: Sequence[Point]) -> Constants:
    """Returns the constants whose mean error is smallest, a coordinate at a time until none helps."""
    best = {'efficiency': 0.85, 'kernels': KERNELS, 'exposed': 1.0, 'exposed_again': 0.5, 'straggle': 0.02}

    def error(values: dict[str, float]) -> float:
        return mean(point.error(point.predicted(Constants(**values))) for point in known)

    least = error(best)
    while True:
        before = least
        for one, other in itertools.combinations(GRID, 2):
            for a, b in itertools.product(GRID[one], GRID[other]):
                if (found := error(best | {one: a, other: b})) < least - 1e-9:
                    best, least = best | {one: a, other: b}, found
        if least == before:
            return Constants(**best)


def best_constants(wanted: Sequence[Point]) -> dict[str, float]:
    """Returns, for each chip, the FLOPs/s that no other constant is nearer to these runs in the mean than."""
    by_chip: dict[str, list[Point]] = {}
    for point in wanted:
        by_chip.setdefault(point.family.split()[0], []).append(point)
    return {
        chip: min((point.measured for point in of), key=lambda value, of=of: mean(p.error(value) for p in of))
        for chip, of in by_chip.items()
    }


def mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)


def compare(fitted_on: Sequence[Point], wanted: Sequence[Point]) -> dict[str, Any]:
    """Fits on some points; returns the errors on others, and those of the best constants."""
    constants, flat = fit(fitted_on), best_constants(wanted)
    errors = {point.name: point.predicted(constants) / point.measured - 1 for point in wanted}
    ours = mean(map(abs, errors.values()))
    theirs = mean(point.error(flat[point.family.split()[0]]) for point in wanted)
    return {
        'fitted_on': list(dict.fromkeys(point.family for point in fitted_on)),
        'constants': {name: round(value, 4) for name, value in vars(constants).items()},
        'mean_error_where_fitted': round(mean(p.error(p.predicted(constants)) for p in fitted_on), 4),
        'mean_error': round(ours, 4),
        'mean_error_of_the_best_constants': round(theirs, 4),
        'below_half': ours < theirs / 2,
        'errors': {name: round(value, 3) for name, value in errors.items()},
    }


def main() -> int:
    data = json.loads((HERE / 'maxtext.json').read_text('utf-8'))
    found = points(data)
    families = list(dict.fromkeys(point.family for point in found))
    halves = [[point for point in found if point.family in families[n::2]] for n in (0, 1)]
    result = {
        'about': 'FLOPs/s of a chip predicted by the rooflines of plan, against those that MaxText published.',
        'sources': data['sources'],
        'first_half_fitted': compare(halves[0], halves[1]),
        'second_half_fitted': compare(halves[1], halves[0]),
        'all_fitted': {name: round(value, 4) for name, value in vars(fit(found)).items()},
    }
    print(json.dumps(result, indent=2))
    if '--record' in sys.argv[1:]:
        record.write('plan_maxtext', result)
    return 0


if __name__ == '__main__':
    sys.exit(main())

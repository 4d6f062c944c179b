"""Say what a run will take, in memory, time and chips, before it runs.

python -m jaxlab.main plan --config=configs/transformer.py
python -m jaxlab.main plan --config=configs/transformer.py:llama_8b --topology=v5e:16x16 --config.mesh.fsdp=256

The step is compiled as it would be trained, with --topology for TPUs that are not here, and nothing runs: the answer is
read off the program. Exit code 1: it does not fit into the memory of a chip.
"""

import argparse
from typing import Any

from jaxlab.errors import UserError
from jaxlab.messages import say


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--config', required=True, help=say('the experiment'))
    topology = say('TPUs to compile for, such as v5e:16x16; none need be here (default: the devices of this machine)')
    parser.add_argument('--topology', default='', help=topology)
    tokens = say('a budget of training tokens, or rows where they are no texts (default: those of config.steps)')
    parser.add_argument('--tokens', type=float, default=0.0, help=tokens)
    whole = say('with --topology: make machine code as well, which takes ten times as long, and count its bytes')
    parser.add_argument('--whole', action='store_true', help=whole)
    parser.add_argument('--json', action='store_true', help=say('print one JSON object'))


def run(parsed: argparse.Namespace) -> int:
    import json

    from jaxlab import config as configs
    from jaxlab import config_text
    from jaxlab.planning import forecast

    if parsed.tokens < 0:
        raise UserError('--tokens={count}: at least 0 is wanted.', count=parsed.tokens)
    written, _ = config_text.load(parsed.config)
    config = configs.check(config_text.override(written, parsed.overrides))
    found = forecast.of(config, parsed.topology, parsed.whole)
    budget = found.of_budget(parsed.tokens or config.steps * found.tokens)
    if parsed.json:
        print(json.dumps(without_nan(found.as_json() | {'budget': budget})))
    else:
        print('\n'.join(lines(found, budget)))
    return int(not found.fits)


def lines(found: Any, budget: dict[str, float]) -> list[str]:
    """Returns what is said of a forecast."""
    import math

    from jaxlab.memory import readable

    mesh = ' × '.join(f'{axis} {size}' for axis, size in found.mesh.items()) or '1'
    said = [
        say('{count} × {kind}, mesh {mesh}', count=found.devices, kind=found.kind, mesh=mesh),
        say('parameters {count:,}', count=found.parameters),
        say(
            'memory of each chip: state {state}, batch {batch}, temporaries {temporaries}, other {other}: {taken}',
            state=readable(found.state),
            batch=readable(found.batch),
            temporaries=readable(found.temporaries),
            other=readable(found.other),
            taken=readable(found.taken),
        ),
    ]
    if not found.limit:
        said.append(say('how much there is is not known'))
    elif found.fits:
        said.append(say('it fits into {limit}', limit=readable(found.limit)))
    else:
        said.append(say('it does NOT fit into {limit}', limit=readable(found.limit)))
    said.append(say('largest arrays:'))
    said += [f'  {readable(size):>10}  {name}' for name, size in found.largest]
    said.append(
        say(
            'FLOPs of a step: the model asks for {model:.4g}; the program computes {program:.4g} ({times:.2f} times)',
            model=float(found.model_flops),
            program=found.program_flops * found.devices,
            times=found.program_flops * found.devices / found.model_flops if found.model_flops else math.nan,
        )
    )
    if found.unknown:
        said.append(say('not in it: {kernels}', kernels=', '.join(found.unknown)))
    if found.sent:
        said.append(say('each chip sends in a step:'))
        said += [f'  {readable(size):>10}  {name}' for name, size in sorted(found.sent.items(), key=lambda x: -x[1])]
    seconds = found.seconds
    if math.isnan(found.step):
        said.append(say('how fast such devices are is not known: no time is predicted'))
        return said
    said += [
        say(
            'if one thing alone took time: products {compute:.4g} s, memory {memory:.4g} s, links {links:.4g} s',
            **seconds,
        ),
        say(
            'expected: a step in {step:.4g} s, MFU {mfu:.1%}, {rate:,.0f} tokens/s',
            step=found.step,
            mfu=found.mfu,
            rate=found.tokens / found.step,
        ),
        say(
            '{tokens:.4g} tokens are {steps:,.0f} steps: {days:,.3g} days, {chip_hours:,.4g} chip-hours',
            **budget,
        ),
    ]
    return said


def without_nan(value: Any) -> Any:
    """Returns plain values with None for what is not known: JSON has no word for nan."""
    import math

    if isinstance(value, dict):
        return {name: without_nan(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value

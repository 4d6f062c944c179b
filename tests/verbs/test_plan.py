"""plan: what it says of this machine's devices, of TPUs that are not here, and of mistakes."""

import importlib.util
import json
import math
from dataclasses import replace

import pytest

import jaxlab.main
from jaxlab.planning import drawing, forecast
from tests.experiments import TRANSFORMER, message, tiny

TINY = ['plan', f'--config={TRANSFORMER}:tiny']
MESH = [f'--config.mesh.{axis}=2' for axis in ('data', 'fsdp', 'tensor')]
needs_libtpu = pytest.mark.skipif(importlib.util.find_spec('libtpu') is None, reason='wants libtpu')


SMALL = {'model.layers': 1, 'model.width': 32, 'steps_per_call': 1}


def test_this_machine(corpus, capfd, monkeypatch):
    """In text and in JSON; FLOPs and tokens are those that one knows."""
    given = [*TINY, f'--config.data.path={corpus}', *MESH, *(f'--config.{key}={n}' for key, n in SMALL.items())]
    assert jaxlab.main.main([*given, '--json']) == 0
    found = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert found['mesh'] == {'data': 2, 'fsdp': 2, 'tensor': 2} and found['tokens'] == 8 * 64
    assert found['step'] is None and found['budget']['steps'] == 200  # nobody knows how fast this CPU is
    assert found['model_flops'] == pytest.approx(8 * found['program_flops'], rel=0.02)

    known = forecast.Forecast(**{key: found[key] for key in forecast.Forecast.__dataclass_fields__})
    known = replace(known, largest=[(one['name'], one['bytes']) for one in found['largest']], step=math.nan)
    monkeypatch.setattr(forecast, 'of', lambda *_: known)
    assert jaxlab.main.main([*given, '--tokens=1e6']) == 0
    said = capfd.readouterr().out
    for words in ('8 × cpu, mesh data 2 × fsdp 2 × tensor 2', 'it fits into', 'all-gather fsdp', '(1.00 times)'):
        assert words in said
    assert 'no time is predicted' in said
    fast = replace(known, step=0.5, mfu=0.4, seconds={'compute': 0.2, 'memory': 0.1, 'links': 0.05}, limit=1)
    monkeypatch.setattr(forecast, 'of', lambda *_: fast)
    assert jaxlab.main.main([*given, f'--tokens={512 * 86400 * 2}']) == 1  # it does not fit
    said = capfd.readouterr().out
    assert 'it does NOT fit into 1 B' in said and 'MFU 40.0%, 1,024 tokens/s' in said
    assert '172,800 steps: 1 days, 192 chip-hours' in said


def test_memory_is_what_xla_says(corpus):
    """What XLA writes of its arrays, and state and batch as they are split, against the program's own statistics."""
    sizes = {key.replace('.', '__'): value for key, value in SMALL.items()}
    config = tiny(corpus, **sizes, mesh__data=2, mesh__fsdp=4)
    found, drawn = forecast.of(config), drawing.draw(config)
    stats = compiled(drawn).memory_analysis()
    peak = stats.argument_size_in_bytes + stats.output_size_in_bytes - stats.alias_size_in_bytes
    peak += stats.temp_size_in_bytes + stats.generated_code_size_in_bytes
    assert found.taken == pytest.approx(peak, rel=0.05)
    assert found.state + found.batch == pytest.approx(stats.argument_size_in_bytes, rel=0.01)


def compiled(drawn):
    from jaxlab.blueprint import compile_step

    return compile_step(drawn.plan.call, drawn.plan.arguments, drawn.mesh)


def test_mistakes(monkeypatch, capfd):
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, 'find_spec', lambda name: None)
        assert 'pip install -e ".[plan]"' in message(drawing.topology, 'v5e:4x4')
    assert jaxlab.main.main([*TINY, '--tokens=-1']) == 2
    assert '--tokens=-1.0: at least 0' in capfd.readouterr().err


@needs_libtpu
def test_a_topology_that_nobody_knows():
    text = message(drawing.topology, 'v5e:17x99')
    assert '--topology=v5e:17x99: libtpu knows no such topology' in text and 'v5e:16x16' in text


@needs_libtpu
@pytest.mark.slow
def test_a_topology(capfd):
    """A small decoder for eight chips of a v5e: bfloat16, the TPU's own attention, and times, with no data read."""
    sizes = {'layers': 2, 'width': 256, 'heads': 2, 'vocabulary': 1024, 'scan': 'true', 'vocabulary_multiple': 8}
    given = [*TINY, '--topology=v5e:2x4', '--config.mesh.fsdp=8', '--config.data.length=512', '--json']
    given += [f'--config.model.{name}={value}' for name, value in sizes.items()]
    assert jaxlab.main.main(given) == 0
    found = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (found['kind'], found['devices'], found['tokens']) == ('TPU v5 lite', 8, 8 * 512)
    assert found['limit'] == 15.75 * 2**30 and found['fits'] and found['temporaries'] > 0
    assert found['kernel_flops'] == 2 * 14 * 2 * 512 * 512 * 128  # layers · products · heads · …, of one row a chip
    assert 1 < 8 * found['program_flops'] / found['model_flops'] < 1.6
    assert found['step'] > max(found['seconds'].values()) > 0 and 0 < found['mfu'] < 1

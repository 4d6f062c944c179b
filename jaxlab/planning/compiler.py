"""The compiler's part of a plan.

For the devices of this process the step is compiled as training compiles it. For a TPU topology that is done by a
process of its own, which is ended as soon as XLA has optimized and ordered the program and given every array its place:
what then follows, the making of machine code, takes ten times as long and decides nothing that a plan says.

python -m jaxlab.planning.compiler FOLDER      that process: it reads FOLDER/order, and writes FOLDER/answer
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxlab import blueprint, config_text
from jaxlab.errors import UserError
from jaxlab.parallel import target
from jaxlab.planning import buffers, drawing

GLANCE = 0.5  # seconds between two looks at what XLA has written
ORDER, ANSWER = 'order', 'answer'


@dataclass(frozen=True)
class Compiled:
    dump: buffers.Dump
    stats: Any  # what `memory_analysis` says; None where it was not compiled to the end
    available: int  # bytes that there are, where the program is refused since it wants more; else 0
    seconds: float


def here(drawn: drawing.Drawn) -> Compiled:
    """Compiles a step for devices of this process."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        compiled = _compile(drawn, Path(folder))
        seconds = time.monotonic() - begin
        dump = buffers.read(Path(folder))
    stats = compiled.memory_analysis()
    if dump is None:  # not every backend writes what it does
        dump = buffers.Dump(compiled.as_text(), stats.temp_size_in_bytes if stats else 0, ())
    return Compiled(dump, stats, 0, seconds)


def elsewhere(config: ConfigDict, topology: str, whole: bool = False) -> Compiled:
    """Compiles the step of a config for a TPU topology, in a process of its own.

    Args:
      config: the resolved config.
      topology: such as 'v5e:16x16'.
      whole: whether machine code is made as well.

    Raises:
      UserError: XLA refuses the program, and says no more than why.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, begin = Path(name), time.monotonic()
        own = [package for _, package in config_text.outside(config)]  # which are imported here already
        order = {'config': config_text.to_json(config), 'allow_import': own, 'topology': topology}
        (folder / ORDER).write_text(json.dumps(order), 'utf-8')
        command = [sys.executable, '-m', 'jaxlab.planning.compiler', name]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            while process.poll() is None and (whole or not _decided(folder)):
                time.sleep(GLANCE)
            if process.poll() is None:
                process.kill()
            _, said = process.communicate()
        finally:
            process.kill()
        seconds = time.monotonic() - begin
        answer = folder / ANSWER
        told: dict[str, Any] = json.loads(answer.read_text('utf-8')) if answer.exists() else {}
        stats, reason = Stats(**told['stats']) if told.get('stats') else None, told.get('reason', '')
        dump = buffers.read(folder)
    if dump is None:
        reason = reason or (said.strip().splitlines() or ['?'])[-1]
        raise UserError('XLA does not compile it for {topology}: {reason}', topology=topology, reason=reason)
    found = re.search(r'available HBM \(([\d.]+)G\)|of ([\d.]+)G hbm', reason)
    return Compiled(dump, stats, int(float(found[1] or found[2]) * 2**30) if found else 0, seconds)


def _decided(folder: Path) -> bool:
    """Whether XLA has given every array its place, and written it down to the end: nothing has grown for a while."""
    files = [file for pattern in buffers.FILES for file in folder.rglob(pattern)]
    if len(files) < len(buffers.FILES):
        return False
    return all(file.stat().st_size and time.time() - file.stat().st_mtime > 2 * GLANCE for file in files)


def _compile(drawn: drawing.Drawn, folder: Path) -> Any:
    """Compiles a step; XLA writes what it does into `folder`."""
    from jax.experimental.compilation_cache import compilation_cache

    kept = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    plan = drawn.plan
    try:  # of a program that was kept nothing is written
        jax.config.update('jax_enable_compilation_cache', False)
        compilation_cache.reset_cache()
        with target.of(drawn.mesh.devices.flat[0]):
            return blueprint.compile_step(plan.call, plan.arguments, plan.mesh, options=buffers.options(folder))
    finally:
        jax.config.update('jax_enable_compilation_cache', kept)
        compilation_cache.reset_cache()


def main(folder: Path) -> None:
    """Compiles what is ordered in a folder."""
    order = json.loads((folder / ORDER).read_text('utf-8'))
    config = config_text.from_json(order['config'], order['allow_import'])
    drawn = drawing.draw(config, drawing.topology(order['topology']))
    stats: dict[str, int] = {}
    reason = ''
    try:
        found = _compile(drawn, folder).memory_analysis()
        stats = asdict(Stats(*(getattr(found, name) for name in Stats.__dataclass_fields__)))
    except jax.errors.JaxRuntimeError as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), '')
    (folder / ANSWER).write_text(json.dumps({'stats': stats, 'reason': reason}), 'utf-8')


@dataclass(frozen=True)
class Stats:
    """What of `memory_analysis` is handed on."""

    argument_size_in_bytes: int
    output_size_in_bytes: int
    alias_size_in_bytes: int
    temp_size_in_bytes: int
    generated_code_size_in_bytes: int


if __name__ == '__main__':
    main(Path(sys.argv[1]))

"""THE file: a training run from nothing to the end, in order.

Build what there is, give birth to the state where it will live, or restore it; then, step by step: batch, step,
observe, evaluate, sample, save, stop. A sentence says why each stands where it stands.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxlab import calls, devices, flops, memory
from jaxlab import step as steps
from jaxlab import workdir as workdirs
from jaxlab.best import make_best
from jaxlab.checkpoint import Checkpoints
from jaxlab.config import build
from jaxlab.data.stream import prefetch
from jaxlab.evaluation import count, make_evaluate, make_scores, summary
from jaxlab.experiment import make_data, make_sampler, make_task
from jaxlab.observers import Compiled, Observer, Run
from jaxlab.observers.meter import Meter
from jaxlab.parallel import layout
from jaxlab.precision import dtypes
from jaxlab.trust import numbers
from jaxlab.trust.ledger import Ledger
from jaxlab.trust.stop import Stop


def train(config: ConfigDict, workdir: Path, observers: Sequence[Observer], ledger: Ledger | None = None) -> int:
    """Trains until `config.steps`, or until asked to stop; goes on from the newest checkpoint in the workdir.

    Args:
      config: the resolved config; see `jaxlab.config.experiment`.
      workdir: where everything lies; made if missing.
      observers: who is told what happens.
      ledger: counts where the time goes; one that already runs counts what came before.

    Returns:
      0, or the number of the signal that ended the run early.

    Raises:
      UserError: anything that the user can mend; before anything compiles.
    """
    ledger = ledger or Ledger()
    # 1. The parts. Nothing compiles here, so mistakes surface within seconds.
    workdirs.check_identity(workdir, config)
    mesh = layout.make_mesh(config.mesh)
    unseen = devices.unseen()  # on a thread of its own, like all that may take long and holds nothing up
    scores = make_scores(config.evaluate.scores)
    data, config = make_data(config, mesh, workdirs.read_processor(workdir, config))
    best = make_best(config.best, data.splits, scores, config.evaluate.every)
    batch = layout.global_shapes(data.batch(0), config.batch_size)
    task = make_task(config, data.info)
    sample = make_sampler(task, data.processor, config.log, rows=layout.batch_shards(mesh))

    checkpoints = Checkpoints(workdir, config.checkpoint.keep)
    with jax.set_mesh(mesh), closing(checkpoints), Stop() as stop:
        # 2. Shapes and axis names first, arrays later: nothing large is ever whole on one device.
        key = jax.random.key(config.seed)
        names = layout.names(jax.eval_shape(task.init, key, batch)[0])
        optimizers = [
            build(config[of.optimizer], steps.split(names, of.trains)[0], config.steps * of.repeat, key=of.optimizer)
            for of in task.phases
        ]
        init = partial(steps.init, task, optimizers, config.average, batch)
        abstract = jax.eval_shape(init, key)
        shardings = layout.state_shardings(abstract, names, mesh)

        # 3. Nothing was refused, so the step compiles, on a thread of its own. Meanwhile the state is born in its
        #    shardings, or restored into them, from whatever mesh it was saved on; then the workdir is its own.
        how = {'accumulate': config.accumulate, 'average': config.average, 'spike': config.numbers.spike}
        step = steps.make_step(task, optimizers, **how)
        step, given, given_shardings = calls.prepare(step, batch, mesh, config.steps_per_call)
        arguments: Any = layout.with_shardings(abstract, shardings), {}, layout.with_shardings(given, given_shardings)
        compiling_since = time.monotonic()
        compiling = ThreadPoolExecutor(1).submit(timed, compile_step, step, arguments, mesh)
        state_bytes = memory.of_tree(abstract, shardings)
        too_large = memory.of_state_alone(state_bytes, memory.limit())
        if too_large and jax.process_index() == 0:
            print(too_large, flush=True)  # before it is born: no observer may live to tell of it
        if checkpoints.latest() is None:
            state = jax.jit(init, out_shardings=shardings)(key)
        else:
            state, best = checkpoints.restore(arguments[0]), best.resumed(checkpoints.best())
        workdirs.remember(workdir, config, data, batch)
        start = int(state.step)
        table = layout.describe(abstract.params, names, shardings.params)
        looked_at = summary(data.splits, config.evaluate.batches)
        about = data.summary, looked_at, devices.summary(mesh), table
        run = Run(config, workdir, start, *about, ledger, best, unseen, compiling_since)
        for observer in observers:
            observer.start(run)
        work = flops.of_step(task, abstract.params, abstract.extra, batch, key)  # while the step compiles
        with ledger.of('compile'):
            step, seconds = compiling.result()
        peak = mesh.size * devices.peak(mesh.devices.flat[0].device_kind, dtypes(config.precision)[0].name)
        expected = memory.expected(step, state_bytes, config, layout.batch_shards(mesh))
        run.compiled.set_result(compiled := Compiled(seconds, work, peak, expected))
        meter = Meter(config, data.info, start, compiled)

        evaluate = ledger.of('evaluate')(make_evaluate(task, scores, config.accumulate))
        place = partial(layout.place, shardings=layout.batch_sharding(mesh))
        frozen: dict = {}  # parameters that are used and never trained: neither donated nor saved

        def observe(n: int, terms: steps.Terms) -> None:
            jax.block_until_ready(terms)  # the host is never more than one call ahead, so a stop is heard soon
            numbers.check(n, terms, config.numbers.patience)
            if due(n, config.log.every):
                tell(n, meter.row(n, terms))

        @ledger.of('observe')
        def tell(n: int, row: dict[str, float]) -> None:
            for observer in observers:
                observer.row(n, row)

        # 4. The loop. Batch n is a function of n, so going on from a checkpoint is arithmetic. Each turn is one call of
        #    the step, or of several at once, and n is the number of its last.
        n = start
        before = None
        ledger.turn('train')
        offset = int(state.data_offset)
        every = config.log.every, config.evaluate.every, config.log.sample_every, config.checkpoint.every
        ends = calls.ends(start, start if best.exhausted else config.steps, config.steps_per_call, every)
        batches = calls.batches(lambda n: data.batch(n + offset), start, ends, config.steps_per_call)
        for mine, n in zip(ledger.waits('data', prefetch(batches, 0, len(ends))), ends.tolist()):
            state, terms = step(state, frozen, layout.place(mine, given_shardings))
            # It is under way; only now are the numbers of the one before read, so the devices never wait for the host.
            if before:
                observe(*before)
            before = n, terms
            stopping = stop.signal  # asked once: what follows must agree
            last = n == config.steps
            if last or due(n, config.evaluate.every) or due(n, config.log.sample_every) or stopping:
                observe(*before)  # what follows looks at this state anyway, and rows come in the order of steps
                before = None
            if last or due(n, config.evaluate.every):
                row: dict[str, float] = {}
                for name, split in data.splits.items():
                    held_out = map(place, prefetch(split.batch, 0, count(split, config.evaluate.batches)))
                    found = evaluate(state.average or state.params, state.extra, held_out)
                    row |= {f'eval/{name}/{score}': value for score, value in found.items()}
                tell(n, row)
                best = best.after(n, row)
                last = last or best.exhausted  # and so it is sampled and saved like any last step
            if sample and (last or due(n, config.log.sample_every)):
                with ledger.of('sample'):
                    text = sample(state.average or state.params, state.extra, state.key, state.step)
                with ledger.of('observe'):
                    for observer in observers:
                        observer.sample(n, text)
            if before is None:
                meter.start(n)  # evaluation and samples are not training: they do not count as its time
            # Saving comes last: what is saved has been seen. It copies the state, and writes while the next steps run.
            if last or due(n, config.checkpoint.every) or stopping or best.step == n:
                with ledger.of('save'):
                    checkpoints.save(n, state, config, best)
            if last or stopping:
                break
        with ledger.of('save'):
            checkpoints.close()  # the last save is whole before anyone is told that the run has ended
        ledger.turn('observe')
        for observer in observers:
            observer.end(n)
        if line := best.summary(n):
            print(line, flush=True)
        return stop.signal


def compile_step(step: Callable[..., Any], arguments: tuple[Any, ...], mesh: jax.sharding.Mesh) -> Callable[..., Any]:
    """Compiles a step for shapes with shardings. What comes back never compiles again: other shapes are an error.

    The old state is donated: its memory becomes the new one's.
    """
    out_shardings = jax.tree.map(lambda x: x.sharding, arguments[0]), None
    with jax.set_mesh(mesh):  # a thread begins without the mesh of the one that started it
        return jax.jit(step, donate_argnums=0, out_shardings=out_shardings).lower(*arguments).compile()


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Returns what the function returns, and the seconds that it took."""
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def due(n: int, every: int) -> bool:
    """Whether step n is one of every `every`; never where `every` is 0."""
    return bool(every) and n % every == 0

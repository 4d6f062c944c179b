"""THE file: a training run from nothing to the end, in order.

Build what there is, give birth to the state where it will live, or restore it; then, step by step: batch, step,
observe, evaluate, sample, save, stop. A sentence says why each stands where it stands.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxlab import blueprint, calls, determinism, devices, fitting, flops, initial, memory
from jaxlab import step as steps
from jaxlab import workdir as workdirs
from jaxlab.best import make_best
from jaxlab.blueprint import compile_shapes, compile_step
from jaxlab.checkpoint import Checkpoints
from jaxlab.data.stream import Batch, prefetch
from jaxlab.debug_nans import DebugNaNs
from jaxlab.evaluation import count, make_evaluate, make_scores, summary
from jaxlab.experiment import make_data, make_sampler, make_task
from jaxlab.observers import Compiled, Observer, Run
from jaxlab.observers.meter import Meter
from jaxlab.parallel import layout, multihost
from jaxlab.parallel.inventory import describe
from jaxlab.parallel.mesh import make_mesh
from jaxlab.parameter_groups import merge
from jaxlab.precision import dtypes
from jaxlab.trust import faults, lock, numbers
from jaxlab.trust.ledger import Ledger
from jaxlab.trust.stop import Stop
from jaxlab.trust.watchdog import Watchdog


def train(
    config: ConfigDict,
    workdir: Path,
    observers: Sequence[Observer],
    ledger: Ledger | None = None,
    *,
    debug_nans: bool = False,
) -> int:
    """Trains until `config.steps`, or until asked to stop; goes on from the newest checkpoint in the workdir.

    Args:
      config: the resolved config; see `jaxlab.config.experiment`.
      workdir: where everything lies; made if missing.
      observers: who is told what happens; of several processes those of the first alone, so that each file has one
        writer.
      ledger: counts where the time goes; one that already runs counts what came before.
      debug_nans: whether the first loss or gradient that is not finite ends the run, and the module that it began in is
        named; see `jaxlab.debug_nans`.

    Returns:
      0, or the number of the signal that ended the run early.

    Raises:
      UserError: anything that the user can mend; before anything compiles.
    """
    ledger = ledger or Ledger()
    faults.reach('start')
    determinism.switch(config.deterministic)  # before anything starts a device
    speaks = jax.process_index() == 0
    observers = observers if speaks else ()
    workdirs.check_identity(workdir, config)
    with ExitStack() as opened:  # whatever ends the run, all that was opened is closed again, the last one first
        locked = opened.enter_context(lock.alone(workdir))  # before anything is written
        # 1. The parts. Nothing compiles here, so mistakes surface within seconds.
        mesh = make_mesh(config.mesh)
        multihost.check_mesh(mesh)
        unseen = devices.unseen()  # on a thread of its own, like all that may take long and holds nothing up
        data, config = make_data(config, mesh, workdirs.read_processor(workdir, config))
        scores = make_scores(config.evaluate.scores, data.info)
        best = make_best(config.best, data.splits, scores, config.evaluate.every)
        batch = layout.global_shapes(data.largest(), config.batch_size)
        task = make_task(config, data.info)
        sample = make_sampler(task, data.processor, config.log, mesh)

        opened.enter_context(jax.set_mesh(mesh))
        checkpoints = Checkpoints(workdir, config.checkpoint.keep, config.checkpoint.retry)
        opened.enter_context(closing(checkpoints))
        stop = opened.enter_context(Stop())
        watchdog = opened.enter_context(Watchdog(config.hang.times, config.hang.least, workdir / 'hang.txt'))

        # 2. Shapes and axis names first, arrays later: nothing large is ever whole on one device. See blueprint.py.
        plan = blueprint.draw(config, task, batch, mesh)
        abstract, names, shardings = plan.abstract, plan.names, plan.shardings
        fresh = multihost.first_says(checkpoints.latest() is None)
        # What it begins with is looked at before anything compiles.
        begun = initial.of(config, plan, data.info) if fresh else None
        frozen, its_extra = initial.base(config, plan, workdir, fresh)  # used and never trained: not donated, not saved

        # It says before it compiles what would fit, where this is not likely to.
        about_bytes, state_bytes = fitting.estimate(plan, config, data.info, batch)
        if 0 < (there := memory.limit()) < about_bytes and speaks:
            print(fitting.warning(about_bytes, state_bytes, there, config, data.info, batch), flush=True)

        # 3. Nothing was refused, so the step compiles, on a thread of its own. Meanwhile the state is born in its
        #    shardings, or restored into them, from whatever mesh it was saved on; then the workdir is its own.
        compiling_since = time.monotonic()
        compiling = ThreadPoolExecutor(1).submit(timed, compile_step, plan.call, plan.arguments, mesh, not debug_nans)
        if begun:
            state = begun(plan.born())
            state = state.replace(extra=its_extra) if frozen else state
        else:
            state, best = checkpoints.restore(plan.arguments[0]), best.resumed(checkpoints.best())
        workdirs.remember(workdir, config, data, batch, writes=speaks)
        start = int(state.step)
        about = data.summary, summary(data.splits, config.evaluate.batches), devices.summary(mesh)
        table = describe(abstract.params, names, shardings.params)
        furthest = workdirs.furthest(workdir)  # what is not beyond it is done again
        run = Run(config, workdir, start, *about, table, ledger, best, unseen, compiling_since, base=plan.frozen.count)
        for observer in observers:
            observer.start(run)
        checkpoints.first = run.kept  # no step counts before what was told up to it is safe
        params = merge(abstract.params, plan.frozen.abstract)  # the work is counted while the step compiles
        work = 0 if data.shapes else flops.of_step(task, params, abstract.extra, batch, plan.key)
        with ledger.of('compile'):
            largest, seconds = compiling.result()
            step = compile_shapes(plan, data.shapes, config.batch_size, largest, not debug_nans)
            multihost.meet()
        peak = mesh.size * devices.peak(mesh.devices.flat[0].device_kind, dtypes(config.precision)[0].name)
        expected = memory.expected(largest)
        if 0 < expected.limit < expected.taken:  # in its own terms, which are near
            near = expected.limit * about_bytes / expected.taken
            expected = replace(expected, advice=fitting.advice(config, data.info, batch, near))
        run.compiled.set_result(compiled := Compiled(seconds, work, peak, expected))
        meter = Meter(config, data.info, start, compiled, data.width)

        evaluate = make_evaluate(task, scores, config.accumulate)
        place = partial(layout.place, shardings=layout.batch_sharding(mesh))
        n = start  # the number of the newest step
        before: tuple[int, steps.Terms] | None = None  # it and its terms, while nobody has read them

        # 4. The pieces of the loop.
        def batch_of(offset: int, n: int) -> Batch:
            return data.batch(n + offset)

        def observe(n: int, terms: steps.Terms) -> None:
            jax.block_until_ready(terms)  # the host is never more than one call ahead, so a stop is heard soon
            if nans:
                nans.look(n, terms)
            numbers.check(n, terms, config.numbers.patience)
            if due(n, config.log.every):
                tell(n, meter.row(n, terms, offset) | data.row(n + offset))

        @ledger.of('observe')
        def tell(n: int, row: dict[str, float]) -> None:
            for observer in observers:
                observer.row(n, row)

        def is_looked_at(n: int) -> bool:
            return n == config.steps or due(n, config.evaluate.every) or due(n, config.log.sample_every)

        def look(n: int, state: steps.TrainState, last: bool) -> bool:
            """Evaluates and samples, where that is due; False where the run was asked to end meanwhile."""
            nonlocal best
            params = merge(frozen, state.average or state.params)
            if last or due(n, config.evaluate.every):
                row: dict[str, float] = {}
                faults.reach('evaluate', n)
                with ledger.of('evaluate'):
                    for name, split in data.splits.items():
                        held_out = stop.waits(prefetch(split.batch, 0, count(split, config.evaluate.batches)))
                        found = evaluate(params, state.extra, map(place, held_out), stop.asked, split.judge)
                        if stop.asked():
                            return False
                        row |= {f'eval/{name}/{score}': value for score, value in found.items()}
                tell(n, row)
                best = best.after(n, row)
                last = last or best.exhausted  # and so it is sampled like any last step
            if sample and (last or due(n, config.log.sample_every)):
                with ledger.of('sample'):
                    made = sample(params, state.extra, state.key, state.step)
                with ledger.of('observe'):
                    for observer in observers:
                        observer.sample(n, made)
            return True

        def turn(batch: Any, end: int) -> bool:
            """One call of the step, or of several at once, up to step `end`; False where no other may follow."""
            nonlocal n, state, before, best
            watchdog.turn(end)
            ledger.turn('lost' if n < furthest else 'step')
            if nans:
                nans.hold(state)
            state, terms = step(state, frozen, layout.place(batch, plan.given_shardings))
            n = end
            # It is under way; only now are the numbers of the one before read: the devices never wait for us.
            if before:
                observe(*before)
            before = n, terms
            checkpoints.check()
            locked.check()
            faults.reach('step', n)
            stopping = stop.asked()  # once: what follows must agree
            saving = stopping or checkpoints.due(due(n, config.checkpoint.every))
            if is_looked_at(n) or saving:
                observe(*before)  # what follows looks at this state anyway, and rows come in the order of steps
                before = None
            with watchdog.resting():
                if is_looked_at(n):
                    looked = not stopping and look(n, state, n == config.steps)
                    best = replace(best, owed=not looked)
                if before is None:
                    meter.start(n)  # evaluation and samples are not training: they do not count as its time
                # Saving comes last: what is saved has been seen. It copies the state, and writes meanwhile.
                if saving or checkpoints.due(best.step == n):
                    with ledger.of('checkpoint'):
                        checkpoints.save(n, state, config, best)
            return not (stopping or best.owed or best.exhausted)

        def go_back(found: numbers.TooMany) -> None:
            """Goes back to before the trouble, and has the next batch be the one after it; raises where it cannot."""
            nonlocal n, state, before, best, furthest
            if checkpoints.latest(found.good) is None or int(state.health.rollbacks) >= config.numbers.rollbacks:
                raise found
            furthest = max(furthest, n)
            to = checkpoints.restore(plan.arguments[0], found.good)
            n, before, best = int(to.step), None, best.resumed(checkpoints.best())
            checkpoints.forget_after(n)
            state = numbers.rolled_back(to, state, found.good + config.numbers.patience)
            if speaks:
                print(found.told(n), flush=True)
            for observer in observers:
                observer.back(n)
            meter.start(n)

        # 5. The loop. Batch n is a function of n, so going on from a checkpoint is arithmetic. Each turn is one call.
        if best.owed and look(n, state, n == config.steps):
            best = replace(best, owed=False)
            checkpoints.save(n, state, config, best, again=True)
        every = config.log.every, config.evaluate.every, config.log.sample_every, config.checkpoint.every
        while n < config.steps and not best.exhausted and not stop.asked():  # once, and once more after each rollback
            offset = int(state.data_offset)
            nans = DebugNaNs(plan, step, data.batch, config.steps_per_call, frozen) if debug_nans else None
            ends = calls.ends(n, config.steps, config.steps_per_call, every)
            batches = calls.batches(partial(batch_of, offset), n, ends, config.steps_per_call)
            try:
                for mine, end in zip(ledger.waits('data', stop.waits(prefetch(batches, 0, len(ends)))), ends.tolist()):
                    if not turn(mine, end):
                        break
                if before:  # asked to end while it waited for data
                    observe(*before)
            except numbers.TooMany as found:
                with watchdog.resting():
                    go_back(found)

        # 6. The end.
        with ledger.of('checkpoint'):
            if n > start:
                checkpoints.save(n, state, config, best)  # the last step, or the one at which it was asked to end
            checkpoints.wait()  # it is whole before anyone is told that the run has ended
        ledger.turn('observe')
        for observer in observers:
            observer.end(n)
        if (line := best.summary(n)) and speaks:
            print(line, flush=True)
        finished = (n == config.steps or best.exhausted) and not best.owed
        return 0 if finished else stop.asked()


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Returns what the function returns, and the seconds that it took."""
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


def due(n: int, every: int) -> bool:
    """Whether step n is one of every `every`; never where `every` is 0."""
    return bool(every) and n % every == 0

"""A trained experiment: built from its workdir alone, ready to be asked.

lab = jaxlab.load('runs/transformer-1a2b3c4d')
print(lab('import', tokens=100))
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from jaxlab import adapters, config_text, determinism, initial, published
from jaxlab import config as configs
from jaxlab import workdir as workdirs
from jaxlab.blueprint import HEAD
from jaxlab.checkpoint import Checkpoints
from jaxlab.data import sheet
from jaxlab.data.stream import Data, Split, prefetch, whole
from jaxlab.errors import UserError, nearest
from jaxlab.evaluation import Probabilities, count, make_evaluate, make_scores
from jaxlab.messages import say
from jaxlab.parallel import layout
from jaxlab.parallel.mesh import AXES, make_mesh
from jaxlab.precision import dtypes
from jaxlab.scores import RowScore
from jaxlab.task import Told, Tree
from jaxlab.trust import place

# Of a grid of pictures that a run shows: how many stand in it at most, in how many columns, and how large each is made.
GRID, COLUMNS, MOST_COLUMNS, PIXELS = 80, 8, 16, 64


def make_task(config: ConfigDict, info: Mapping[str, Any]) -> Any:
    """Returns the config's task around its model; `info` is what they are told about the data."""
    info = Told(info)
    model = configs.build(config.model, info, *dtypes(config.precision), key='model')
    return configs.build(config.task, model, info, key='task')


def make_data(config: ConfigDict, mesh: jax.sharding.Mesh, known: Any = None) -> tuple[Data, ConfigDict]:
    """Returns the config's data set, and the config with what the data say: the `steps` of its `epochs`, and the
    `batch_size` of a full batch.

    `known` is the processor that an experiment was begun with; None: a new one is made.

    Raises:
      UserError: the data cannot be read, the devices do not divide a batch, or there is no end to the data where one is
        wanted.
    """
    # What the weights want is for the processor to keep, so that the same command goes on with the same config.
    described = (initial.with_preprocessing(config) if known is None else config).data
    config = config.copy_and_resolve_references()

    def of(batch_size: int, accumulate: int, known: Any) -> Data:
        rows = layout.process_rows(batch_size, accumulate, mesh)
        return configs.build(described, batch_size, config.seed, rows, known, key='data')

    def check_end(data: Data, key: str) -> None:
        if not math.isfinite(data.batches_per_epoch):
            raise UserError('config.{key}: these data have no end ({data}).', key=key, data=data.summary)

    if config.full_batch:
        shards = layout.batch_shards(mesh)
        data = of(shards, 1, known)
        check_end(data, 'full_batch')
        count, unit = round(data.batches_per_epoch * shards), shards * config.accumulate
        config.batch_size = math.ceil(count / unit) * unit
        rows = layout.process_rows(config.batch_size, config.accumulate, mesh)
        full = of(config.batch_size, config.accumulate, data.processor)
        data = full if full.shapes else whole(full, rows, count)  # what differs in shape is refused, below
    else:
        data = of(config.batch_size, config.accumulate, known)
    if known is None:
        initial.check_words(config, data.processor)
    for key, value in {'full_batch': config.full_batch, 'steps_per_call': config.steps_per_call > 1}.items():
        if data.shapes and value:
            raise UserError(
                'config.{key}={value} wants batches of one shape: config.data.buckets=() makes such.',
                key=key,
                value=config[key],
            )
    if config.epochs:
        check_end(data, 'epochs')
        config.steps = max(math.ceil(config.epochs * data.batches_per_epoch - 1e-6), 1)  # 3 × 0.1 is more than 0.3
        if config.steps > configs.MOST['steps']:
            raise UserError(
                'config.epochs={epochs} are {steps} steps; at most {most} are wanted.',
                epochs=config.epochs,
                steps=config.steps,
                most=configs.MOST['steps'],
            )
    if math.isfinite(data.batches_per_epoch):
        epoch = say('batches in an epoch: {batches:,.5g}', batches=data.batches_per_epoch)
        data = replace(data, summary=f'{data.summary}; {epoch}')
    return data, config


Sampler = Callable[[Tree, Tree, jax.Array, jax.Array], str | np.ndarray]


def make_sampler(task: Any, processor: Any, log: ConfigDict, mesh: jax.sharding.Mesh) -> Sampler | None:
    """Returns sample(params, extra, key, step) -> a text, or a grid of pictures, uint8 [h w c], compiled once; None
    where the task makes nothing or none is wanted.

    Of texts one is made for each part that the mesh splits a batch into, and the first is shown; of pictures a multiple
    of so many. Several processes all call it, and each has the whole: it is one program, which ends with the gathering,
    and nothing that one of them starts and another does not can come between.
    """
    rows, everywhere = layout.batch_shards(mesh), NamedSharding(mesh, PartitionSpec())
    if not (log.sample_every and hasattr(task, 'generate')):
        return None
    if hasattr(task, 'pictures'):
        return picture_sampler(task, rows, everywhere)
    prompt = jax.device_put(task.prompt(processor, [log.prompt] * rows, log.sample_tokens))

    @partial(jax.jit, out_shardings=everywhere)
    def generate(params: Tree, extra: Tree, key: jax.Array, step: jax.Array) -> jax.Array:
        made = task.generate(params, extra, prompt, jax.random.fold_in(key, step), count=log.sample_tokens)
        return layout.constrain(made, 'batch', None)  # gathered at the end, and not token by token

    def sample(params: Tree, extra: Tree, key: jax.Array, step: jax.Array) -> str:
        return log.prompt + processor.decode(jax.device_get(generate(params, extra, key, step))[0])

    return sample


def picture_sampler(task: Any, rows: int, everywhere: NamedSharding) -> Sampler:
    """Returns what `make_sampler` does, of a task that makes pictures: a column for each class, where these are few.
    They are of the same noise each time, so that one sees what becomes of them."""
    classes = task.model.classes
    columns = classes if 1 < classes <= MOST_COLUMNS else COLUMNS
    wanted = columns * (GRID // columns)
    labels = np.arange(-(-wanted // rows) * rows, dtype=np.int32) % max(classes, 1)

    @partial(jax.jit, out_shardings=everywhere)
    def generate(params: Tree, extra: Tree, key: jax.Array) -> jax.Array:
        return layout.constrain(task.generate(params, extra, labels, key), 'batch', None, None, None)

    def sample(params: Tree, extra: Tree, key: jax.Array, step: jax.Array) -> np.ndarray:
        return picture_grid(jax.device_get(generate(params, extra, key))[:wanted], columns)

    return sample


def picture_grid(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Returns pictures, uint8 [n h w c], as one for people: small ones are enlarged, so that every pixel is seen, and
    between two there is a gap."""
    scale, gap = max(PIXELS // max(pictures.shape[1:3]), 1), sheet.GAP // 2
    large = pictures.repeat(scale, 1).repeat(scale, 2)
    framed = np.pad(large, ((0, 0), (gap, gap), (gap, gap), (0, 0)), constant_values=sheet.GREY)
    return sheet.grid(framed, columns)


@dataclass(frozen=True)
class Experiment:
    """What training made: parameters on the devices, and everything needed to use them."""

    config: ConfigDict
    workdir: Path
    mesh: jax.sharding.Mesh
    task: Any
    processor: Any  # raw <-> model
    params: Tree  # the moving average, where the experiment has one
    extra: Tree
    step: int
    published: bool = False  # its workdir is a folder of published weights, or one of the hub

    def __call__(self, raw: Any, **options: Any) -> Any:
        """Answers raw input: a language model goes on where the text ends, a classifier names what a picture shows, a
        GAN makes a picture of a class.
        See the task's `answer` for the options."""
        with jax.set_mesh(self.mesh):
            return self.task.answer(self.params, self.extra, self.processor, raw, **options)

    def answers(self, raws: Sequence[Any], **options: Any) -> list[Any]:
        """Answers several raw inputs at once. See the task's `answers` for the options."""
        with jax.set_mesh(self.mesh):
            return self.task.answers(self.params, self.extra, self.processor, raws, **options)

    def draw(self, labels: Sequence[int], seed: int = 0) -> Iterator[np.ndarray]:
        """Yields a picture for each label, uint8 [h w c]: what a task makes that makes pictures. The same seed makes
        the same ones, and each is the same whatever others are made beside it."""
        with jax.set_mesh(self.mesh):
            yield from self.task.pictures(self.params, self.extra, labels, seed)

    def stream(self, prompt: str, **options: Any) -> Iterator[str]:
        """Yields an answer piece by piece, as it is made. See `LanguageModel.stream` for the options."""
        with jax.set_mesh(self.mesh):
            yield from self.task.stream(self.params, self.extra, self.processor, prompt, **options)

    def beams(self, prompt: str, **options: Any) -> list[tuple[str, float]]:
        """Returns the likeliest texts after `prompt`, with their scores. See `LanguageModel.beams` for the options."""
        with jax.set_mesh(self.mesh):
            return self.task.beams(self.params, self.extra, self.processor, prompt, **options)

    def probabilities(self, text: str, top: int = 10) -> list[tuple[str, float]]:
        """Returns the likeliest next tokens after `text` with their probabilities, the likeliest first."""
        with jax.set_mesh(self.mesh):
            return self.task.probabilities(self.params, self.extra, self.processor, text, top)

    def evaluate(self, split: str = '', batches: int = 0) -> dict[str, Any]:
        """Returns the config's scores on a split of its data ('': the first that training looks at), on its first
        `batches` or on all of it; how much that is, and the name of the split.

        Raises:
          UserError: there is no such split, or the data cannot be read.
        """
        return self._evaluate(split, batches, [])[0]

    def assess(self, split: str = '', batches: int = 0) -> tuple[dict[str, Any], dict[str, Any], list[np.ndarray]]:
        """Returns what `evaluate` does and, of a classification, what no single number tells.

        Returns:
          the scores, as `evaluate` returns them;
          what `jaxlab.assessment.assess` says of all rows that count, its 'wrong' ones with their 'text' where they are
          texts: {} where this is no classification;
          the pictures of its 'wrong' rows, uint8 [h w c] each: [] where the inputs are no pictures.

        Raises:
          UserError: as `evaluate`.
        """
        from jaxlab import assessment

        data, _ = made = make_data(self.config, self.mesh, self.processor)
        if not data.info.get('classes'):
            return self._evaluate(split, batches, [], made)[0], {}, []
        found, part = self._evaluate(split, batches, [Probabilities()], made)
        if not (rows := found.pop('rows')):
            return found, {}, []
        labels = data.info.get('labels', ())
        told = assessment.assess(rows['probabilities'], rows['targets'], labels, rows['number'])
        wrong = rows_of(part, [one['number'] for one in told['wrong']])
        if hasattr(data.processor, 'text_of'):
            told['wrong'] = [one | {'text': data.processor.text_of(row)} for one, row in zip(told['wrong'], wrong)]
        return found, told, pictures(wrong)

    def _evaluate(
        self, split: str, batches: int, more: list[RowScore], made: tuple[Data, ConfigDict] | None = None
    ) -> tuple[dict[str, Any], Split]:
        """Returns what `evaluate` does, and what `more` scores find; and the split."""
        data, config = made or make_data(self.config, self.mesh, self.processor)
        parts = {**data.splits, **data.tests}
        split = split or next(iter(parts), '')
        if split not in parts:
            raise UserError(
                '--split={split}: the data have {splits}.{nearest}',
                split=split,
                splits=', '.join(parts),
                nearest=nearest(split, parts),
            )
        trained_on = data.fingerprint if self.published else workdirs.read_data(self.workdir)['fingerprint']
        if data.fingerprint != trained_on:
            print(
                say(
                    'note: these are not the data of the training run (fingerprint {found}, not {trained_on})',
                    found=data.fingerprint,
                    trained_on=trained_on,
                )
            )
        part = parts[split]
        place = partial(layout.place, shardings=layout.batch_sharding(self.mesh))
        with jax.set_mesh(self.mesh):
            scores = [*make_scores(config.evaluate.scores, data.info), *more]
            evaluate = make_evaluate(self.task, scores, config.accumulate)
            wanted = count(part, batches)
            found = evaluate(self.params, self.extra, map(place, prefetch(part.batch, 0, wanted)), judge=part.judge)
        if wanted == part.batches:
            found |= part.counts
        return {'split': split, **found}, part


def rows_of(part: Split, numbers: Collection[int]) -> list[dict[str, np.ndarray]]:
    """Returns rows of a split by their numbers, where this process reads them all; else []."""
    if jax.process_count() > 1:
        return []
    found: dict[int, dict[str, np.ndarray]] = {}
    size = len(part.batch(0)['mask'])
    for n in sorted({number // size for number in numbers}):
        batch = part.batch(n)
        for number in numbers:
            if number // size == n:
                found[number] = {name: np.array(array[number % size]) for name, array in batch.items()}
    return [found[number] for number in numbers]


def pictures(rows: Sequence[Mapping[str, np.ndarray]]) -> list[np.ndarray]:
    """Returns the inputs of rows where these are pictures, uint8 [h w c]; else []."""
    found = [row.get('inputs', np.zeros(0)) for row in rows]
    return found if all(one.dtype == np.uint8 and one.ndim == 3 for one in found) else []


def load(
    workdir: str | Path,
    *,
    step: int | str = 'newest',
    mesh: Mapping[str, int] | None = None,
    overrides: Iterable[tuple[str, str]] = (),
    allow_import: Iterable[str] = (),
) -> Experiment:
    """Returns a trained experiment from its workdir alone: no config file, no data, any number of devices. Adapters are
    merged with the weights that they stand beside, which are read from where the run has them from.

    Args:
      workdir: where it was trained; or published weights of a language model, as they are: a folder, or
        'hf:owner/name'.
      step: which checkpoint: its number, 'newest', or 'best', which is that of the best evaluation.
      mesh: how to lay it out, such as {'tensor': 8}; default: one device.
      overrides: pairs such as ('precision.compute', 'bfloat16').
      allow_import: packages of your own that the config may import parts from.

    Raises:
      UserError: there is no experiment or no checkpoint, or the config reaches for code that is not allowed.
    """
    if published.is_published(workdir):
        return _published(str(workdir), step, mesh, overrides)
    workdir = place.of(workdir)
    config = workdirs.read_config(workdir, allow_import)
    config.mesh = ConfigDict(dict.fromkeys(AXES, 1) | dict(mesh or {}))
    config = configs.check(config_text.override(config, overrides))
    determinism.switch(config.deterministic)
    devices = make_mesh(config.mesh)
    about = workdirs.read_data(workdir)
    with jax.set_mesh(devices):
        batch = {name: jax.ShapeDtypeStruct(tuple(shape), dtype) for name, (shape, dtype) in about['batch'].items()}
        try:
            task = make_task(config, about['info'])
            boxed, extra = jax.eval_shape(task.init, jax.random.key(0), batch)
        except UserError:
            raise
        except Exception as error:  # it has trained from this record, so the record is another now, or the code is
            raise UserError(
                '{workdir} cannot be built from its record ({error}): its config.json or processor/data.json is'
                ' damaged, or the code has changed.',
                workdir=workdir,
                error=f'{type(error).__name__}: {error}'.splitlines()[0][:200],
            ) from error
        trained, frozen = adapters.draw(config, task, boxed, devices, HEAD)
        if config.adapters.rank:
            boxed, _ = jax.eval_shape(trained.init, jax.random.key(0), batch)
        names, params = layout.names(boxed), layout.unbox(boxed)
        wanted = layout.with_shardings(params, layout.shardings(params, names, devices))
        extra = layout.with_shardings(extra, layout.shardings(extra, jax.tree.map(lambda _: (), extra), devices))
        checkpoints = Checkpoints(workdir)
        step, found = checkpoints.restore_items(
            {('average' if config.average else 'params'): wanted, 'extra': extra}, step
        )
        checkpoints.close()
        params = found.get('average') or found['params']
        if config.adapters.rank:
            base = initial.read_base(config, task, frozen.wanted, extra)['params']
            adapters.check_base(workdir, config.init_from, base)
            params = adapters.merged(base, frozen.with_scales(params))
    return Experiment(
        config, workdir, devices, task, workdirs.read_processor(workdir, config), params, found.get('extra', {}), step
    )


def _published(
    source: str, step: int | str, mesh: Mapping[str, int] | None, overrides: Iterable[tuple[str, str]]
) -> Experiment:
    """Returns an experiment of published weights, which nobody has trained here."""
    from jaxlab import pretrained

    if step not in ('newest', 'best'):
        raise UserError('--step={step}: published weights have no steps.', step=step)
    config = published.config(source)
    config.mesh = ConfigDict(dict.fromkeys(AXES, 1) | dict(mesh or {}))
    config = configs.check(config_text.override(config, overrides))
    determinism.switch(config.deterministic)
    devices = make_mesh(config.mesh)
    processor = configs.build(config.data.processor, list, key='data.processor')
    info = {'vocabulary': processor.vocabulary, 'length': config.data.length}
    with jax.set_mesh(devices):
        task = make_task(config, info)
        initial.check_vocabulary(source, task, info)
        row = jax.ShapeDtypeStruct((1, config.data.length), np.int32)
        boxed, _ = jax.eval_shape(task.init, jax.random.key(0), dict.fromkeys(task.model.takes, row))
        names, params = layout.names(boxed), layout.unbox(boxed)
        wanted = {'params': layout.with_shardings(params, layout.shardings(params, names, devices))}
        weights = pretrained.find(source)
        found = pretrained.load(weights, initial.family_of(config, weights), wanted, model=task.model)
    return Experiment(config, Path(source), devices, task, processor, found['params'], {}, 0, published=True)

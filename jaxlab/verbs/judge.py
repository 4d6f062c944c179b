"""Judge the pictures that a GAN makes, by what a trained classifier sees in them.

python -m jaxlab.main judge --workdir=runs/gan-1a2b3c4d --classifier=runs/cnn-5e6f7a8b --count=5000

The Fréchet distance of the classifier's features (Heusel et al. 2017; of Inception's they would be other numbers), and
precision and recall by the 3 nearest neighbours (Kynkäänniemi et al. 2019), of made pictures against real held-out
ones; and beside them the same numbers of other real ones, as many: the best that can be.
"""

import argparse
from pathlib import Path
from typing import Any

from jaxlab.errors import UserError
from jaxlab.messages import say
from jaxlab.verbs import step

LEAST = 10  # pictures of which anything can be said


def arguments(parser: argparse.ArgumentParser) -> None:
    which = say('a checkpoint: its number, best or newest (default)')
    package = say('a package that the config may import from')
    count = say('how many pictures of each kind, at most: half of the real ones (default 5000)')
    parser.add_argument('--workdir', required=True, help=say('the experiment'))
    parser.add_argument('--classifier', default='', help=say('the workdir of a classifier of such pictures'))
    parser.add_argument('--step', type=step, default='newest', help=which)
    parser.add_argument('--count', type=int, default=5000, help=count)
    parser.add_argument('--seed', type=int, default=0, help=say('of the choices: the same seed makes the same'))
    parser.add_argument('--json', action='store_true', help=say('print one JSON object'))
    parser.add_argument('--allow_import', action='append', default=[], help=package)


def run(parsed: argparse.Namespace) -> int:
    import json

    from jaxlab.experiment import load

    if not parsed.classifier:
        raise UserError('--classifier=… is wanted: the workdir of a classifier of such pictures.')
    maker = load(parsed.workdir, step=parsed.step, overrides=parsed.overrides, allow_import=parsed.allow_import)
    classifier = load(parsed.classifier, allow_import=parsed.allow_import)
    if not hasattr(maker.task, 'pictures'):
        raise UserError('--workdir={workdir}: this experiment makes no pictures.', workdir=parsed.workdir)
    if not (hasattr(classifier.task, 'features') and hasattr(classifier.processor, 'channels')):
        raise UserError('--classifier={workdir}: this is no classifier of pictures.', workdir=parsed.classifier)
    found = judge(maker, classifier, parsed.count, parsed.seed)
    if parsed.json:
        about = {'workdir': str(Path(parsed.workdir)), 'step': maker.step, 'classifier': str(Path(parsed.classifier))}
        print(json.dumps({**about, 'seed': parsed.seed, **found}))
        return 0
    heading = say(
        '{count:,} made pictures against {count:,} real ones of {split}; in brackets: as many other real ones',
        count=found['count'],
        split=found['split'],
    )
    print(heading)
    for name in ('frechet_distance', 'precision', 'recall', 'class_accuracy'):
        if name in found['made']:
            print(f'  {name:16} {found["made"][name]:.4f}  ({found["real"][name]:.4f})')
    return 0


def judge(maker: Any, classifier: Any, count: int, seed: int) -> dict[str, Any]:
    """Returns {'split', 'count', 'neighbours', 'made': {'frechet_distance', 'precision', 'recall', and with classes
    'class_accuracy'}, 'real': the same}.

    'class_accuracy' is the share of pictures that the classifier takes for the class which they were made of (or are
    of), where it has the same classes.

    Raises:
      UserError: there are too few real pictures, or fewer are asked for, or the data cannot be read.
    """
    import jax
    import numpy as np

    from jaxlab.fidelity import NEIGHBOURS, frechet_distance, precision_recall

    split, pictures, targets = real_pictures(maker, 2 * max(count, 1))
    half = min(count, len(pictures) // 2)
    if half < LEAST:
        raise UserError(
            '--count={count}, and {split} has {there} pictures: at least {least} of each kind are wanted, and twice as'
            ' many real ones.',
            count=count,
            split=split,
            there=len(pictures),
            least=LEAST,
        )
    with jax.set_mesh(maker.mesh):
        labels = np.asarray(maker.task.labels(jax.random.fold_in(jax.random.key(seed), 2), half))
    made = list(maker.draw(labels.tolist(), seed))
    one, other, mine = pictures[:half], pictures[half : 2 * half], made
    seen = [seen_by(classifier, some) for some in (one, other, mine)]
    named = bool(maker.task.model.classes) and tuple(classifier.processor.labels) == tuple(maker.processor.labels)
    found: dict[str, Any] = {'split': split, 'count': half, 'neighbours': NEIGHBOURS}
    for name, (features, said), wanted in (('made', seen[2], labels), ('real', seen[1], targets[half : 2 * half])):
        precision, recall = precision_recall(seen[0][0], features)
        distance = frechet_distance(seen[0][0], features)
        found[name] = {'frechet_distance': distance, 'precision': precision, 'recall': recall}
        if named:
            found[name]['class_accuracy'] = float((said == wanted).mean())
    return found


def real_pictures(maker: Any, most: int) -> tuple[str, list[Any], Any]:
    """Returns the name of the test part of the experiment's data (where there is none: of what is held out), its first
    pictures, uint8 [h w c] each, in an order by chance, and their classes, int [n]."""
    import numpy as np

    from jaxlab.experiment import make_data

    data, _ = make_data(maker.config, maker.mesh, maker.processor)
    parts = {**data.tests, **data.splits}
    if not parts:
        raise UserError('{data}: nothing of these data is held out to compare with.', data=data.summary)
    split = next(iter(parts))
    pictures: list[Any] = []
    targets: list[int] = []
    for n in range(parts[split].batches):
        batch = parts[split].batch(n)
        real = np.flatnonzero(batch['mask'])
        pictures += list(batch['inputs'][real])
        targets += batch['targets'][real].tolist()
        if len(pictures) >= most:
            break
    return split, pictures[:most], np.array(targets[:most])


def seen_by(classifier: Any, pictures: Any) -> tuple[Any, Any]:
    """Returns what a classifier sees in pictures, uint8 [h w c] each: features [n d], and which class it says, int
    [n]."""
    import jax
    import numpy as np

    from jaxlab.tasks.classification import in_blocks

    task, encode = classifier.task, classifier.processor.encode
    with jax.set_mesh(classifier.mesh):
        inputs = [encode(picture) for picture in pictures]
        features = in_blocks(jax.jit(task.features), classifier.params, classifier.extra, inputs)

        def logits(params: Any, extra: Any, batch: Any) -> Any:
            return task.predict(params, extra, batch)['logits']

        said = in_blocks(jax.jit(logits), classifier.params, classifier.extra, inputs).argmax(1)
    return features.reshape(len(features), -1), np.asarray(said)

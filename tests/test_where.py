"""Where a stranger would look: ten small changes, each in at most two files. All are made to one copy of the project,
and work.

When one of them stops to apply, say where it would be made now; when it takes a third file, the design has slipped.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiments import ROOT, write_corpus

# What, in which files: (text to find, text to put there), or the whole text of a new file.
CHANGES: dict[str, dict[str, tuple[str, str] | str]] = {
    'another optimizer: the sign of the momentum': {
        'jaxlab/optim.py': (
            '@_chain(learning_rate=1e-3, weight_decay=0.1)\ndef adamw',
            '@_chain(learning_rate=1e-4, weight_decay=0.1)\n'
            'def signum(names: Any, *, momentum: float = 0.9) -> optax.GradientTransformation:\n'
            '    return optax.chain(optax.trace(momentum), optax.scale_by_sign())\n\n\n'
            "__all__ += ['signum']\n\n\n"
            '@_chain(learning_rate=1e-3, weight_decay=0.1)\ndef adamw',
        ),
    },
    'another schedule: a parabola': {
        'jaxlab/schedules.py': (
            'def cosine(',
            'def parabola(steps: int, *, final: float = 0.0) -> Schedule:\n'
            '    return by_step(lambda n: final + (1 - final) * (1 - jnp.minimum(n / steps, 1)) ** 2)\n\n\n'
            "__all__ += ['parabola']\n\n\ndef cosine(",
        ),
    },
    'another score: accuracy among the first five': {
        'jaxlab/scores/top5.py': (
            'import jax.numpy as jnp\n\nfrom jaxlab.scores.accuracy import Accuracy\n\n\n'
            'class Top5(Accuracy):\n'
            "    better = {'top5': 'higher'}\n\n"
            '    def add(self, carry, outputs, batch):\n'
            "        best = jnp.argsort(outputs['logits'], axis=-1)[..., -5:]\n"
            "        hits = (best == batch['targets'][..., None]).any(-1) * batch['mask']\n"
            "        return {'hits': carry['hits'] + hits.sum(), 'count': carry['count'] + batch['mask'].sum()}\n\n"
            '    def finish(self, carry):\n'
            "        return {'top5': super().finish(carry)['accuracy']}\n\n\n"
            'def make(info):\n'
            '    return Top5()\n'
        ),
    },
    'another activation: squared ReLU': {
        'jaxlab/nn/mlp.py': (
            "assert self.activation in ('gelu', 'gelu_exact', 'swiglu'), self.activation",
            "if self.activation == 'relu2':\n"
            "            h = jnp.square(nn.relu(Linear(self.hidden, ('embed', 'mlp'), name='up')(x)))\n"
            "            return Linear(x.shape[-1], ('mlp', 'embed'), name='down')(h)",
        ),
        'jaxlab/models/gpt.py': ("('gelu', 'gelu_exact', 'swiglu'))", "('gelu', 'gelu_exact', 'swiglu', 'relu2'))"),
    },
    'another term of the loss: small logits (z-loss)': {
        'jaxlab/tasks/language_model.py': (
            "        return {'loss': Term(nats, jnp.sum(mask)), **self._routers(kept, mask)}, extra",
            '        z = jnp.square(jax.nn.logsumexp(apply()[0], axis=-1))\n'
            '        count = jnp.sum(mask)\n'
            '        z_loss = Term(jnp.sum(z * mask), count, 1e-4)\n'
            "        return {'loss': Term(nats, count), 'z_loss': z_loss}, extra",
        ),
    },
    'the gradient norm of each layer in the log': {
        'jaxlab/step.py': (
            "'gradient_norm': norms[-1],",
            "'gradient_norm': norms[-1],\n"
            "                **{f'norm/{k}': optax.tree.norm(v) for k, v in gradients['stack'].items()},",
        ),
    },
    'another observer: a file of losses': {
        'jaxlab/observers/losses.py': (
            'class Losses:\n'
            '    def start(self, run):\n'
            "        self.file = run.workdir / 'losses.txt'\n\n"
            '    def row(self, step, row):\n'
            "        with self.file.open('a') as file:\n"
            "            print(step, row.get('train/loss'), file=file)\n\n"
            '    def sample(self, step, text): ...\n\n'
            '    def end(self, step): ...\n'
        ),
        'jaxlab/verbs/train.py': (
            'observers: list[Observer] = [progress,',
            'from jaxlab.observers.losses import Losses\n\n'
            '            observers: list[Observer] = [Losses(), progress,',
        ),
    },
    'position tables split over fsdp': {
        'jaxlab/parallel/layout.py': ("'positions': Row(None, None, None)", "'positions': Row(None, 'fsdp', 'fsdp')"),
    },
    'another verb: count': {
        'jaxlab/verbs/count.py': (
            '"""Count the parameters of a trained experiment."""\n\n\n'
            'def arguments(parser):\n'
            "    parser.add_argument('--workdir', required=True)\n\n\n"
            'def run(parsed):\n'
            '    import jax\n\n    import jaxlab\n\n'
            '    print(sum(leaf.size for leaf in jax.tree.leaves(jaxlab.load(parsed.workdir).params)))\n'
            '    return 0\n'
        ),
    },
    'another size of the transformer': {
        'configs/transformer.py': (
            "    'small': small,\n",
            "    'small': small,\n    'deep': lambda c: (tiny(c), c.model.update(layers=3)),\n",
        ),
    },
}

CHECK = """
import json, sys
from pathlib import Path
from jaxlab.main import main

corpus, workdir = sys.argv[1:]
code = main(['train', '--config=configs/transformer.py:deep', f'--workdir={workdir}', f'--config.data.path={corpus}',
    '--config.optimizer.name=signum', '--config.optimizer.schedule.name=parabola', '--config.evaluate.scores=("top5",)',
    '--config.model.activation=relu2', '--config.mesh.fsdp=2', '--config.mesh.data=1', '--config.steps=2',
    '--config.log.every=1', '--config.log.sample_every=0'])
assert code == 0
rows = [json.loads(line) for line in (Path(workdir) / 'metrics.jsonl').read_text().splitlines()]
assert [round(row['train/learning_rate'], 7) for row in rows[:2]] == [1e-4, 2.5e-5]
assert {'train/z_loss', 'train/norm/layer_0', 'train/norm/layer_2'} <= set(rows[0])
assert 0 <= rows[-1]['eval/held_out/top5'] <= 1
assert len((Path(workdir) / 'losses.txt').read_text().splitlines()) == 3
assert main(['count', f'--workdir={workdir}']) == 0
"""


@pytest.mark.parametrize('change', CHANGES)
def test_at_most_two_files(change):
    assert len(CHANGES[change]) <= 2


def test_all_of_them_work(tmp_path, monkeypatch):
    for folder in ('jaxlab', 'configs'):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for change, files in CHANGES.items():
        for name, edit in files.items():
            file: Path = tmp_path / name
            if isinstance(edit, tuple):
                text = file.read_text('utf-8')
                assert text.count(edit[0]) == 1, f'{change}: {name} has changed'
                file.write_text(text.replace(*edit), 'utf-8')
            else:
                assert not file.exists(), f'{change}: {name} is there already'
                file.write_text(edit, 'utf-8')
    (tmp_path / 'check.py').write_text(CHECK, 'utf-8')
    corpus = write_corpus(tmp_path / 'corpus')
    monkeypatch.setenv('JAXLAB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    command = [sys.executable, 'check.py', str(corpus), str(tmp_path / 'run')]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert f'{"parameters":12}' in done.stdout and 'fsdp' in done.stdout

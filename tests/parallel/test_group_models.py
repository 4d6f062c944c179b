"""Two processes with four devices each train BERT and a ViT as one process with eight does: the same losses."""

import pytest

from tests.experiments import ROOT, rows, run, start_group

FLAGS = {
    'steps': 4,
    'steps_per_call': 1,
    'batch_size': 16,
    'precision.compute': 'float64',
    'precision.parameters': 'float64',
    'optimizer.name': 'momentum',  # Adam makes steps of what is zero but for rounding: gradients of biases of keys
    'optimizer.schedule.name': 'constant',  # rates are float32, and a cosine is rounded as each program likes
    'log.every': 1,
    'evaluate.every': 4,
    'checkpoint.every': 4,
}
# The mesh beside the config: rows come from two processes, and of the ViT's matrices each has a part.
CONFIGS = {
    'bert_pretrain': {'mesh.data': 8},
    'vit': {'mesh.data': 2, 'mesh.fsdp': 4},
}


@pytest.mark.parametrize('config', CONFIGS)
def test_two_processes_train_as_one(config, tmp_path):
    def flags(name):
        own = [f'--config.{key}={value}' for key, value in (FLAGS | CONFIGS[config]).items()]
        return [f'--config={ROOT / "configs" / config}.py:tiny', *own, f'--workdir={tmp_path / name}']

    code, out = run(*flags('one'), cache=tmp_path / 'cache', devices=8)
    assert code == 0, out
    group = start_group(*flags('two'), cache=tmp_path / 'cache', processes=2, devices=4)
    out, _ = group.communicate(timeout=300)
    assert group.returncode == 0, out
    one, two = rows(tmp_path / 'one'), rows(tmp_path / 'two')
    assert len(one) == 5 and [row.keys() for row in one] == [row.keys() for row in two]
    compared = 0
    for single, double in zip(one, two):
        for key in single:
            if key == 'step' or key.startswith(('train/loss', 'train/gradient', 'eval/')):
                assert double[key] == pytest.approx(single[key], rel=1e-11), (key, single['step'])
                compared += 1
    assert compared >= 4 * 3 + 2
    assert one[3]['train/loss'] != one[0]['train/loss']

"""The command line: verbs, help, and mistakes that end in one clear sentence."""

import jax
import pytest

import jaxlab.main
from jaxlab.errors import UserError

TINY = '--config=configs/transformer.py:tiny'


def mistake(capfd, *arguments):
    """Runs a command line that must end in a mistake; returns what the user reads."""
    assert jaxlab.main.main(arguments) == 2
    out, error = capfd.readouterr()
    assert error.startswith('jaxlab: ') and error.endswith('\n'), error
    assert len(error.splitlines()) <= 2 and 'Traceback' not in error, error
    assert 'loss' not in out
    return error


# --- help ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'arguments', [['--help'], ['-h'], ['train', '--help'], ['evaluate', '-h'], ['generate', '--help']]
)
def test_help_is_no_mistake(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        jaxlab.main.main(arguments)
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in ('train', 'evaluate', 'generate') if verb in arguments or len(arguments) == 1)
    assert 'python -m jaxlab.main' in out


def test_help_and_mistyped_flags_answer_without_jax(fresh):
    program = """if True:
        import sys, jaxlab.main
        try:
            code = jaxlab.main.main(sys.argv[1:])
        except SystemExit as end:
            code = end.code
        heavy = {'jax', 'flax', 'optax', 'numpy', 'ml_collections'} & set(sys.modules)
        print('loaded', sorted(heavy), file=sys.stderr)
        sys.exit(code)
    """
    for arguments, code in [
        (['--help'], 0),
        (['generate', '--help'], 0),
        (['train', '--confg=x'], 2),
        (['evaluate'], 2),
    ]:
        done = fresh('-c', program, *arguments)
        assert done.returncode == code and done.stderr.endswith('loaded []\n'), done


def test_a_real_process(fresh):
    done = fresh('-m', 'jaxlab.main', '--help')
    assert (done.returncode, done.stderr) == (0, '') and done.stdout.startswith('python -m jaxlab.main [verb]')
    done = fresh('-m', 'jaxlab.main', 'trane')
    assert done.returncode == 2 and done.stdout == ''
    assert done.stderr.startswith('jaxlab: "trane" is no verb') and done.stderr.endswith('Did you mean "train"?\n')


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('arguments', 'answer'),
    [
        (['generat'], 'Did you mean "generate"?'),
        (['--confg=x'], '--confg: train has no such flag. Did you mean "--config"?'),
        (['generate', '--workdir=.', '--promt=x'], 'Did you mean "--prompt"?'),
        (['generate', '--workdir=.', '--tokens=many'], "invalid int value: 'many'"),
        (['generate'], '--workdir'),
        (['evaluate', '--workdir'], 'expected one argument'),
        (['evaluate', '--workdir=.', 'held_out'], 'held_out'),
        ([], '--config=configs/transformer.py'),
        (['--config=configs/transfomer.py'], 'Did you mean "configs/transformer.py"?'),
        (['--config=configs/transformer.py:tny'], 'Did you mean "tiny"?'),
        (['--config=configs'], 'there is no file configs'),
        ([TINY, '--config.model.widht=3'], 'Did you mean "model.width"?'),
        ([TINY, '--config.model.width'], 'wants a value'),
        ([TINY, '--config.model.width', '--config.steps=2'], 'wants a value'),
        ([TINY, '--config.model.width=wide'], 'a whole number is wanted'),
        ([TINY, '--config.model.name=gtp'], 'Did you mean "gpt"?'),
        ([TINY, '--config.steps=0'], 'config.steps=0'),
        ([TINY, '--config.epochs=-1'], 'config.epochs=-1'),
        ([TINY, '--config.epochs=2', '--config.steps=9'], 'one of them says how long'),
        (['--config=configs/optimizers.py:adma'], 'Did you mean "adam"?'),
        (['--config=configs/optimizers.py:tyni'], 'Did you mean "tiny"?'),
        (['--config=configs/optimizers.py', '--config.optimizer.beta1=0.5'], 'sgd: --config.optimizer.beta1'),
        ([TINY, '--config.accumulate=3'], 'config.accumulate=3 does not divide'),
        ([TINY, '--config.mesh.data=3', '--config.mesh.tensor=3'], 'JAX sees 8'),
        ([TINY, '--config.mesh.data=-1', '--config.mesh.fsdp=-1'], 'only one axis'),
        ([TINY, '--config.batch_size=12'], 'the nearest that can: 16'),
        ([TINY, '--config.evaluate.scores=("acuracy",)'], 'Did you mean "accuracy"?'),
        ([TINY, '--config.data.path=no/such/folder'], 'no/such/folder'),
        ([TINY, '--config.data.length=0'], 'length=0'),
        ([TINY, '--config.data.processor.name=published'], 'path'),
        (['evaluate', '--workdir=no/such/folder'], 'no/such/folder'),
        (['generate', '--workdir=tests'], 'tests'),
    ],
)
def test_mistakes(arguments, answer, capfd, tmp_path, compiled):
    workdir = [f'--workdir={tmp_path}/run'] if arguments and arguments[0] == TINY else []
    assert answer in mistake(capfd, *arguments, *workdir)
    assert not compiled


@pytest.mark.parametrize(
    ('flags', 'answer'),
    [
        (['--config.model.heads=5'], 'config.model: heads=5 do not divide width=64; 4 would'),
        (['--config.model.kv_heads=3'], 'config.model: kv_heads=3'),
        (['--config.model.norm=layr'], 'Did you mean "layer"?'),
        (['--config.model.dropout=1'], 'config.model: dropout=1.0'),
        (['--config.task.label_smoothing=1'], 'config.task: label_smoothing=1.0'),
        (['--config.best.score=held_out/los'], 'Did you mean "held_out/loss"?'),
        (['--config.best.patience=2', '--config.evaluate.every=0'], 'config.best.patience=2: nothing is evaluated'),
        (['--config.optimizer.schedule.name=plateau', '--config.optimizer.schedule.window=0'], 'window=0'),
        (['--config.optimizer.beta1=1'], 'config.optimizer: beta1=1.0'),
        (['--config.optimizer.learning_rate=-1'], 'config.optimizer: learning_rate=-1.0'),
        (['--config.optimizer.schedule.warmup=-1'], 'config.optimizer.schedule: warmup=-1'),
        (['--config.precision.compute=float23'], 'Did you mean "float32"?'),
        (
            ['--config.mesh.data=1', '--config.mesh.stage=8'],
            'stages share out the layers of a scanned stack',
        ),
        (['--config.mesh.data=1', '--config.mesh.tensor=8', '--config.model.heads=4'], 'cannot be split'),
    ],
)
def test_mistakes_about_what_is_learned(flags, answer, capfd, tmp_path, compiled):
    corpus = tmp_path / 'corpus.txt'
    corpus.write_text('One line is much like another.\n' * 200)
    flags = [TINY, f'--workdir={tmp_path}/run', f'--config.data.path={corpus}', *flags]
    assert answer in mistake(capfd, *flags)
    assert not compiled


def test_what_compiles_is_noticed(compiled):
    jax.jit(lambda x: x + 1)(1)
    assert compiled == ['jit(<lambda>)']


def test_interrupted(monkeypatch, capfd):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(jaxlab.main, 'parse', interrupted)
    assert jaxlab.main.main([]) == 130
    assert capfd.readouterr().err == 'jaxlab: interrupted\n'


def test_our_own_mistakes_keep_their_traceback(monkeypatch):
    def broken(arguments):
        raise ValueError

    monkeypatch.setattr(jaxlab.main, 'parse', broken)
    with pytest.raises(ValueError):
        jaxlab.main.main([])


# --- the form of flags -----------------------------------------------------------------------------------------------


def test_values_after_an_equals_sign_or_after_a_space():
    parsed = jaxlab.main.parse(
        ['train', '--config.steps', '5', '--workdir', 'here', '--config.data.path=a=b', '--config.seed', '-1']
    )
    assert parsed.overrides == [('steps', '5'), ('data.path', 'a=b'), ('seed', '-1')] and parsed.workdir == 'here'


def test_train_is_the_verb_when_none_is_given():
    assert jaxlab.main.parse(['--workdir=here']).run is jaxlab.main.parse(['train', '--workdir=here']).run


def test_flags_are_never_completed():
    with pytest.raises(UserError, match=r'--work: train has no such flag\. Did you mean "--workdir"'):
        jaxlab.main.parse(['--work=here'])

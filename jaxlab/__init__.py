"""jaxlab: every landmark of large-model history as one small pure-function model, one config file and one command."""

__version__ = '0.1.0'


def load(workdir, **options):
    """Returns a trained experiment that takes raw input and gives answers back: see `jaxlab.experiment.load`."""
    from jaxlab.experiment import load as load_experiment  # JAX is imported on first use, so that `--help` is instant

    return load_experiment(workdir, **options)

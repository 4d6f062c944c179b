"""What `jaxlab.messages.say` says, in Chinese: one table, kept by rooms. The same places, whose order is free."""

from jaxlab.chinese import (
    data,
    doctor,
    evaluation,
    examples,
    experiments,
    gan,
    picture,
    picture_models,
    pictures,
    program,
    replay,
    report,
    screen,
    sources,
    training,
    trust,
)

CHINESE: dict[str, str] = {
    **program.TABLE,
    **data.TABLE,
    **doctor.TABLE,
    **training.TABLE,
    **screen.TABLE,
    **report.TABLE,
    **experiments.TABLE,
    **gan.TABLE,
    **trust.TABLE,
    **replay.TABLE,
    **evaluation.TABLE,
    **examples.TABLE,
    **picture.TABLE,
    **picture_models.TABLE,
    **pictures.TABLE,
    **sources.TABLE,
}

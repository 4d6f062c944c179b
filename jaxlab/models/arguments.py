"""What models ask of their arguments, and of what the data say of themselves."""

from collections.abc import Iterable, Mapping
from typing import Any

from jaxlab.errors import UserError, alternatives


def one_of(name: str, value: Any, known: Iterable[Any]) -> None:
    """Raises UserError where a value is none of those that are known."""
    if value not in (known := list(known)):
        raise UserError(
            '{name}={value}: {alternatives}',
            name=name,
            value=value,
            alternatives=alternatives(str(value), map(str, known)),
        )


def between(least: int, most: int, **values: int) -> None:
    """Raises UserError where one of the values, by name, is below `least` or above `most`."""
    for name, value in values.items():
        if value < least:
            raise UserError('{name}={value}: at least {least} is wanted.', name=name, value=value, least=least)
        if value > most:
            raise UserError('{name}={value}: at most {most} is wanted.', name=name, value=value, most=most)


def shares(**values: float) -> None:
    """Raises UserError where one of the values, by name, is below 0, or 1 or more."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise UserError('{name}={value}: at least 0 and below 1 is wanted, such as 0.1.', name=name, value=value)


def above_zero(**values: float) -> None:
    """Raises UserError where one of the values, by name, is not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise UserError('{name}={value}: more than 0 is wanted.', name=name, value=value)


def whole_numbers(**values: tuple) -> None:
    """Raises UserError where one of the values, by name, is not a tuple of whole numbers."""
    for name, value in values.items():
        if not all(type(number) is int for number in value):
            raise UserError(
                '{name}={value}: a tuple of whole numbers is wanted, such as (32, 64).', name=name, value=value
            )


def outputs(classes: int, info: Mapping[str, Any]) -> int:
    """Returns how many numbers a model gives: `classes`, or as many as the data have; 1 for a regression.

    Raises:
      UserError: the data have more classes.
    """
    between(0, 1 << 24, classes=classes)
    wanted = info.get('classes', 0)
    if 0 < classes < wanted:
        raise UserError(
            'classes={classes}, and the data have {wanted}; 0 takes what the data have.', classes=classes, wanted=wanted
        )
    return classes or wanted or 1


def picture(info: Mapping[str, Any]) -> tuple[int, int, int]:
    """Returns height, width and channels of the pictures; zeros where the data do not say.

    Raises:
      UserError: the data are no pictures.
    """
    if 'vocabulary' in info and 'shape' not in info:
        raise UserError('this model sees pictures, and these data are none: data.pictures reads such.')
    shape = tuple(info.get('shape', (0, 0, 0)))
    if len(shape) != 3:
        raise UserError(
            'this model sees pictures, [height, width, channels], and an example of these data is of shape {shape}.',
            shape=list(shape),
        )
    return shape


def words(vocabulary: int, info: Mapping[str, Any]) -> int:
    """Returns how many tokens a model knows: `vocabulary`, or as many as the data have.

    Raises:
      UserError: the data have more, or are no texts.
    """
    if 'shape' in info and 'vocabulary' not in info:
        raise UserError('this model reads texts, and these data are none: data.text reads such.')
    wanted = info.get('vocabulary', 0)
    if 0 < vocabulary < wanted:
        raise UserError(
            'vocabulary={vocabulary}, and the data have {wanted}; 0 takes what the data have.',
            vocabulary=vocabulary,
            wanted=wanted,
        )
    return vocabulary or wanted


def row(context: int, info: Mapping[str, Any]) -> int:
    """Returns how many tokens a model looks back on: `context`, or as many as a row of the data has.

    Raises:
      UserError: rows of the data have more.
    """
    length = info.get('length', 0)
    if 0 < context < length:
        raise UserError(
            'context={context}, and rows of data have {length} tokens; 0 takes what the data have.',
            context=context,
            length=length,
        )
    return context or length

"""config.json -> the same, checked: numbers, and flags that change a network's formulas."""

from collections.abc import Mapping
from pathlib import Path

from ntvep.errors import ModelError
from ntvep.models.family import Config
from ntvep.models.folder import checked_numbers


def check_config(
    path: Path,
    title: str,
    config: Config,
    numbers: Mapping[str, tuple[int, int]],
    flags: Mapping[str, tuple[object, ...]],
) -> None:
    """Refuse numbers that no model has, and flags of a variant whose formulas are not known here.

    Args:
        path: of the file.
        title: of the family, for the message.
        config: the parsed file.
        numbers: fewest and most, by key; each key has to be there.
        flags: the values that are understood, by key; the first is assumed for an absent key.

    Raises:
        ModelError: says which key, what it is and what was expected.
    """
    try:
        checked_numbers(config, numbers)
        for key, values in flags.items():
            value = config.get(key, values[0])
            # Not only by ==: for Python, 1 equals True.
            if not any(type(value) is type(v) and value == v for v in values):
                known = " or ".join(repr(v) for v in values)
                raise ValueError(f"{key} is {value!r:.60}, expected {known}")
    except (KeyError, ValueError) as error:
        raise refused(path, title, error) from error


def check_small(path: Path, title: str, config: Config, key: str) -> float:
    """A small positive number, as the epsilon of a norm is.

    Raises:
        ModelError: it is none, or absent.
    """
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        problem = ValueError(f"{key} is {value!r:.40}, expected a number between 0 and 1")
        raise refused(path, title, problem)
    return float(value)


def refused(path: Path, title: str, error: Exception) -> ModelError:
    """The error of a config.json that is not one of the published kind."""
    problem = f"no {error}" if isinstance(error, KeyError) else str(error)
    return ModelError(
        f"{path}: {problem}; expected the config.json of a {title} model as published. "
        "Fetch the model again with: ntvep model fetch ID"
    )

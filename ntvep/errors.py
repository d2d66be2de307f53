"""Errors that a user can act on: what was found, where, what was expected, what to type next."""

from collections.abc import Iterable
from itertools import islice


def some(names: Iterable[str], most: int = 12) -> str:
    """The first of many names, for an error's one paragraph."""
    few = list(islice(names, most + 1))
    shown = [name if len(name) <= 40 else f"{name[:40]}..." for name in few[:most]]
    return ", ".join(shown) + (", ..." if len(few) > most else "")


class NtvepError(Exception):
    """Base of every error that the command line prints as one paragraph, without a traceback.

    ``exit_status`` is what the process ends with when this error reaches the command line.
    """

    exit_status = 1

    def __str__(self) -> str:
        """The text, with control characters, which may come from a file, escaped."""
        return "".join(
            c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in super().__str__()
        )


class InputError(NtvepError):
    """A file that the user gave cannot be used as it is (missing, damaged, not what it says)."""


class ReferenceMismatchError(InputError):
    """The variants and the reference do not belong to the same assembly."""


class ModelError(NtvepError):
    """A checkpoint is missing, incomplete, or not a Nucleotide Transformer."""


class ConfigError(NtvepError):
    """An option or a configuration key has a value that cannot be used."""

    exit_status = 2


class ResourceError(NtvepError):
    """A file cannot be fetched, or is not what its source says it is."""


class OutputError(NtvepError):
    """An output cannot be written where it was asked for."""


class UnscoredError(NtvepError):
    """``--strict`` was asked for and some alleles have no score."""

    exit_status = 3


class NumericalFailureError(NtvepError):
    """The model returned NaN or infinity for some alleles; they carry the status, not a number."""

    exit_status = 4


class VerificationError(NtvepError):
    """Scores of an output could not be reproduced."""

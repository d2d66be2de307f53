"""command line -> one function call: parse, call, print; nothing is decided here.

A module a group of commands. Each imports what it calls when it is called: ``--help`` is quick.
"""

import gc
import io
import os
import re
import signal
import sys
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from ntvep.cli import (
    background,
    benchmark,
    cache,
    chunks,
    cohort,
    compare,
    doctor,
    evaluate,
    exports,
    labels,
    models,
    picture,
    resources,
    scoring,
    show,
    store,
    table,
    verify,
)
from ntvep.errors import InputError, NtvepError

# A run makes a hundred small objects for each allele and hardly ever a cycle of them: to look for
# cycles after every 700, as Python does, takes a quarter of all time outside the model.
_OBJECTS_BETWEEN_COLLECTIONS = 10_000
# torch raises a plain RuntimeError when the machine's memory is at an end.
_TORCH_OUT_OF_MEMORY = "can't allocate memory"
# Bytes of a name that are not UTF-8 are lone surrogates in Python.
_NOT_UTF8 = re.compile(r"[^\n/]*[\ud800-\udfff][^\n/]*")

# What an installation without extras lacks (pyproject.toml).
_EXTRAS = dict.fromkeys(("altair", "jinja2", "vl_convert"), "report") | {
    "snakemake": "workflow",
    "yaml": "workflow",
}
_HELP = ["-h", "--help"]

app = typer.Typer(
    name="ntvep",
    no_args_is_help=True,
    context_settings={"help_option_names": _HELP},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Score the effect of genetic variants with DNA language models, zero-shot.\n\n"
    "Scores are for research, not for diagnosis. Each model's weights have a licence of their own, "
    "which ntvep model info prints; those of Nucleotide Transformer are CC BY-NC-SA 4.0: "
    "non-commercial use only.",
)
for _commands in (
    scoring,
    chunks,
    verify,
    compare,
    evaluate,
    benchmark,
    table,
    show,
    picture,
    exports,
    resources,
    doctor,
):
    app.add_typer(_commands.app)
app.add_typer(cohort.app, name="cohort")
app.add_typer(labels.app, name="labels")
app.add_typer(background.app, name="background")
app.add_typer(models.app, name="model")
app.add_typer(cache.app, name="cache")
app.add_typer(store.app, name="store")


def _print_version(asked: bool) -> None:
    if asked:
        # Here and not above: --help does without it.
        from importlib.metadata import version

        print(f"ntvep {version('ntvep')}")
        raise typer.Exit


@app.callback()
def _shared(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Options before a command's name."""


class _Interrupted(BaseException):
    """Ctrl-C, or a job that gets SIGTERM: cleans up on its way, and no library swallows it."""


def main() -> NoReturn:
    """Run the command line: exit 0 only if all is well."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # As standard error has it: a file's name that is not UTF-8 can be printed.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _command()(prog_name="ntvep")
    except NtvepError as error:
        _say(f"ntvep: error: {error}")
        sys.exit(error.exit_status)
    except _Interrupted as signalled:
        _say("ntvep: interrupted; no output was written")
        sys.exit(128 + signalled.args[0])
    except UnicodeEncodeError as error:
        named = _NOT_UTF8.findall(error.object)
        if not named:
            raise
        refused = InputError(
            f"{named[-1]}: its name is not UTF-8, and a library cannot open it; no output was "
            "written. Rename it with: mv"
        )
        _say(f"ntvep: error: {refused}")
        sys.exit(refused.exit_status)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        extra = _EXTRAS.get(missing)
        if extra is None:
            raise
        _say(
            f"ntvep: error: {missing} is not installed, which this command needs; type: pip "
            f"install 'ntvep[{extra}]'"
        )
        sys.exit(1)
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or _TORCH_OUT_OF_MEMORY in str(error)):
            raise
        _say(
            "ntvep: error: no memory is left; no output was written. Give a smaller --batch-size, "
            "or ask for more memory"
        )
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our standard output has seen enough; Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)


def _command() -> Any:
    """The whole command; no help names a type of a flag, which takes no value."""
    whole = typer.main.get_command(app)
    left: list[Any] = [whole]
    while left:
        command = left.pop()
        left += getattr(command, "commands", {}).values()
        context = typer.Context(command, help_option_names=_HELP)
        for option in command.get_params(context):
            if getattr(option, "is_flag", False):
                option.metavar = ""
    return whole


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise _Interrupted(number)


def _say(text: str) -> None:
    print(text, file=sys.stderr)

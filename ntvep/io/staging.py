"""finished files -> their final names: nothing half-written is ever seen under one."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ntvep.errors import OutputError
from ntvep.files import is_full, is_refused, locked, place, sync

# Stands for standard input where a file is read, for standard output where one is written.
STANDARD_STREAM = Path("-")
INDEXES = (".tbi", ".csi")
_LOCK = "lock"


@dataclass(frozen=True)
class Staging:
    """Where outputs lie until all of them are whole: a hidden folder beside each."""

    folders: dict[Path, Path]

    def path(self, final: Path) -> Path:
        """Where to write what will be ``final``; files beside it travel along (an index)."""
        return self.folders[final] / final.name


@contextmanager
def staged(finals: Sequence[Path], *, force: bool = False) -> Iterator[Staging]:
    """Hand out places to write to; move everything into place if, and only if, all went well.

    Args:
        finals: the outputs.
        force: replace outputs that exist.

    Raises:
        OutputError: an output exists, another run is writing it, its folder is missing or
            read-only, or the disk is full.
    """
    for final in finals:
        _refuse(final, force)
    with as_output_error(finals), ExitStack() as stack:
        folders = {final: stack.enter_context(_hidden_folder(final)) for final in finals}
        yield Staging(folders)
        for final, folder in folders.items():
            # An index of the file that is replaced would point to wrong places in the new one.
            for suffix in INDEXES:
                final.with_name(final.name + suffix).unlink(missing_ok=True)
            # Indexes have longer names and go first: no data without its index.
            for path in sorted(_contents(folder), key=lambda path: -len(path.name)):
                place(path, final.parent / path.name)


@contextmanager
def _hidden_folder(final: Path) -> Iterator[Path]:
    """An empty folder beside an output, which no other run has: what a dead one left is cleared.

    Raises:
        OutputError: a run that is alive is writing this output.
    """
    with ExitStack() as stack:
        folder = _locked_folder(final, stack)
        stack.callback(_remove, folder)
        _clear(folder)
        yield folder


def _locked_folder(final: Path, stack: ExitStack) -> Path:
    """A folder whose lock this process holds: it is gone with the process, however that ends."""
    folder = final.with_name(f".ntvep-{final.name}")
    busy = OutputError(
        f"{final}: another run of ntvep is writing it; wait until that has ended, or give "
        "another output name"
    )
    while True:
        folder.mkdir(exist_ok=True)
        try:
            held = stack.enter_context(locked(folder / _LOCK, busy))
        except FileNotFoundError:
            continue  # another run has just ended, and removed its folder
        if held:
            return folder
        # A file system without locks: a folder of this run's own, which nobody clears.
        _remove(folder)
        return Path(tempfile.mkdtemp(prefix=".ntvep-", dir=final.parent))


def _contents(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != _LOCK]


def _clear(folder: Path) -> None:
    for left in _contents(folder):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _remove(folder: Path) -> None:
    _clear(folder)
    # The lock last: nobody else is in the folder before it is gone.
    (folder / _LOCK).unlink(missing_ok=True)
    # Another run may have begun since.
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def staged_folder(
    final: Path, mark: str, *, what: str = "report", force: bool = False
) -> Iterator[Path]:
    """Hand out a folder to write to; rename it if, and only if, all went well.

    Args:
        final: the folder's name in the end.
        mark: file by which a folder is known to be such an output: ``force`` replaces no other.
        what: such an output is called.
        force: replace one that exists.

    Raises:
        OutputError: it exists, another run is writing it, its parent is missing or read-only, or
            the disk is full.
    """
    if final.exists() and not (final.is_dir() and not any(final.iterdir())):
        if not final.is_dir() or not (final / mark).is_file():
            raise OutputError(f"{final}: exists and is not a {what}; give another output name")
        if not force:
            raise OutputError(f"{final}: exists; add --force to replace it")
    place = final.resolve()
    if not place.parent.is_dir():
        raise OutputError(f"{final}: its folder does not exist; type: mkdir -p {final.parent}")
    with as_output_error([final]), _hidden_folder(place) as aside:
        made, replaced = aside / "made", aside / "replaced"
        made.mkdir()
        yield made
        # Before the one that it replaces goes: that takes no time then.
        sync(made)
        if place.exists():
            place.replace(replaced)
        made.replace(place)


def refuse_overwriting(output: Path, inputs: Sequence[Path]) -> None:
    """Raise OutputError if an output is one of the inputs, by whatever name."""
    for path in inputs:
        if output.exists() and path.exists() and output.samefile(path):
            raise OutputError(f"{output}: is an input of this run; give another output name")


def _refuse(final: Path, force: bool) -> None:
    if final.is_dir():
        raise OutputError(f"{final}: is a folder; expected the name of a file to write")
    if final.exists() and not final.is_file():
        # A rename would replace the device itself, /dev/null for instance.
        raise OutputError(f"{final}: is a device or pipe; for standard output, type: --output -")
    if final.exists() and not force:
        raise OutputError(f"{final}: exists; add --force to replace it")
    if not final.parent.is_dir():
        raise OutputError(f"{final}: its folder does not exist; type: mkdir -p {final.parent}")


@contextmanager
def as_output_error(finals: Sequence[Path]) -> Iterator[None]:
    """Say in our words that outputs cannot be written."""
    try:
        yield
    except OSError as error:
        where = ", ".join(map(str, finals)) or "standard output"
        if is_full(error):
            raise OutputError(
                f"{where}: the disk is full ({error.strerror}); nothing was left there. Free "
                "space, or write elsewhere"
            ) from error
        if is_refused(error):
            raise OutputError(
                f"{where}: cannot be written ({error.strerror}); write to a folder of your own"
            ) from error
        raise

"""work -> the same work, with what comes before and after it done in threads beside it.

The main thread keeps the model: signals reach it there, between two steps of the computation.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import Queue
from typing import TypeVar

T = TypeVar("T")

# Items that wait between two threads: enough that none waits for the other, and little memory.
_DEPTH = 1


@contextmanager
def ahead(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """Make the next item while the last one is used; yields the items.

    An exception in the making is raised where the item would have come.
    """
    queue: Queue[tuple[T] | BaseException | None] = Queue(_DEPTH)
    stop = threading.Event()

    def make() -> None:
        try:
            for item in items:
                queue.put((item,))
                if stop.is_set():
                    return
            queue.put(None)
        except BaseException as error:
            queue.put(error)

    def made() -> Iterator[T]:
        while (got := queue.get()) is not None:
            if isinstance(got, BaseException):
                raise got
            yield got[0]

    thread = threading.Thread(target=make, name="ntvep-ahead", daemon=True)
    thread.start()
    try:
        yield made()
    finally:
        stop.set()
        while thread.is_alive():
            # The thread may wait for room to put what nobody will take.
            if not queue.empty():
                queue.get_nowait()
            thread.join(0.01)


@contextmanager
def behind(use: Callable[[T], None]) -> Iterator[Callable[[T], None]]:
    """Use items while the next one is made; yields the function that takes an item.

    When the context ends, well or not, every item has been used. An exception in a use is raised at
    the next item, or at the end; items after it are dropped.
    """
    queue: Queue[tuple[T] | None] = Queue(_DEPTH)
    errors: list[BaseException] = []

    def work() -> None:
        while (got := queue.get()) is not None:
            if errors:
                continue
            try:
                use(got[0])
            except BaseException as error:
                errors.append(error)

    def take(item: T) -> None:
        queue.put((item,))
        if errors:
            raise errors[0]

    thread = threading.Thread(target=work, name="ntvep-behind", daemon=True)
    thread.start()
    try:
        yield take
    finally:
        queue.put(None)
        thread.join()
    if errors:
        raise errors[0]

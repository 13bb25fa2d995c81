"""An iterator that prepares the next item in a thread while the current one is used."""

from collections.abc import Generator, Iterator
from queue import Full, Queue
from threading import Event, Thread
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")
CLOSED_SEEN_WITHIN_SECONDS = 1.0


class Prefetch(Generic[Item]):
    """The items of `source`, in order: one ready, one being prepared. Exceptions in the thread are raised here.

    The thread ends when the source is exhausted, when this is closed, or with the process, which does not wait for it.
    """

    def __init__(self, source: Iterator[Item]) -> None:
        self.ready: Queue[Item | BaseException] = Queue(1)
        self.closed = Event()
        Thread(target=self._make, args=(source,), name="prefetch", daemon=True).start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        made = self.ready.get()
        if isinstance(made, BaseException):
            self.ready.put(made)
            raise made
        return made

    def close(self) -> None:
        self.closed.set()

    def _make(self, source: Iterator[Item]) -> None:
        try:
            for item in source:
                if not self._hand_over(item):
                    return
            self._hand_over(StopIteration())
        except BaseException as error:
            self._hand_over(error)
        finally:
            if isinstance(source, Generator):
                source.close()

    def _hand_over(self, item: Item | BaseException) -> bool:
        while not self.closed.is_set():
            try:
                self.ready.put(item, timeout=CLOSED_SEEN_WITHIN_SECONDS)
            except Full:
                continue
            return True
        return False

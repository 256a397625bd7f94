"""Roles that work at the same time on different items of one stream: a thread each, bounded queues in between.

A role is a function from an iterator to an iterator: it takes what the role before it gives, and gives what the next
one takes, in order. Chained in one thread (:func:`run_in_turn`) or each in a thread of its own (:class:`Flow`), the
roles see the same items in the same order, so that both give the same results.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Role:
    """One kind of work.

    Attributes:
        name: for threads, timings and errors.
        work: from the items of the role before (none for the first) to those of the next (ignored from the last).
    """

    name: str
    work: Callable[[Iterator[Any]], Iterator[Any]]


class Handover(Protocol):
    """How an item passes from one thread to the next."""

    def role(self, name: str) -> AbstractContextManager[Any]:
        """Entered by the thread of a role for all of its work."""

    def send(self, item: Any) -> Any:
        """Called in the giving thread; what comes back is put into the queue."""

    def receive(self, parcel: Any) -> Any:
        """Called in the taking thread with what :meth:`send` made; gives the item back."""


class InMemory:
    """Nothing has to be done: the item is complete when the thread before has made it."""

    def role(self, name: str) -> AbstractContextManager[Any]:
        return nullcontext()

    def send(self, item: Any) -> Any:
        return item

    def receive(self, parcel: Any) -> Any:
        return parcel


class _Stopped(BaseException):
    """Unwinds a role after another one has failed; never leaves this module."""


def run_in_turn(roles: Sequence[Role]) -> None:
    """Do all work in this thread, one item after the other."""
    stream: Iterator[Any] = iter(())
    for role in roles:
        stream = role.work(stream)
    deque(stream, maxlen=0)


def side_by_side(work: Callable[[T], R], items: Iterable[T], *, workers: int, name: str) -> Iterator[R]:
    """Do the same work on several items at once, each in one of ``workers`` threads; results keep the order of items.

    One item more than there are workers is taken, so that a worker that is done finds the next. An exception of
    ``work`` is raised when its item's turn comes. Once the iterator is closed or has raised, no worker is left.

    Args:
        work: may be called by several threads at the same time; with one worker, by the caller's thread alone.
        name: of the threads.
    """
    if workers == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix=name) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Flow:
    """Runs roles in threads of their own, once.

    A role that is ahead waits for the one behind it: no more than ``depth`` items lie between two roles, so that
    memory does not depend on how many items there are. The first exception, of a role or in the thread that called
    :meth:`run`, stops all roles at their next item; ``run`` returns or raises when every thread has ended.

    Args:
        roles: at least one, in the order of the stream.
        depth: items that may lie between two roles.
        handover: how an item passes from thread to thread.

    Attributes:
        waited_seconds: by role, how long it had nothing to take or no place to put what it gives.
    """

    def __init__(self, roles: Sequence[Role], *, depth: int = 1, handover: Handover | None = None):
        self.waited_seconds = {role.name: 0.0 for role in roles}
        self._roles = tuple(roles)
        self._depth = depth
        self._handover = handover or InMemory()
        self._changed = threading.Condition()
        self._queues: tuple[deque[Any], ...] = tuple(deque() for _ in roles)
        self._ended = [False] * len(roles)
        self._error: BaseException | None = None

    def run(self) -> None:
        """Work until the stream has ended.

        Raises:
            BaseException: what the first failing role raised, or what interrupted this thread.
        """
        threads = [
            threading.Thread(target=self._perform, args=(number,), name=f"trtswap-{role.name}", daemon=True)
            for number, role in enumerate(self._roles)
        ]
        started: list[threading.Thread] = []
        try:
            for thread in threads:
                thread.start()
                started.append(thread)
            for thread in started:
                thread.join()
        except BaseException as error:  # noqa: BLE001 - Ctrl-C; raised again below, once every thread has ended
            self._fail(error)
            for thread in started:
                thread.join()
        if self._error is not None:
            raise self._error

    def _perform(self, number: int) -> None:
        role = self._roles[number]
        try:
            with self._handover.role(role.name):
                for item in role.work(self._taken(number)):
                    if number + 1 < len(self._roles):
                        self._put(number, self._handover.send(item))
            with self._changed:
                self._ended[number] = True
                self._changed.notify_all()
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by run()
            self._fail(error)

    def _taken(self, number: int) -> Iterator[Any]:
        """What the role before gives, as it comes."""
        if not number:
            return
        queue = self._queues[number - 1]
        while True:
            with self._changed:
                self._wait(number, lambda: bool(queue) or self._ended[number - 1])
                if not queue:
                    return
                parcel = queue.popleft()
                self._changed.notify_all()
            yield self._handover.receive(parcel)

    def _put(self, number: int, parcel: Any) -> None:
        queue = self._queues[number]
        with self._changed:
            self._wait(number, lambda: len(queue) < self._depth)
            queue.append(parcel)
            self._changed.notify_all()

    def _wait(self, number: int, until: Callable[[], bool]) -> None:
        start = time.perf_counter()
        self._changed.wait_for(lambda: self._error is not None or until())
        self.waited_seconds[self._roles[number].name] += time.perf_counter() - start
        if self._error is not None:
            raise _Stopped

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            for queue in self._queues:
                queue.clear()
            self._changed.notify_all()

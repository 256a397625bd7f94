"""Roles that work at the same time on different items of one stream: a thread each, bounded queues in between.

A role is a function from an iterator to an iterator: it takes what the role before it gives, and gives what the next
one takes, in order. Chained in one thread (:func:`run_in_turn`) or each in a thread of its own (:class:`Flow`), the
roles see the same items in the same order, so that both give the same results.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from trtswap.backends.device import HostDevice


@dataclass(frozen=True)
class Role:
    """One kind of work.

    Attributes:
        name: for threads, timings and errors.
        work: from the items of the role before (none for the first) to those of the next (ignored from the last).
        workers: how many threads do it, each with other items; the items keep their order. More than one only where
            the work makes one item of each, as it comes: see :func:`each`.
    """

    name: str
    work: Callable[[Iterator[Any]], Iterator[Any]]
    workers: int = 1


def each(name: str, function: Callable[[Any], Any], *, workers: int = 1) -> Role:
    """A role that does the same with every item; with several workers on several items at the same time."""
    return Role(name, partial(map, function), workers)


class Handover(Protocol):
    """How an item passes from one thread to the next; :class:`~trtswap.backends.device.Device` says more."""

    def role(self, name: str) -> AbstractContextManager[Any]:
        """Called in the thread that runs the flow; entered by a thread of the role for all of its work."""

    def send(self, item: Any) -> Any:
        """Called in the giving thread; what comes back is put into the queue."""

    def receive(self, parcel: Any) -> Any:
        """Called in the taking thread with what :meth:`send` made; gives the item back."""


class _Stopped(BaseException):
    """Unwinds a role after another one has failed; never leaves this module."""


def run_in_turn(roles: Sequence[Role]) -> None:
    """Do all work in this thread, one item after the other."""
    stream: Iterator[Any] = iter(())
    for role in roles:
        stream = role.work(stream)
    deque(stream, maxlen=0)


class Flow:
    """Runs roles in threads of their own, once.

    A role that is ahead waits for the one behind it: no more than ``depth`` items lie between two roles, and one more
    for each further worker, so that memory does not depend on how many items there are. Every item is passed on as soon
    as those before it are. The first exception, of a role or in the thread that called :meth:`run`, stops all roles at
    their next item; ``run`` returns or raises when every thread has ended.

    Args:
        roles: at least one, in the order of the stream.
        depth: items that may lie between two roles.
        handover: how an item passes from thread to thread.

    Attributes:
        waited_seconds: by role, how long it had nothing to take or no place to put what it gives, over all workers.
    """

    def __init__(self, roles: Sequence[Role], *, depth: int = 1, handover: Handover | None = None):
        self.waited_seconds = {role.name: 0.0 for role in roles}
        self._roles = tuple(roles)
        self._depth = depth
        self._handover = handover or HostDevice()
        self._changed = threading.Condition()
        # What a role gives, by number in the stream, and the number that the next role takes next.
        self._queues: tuple[dict[int, Any], ...] = tuple({} for _ in roles)
        self._taken = [0] * len(roles)
        self._working = [role.workers for role in roles]
        self._error: BaseException | None = None

    def run(self) -> None:
        """Work until the stream has ended.

        Raises:
            BaseException: what the first failing role raised, or what interrupted this thread.
        """
        threads = [
            threading.Thread(
                target=self._perform, args=(number, self._handover.role(role.name)), name=name, daemon=True
            )
            for number, role in enumerate(self._roles)
            for name in _thread_names(role)
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

    def _perform(self, number: int, place: AbstractContextManager[Any]) -> None:
        role = self._roles[number]
        ticket = _Ticket()
        try:
            with place:
                for order, item in enumerate(role.work(self._items(number, ticket))):
                    if number + 1 < len(self._roles):
                        self._put(number, order if role.workers == 1 else ticket.number, self._handover.send(item))
            with self._changed:
                self._working[number] -= 1
                self._changed.notify_all()
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by run()
            self._fail(error)

    def _items(self, number: int, ticket: "_Ticket") -> Iterator[Any]:
        """What the role before gives, as it comes; the ticket has the number of the last one taken."""
        if not number:
            return
        before = number - 1
        queue = self._queues[before]
        while True:
            with self._changed:
                self._wait(number, lambda: self._taken[before] in queue or not self._working[before])
                ticket.number = self._taken[before]
                if ticket.number not in queue:
                    return
                parcel = queue.pop(ticket.number)
                self._taken[before] += 1
                self._changed.notify_all()
            yield self._handover.receive(parcel)

    def _put(self, number: int, place: int, parcel: Any) -> None:
        room = self._depth + self._roles[number].workers - 1
        with self._changed:
            self._wait(number, lambda: place - self._taken[number] < room)
            self._queues[number][place] = parcel
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


@dataclass
class _Ticket:
    """Which item of the stream a worker is at."""

    number: int = 0


def _thread_names(role: Role) -> list[str]:
    name = f"trtswap-{role.name}"
    return [name] if role.workers == 1 else [f"{name}_{worker}" for worker in range(role.workers)]

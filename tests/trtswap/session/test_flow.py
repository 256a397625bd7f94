"""Roles in threads: order, back-pressure, faults of every role, and an end of every thread."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from trtswap.backends.device import tensors_in
from trtswap.canvas.batch import SwappedFaces
from trtswap.session.flow import Flow, Role, each, run_in_turn

STEPS = ("read", "double", "pair", "write")


class Work:
    """Counts, doubles, pairs up and collects; any of the four can be told to fail."""

    def __init__(self, count: int = 20, fail: str | None = None, at: int = 3):
        self.count, self.fail, self.at = count, fail, at
        self.made = 0
        self.out: list[tuple[int, int]] = []
        self.closed: list[str] = []

    def _step(self, name: str, number: int) -> None:
        if name == self.fail and number == self.at:
            raise ZeroDivisionError(name)

    def read(self, _: Iterator[Any]) -> Iterator[int]:
        try:
            for number in range(self.count):
                self._step("read", number)
                self.made += 1
                yield number
        finally:
            self.closed.append("read")

    def double(self, numbers: Iterator[int]) -> Iterator[int]:
        for place, number in enumerate(numbers):
            self._step("double", place)
            yield 2 * number

    def pair(self, numbers: Iterator[int]) -> Iterator[tuple[int, int]]:
        for place, number in enumerate(numbers):
            self._step("pair", place)
            yield number, next(numbers)

    def write(self, pairs: Iterator[tuple[int, int]]) -> Iterator[None]:
        for place, pair in enumerate(pairs):
            self._step("write", place)
            self.out.append(pair)
        yield from ()

    def roles(self) -> list[Role]:
        return [Role(name, getattr(self, name)) for name in STEPS]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("trtswap-")]


def finishes(run: Callable[[], None], seconds: float = 10) -> BaseException | None:
    """Runs in a thread, so that a hang fails the test and not the suite; gives back what it raised."""
    raised: list[BaseException] = []

    def body() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001
            raised.append(error)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"hangs, with {threads()}"
    return raised[0] if raised else None


def test_threads_give_what_one_thread_gives() -> None:
    alone, together = Work(), Work()
    run_in_turn(alone.roles())
    assert finishes(Flow(together.roles()).run) is None
    assert together.out == alone.out == [(4 * k, 4 * k + 2) for k in range(10)]
    assert threads() == []


@pytest.mark.parametrize("at", [0, 3, 9])
@pytest.mark.parametrize("role", STEPS)
def test_a_failing_role_stops_all_others_and_gives_one_error(role: str, at: int) -> None:
    work = Work(count=1000, fail=role, at=at)
    error = finishes(Flow(work.roles()).run)
    assert isinstance(error, ZeroDivisionError)
    assert str(error) == role
    assert threads() == []
    assert work.closed == ["read"]
    assert work.made < 40  # the reader did not run on


def test_an_error_of_the_waiting_thread_stops_all() -> None:
    """As Ctrl-C does: the exception comes up in the thread that waits for the flow."""
    work = Work(count=10**9)
    flow = Flow(work.roles())

    class Interrupting(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            if not flow._error:
                raise KeyboardInterrupt
            super().join(timeout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trtswap.session.flow.threading.Thread", Interrupting)
        start = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            flow.run()
    assert time.perf_counter() - start < 1
    assert threads() == []


def test_a_slow_role_holds_the_others_back() -> None:
    most = 0

    def slow(numbers: Iterator[int]) -> Iterator[None]:
        nonlocal most
        for taken, _ in enumerate(numbers, 1):
            time.sleep(0.005)
            most = max(most, work.made - taken)
        yield from ()

    work = Work(count=40)
    flow = Flow([Role("read", work.read), Role("double", work.double), Role("slow", slow)], depth=2)
    assert finishes(flow.run) is None
    assert most <= 7  # two queues of two, one in each role, one that waits to be put
    assert flow.waited_seconds["read"] > flow.waited_seconds["slow"]


def test_roles_work_at_the_same_time() -> None:
    """Three roles that each sleep 10 ms an item need little more than 10 ms an item together."""

    def sleeper(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            time.sleep(0.01)
            yield item

    roles = [Role("read", Work(count=30).read), *(Role(f"sleep {k}", sleeper) for k in range(3))]
    start = time.perf_counter()
    assert finishes(Flow(roles).run) is None
    assert time.perf_counter() - start < 2 * 30 * 0.01


def test_workers_keep_the_order_of_items() -> None:
    """The first items take longest; workers run at the same time, and no more items are taken than they need."""
    both, names, most = threading.Barrier(2), set[str](), 0
    source, done = Work(count=20), list[int]()

    def work(number: int) -> int:
        if number < 2:
            both.wait(10)
        time.sleep(0.02 if number % 2 else 0.001)
        names.add(threading.current_thread().name)
        return number

    def write(numbers: Iterator[int]) -> Iterator[None]:
        nonlocal most
        for number in numbers:
            done.append(number)
            most = max(most, source.made - len(done))
        yield from ()

    roles = [Role("read", source.read), each("work", work, workers=2), Role("write", write)]
    assert finishes(Flow(roles).run) is None
    assert done == list(range(20))
    assert names == {"trtswap-work_0", "trtswap-work_1"}
    assert most <= 6  # a queue of one before them, two with them, two behind, one that waits to be put
    assert threads() == []


def test_an_item_is_passed_on_though_no_other_follows() -> None:
    """A live stream: what is made is given out before the next frame comes."""
    given = threading.Event()

    def read(_: Iterator[Any]) -> Iterator[int]:
        yield 1
        assert given.wait(5)
        yield 2

    def write(numbers: Iterator[int]) -> Iterator[None]:
        for _ in numbers:
            given.set()
        yield from ()

    for workers in (1, 3):
        given.clear()
        roles = [Role("read", read), each("work", lambda n: n, workers=workers), Role("write", write)]
        assert finishes(Flow(roles).run) is None


@pytest.mark.parametrize("role", ["read", "work", "write"])
def test_a_fault_beside_workers_ends_them(role: str) -> None:
    work = Work(count=1000, fail=role, at=5)

    def twice(number: int) -> tuple[int, int]:
        if role == "work" and number == 5:
            raise ZeroDivisionError(role)
        return number, 2 * number

    error = finishes(Flow([Role("read", work.read), each("both", twice, workers=2), Role("write", work.write)]).run)
    assert isinstance(error, ZeroDivisionError)
    assert str(error) == role
    assert threads() == []
    assert work.closed == ["read"]


def test_every_tensor_of_an_item_is_found() -> None:
    a, b, c, d = (torch.zeros(length) for length in (1, 2, 3, 4))
    found = list(tensors_in({"made": SwappedFaces(a, b, [], d), "more": (c, "text", [None, 5])}))
    assert [len(t) for t in found] == [1, 2, 4, 3]

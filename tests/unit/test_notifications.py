"""What a stream owes is called once, in order, whatever the driver does or leaves undone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import doubles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop import ClosedError, DriverError
from interop.links.sync._bridged import BridgedToProducer
from interop.toolkit import HOLD, Notifications

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop import InteropError

HELD = DriverError(HOLD, -14, "", "not ready")
LOST = DriverError("a command in the queue", -36)


class Told:
    """What was called with what."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, InteropError | None]] = []

    def good(self, value: int) -> None:
        self.calls.append((value, None))

    def bad(self, value: int, failure: InteropError) -> None:
        self.calls.append((value, failure))


@given(
    st.lists(st.sampled_from(["add", "hold", "reach", "fail", "end"]), max_size=40),
    st.sets(st.integers(1, 40)),
)
def test_each_is_called_once_and_in_order(steps: list[str], failing: set[int]) -> None:
    owed, told, added, held = Notifications(HELD), Told(), 0, 0
    behind: dict[int, int] = {}
    for step in steps:
        if step == "hold":
            held += 1
            owed.holding(held)
        elif step == "add":
            added += 1
            behind[added] = held
            assert owed.add(told.good, added, told.bad) == added
        elif step == "reach":
            owed.reached(len(told.calls) + 1)
        elif step == "fail":
            owed.releasing(held, failed=held in failing)
        else:
            owed.end()
    owed.end()
    owed.end()
    assert [value for value, _ in told.calls] == list(range(1, added + 1))
    for value, failure in told.calls:
        if failure is HELD:
            assert any(number <= behind[value] for number in failing)
    assert owed.settle(0)


def test_a_late_call_of_the_driver_makes_those_before_it_and_an_early_one_none_after() -> None:
    owed, told = Notifications(HELD), Told()
    numbers = [owed.add(told.good, value, told.bad) for value in (1, 2, 3)]
    owed.reached(numbers[1])
    assert told.calls == [(1, None), (2, None)]
    owed.reached(numbers[0], LOST)  # has been made
    owed.reached(numbers[2], LOST)
    assert told.calls[2:] == [(3, LOST)]


def test_a_failed_hold_is_told_to_what_is_behind_it_until_it_was_reported() -> None:
    owed, told = Notifications(HELD), Told()
    before = owed.add(told.good, 1, told.bad)
    owed.holding(1)
    behind = owed.add(told.good, 2, told.bad)
    owed.releasing(1, failed=True)
    owed.reported()
    after = owed.add(told.good, 3, told.bad)
    for number in (before, behind, after):
        owed.reached(number)
    assert told.calls == [(1, None), (2, HELD), (3, None)]


def test_one_without_a_function_for_failures_is_called_all_the_same() -> None:
    owed, told = Notifications(HELD), Told()
    owed.reached(owed.add(told.good, 1, None), LOST)
    owed.add(told.good, 2, None)
    owed.end()
    assert told.calls == [(1, None), (2, None)]


def test_what_the_driver_refused_is_not_called() -> None:
    owed, told = Notifications(HELD), Told()
    owed.add(told.good, 1, told.bad)
    owed.withdraw(owed.add(told.good, 2, told.bad))
    owed.end()
    ((value, failure),) = told.calls
    assert value == 1
    assert isinstance(failure, ClosedError)


def test_one_that_raises_keeps_no_other_from_being_called(monkeypatch: pytest.MonkeyPatch) -> None:
    owed, told = Notifications(HELD), Told()
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: raised.append(arguments.exc_type))

    def breaks(_value: int) -> None:
        raise KeyError

    owed.add(breaks, 1, None)
    owed.reached(owed.add(told.good, 2, None))
    assert raised == [KeyError]
    assert told.calls == [(2, None)]


@pytest.mark.parametrize("threads", [2, 8])
def test_many_threads_make_each_call_once(threads: int) -> None:
    owed, told = Notifications(HELD), Told()
    numbers = [owed.add(told.good, value, None) for value in range(2000)]
    started = threading.Barrier(threads)

    def reach(part: int) -> None:
        started.wait()
        for number in numbers[part::threads]:
            owed.reached(number)

    running = [threading.Thread(target=reach, args=(part,)) for part in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert [value for value, _ in told.calls] == list(range(2000))


class Failing:
    """A stream on which all work fails."""

    def __init__(self, failure: DriverError) -> None:
        self.failure = failure

    def notify(self, _good: object, value: int, *, failed: Callable[[int, InteropError], None]) -> None:
        failed(value, self.failure)


def test_a_bridge_lets_the_producer_go_on_and_the_next_hand_over_raises() -> None:
    producer: Any = doubles.Producer(doubles.World(), doubles.producer_info())
    bridge = BridgedToProducer(producer)
    stream: Any = Failing(LOST)
    assert bridge.signal(stream) == 1
    assert bridge.done.counter() == 1
    with pytest.raises(DriverError, match="a command in the queue"):
        bridge.signal(stream)
    bridge.close()


def test_a_bridge_leaves_it_to_its_watcher_to_say_why_a_hold_failed() -> None:
    producer: Any = doubles.Producer(doubles.World(), doubles.producer_info())
    bridge = BridgedToProducer(producer)
    stream: Any = Failing(HELD)
    assert [bridge.signal(stream), bridge.signal(stream)] == [1, 2]
    assert bridge.done.counter() == 2
    bridge.close()


def test_a_failed_hold_is_known_once_it_is_enqueued_and_until_it_was_reported() -> None:
    owed = Notifications(HELD)
    owed.holding(1)
    owed.releasing(1, failed=False)
    owed.releasing(3, failed=True)  # ends nothing: holds 2 and 3 are not enqueued yet
    seen = [owed.hold_failed]
    owed.holding(2)
    seen.append(owed.hold_failed)
    owed.reported()
    seen.append(owed.hold_failed)
    assert seen == [False, True, False]

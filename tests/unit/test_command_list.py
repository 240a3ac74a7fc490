"""The standard command list: the order of its calls, values, and what becomes of them after an error."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from interop.protocols import DriverError, PreparedCall
from interop.toolkit import EagerStream, StandardCommandList

if TYPE_CHECKING:
    from collections.abc import Callable

STREAM = EagerStream("stream")
LOG: list[object] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    LOG.clear()


def refuse(name: str, code: int) -> None:
    raise DriverError(name, code)


def call_of(name: str, *, code: int = 0, begin: Callable[[], object] | None = None) -> PreparedCall:
    def call() -> int:
        LOG.append(name)
        return code

    return PreparedCall(call, partial(refuse, name), begin, lambda value: LOG.append((name, value)))


class Thing:
    """A semaphore, memory and launch in one."""

    def __init__(self, name: str, **options: Any) -> None:
        self.name, self.options = name, options

    def _call(self, what: str, stream: object = STREAM) -> PreparedCall:
        assert stream is STREAM
        return call_of(f"{what} {self.name}", **self.options)

    def prepare_wait(self, stream: object) -> PreparedCall:
        return self._call("wait", stream)

    def prepare_signal(self, stream: object) -> PreparedCall:
        return self._call("signal", stream)

    def prepare_acquire(self, stream: object) -> PreparedCall | None:
        return self._call("acquire", stream)

    def prepare_release(self, stream: object) -> PreparedCall | None:
        return self._call("release", stream)

    def prepare_call(self) -> PreparedCall:
        return self._call("launch")


class Unowned(Thing):
    """Memory of an API without ownership."""

    def prepare_acquire(self, stream: object) -> None:
        assert stream is STREAM

    prepare_release = prepare_acquire


def filled(wait: Thing, memory: Thing, launches: list[Thing], signal: Thing) -> StandardCommandList:
    made = StandardCommandList(STREAM)
    made.wait(wait)
    made.acquire(memory)
    for launch in launches:
        made.launch(launch)
    made.release(memory)
    made.signal(signal)
    return made


def calls() -> list[object]:
    return [each for each in LOG if isinstance(each, str)]


def test_calls_are_made_in_order_and_with_the_values_of_each_submission() -> None:
    made = filled(Thing("a"), Thing("m"), [Thing("k"), Thing("l")], Thing("b"))
    for wait, signal in ((1, 2), (5, 9)):
        LOG.clear()
        assert made.submit(wait, signal) is None
        assert LOG[:2] == [("wait a", wait), ("signal b", signal)]
        assert calls() == ["wait a", "acquire m", "launch k", "launch l", "release m", "signal b"]


def test_a_thread_is_prepared_once_for_all_calls() -> None:
    begun: list[int] = []
    begin = partial(begun.append, 1)
    made = filled(
        Thing("a", begin=begin), Thing("m"), [Thing("k", begin=begin), Thing("l", begin=begin)], Thing("b")
    )
    made.submit(1, 2)
    assert begun == [1]


def test_memory_without_ownership_adds_nothing() -> None:
    filled(Thing("a"), Unowned("m"), [Thing("k")], Thing("b")).submit()
    assert calls() == ["wait a", "launch k", "signal b"]


def test_a_failed_launch_is_returned_once_the_signal_is_enqueued() -> None:
    made = filled(Thing("a"), Thing("m"), [Thing("k", code=700), Thing("l")], Thing("b"))
    failure = made.submit(1, 2)
    assert isinstance(failure, DriverError)
    assert (failure.function, failure.code) == ("launch k", 700)
    assert calls() == ["wait a", "acquire m", "launch k", "release m", "signal b"]


@pytest.mark.parametrize(
    ("broken", "made"),
    [
        ("wait a", ["wait a"]),
        ("release m", ["wait a", "acquire m", "launch k", "release m"]),
        ("signal b", ["wait a", "acquire m", "launch k", "release m", "signal b"]),
    ],
)
def test_other_calls_that_fail_are_raised_at_once(broken: str, made: list[str]) -> None:
    class Broken(Thing):
        def _call(self, what: str, stream: object = STREAM) -> PreparedCall:
            assert stream is STREAM
            name = f"{what} {self.name}"
            return call_of(name, code=3 if name == broken else 0)

    commands = filled(Broken("a"), Broken("m"), [Broken("k")], Broken("b"))
    with pytest.raises(DriverError, match=broken):
        commands.submit(1, 2)
    assert calls() == made

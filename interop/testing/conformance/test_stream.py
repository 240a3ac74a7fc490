"""Streams: order, and the three calls that the bridged strategy is made of."""

# ruff: noqa: D103 - the name of a case says what it proves
from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import pytest

from interop.protocols import ClosedError, DriverError, InteropError, WaitTimeout
from interop.testing._bench import same

if TYPE_CHECKING:
    from interop.protocols import Consumer
    from interop.testing._bench import Bench

HELD = 0.1
"""Seconds after which a stream that has not gone on is taken to be held."""
PROMPT = 2.0
"""Seconds within which a call that must not block has to return, on the slowest machine."""

holds = pytest.mark.interop_needs("stream-hold", "stream-notify")


class Notes:
    """Collects what a stream notifies."""

    def __init__(self) -> None:
        self.values: list[int] = []
        self.failures: list[InteropError] = []
        self.threads: set[int] = set()
        self._changed = threading.Condition()

    def __call__(self, value: int) -> None:
        """Take one value; what a stream calls."""
        with self._changed:
            self.values.append(value)
            self.threads.add(threading.get_ident())
            self._changed.notify_all()

    def failed(self, value: int, failure: InteropError) -> None:
        """Take one value and what went wrong before it."""
        with self._changed:
            self.failures.append(failure)
        self(-value)

    def wait_for(self, count: int, timeout: float) -> bool:
        """Wait until ``count`` values have come."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.values) >= count, timeout)


def test_synchronize_an_idle_stream(consumer: Consumer) -> None:
    consumer.stream.flush()
    consumer.stream.synchronize(PROMPT)
    consumer.stream.synchronize(PROMPT)


def test_streams_are_closed_twice_and_not_used_after(consumer: Consumer) -> None:
    stream = consumer.create_stream()
    stream.synchronize(PROMPT)
    stream.close()
    stream.close()
    with pytest.raises(ClosedError):
        stream.synchronize(PROMPT)


def test_closing_the_consumer_closes_its_streams(bench: Bench) -> None:
    consumer = bench.pair.consumers.open_consumer(bench.pair.consumer)
    streams = [consumer.stream, *(consumer.create_stream() for _ in range(3))]
    consumer.close()
    for stream in streams:
        with pytest.raises(ClosedError):
            stream.synchronize(PROMPT)
        stream.close()


@holds
def test_hold_until_release(bench: Bench) -> None:
    stream, notes = bench.consumer.stream, Notes()
    stream.hold(1)
    stream.notify(notes, 7)
    assert not notes.wait_for(1, HELD)
    stream.release(1)
    assert notes.wait_for(1, bench.timeout)
    stream.synchronize(bench.timeout)
    assert notes.values == [7]


@holds
def test_release_before_hold(bench: Bench) -> None:
    stream, notes = bench.consumer.stream, Notes()
    stream.release(2)
    stream.hold(1)
    stream.hold(2)
    stream.notify(notes, 1)
    stream.synchronize(bench.timeout)
    assert notes.wait_for(1, bench.timeout)


@holds
def test_release_ends_the_holds_up_to_its_value_only(bench: Bench) -> None:
    stream, notes = bench.consumer.stream, Notes()
    for value in (1, 2, 3):
        stream.hold(value)
        stream.notify(notes, value)
    stream.release(2)
    assert notes.wait_for(2, bench.timeout)
    assert not notes.wait_for(3, HELD)
    stream.release(3)
    assert notes.wait_for(3, bench.timeout)
    assert notes.values == [1, 2, 3]


@holds
def test_nothing_but_synchronize_blocks_the_caller(bench: Bench) -> None:
    stream, notes = bench.consumer.stream, Notes()
    stream.hold(1)
    start = time.monotonic()
    for value in range(2, 40):
        stream.notify(notes, value)
        stream.hold(value)
        stream.flush()
    assert time.monotonic() - start < PROMPT
    assert not notes.values
    stream.release(100)
    stream.synchronize(bench.timeout)
    assert notes.wait_for(38, bench.timeout)


@holds
def test_synchronize_is_bounded(bench: Bench) -> None:
    stream = bench.consumer.stream
    stream.hold(1)
    start = time.monotonic()
    with pytest.raises(WaitTimeout):
        stream.synchronize(HELD)
    assert HELD * 0.5 < time.monotonic() - start < HELD + PROMPT
    stream.release(1)
    stream.synchronize(bench.timeout)


@holds
def test_read_and_write_are_bounded(bench: Bench) -> None:
    own = bench.track(bench.consumer.allocate(64))
    own.write(bytes(64))
    bench.consumer.stream.hold(1)
    with pytest.raises(WaitTimeout):
        own.read(bytearray(64), timeout=HELD)
    bench.consumer.stream.release(1)
    bench.consumer.stream.synchronize(bench.timeout)
    same(bench.peek(own), bytes(64))


@holds
def test_notifications_come_in_order_and_on_another_thread(bench: Bench) -> None:
    stream, notes = bench.consumer.stream, Notes()
    for value in range(100):
        stream.notify(notes, value)
    assert notes.wait_for(100, bench.timeout)
    assert notes.values == list(range(100))
    assert threading.get_ident() not in notes.threads
    stream.synchronize(bench.timeout)


@holds
def test_streams_are_independent(bench: Bench) -> None:
    held, free, notes = bench.consumer.stream, bench.track(bench.consumer.create_stream()), Notes()
    held.hold(1)
    free.notify(notes, 1)
    free.synchronize(bench.timeout)
    assert notes.wait_for(1, bench.timeout)
    held.release(1)
    held.synchronize(bench.timeout)


@holds
def test_one_stream_releases_another(bench: Bench) -> None:
    first, second, notes = bench.consumer.stream, bench.track(bench.consumer.create_stream()), Notes()
    relay = threading.Event()
    second.hold(1)
    second.notify(notes, 2)
    first.hold(1)
    first.notify(lambda _value: relay.set(), 1)
    assert not relay.wait(HELD)
    first.release(1)
    assert relay.wait(bench.timeout)
    assert not notes.values
    second.release(1)
    assert notes.wait_for(1, bench.timeout)
    second.synchronize(bench.timeout)


@holds
def test_release_from_many_threads(bench: Bench) -> None:
    stream, notes = bench.consumer.stream, Notes()
    for value in range(1, 33):
        stream.hold(value)
    stream.notify(notes, 1)
    threads = [threading.Thread(target=stream.release, args=(value,)) for value in range(1, 33)]
    for thread in reversed(threads):
        thread.start()
    for thread in threads:
        thread.join()
    stream.synchronize(bench.timeout)
    assert notes.wait_for(1, bench.timeout)


@holds
def test_failed_release_ends_the_hold_and_the_device_stays_usable(bench: Bench) -> None:
    stream = bench.track(bench.consumer.create_stream())
    stream.hold(1)
    stream.release(1, failed=True)
    try:
        stream.synchronize(bench.timeout)
    except WaitTimeout:
        raise
    except DriverError:
        pass  # the API can tell dependent work that it was dropped
    other, notes = bench.track(bench.consumer.create_stream()), Notes()
    other.notify(notes, 1)
    other.synchronize(bench.timeout)
    assert notes.wait_for(1, bench.timeout)


@holds
def test_notification_behind_a_failed_hold_is_made_with_the_failure(bench: Bench) -> None:
    stream, notes = bench.track(bench.consumer.create_stream()), Notes()
    stream.notify(notes, 1, failed=notes.failed)
    stream.hold(1)
    stream.notify(notes, 2, failed=notes.failed)
    stream.notify(notes, 3)  # one that asks for no failures is made as well
    stream.release(1, failed=True)
    assert notes.wait_for(3, bench.timeout)
    with contextlib.suppress(DriverError):
        stream.synchronize(bench.timeout)
    assert notes.values == [1, -2, 3]
    assert isinstance(notes.failures[0], InteropError)
    stream.notify(notes, 4, failed=notes.failed)
    stream.synchronize(bench.timeout)
    assert notes.wait_for(4, bench.timeout)
    assert notes.values == [1, -2, 3, 4]


@holds
def test_a_failure_is_told_of_once_the_notification_is_reached_however_late(bench: Bench) -> None:
    stream, notes = bench.track(bench.consumer.create_stream()), Notes()
    for value in (1, 2):
        stream.hold(value)
        stream.notify(notes, value, failed=notes.failed)
    stream.release(1)
    assert notes.wait_for(1, bench.timeout)
    stream.release(2, failed=True)
    assert notes.wait_for(2, bench.timeout)
    assert notes.values == [1, -2]


@holds
def test_closing_a_stream_makes_the_notifications_that_it_owes(bench: Bench) -> None:
    stream, notes = bench.track(bench.consumer.create_stream()), Notes()
    stream.hold(1)
    for value in (1, 2):
        stream.notify(notes, value, failed=notes.failed)
    stream.flush()
    stream.close()
    assert notes.wait_for(2, bench.timeout)
    assert notes.values == [-1, -2]

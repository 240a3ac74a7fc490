"""Links that share a stream share its gates: none counts by itself, none opens the gate of another."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, cast

import pytest

from interop.links.sync._gates import StreamGates, gates_of

if TYPE_CHECKING:
    from interop import Stream


class Log:
    """What a stream was told."""

    def __init__(self, *, broken: bool = False, interrupted: bool = False) -> None:
        self.told: list[str] = []
        self.broken = broken
        self.interrupted = interrupted

    def hold(self, value: int) -> None:
        if self.broken:
            raise OSError(value)
        self.told.append(f"hold {value}")
        if self.interrupted:
            raise KeyboardInterrupt

    def release(self, value: int, *, failed: bool = False) -> None:
        self.told.append(f"release {value}" + (" failed" if failed else ""))


def enqueue(gates: StreamGates, stream: Stream) -> int:
    """Return the number under which it is to be released."""
    jobs: SimpleQueue[tuple[Stream, int, int]] = SimpleQueue()
    gates.enqueue(stream, 7, jobs)
    found, point, number = jobs.get_nowait()
    assert (found, point) == (stream, 7)
    return number


def test_numbers_go_on_over_all_links_of_a_stream() -> None:
    one, other = (cast("Stream", Log()) for _ in range(2))
    assert gates_of(one) is gates_of(one)
    assert gates_of(one) is not gates_of(other)
    assert [enqueue(gates_of(one), one) for _ in range(2)] == [1, 2]
    assert enqueue(gates_of(other), other) == 1


def test_a_later_hold_is_released_after_the_earlier_ones() -> None:
    log = Log()
    stream, gates = cast("Stream", log), StreamGates()
    first, second, third = (enqueue(gates, stream) for _ in range(3))
    log.told.clear()
    gates.open(stream, second, failed=True)
    assert log.told == []
    gates.open(stream, first, failed=False)
    assert log.told == ["release 1", "release 2 failed"]
    gates.open(stream, third, failed=False)
    assert log.told[2:] == ["release 3"]


def test_a_hold_that_ctrl_c_interrupted_is_released_all_the_same() -> None:
    """It is raised as the driver returns; the hold is there then, and its number is not given again."""
    log = Log(interrupted=True)
    stream, gates = cast("Stream", log), StreamGates()
    jobs: SimpleQueue[tuple[Stream, int, int]] = SimpleQueue()
    with pytest.raises(KeyboardInterrupt):
        gates.enqueue(stream, 3, jobs)
    assert jobs.get_nowait() == (stream, 3, 1)
    log.interrupted = False
    assert enqueue(gates, stream) == 2
    for number in (1, 1, 2):  # the queue may have got it twice
        gates.open(stream, number, failed=False)
    assert log.told == ["hold 1", "hold 2", "release 1", "release 2"]


def test_a_hold_that_failed_takes_no_number() -> None:
    log = Log(broken=True)
    stream, gates = cast("Stream", log), StreamGates()
    try:
        enqueue(gates, stream)
    except OSError:
        log.broken = False
    assert enqueue(gates, stream) == 1


def test_a_stream_that_is_full_takes_a_hold_once_an_earlier_one_is_released() -> None:
    """A driver may keep ``hold`` waiting: releases, on another thread, must reach the stream meanwhile."""
    room = threading.Event()

    class Full(Log):
        def hold(self, value: int) -> None:
            if value > 1:
                assert room.wait(5), "the release of hold 1 did not come"
            super().hold(value)

        def release(self, value: int, *, failed: bool = False) -> None:
            super().release(value, failed=failed)
            room.set()

    log = Full()
    stream, gates = cast("Stream", log), StreamGates()
    first = enqueue(gates, stream)
    releasing = threading.Timer(0.05, gates.open, [stream, first], {"failed": False})
    releasing.start()
    enqueue(gates, stream)
    releasing.join()
    assert log.told == ["hold 1", "release 1", "hold 2"]

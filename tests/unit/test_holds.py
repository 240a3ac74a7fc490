"""Links that share a stream share its holds: none counts by itself, none releases what is another's."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, cast

import pytest
from interop.links.sync._holds import Holds, holds_of

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


def hold(holds: Holds, stream: Stream) -> int:
    """Return the number under which it is to be released."""
    jobs: SimpleQueue[tuple[Stream, int, int]] = SimpleQueue()
    holds.hold(stream, 7, jobs)
    found, point, number = jobs.get_nowait()
    assert (found, point) == (stream, 7)
    return number


def test_numbers_go_on_over_all_links_of_a_stream() -> None:
    one, other = (cast("Stream", Log()) for _ in range(2))
    assert holds_of(one) is holds_of(one)
    assert holds_of(one) is not holds_of(other)
    assert [hold(holds_of(one), one) for _ in range(2)] == [1, 2]
    assert hold(holds_of(other), other) == 1


def test_a_later_hold_is_released_after_the_earlier_ones() -> None:
    log = Log()
    stream, holds = cast("Stream", log), Holds()
    first, second, third = (hold(holds, stream) for _ in range(3))
    log.told.clear()
    holds.release(stream, second, failed=True)
    assert log.told == []
    holds.release(stream, first, failed=False)
    assert log.told == ["release 1", "release 2 failed"]
    holds.release(stream, third, failed=False)
    assert log.told[2:] == ["release 3"]


def test_a_hold_that_ctrl_c_interrupted_is_released_all_the_same() -> None:
    """It is raised as the driver returns; the hold is there then, and its number is not given again."""
    log = Log(interrupted=True)
    stream, holds = cast("Stream", log), Holds()
    jobs: SimpleQueue[tuple[Stream, int, int]] = SimpleQueue()
    with pytest.raises(KeyboardInterrupt):
        holds.hold(stream, 3, jobs)
    assert jobs.get_nowait() == (stream, 3, 1)
    log.interrupted = False
    assert hold(holds, stream) == 2
    for number in (1, 1, 2):  # the queue may have got it twice
        holds.release(stream, number, failed=False)
    assert log.told == ["hold 1", "hold 2", "release 1", "release 2"]


def test_a_hold_that_failed_takes_no_number() -> None:
    log = Log(broken=True)
    stream, holds = cast("Stream", log), Holds()
    try:
        hold(holds, stream)
    except OSError:
        log.broken = False
    assert hold(holds, stream) == 1


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
    stream, holds = cast("Stream", log), Holds()
    first = hold(holds, stream)
    releasing = threading.Timer(0.05, holds.release, [stream, first], {"failed": False})
    releasing.start()
    hold(holds, stream)
    releasing.join()
    assert log.told == ["hold 1", "release 1", "hold 2"]

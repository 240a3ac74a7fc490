"""Events: what holds a queue until the host lets it go, and what calls the host back."""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque
from itertools import count
from typing import TYPE_CHECKING

from interop_opencl._driver import CALLBACK, COMPLETE, check

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop_opencl._driver import Driver

_waiting: dict[int, tuple[Callable[[int], object], Owed]] = {}
"""What each event that the driver still owes a call for leads to, by the number that the call carries."""
_tickets = count(1)
_LEAVING = 0.002
"""Seconds that a driver's thread is given to get out of a callback; nothing tells when it has."""


class Owed:
    """How many calls the driver still owes for one context."""

    __slots__ = ("_changed", "_number", "_used")

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._number = 0
        self._used = False

    def add(self, number: int) -> None:
        """Count calls that are to come, or with -1 one that has been made."""
        with self._changed:
            self._number += number
            self._used = True
            self._changed.notify_all()

    def settle(self, timeout: float) -> bool:
        """Wait until none is owed; False when that takes longer than ``timeout`` seconds.

        NVIDIA's driver (580) never returns from ``clReleaseContext`` while one of its threads is in a callback.
        """
        with self._changed:
            settled = self._changed.wait_for(lambda: self._number == 0, timeout)
        if self._used:
            time.sleep(_LEAVING)
        return settled


def _call(_event: int, status: int, ticket: int) -> None:
    job, owed = _waiting.pop(ticket)
    try:
        job(status)
    finally:
        owed.add(-1)


# One C callback for the whole process, never freed: a driver's thread may still be on its way out of it when
# the queue that it was called for is gone.
_called = CALLBACK(_call)


def on_completion(driver: Driver, owed: Owed, event: ctypes.c_void_p, job: Callable[[int], object]) -> None:
    """Have ``job(status)`` called once the event is complete or has failed (``clSetEventCallback``)."""
    ticket = next(_tickets)
    _waiting[ticket] = job, owed
    owed.add(1)
    code = driver.raw("clSetEventCallback")(event, COMPLETE, _called, ticket)
    if code != 0:
        del _waiting[ticket]
        owed.add(-1)
    check("clSetEventCallback", code)


def user_event(driver: Driver, context: int) -> int:
    """Make an event that the host completes (``clCreateUserEvent``)."""
    status = ctypes.c_int()
    event: int = driver.raw("clCreateUserEvent")(context, ctypes.byref(status))
    check("clCreateUserEvent", status.value)
    return event


class Holds:
    """User events that keep a queue from going on, in the order in which they were enqueued.

    They always end as complete. A user event of negative status should end the commands behind it, but
    PoCL (3.1, pocl_update_event_failed) aborts the process where one of those has no event that the caller
    keeps. So work behind a failed hold runs, on data that is not ready, and the next
    :meth:`OpenCLStream.synchronize` says so.
    """

    def __init__(self, driver: Driver) -> None:
        self._lock = threading.Lock()
        self._events: deque[tuple[int, int]] = deque()
        self._released = 0
        self._failed: range = range(0)
        self._failure = False
        self._driver = driver
        self._set = driver.raw("clSetUserEventStatus")
        self._barrier = driver.raw("clEnqueueBarrierWithWaitList")
        self._retain, self._drop = driver.raw("clRetainEvent"), driver.raw("clReleaseEvent")

    def enqueue(self, context: int, queue: int, value: int) -> None:
        """Hold the queue until ``value`` is released; nothing to do when it has been already."""
        with self._lock:
            if value <= self._released:
                self._failure |= value in self._failed
                return
            event = user_event(self._driver, context)
            self._retain(event)
            self._events.append((value, event))
        # Outside the lock: with a full queue a driver may wait in here, and releases must go on meanwhile.
        code = self._barrier(queue, 1, ctypes.byref(ctypes.c_void_p(event)), None)
        self._drop(event)
        if code != 0:
            self._forget(value, event)
        check("clEnqueueBarrierWithWaitList", code)

    def _forget(self, value: int, event: int) -> None:
        with self._lock:
            known = (value, event) in self._events
            if known:
                self._events.remove((value, event))
        if known:
            self._drop(event)

    def release(self, value: int, *, failed: bool) -> None:
        """End the holds up to ``value``."""
        ended: list[int] = []
        with self._lock:
            if failed and value > self._released:  # not those that were released before in good order
                first = self._failed.start if self._failed else self._released + 1
                self._failed = range(first, value + 1)
            self._released = max(self._released, value)
            while self._events and self._events[0][0] <= value:
                ended.append(self._events.popleft()[1])
            self._failure |= failed and bool(ended)
        for event in ended:  # outside the lock: the driver may run callbacks in this call
            self._set(event, COMPLETE)
            self._drop(event)

    def take_failure(self) -> bool:
        """Whether a hold has ended as failed since the last time this was asked."""
        with self._lock:
            failure, self._failure = self._failure, False
        return failure

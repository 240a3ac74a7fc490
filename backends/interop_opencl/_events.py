"""Events: gates that hold a queue, and callbacks to the host."""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque
from itertools import count
from typing import TYPE_CHECKING

from interop_opencl._driver import CALLBACK, COMPLETE, check, create

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop_opencl._driver import Driver

_waiting: dict[int, tuple[Callable[[int], object], PendingCallbacks]] = {}
"""The job of each callback that the driver still owes, by the ticket that the callback carries."""
_tickets = count(1)
_LEAVING = 0.002
"""Seconds for a driver's thread to leave a callback. No API call tells when it has left."""


class PendingCallbacks:
    """Asks the driver for callbacks to one context, and counts those that it still owes."""

    __slots__ = ("_changed", "_driver", "_number", "_used")

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._changed = threading.Condition()
        self._number = 0
        self._used = False

    def add(self, number: int) -> None:
        """Add callbacks that are to come; -1 removes one that was made."""
        with self._changed:
            self._number += number
            self._used = True
            self._changed.notify_all()

    def on_completion(self, event: ctypes.c_void_p, job: Callable[[int], object]) -> None:
        """Have ``job(status)`` called once the event is complete or has failed (``clSetEventCallback``)."""
        ticket = next(_tickets)
        _waiting[ticket] = job, self
        self.add(1)
        code = self._driver.raw("clSetEventCallback")(event, COMPLETE, _called, ticket)
        if code != 0:
            del _waiting[ticket]
            self.add(-1)
        check("clSetEventCallback", code)

    def settle(self, timeout: float) -> bool:
        """Block until no callback is owed; return False after ``timeout`` seconds.

        NVIDIA's driver (580) never returns from ``clReleaseContext`` while one of its threads is in a callback.
        """
        with self._changed:
            settled = self._changed.wait_for(lambda: self._number == 0, timeout)
        if self._used:
            time.sleep(_LEAVING)
        return settled


def _call(_event: int, status: int, ticket: int) -> None:
    job, pending = _waiting.pop(ticket)
    try:
        job(status)
    finally:
        pending.add(-1)


# One C callback serves the whole process and is never freed: a driver's thread may still be leaving it when the
# queue is gone.
_called = CALLBACK(_call)


def user_event(driver: Driver, context: int) -> int:
    """Create an event that the host completes (``clCreateUserEvent``)."""
    return create("clCreateUserEvent", driver.raw("clCreateUserEvent"), context)


class EventGate:
    """A gate of user events. Fulfils ``interop.toolkit.Gate``.

    The events always end as complete. A user event of negative status should end the commands behind it. PoCL (3.1,
    pocl_update_event_failed) aborts the process where the caller keeps no event of such a command.
    """

    def __init__(self, driver: Driver, context: int, queue: int) -> None:
        self._lock = threading.Lock()
        self._events: deque[tuple[int, int]] = deque()
        self._released = 0
        self._driver = driver
        self._context = context
        self._queue = queue
        self._set = driver.raw("clSetUserEventStatus")
        self._barrier = driver.raw("clEnqueueBarrierWithWaitList")
        self._retain, self._drop = driver.raw("clRetainEvent"), driver.raw("clReleaseEvent")

    def hold(self, value: int) -> None:
        """Enqueue a barrier on a user event. Does nothing if ``value`` is released already."""
        with self._lock:
            if value <= self._released:
                return
            event = user_event(self._driver, self._context)
            self._retain(event)
            self._events.append((value, event))
        # Outside the lock: a driver with a full queue may block here, and releases must go on meanwhile.
        code = self._barrier(self._queue, 1, ctypes.byref(ctypes.c_void_p(event)), None)
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

    def release(self, value: int, *, failed: bool = False) -> None:  # noqa: ARG002 - see the class
        """Complete the events of all holds up to ``value``."""
        ended: list[int] = []
        with self._lock:
            self._released = max(self._released, value)
            while self._events and self._events[0][0] <= value:
                ended.append(self._events.popleft()[1])
        for event in ended:  # outside the lock: the driver may run callbacks in this call
            self._set(event, COMPLETE)
            self._drop(event)

    def close(self) -> None:
        """Do nothing: a release of every hold has dropped the events."""

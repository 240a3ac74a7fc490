"""OpenCL command queues: in order, held by user events, calling back through events."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections import deque
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from interop.errors import DriverError, InvalidArgument, WaitTimeout
from interop.lifetime import Owned
from interop_opencl._driver import (
    CALLBACK,
    COMPLETE,
    EVENT_EXECUTION_STATUS,
    FAILED_WAIT_LIST,
    check,
    name_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.semaphore import Stream
    from interop_opencl._driver import Driver

_SPIN = 30e-6
_FIRST_SLICE = 1e-3
_LONGEST_SLICE = 50e-3

_waiting: dict[int, Callable[[int], object]] = {}
"""What each event that the driver still owes a call for leads to, by the number that the call carries."""
_tickets = count(1)


def _call(_event: int, status: int, ticket: int) -> None:
    job = _waiting.pop(ticket, None)
    if job is not None:
        job(status)


# One C callback for the whole process, never freed: a driver's thread may still be on its way out of it when
# the queue that it was called for is gone.
_called = CALLBACK(_call)


def _on_completion(driver: Driver, event: ctypes.c_void_p, job: Callable[[int], object]) -> None:
    """Have ``job(status)`` called once the event is complete or has failed (``clSetEventCallback``)."""
    ticket = next(_tickets)
    _waiting[ticket] = job
    code = driver.raw("clSetEventCallback")(event, COMPLETE, _called, ticket)
    if code != 0:
        del _waiting[ticket]
    check("clSetEventCallback", code)


def _wake(ended: threading.Event, _keep: object, _status: int) -> None:
    ended.set()


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
        self._create = driver.raw("clCreateUserEvent")
        self._set = driver.raw("clSetUserEventStatus")
        self._barrier = driver.raw("clEnqueueBarrierWithWaitList")
        self._drop = driver.raw("clReleaseEvent")

    def enqueue(self, context: int, queue: int, value: int) -> None:
        """Hold the queue until ``value`` is released; nothing to do when it has been already."""
        with self._lock:
            if value <= self._released:
                self._failure |= value in self._failed
                return
            status = ctypes.c_int()
            event = self._create(context, ctypes.byref(status))
            check("clCreateUserEvent", status.value)
            code = self._barrier(queue, 1, ctypes.byref(ctypes.c_void_p(event)), None)
            if code != 0:
                self._drop(event)
            check("clEnqueueBarrierWithWaitList", code)
            self._events.append((value, event))

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


class Calls:
    """Calls from the queue to the host, made one after the other in the order of the queue.

    Drivers call back from several threads and keep no order between events (PoCL 3.1 does not). But in an
    in-order queue an event that is complete says so of all before it, so whichever comes first makes the
    calls that are due, and the others find nothing left to do.
    """

    def __init__(self) -> None:
        self.entering = threading.Lock()
        """To be held from enqueueing a marker to :meth:`add`, so that both have one order."""
        self._calling = threading.Lock()
        self._due: deque[tuple[int, Callable[[int], None], int]] = deque()

    def add(self, callback: Callable[[int], None], value: int) -> Callable[[int], None]:
        """Plan ``callback(value)``, and return what the driver has to call with the event's status."""
        number = next(_tickets)
        self._due.append((number, callback, value))
        return partial(self._reached, number)

    def take_back(self) -> None:
        """Forget the last :meth:`add`, for which the driver will not call."""
        with self._calling:
            self._due.pop()

    def _reached(self, number: int, status: int) -> None:
        if status != COMPLETE:  # after an error nobody may take the work for done
            return
        with self._calling:
            while self._due and self._due[0][0] <= number:
                _, callback, value = self._due.popleft()
                try:
                    callback(value)
                except Exception:  # noqa: BLE001 - it must go neither to the driver nor past the calls after it
                    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), None)))


class OpenCLStream(Owned):
    """An in-order command queue. Any thread may use it; calls are ordered as they arrive."""

    __slots__ = ("_calls", "_context", "_driver", "_flush", "_holds", "_kept", "_queue")

    def __init__(self, driver: Driver, context: Any, device: Any) -> None:
        native = driver.cl.CommandQueue(context, device)
        holds = Holds(driver)
        kept: list[Any] = [native]
        super().__init__(f"OpenCL queue 0x{native.int_ptr:x}", _release, holds, kept)
        self._driver = driver
        self._queue: int = native.int_ptr
        self._context: int = context.int_ptr
        self._holds = holds
        self._calls = Calls()
        self._kept = kept  # emptied by close, so that the queue goes even while this object stays
        self._flush = driver.raw("clFlush")

    @property
    def native(self) -> Any:
        """The ``pyopencl.CommandQueue``."""
        self.check_open()
        return self._kept[0]

    @property
    def address(self) -> int:
        """The ``cl_command_queue``."""
        self.check_open()
        return self._queue

    @property
    def driver(self) -> Driver:
        """The loader that it belongs to."""
        return self._driver

    @property
    def context(self) -> int:
        """The ``cl_context`` that it belongs to."""
        return self._context

    def flush(self) -> None:
        """Hand enqueued work to the device (``clFlush``)."""
        check("clFlush", self._flush(self.address))

    def synchronize(self, timeout: float) -> None:
        """Wait until all that was enqueued before this call has ended.

        Raises :class:`DriverError` when a command failed, and once after a hold was released as failed.
        """
        self.finish(self._mark(), timeout)
        if self._holds.take_failure():
            text = "what a hold waited for has failed, so the work behind it ran on data that was not ready"
            raise DriverError("hold", FAILED_WAIT_LIST, name_of(FAILED_WAIT_LIST), text)

    def _mark(self) -> ctypes.c_void_p:
        event = ctypes.c_void_p()
        code = self._driver.raw("clEnqueueMarkerWithWaitList")(self.address, 0, None, ctypes.byref(event))
        check("clEnqueueMarkerWithWaitList", code)
        return event

    def finish(self, event: ctypes.c_void_p, timeout: float, *, keep: object = None) -> None:
        """Flush, wait for an event and give it up; ``keep`` stays alive until it has ended, timeout or not.

        clWaitForEvents has no timeout. So the status is polled for a moment, and then the driver is asked to
        call back, which wakes sooner than naps do. It is still looked at now and then: PoCL (3.1) does not
        call back for an event that fails.
        """
        try:
            check("clFlush", self._flush(self.address))
            start = time.monotonic()
            while not self._ended(event):
                if time.monotonic() - start >= min(_SPIN, timeout):
                    self._sleep(event, start + timeout, timeout, keep)
                    break
        finally:
            self._driver.raw("clReleaseEvent")(event)

    def _sleep(self, event: ctypes.c_void_p, deadline: float, timeout: float, keep: object) -> None:
        ended = threading.Event()
        _on_completion(self._driver, event, partial(_wake, ended, keep))
        pause = _FIRST_SLICE
        while not self._ended(event):
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeout(self._what, timeout)
            ended.wait(min(pause, left))
            pause = min(2 * pause, _LONGEST_SLICE)

    def _ended(self, event: ctypes.c_void_p) -> bool:
        status = ctypes.c_int(1)
        code = self._driver.raw("clGetEventInfo")(
            event, EVENT_EXECUTION_STATUS, 4, ctypes.byref(status), None
        )
        check("clGetEventInfo", code)
        if status.value < 0:
            raise DriverError("a command in the queue", status.value, name_of(status.value))
        return status.value == COMPLETE

    def hold(self, value: int) -> None:
        """Enqueue a wait for :meth:`release`: a barrier on a user event (``clCreateUserEvent``)."""
        if value < 1:
            raise InvalidArgument(f"holds count up from 1, got {value}")
        self._holds.enqueue(self._context, self.address, value)

    def release(self, value: int, *, failed: bool = False) -> None:
        """End every hold up to ``value`` (``clSetUserEventStatus``); :meth:`synchronize` tells ``failed``."""
        self.check_open()
        self._holds.release(value, failed=failed)

    def notify(self, callback: Callable[[int], None], value: int) -> None:
        """Enqueue ``callback(value)`` on a thread of the driver (``clSetEventCallback`` on a marker).

        Calls are made one at a time and in order, none when the work before it fails: :meth:`synchronize`
        reports that. An exception in a callback goes to ``threading.excepthook``.
        """
        calls = self._calls
        with calls.entering:
            event = self._mark()
            try:
                _on_completion(self._driver, event, calls.add(callback, value))
            except DriverError:
                calls.take_back()
                raise
            finally:
                self._driver.raw("clReleaseEvent")(event)
        self.flush()


def _release(holds: Holds, kept: list[Any]) -> None:
    holds.release(2**63, failed=True)  # a barrier that nobody ends would keep the driver's threads for ever
    kept.clear()


def stream_address(stream: Stream, context: int) -> int:
    """Return the address of a queue of this backend and context, or raise :class:`InvalidArgument`."""
    if not isinstance(stream, OpenCLStream) or stream.context != context:
        raise InvalidArgument(f"needs a stream of this OpenCL consumer, got {stream!r}")
    return stream.address

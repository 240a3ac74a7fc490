"""OpenCL command queues: in order, held by user events, calling back through events."""

from __future__ import annotations

import ctypes
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from interop.errors import DriverError, InvalidArgument, WaitTimeout
from interop.lifetime import Owned
from interop_opencl._driver import CALLBACK, COMPLETE, EVENT_EXECUTION_STATUS, FAILED_WAIT_LIST, check, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.semaphore import Stream
    from interop_opencl._driver import Driver

_SPIN = 50e-6
_FIRST_NAP = 20e-6
_LONGEST_NAP = 500e-6


class Holds:
    """User events that keep a queue from going on, in the order in which they were enqueued."""

    def __init__(self, driver: Driver) -> None:
        self._lock = threading.Lock()
        self._events: deque[tuple[int, int]] = deque()
        self._released = 0
        self._create = driver.raw("clCreateUserEvent")
        self._set = driver.raw("clSetUserEventStatus")
        self._barrier = driver.raw("clEnqueueBarrierWithWaitList")
        self._drop = driver.raw("clReleaseEvent")

    def enqueue(self, context: int, queue: int, value: int) -> bool:
        """Hold the queue until ``value`` is released; False when it has been already."""
        with self._lock:
            if value <= self._released:
                return False
            status = ctypes.c_int()
            event = self._create(context, ctypes.byref(status))
            check("clCreateUserEvent", status.value)
            code = self._barrier(queue, 1, ctypes.byref(ctypes.c_void_p(event)), None)
            if code != 0:
                self._drop(event)
            check("clEnqueueBarrierWithWaitList", code)
            self._events.append((value, event))
            return True

    def release(self, value: int, status: int) -> None:
        """End the holds up to ``value`` with a status."""
        ended: list[int] = []
        with self._lock:
            self._released = max(self._released, value)
            while self._events and self._events[0][0] <= value:
                ended.append(self._events.popleft()[1])
        for event in ended:  # outside the lock: the driver may run callbacks in this call
            self._set(event, status)
            self._drop(event)

    def release_all(self) -> None:
        """End every hold as failed."""
        self.release(2**63, FAILED_WAIT_LIST)


class Callbacks:
    """Calls from the queue back to the host, through one C callback that lives as long as the queue."""

    def __init__(self, driver: Driver) -> None:
        self._waiting: dict[int, tuple[Callable[[int], None], int]] = {}
        self._next = 0
        self._lock = threading.Lock()
        self._marker = driver.raw("clEnqueueMarkerWithWaitList")
        self._on_event = driver.raw("clSetEventCallback")
        self._drop = driver.raw("clReleaseEvent")
        self._flush = driver.raw("clFlush")
        self._called = CALLBACK(self._call)

    @property
    def idle(self) -> bool:
        """Whether the driver owes no call."""
        return not self._waiting

    def enqueue(self, queue: int, callback: Callable[[int], None], value: int) -> None:
        """Have ``callback(value)`` called after all work enqueued so far."""
        event = ctypes.c_void_p()
        check("clEnqueueMarkerWithWaitList", self._marker(queue, 0, None, ctypes.byref(event)))
        with self._lock:
            self._next += 1
            ticket = self._next
            self._waiting[ticket] = (callback, value)
        code = self._on_event(event, COMPLETE, self._called, ticket)
        self._drop(event)
        if code != 0:
            self._waiting.pop(ticket, None)
        check("clSetEventCallback", code)
        check("clFlush", self._flush(queue))

    def _call(self, _event: int, status: int, ticket: int) -> None:
        job = self._waiting.pop(ticket, None)
        if job is not None and status == COMPLETE:  # after an error nobody may take the work for done
            callback, value = job
            callback(value)


_STILL_CALLED: list[Callbacks] = []
"""Callbacks of queues that were closed with work in flight: leaked, because freeing them would crash."""


class OpenCLStream(Owned):
    """An in-order command queue. Any thread may use it; calls are ordered as they arrive."""

    __slots__ = ("_callbacks", "_context", "_driver", "_flush", "_holds", "_native", "_parked", "_queue")

    def __init__(self, driver: Driver, context: Any, device: Any) -> None:
        native = driver.cl.CommandQueue(context, device)
        holds, callbacks = Holds(driver), Callbacks(driver)
        parked: list[object] = [native]
        super().__init__(f"OpenCL queue 0x{native.int_ptr:x}", _release, holds, callbacks, parked)
        self._driver = driver
        self._native = native
        self._queue: int = native.int_ptr
        self._context: int = context.int_ptr
        self._holds = holds
        self._callbacks = callbacks
        self._parked = parked
        self._flush = driver.raw("clFlush")

    @property
    def native(self) -> Any:
        """The ``pyopencl.CommandQueue``."""
        self.check_open()
        return self._native

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
        """Wait until all that was enqueued before this call has ended."""
        event = ctypes.c_void_p()
        code = self._driver.raw("clEnqueueMarkerWithWaitList")(self.address, 0, None, ctypes.byref(event))
        check("clEnqueueMarkerWithWaitList", code)
        self.finish(event, timeout)

    def finish(self, event: ctypes.c_void_p, timeout: float) -> None:
        """Wait for an event and give it up. clWaitForEvents has no timeout, so the end is polled for."""
        driver = self._driver
        try:
            check("clFlush", self._flush(self._queue))
            status = ctypes.c_int(1)
            ask = driver.raw("clGetEventInfo")
            start = time.monotonic()
            nap = _FIRST_NAP
            while True:
                check("clGetEventInfo", ask(event, EVENT_EXECUTION_STATUS, 4, ctypes.byref(status), None))
                if status.value <= COMPLETE:
                    break
                waited = time.monotonic() - start
                if waited >= timeout:
                    raise WaitTimeout(self._what, timeout)
                if waited > _SPIN:
                    time.sleep(min(nap, timeout - waited))
                    nap = min(2 * nap, _LONGEST_NAP)
        finally:
            driver.raw("clReleaseEvent")(event)
        if status.value < 0:
            raise DriverError("a command in the queue", status.value, name_of(status.value))

    def hold(self, value: int) -> None:
        """Enqueue a wait for :meth:`release`: a barrier on a user event (``clCreateUserEvent``)."""
        if value < 1:
            raise InvalidArgument(f"holds count up from 1, got {value}")
        self._holds.enqueue(self._context, self.address, value)

    def release(self, value: int, *, failed: bool = False) -> None:
        """End every hold up to ``value``; ``failed`` makes the driver drop the work that depends on them."""
        self.check_open()
        self._holds.release(value, FAILED_WAIT_LIST if failed else COMPLETE)

    def notify(self, callback: Callable[[int], None], value: int) -> None:
        """Enqueue ``callback(value)`` on a thread of the driver (``clSetEventCallback`` on a marker)."""
        self._callbacks.enqueue(self.address, callback, value)

    def park(self, item: object) -> None:
        """Keep ``item`` alive as long as this queue: the driver may still write to it."""
        self._parked.append(item)


def _release(holds: Holds, callbacks: Callbacks, parked: list[object]) -> None:
    holds.release_all()
    if not callbacks.idle:
        _STILL_CALLED.append(callbacks)
    parked.clear()


def stream_address(stream: Stream, context: int) -> int:
    """Return the address of a queue of this backend and context, or raise :class:`InvalidArgument`."""
    if not isinstance(stream, OpenCLStream) or stream.context != context:
        raise InvalidArgument(f"needs a stream of this OpenCL consumer, got {stream!r}")
    return stream.address

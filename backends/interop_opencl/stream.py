"""OpenCL command queues: in order, held by user events, calling back through events."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from interop.protocols import DriverError, InteropError, InvalidArgument, WaitTimeout
from interop.toolkit import ALL_HOLDS, Notifications, StreamBase, hold_failure, poll
from interop_opencl import _driver as cl
from interop_opencl._events import EventGate, user_event

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from interop.protocols import Stream
    from interop_opencl._context import OpenCLContext

_DRAIN = 0.25
"""Seconds for a closed queue to make the callbacks that it owes."""


class OpenCLStream(StreamBase):
    """An in-order command queue. Any thread may use it; calls run as they arrive."""

    __slots__ = ("_flush", "_kept", "_queue", "context", "driver", "home")

    def __init__(self, home: OpenCLContext) -> None:
        """Create a queue (``clCreateCommandQueueWithProperties``)."""
        driver = home.driver
        place = home.native, home.native_device
        native = driver.make("clCreateCommandQueueWithProperties", driver.cl.CommandQueue, *place)
        kept: list[Any] = [native]
        self._queue: int = native.int_ptr
        self._flush = driver.raw("clFlush")
        self.driver = driver
        self.home = home
        self.context = home.address
        """The ``cl_context`` of the queue."""
        self._kept = kept  # close() empties the list, so that the queue goes even while this object stays
        drop = driver.last_reference("CommandQueue", self._queue)
        gate = EventGate(driver, self.context, self._queue)
        owed = Notifications(hold_failure(cl.FAILED_WAIT_LIST, cl.name_of(cl.FAILED_WAIT_LIST)))
        what = f"OpenCL queue 0x{self._queue:x}"
        super().__init__(what, gate, owed, [], _release, gate, owed, kept, drop)

    @property
    def native(self) -> Any:
        """The ``pyopencl.CommandQueue``."""
        self.check_open()
        return self._kept[0]

    @property
    def address(self) -> int:
        """The ``cl_command_queue``."""
        if not self.alive:
            self.raise_closed()
        return self._queue

    def flush(self) -> None:
        """Submit enqueued work to the device (``clFlush``)."""
        status = self._flush(self.address)
        if status:
            cl.check("clFlush", status)

    def drain(self, timeout: float) -> None:
        """Block until all enqueued work has ended.

        ``clWaitForEvents`` has no timeout, so the status of a marker is polled. A callback would come later: NVIDIA's
        driver (580) calls 1 ms after the end, and PoCL (3.1) never for an event that fails.
        """
        with self._marker() as event:
            self.flush()
            if not poll(lambda: self._ended(event), busy=False, timeout=timeout):
                raise WaitTimeout(self._what, timeout)

    def transfer(self, kind: str, native: Any, *place: Any, host: Any, timeout: float, to_host: bool) -> None:
        """Copy between device and host on this queue and block until it is done.

        Args:
            kind: ``"Buffer"`` or ``"Image"``, for ``clEnqueueReadBuffer`` and its like.
            native: pyopencl's object.
            *place: Arguments of the call that say which part.
            host: NumPy array.
            timeout: Seconds to wait at most.
            to_host: Whether the device is read.
        """
        function = f"clEnqueue{'Read' if to_host else 'Write'}{kind}"
        arguments = (self.address, native.int_ptr, cl.FALSE, *place, host.ctypes.data, 0, None, None)
        self.copy(partial(self.driver.call, function, *arguments), lambda: (host, native), timeout)

    @contextmanager
    def _marker(self, gate: int | None = None) -> Generator[ctypes.c_void_p]:
        """Enqueue a marker and give its event, for as long as the block runs."""
        event = ctypes.c_void_p()
        waits = (0, None) if gate is None else (1, ctypes.byref(ctypes.c_void_p(gate)))
        self.driver.call("clEnqueueMarkerWithWaitList", self.address, *waits, ctypes.byref(event))
        try:
            yield event
        finally:
            self.driver.raw("clReleaseEvent")(event)

    def _ended(self, event: ctypes.c_void_p) -> bool:
        status = ctypes.c_int(1)
        self.driver.call("clGetEventInfo", event, cl.EVENT_EXECUTION_STATUS, 4, ctypes.byref(status), None)
        failure = _failure(status.value)
        if failure is not None:
            raise failure
        return status.value == cl.COMPLETE

    def park(self, used: object) -> None:
        """Keep host memory until the work so far has ended: a copy in flight still uses it."""
        with suppress(InteropError), self._marker() as event:
            self.home.pending.on_completion(event, lambda _status: used)
            self.flush()

    def enqueue_notification(self, number: int) -> None:
        """Set a callback on a marker (``clSetEventCallback``).

        Where the marker is complete at once, PoCL (3.1) calls from inside ``clSetEventCallback``, in the caller's
        thread and under its own locks. A user event delays the marker until that call has returned.
        """
        driver, pending = self.driver, self.home.pending
        owed = self.notifications  # the callback must not keep the stream
        gate = user_event(driver, self.context)
        try:
            with self._marker(gate) as event:
                pending.on_completion(event, lambda status: owed.reached(number, _failure(status)))
        finally:
            driver.raw("clSetUserEventStatus")(gate, cl.COMPLETE)
            driver.raw("clReleaseEvent")(gate)
        self.flush()

    def precede(self, other: int) -> None:
        """Make another queue of this context, by address, wait for the work of this queue so far.

        Note:
            A barrier there on a marker here (``clEnqueueBarrierWithWaitList``).
        """
        with self._marker() as event:
            self.flush()  # a queue may wait for ever for a queue whose commands were not submitted
            self.driver.call("clEnqueueBarrierWithWaitList", other, 1, ctypes.byref(event), None)


def _failure(status: int) -> DriverError | None:
    """Return what the status of an event reports; a negative one is the error of the command or an earlier one."""
    return DriverError("a command in the queue", status, cl.name_of(status)) if status < 0 else None


def _release(gate: EventGate, owed: Notifications, kept: list[Any], drop: Callable[[], object]) -> None:
    owed.releasing(ALL_HOLDS, failed=True)
    gate.release(ALL_HOLDS)  # a barrier that nobody ends would keep the driver's threads for ever
    kept.clear()
    drop()
    # The driver now runs the work that was held. PoCL (3.1) does not call back for an event that fails.
    if not owed.settle(_DRAIN):
        owed.end()


def stream_address(stream: Stream, context: int) -> int:
    """Return the address of a queue of this backend and context.

    Raises:
        InvalidArgument: The stream belongs to another backend or context.
        ClosedError: The stream has been closed.
    """
    if not isinstance(stream, OpenCLStream) or stream.context != context:
        raise InvalidArgument(f"needs a stream of this OpenCL consumer, got {stream!r}")
    return stream.address

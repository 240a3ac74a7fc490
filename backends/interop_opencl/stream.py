"""OpenCL command queues: in order, held by user events, calling back through events."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from interop.protocols import DriverError, InteropError, InvalidArgument, WaitTimeout
from interop.toolkit import HOLD, DeviceType, Notifications, Resource, poll
from interop_opencl._driver import (
    COMPLETE,
    EVENT_EXECUTION_STATUS,
    FAILED_WAIT_LIST,
    LastReference,
    check,
    name_of,
)
from interop_opencl._events import Holds, Owed, on_completion, user_event

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from interop.protocols import Stream
    from interop_opencl._driver import Driver

_DRAIN = 0.25  # how long a closed queue may take to make the calls that it owes, in seconds


def _let_go(_kept: object, _status: int) -> None:
    """Keep something until this has been called."""


class OpenCLStream(Resource):
    """An in-order command queue. Any thread may use it; calls are ordered as they arrive."""

    __slots__ = (
        "_array_device",
        "_context",
        "_driver",
        "_flush",
        "_holds",
        "_kept",
        "_notifications",
        "_owed",
        "_queue",
    )

    def __init__(self, driver: Driver, context: Any, device: Any, index: int, owed: Owed) -> None:
        native = driver.cl.CommandQueue(context, device)
        holds = Holds(driver)
        kept: list[Any] = [native]
        last = LastReference(driver, "CommandQueue", native.int_ptr)
        notifications = Notifications(_hold_failure())
        what = f"OpenCL queue 0x{native.int_ptr:x}"
        super().__init__(what, _release, holds, notifications, kept, last)
        self._driver = driver
        self._array_device = (DeviceType.OPENCL, index)
        self._queue: int = native.int_ptr
        self._context: int = context.int_ptr
        self._holds = holds
        self._notifications = notifications
        self._owed = owed
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

    @property
    def array_device(self) -> tuple[DeviceType, int]:
        """The device as array libraries name it."""
        return self._array_device

    def flush(self) -> None:
        """Hand enqueued work to the device (``clFlush``)."""
        check("clFlush", self._flush(self.address))

    def synchronize(self, timeout: float) -> None:
        """Wait until all that was enqueued before this call has ended.

        Raises :class:`DriverError` when a command failed, and once after a hold was released as failed.
        """
        self.finish(self._mark(), timeout)
        if self._holds.take_failure():
            self._notifications.reported()
            raise _hold_failure()

    def _mark(self, gate: int | None = None) -> ctypes.c_void_p:
        event = ctypes.c_void_p()
        waits = (0, None) if gate is None else (1, ctypes.byref(ctypes.c_void_p(gate)))
        code = self._driver.raw("clEnqueueMarkerWithWaitList")(self.address, *waits, ctypes.byref(event))
        check("clEnqueueMarkerWithWaitList", code)
        return event

    def finish(self, event: ctypes.c_void_p, timeout: float, *, keep: object = None) -> None:
        """Flush, wait for an event and give it up; ``keep`` stays alive until it has ended, timeout or not.

        clWaitForEvents has no timeout, so the status is polled for. A callback would wake later: NVIDIA's driver
        (580) calls 1 ms after the end, and PoCL (3.1) not at all for an event that fails.
        """
        try:
            check("clFlush", self._flush(self.address))
            if not poll(lambda: self._ended(event), busy=False, timeout=timeout):
                if keep is not None:
                    on_completion(self._driver, self._owed, event, partial(_let_go, keep))
                raise WaitTimeout(self._what, timeout)
        finally:
            self._driver.raw("clReleaseEvent")(event)

    @contextmanager
    def keeping(self, *things: object) -> Generator[None, None, None]:
        """Keep ``things`` alive until the queue is through with them, should Ctrl-C end the block before that.

        A copy that is in flight goes on into its host memory, whoever has given that up.
        """
        try:
            yield
        except KeyboardInterrupt:
            with suppress(InteropError):
                event = self._mark()
                on_completion(self._driver, self._owed, event, partial(_let_go, things))
                self._driver.raw("clReleaseEvent")(event)
                self.flush()
            raise

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
        self._notifications.holding(value)
        self._holds.enqueue(self._context, self.address, value)

    def release(self, value: int, *, failed: bool = False) -> None:
        """End every hold up to ``value`` (``clSetUserEventStatus``); :meth:`synchronize` tells ``failed``."""
        self.check_open()
        self._notifications.releasing(value, failed=failed)
        self._holds.release(value, failed=failed)

    def notify(
        self,
        callback: Callable[[int], None],
        value: int,
        *,
        failed: Callable[[int, InteropError], None] | None = None,
    ) -> None:
        """Enqueue ``callback(value)`` on a thread of the driver (``clSetEventCallback`` on a marker).

        Calls are made one at a time and in order; ``failed`` is called instead when the work before it has failed, or
        a hold before it was released as failed, and by :meth:`close` for what the driver does not come to any more.
        An exception in a callback goes to ``threading.excepthook``.
        """
        driver, calls = self._driver, self._notifications
        drop = driver.raw("clReleaseEvent")
        with calls.entering:
            # Where the marker is complete at once, PoCL (3.1) would call from inside clSetEventCallback, in
            # the caller's thread and under its locks. So it may complete only when that has returned.
            gate = user_event(driver, self._context)
            try:
                event = self._mark(gate)
                number = calls.add(callback, value, failed)
                try:
                    on_completion(driver, self._owed, event, partial(_reached, calls, number))
                except DriverError:
                    calls.take_back(number)
                    raise
                finally:
                    drop(event)
            finally:
                driver.raw("clSetUserEventStatus")(gate, COMPLETE)
                drop(gate)
        self.flush()

    def precede(self, other: int) -> None:
        """Make another queue of this context, by address, wait for what is enqueued here so far.

        A barrier there on a marker here (``clEnqueueBarrierWithWaitList``).
        """
        event = self._mark()
        try:
            self.flush()  # a queue may wait for ever for one whose commands were not handed over
            barrier = self._driver.raw("clEnqueueBarrierWithWaitList")
            check("clEnqueueBarrierWithWaitList", barrier(other, 1, ctypes.byref(event), None))
        finally:
            self._driver.raw("clReleaseEvent")(event)


def _hold_failure() -> DriverError:
    text = "what a hold waited for has failed, so the work behind it ran on data that was not ready"
    return DriverError(HOLD, FAILED_WAIT_LIST, name_of(FAILED_WAIT_LIST), text)


def _reached(notifications: Notifications, number: int, status: int) -> None:
    failed = status != COMPLETE  # negative: of a command before it
    error = DriverError("a command in the queue", status, name_of(status)) if failed else None
    notifications.reached(number, error)


def _release(holds: Holds, notifications: Notifications, kept: list[Any], last: LastReference) -> None:
    notifications.releasing(2**63, failed=True)
    holds.release(2**63, failed=True)  # a barrier that nobody ends would keep the driver's threads for ever
    kept.clear()
    last.drop()
    # The driver is on its way to what was held; PoCL (3.1) does not call back for an event that fails.
    if not notifications.settle(_DRAIN):
        notifications.end()


def stream_address(stream: Stream, context: int) -> int:
    """Return the address of a queue of this backend and context, or raise :class:`InvalidArgument`."""
    if not isinstance(stream, OpenCLStream) or stream.context != context:
        raise InvalidArgument(f"needs a stream of this OpenCL consumer, got {stream!r}")
    return stream.address

"""CUDA streams: in-order queues that the host can hold, be called back from, and wait for."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from interop.protocols import DriverError, InvalidArgument, WaitTimeout
from interop.toolkit import HOLD, Notifications, Resource, poll
from interop_cuda._abi import EVENT_DISABLE_TIMING, NOT_READY, STREAM_NON_BLOCKING
from interop_cuda._gate import WAIT_VALUE, CallbackGate, Callbacks, Gate, WordGate

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from interop.protocols import InteropError, Stream
    from interop_cuda._context import Context

_NAP = 20e-6
_DRAIN = 0.25  # how long a closed stream may take to run out, in seconds
_HOLDS = 2**63 - 1


class CudaStream(Resource):
    """A non-blocking stream. Any thread may use it; calls are ordered as they arrive."""

    __slots__ = (
        "_address",
        "_callbacks",
        "_context",
        "_gate",
        "_hold_failed",
        "_owed",
        "_parked",
        "_query",
        "_query_event",
    )

    def __init__(self, context: Context, *, hold: str) -> None:
        with context.current() as driver, ExitStack() as undo:
            address = driver.make("cuStreamCreate", STREAM_NON_BLOCKING)
            undo.callback(driver.call, "cuStreamDestroy_v2", address)
            callbacks = Callbacks(driver, address)
            gate: Gate = WordGate(context, address) if hold == WAIT_VALUE else CallbackGate(callbacks)
            undo.pop_all()
        parked: list[object] = []
        owed = Notifications(_hold_failure())
        what = f"CUDA stream 0x{address:x}"
        super().__init__(what, _release, context.hold(), address, gate, callbacks, owed, parked)
        self._context = context
        self._address = address
        self._gate = gate
        self._callbacks = callbacks
        self._hold_failed = False
        self._owed = owed
        self._parked = parked
        self._query = driver.raw("cuStreamQuery")
        self._query_event = driver.raw("cuEventQuery")

    @property
    def native(self) -> int:
        """The ``CUstream`` as an address."""
        self.check_open()
        return self._address

    @property
    def context(self) -> Context:
        """The context that it lives in."""
        return self._context

    @property
    def device(self) -> int:
        """Ordinal of the device that it belongs to."""
        return self._context.index

    def flush(self) -> None:
        """Do nothing: CUDA submits what is enqueued by itself."""
        self.check_open()

    def synchronize(self, timeout: float) -> None:
        """Wait until all that was enqueued before this call has ended.

        Work that other threads enqueue meanwhile is not waited for. Raises :class:`DriverError` when work failed,
        and once after a hold was released as failed.
        """
        self._drain(timeout)
        if self._hold_failed:
            self._hold_failed = False
            self._owed.reported()
            raise _hold_failure()

    def _drain(self, timeout: float) -> None:
        """An event is polled: cuStreamSynchronize has no timeout."""
        address = self.native
        self._context.use()
        code = self._query(address)
        if code == 0:
            return
        driver = self._context.driver
        if code != NOT_READY:
            driver.check("cuStreamQuery", code)
        with self._mark() as event:
            code = poll(lambda: self._query_event(event), NOT_READY, timeout)
            if code == NOT_READY:
                raise WaitTimeout(f"{self._what} on device {self.device}", timeout)
            driver.check("cuEventQuery", code)

    @contextmanager
    def _mark(self) -> Generator[int]:
        """An event behind all work so far. The driver keeps it for as long as a stream waits for it."""
        driver = self._context.driver
        event = driver.make("cuEventCreate", EVENT_DISABLE_TIMING)
        try:
            driver.call("cuEventRecord", event, self._address)
            yield event
        finally:
            driver.call("cuEventDestroy_v2", event)

    def hold(self, value: int) -> None:
        """Enqueue a wait for :meth:`release`: ``cuStreamWaitValue64`` on a pinned word.

        Where the device cannot do that, a host function blocks the stream instead; it occupies the thread by
        which the driver calls back, so no other stream's :meth:`notify` may be what leads to the release.
        """
        self.check_open()
        if not 1 <= value < _HOLDS:
            raise InvalidArgument(f"holds count up from 1, got {value}")
        self._context.use()
        self._owed.holding(value)
        self._gate.hold(value)

    def release(self, value: int, *, failed: bool = False) -> None:
        """End every hold up to ``value``; a smaller value than before changes nothing.

        CUDA cannot drop enqueued work, so what was held runs even when ``failed``, and the next :meth:`synchronize`
        says so.
        """
        self.check_open()
        if failed:
            self._hold_failed = True
        self._owed.releasing(value, failed=failed)
        self._gate.release(value)

    def notify(
        self,
        callback: Callable[[int], None],
        value: int,
        *,
        failed: Callable[[int, InteropError], None] | None = None,
    ) -> None:
        """Enqueue ``callback(value)`` on a thread of the driver (``cuLaunchHostFunc``).

        ``failed`` is called instead behind a hold that was released as failed, and by :meth:`close` for what the
        driver does not come to any more: it does not call after an error of the device.
        """
        self.check_open()
        self._context.use()
        owed = self._owed
        with owed.entering:
            number = owed.add(callback, value, failed)
            try:
                self._callbacks.enqueue(owed.reached, number)
            except DriverError:
                owed.take_back(number)
                raise

    def precede(self, other: int) -> None:
        """Make another stream wait for what is enqueued here so far (``cuStreamWaitEvent``).

        ``other`` is the address of a ``CUstream`` of this process, 1 for the legacy default stream, or 2 for
        the default stream of this thread.
        """
        self.check_open()
        self._context.select()  # the two default streams are those of the current context
        with self._mark() as event:
            self._context.driver.call("cuStreamWaitEvent", other, event, 0)

    def park(self, item: object) -> None:
        """Keep ``item`` alive as long as this stream: the driver may still write to it."""
        self._parked.append(item)


def _hold_failure() -> DriverError:
    text = "what a hold waited for has failed, so the work behind it ran on data that was not ready"
    return DriverError(HOLD, NOT_READY, "CUDA_ERROR_NOT_READY", text)


STILL_USED: list[tuple[object, ...]] = []
"""What streams that were closed with work in flight may still touch: leaked, as freeing it would crash."""


def _release(
    context: Context,
    address: int,
    gate: Gate,
    callbacks: Callbacks,
    owed: Notifications,
    parked: list[object],
) -> None:
    owed.releasing(_HOLDS, failed=True)
    gate.open()
    with ExitStack() as every:  # last given first: one failure must not keep the others from being released
        every.callback(context.drop)
        driver = every.enter_context(context.current())
        query = driver.raw("cuStreamQuery")
        deadline = time.monotonic() + _DRAIN
        while (busy := query(address) == NOT_READY) and time.monotonic() < deadline:
            time.sleep(_NAP)
        if not busy:
            every.callback(owed.end)
        if busy or not callbacks.idle:
            # Freeing pinned memory waits for the device, for ever if a peer never signals.
            STILL_USED.append((gate, callbacks, *parked))
        else:
            every.callback(gate.close)
        every.callback(driver.call, "cuStreamDestroy_v2", address)


def stream_address(stream: Stream, device: int) -> int:
    """Return the address of a stream of this backend and device.

    Raises :class:`InvalidArgument` for a stream of another backend or device, :class:`ClosedError` for one
    that was closed.
    """
    if not isinstance(stream, CudaStream) or stream.device != device:
        raise InvalidArgument(f"needs a stream of CUDA device {device}, got {stream!r}")
    return stream.native

"""HIP streams: in-order queues that the host can hold, be called back from, and wait for."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from interop.protocols import DriverError, InvalidArgument, WaitTimeout
from interop.toolkit import HOLD, Notifications, Resource
from interop_hip._driver import NOT_READY, PATIENCE
from interop_hip._gate import WAIT_VALUE, CallbackGate, Callbacks, Gate, WordGate

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import InteropError, Stream
    from interop.toolkit import DeviceType
    from interop_hip._driver import Driver

_NON_BLOCKING = 1
_DISABLE_TIMING = 2
_ALL_HOLDS = 2**63


class HipStream(Resource):
    """A non-blocking stream. Any thread may use it; calls are ordered as they arrive."""

    __slots__ = (
        "_address",
        "_array_type",
        "_callbacks",
        "_device",
        "_driver",
        "_event",
        "_gate",
        "_hold_failed",
        "_owed",
        "_parked",
    )

    def __init__(self, driver: Driver, device: int, *, hold: str, array_type: DeviceType) -> None:
        driver.select(device)
        with ExitStack() as undo:
            address = driver.create("hipStreamCreateWithFlags", _NON_BLOCKING)
            undo.callback(driver.call, "hipStreamDestroy", address)
            event = driver.create("hipEventCreateWithFlags", _DISABLE_TIMING)
            undo.callback(driver.call, "hipEventDestroy", event)
            callbacks = Callbacks(driver, address)
            gate: Gate = WordGate(driver, device, address) if hold == WAIT_VALUE else CallbackGate(callbacks)
            undo.pop_all()
        driver.streams[address] = device
        parked: list[object] = []
        owed = Notifications(_hold_failure())
        what = f"HIP stream 0x{address:x}"
        super().__init__(what, _release, driver, device, address, event, gate, callbacks, owed, parked)
        self._driver = driver
        self._device = device
        self._array_type = array_type
        self._address = address
        self._event = event
        self._gate = gate
        self._callbacks = callbacks
        self._hold_failed = False
        self._owed = owed
        self._parked = parked

    @property
    def native(self) -> int:
        """The ``hipStream_t`` as an address."""
        self.check_open()
        return self._address

    @property
    def device(self) -> int:
        """Ordinal of the device that it belongs to."""
        return self._device

    @property
    def driver(self) -> Driver:
        """The runtime that it belongs to."""
        return self._driver

    @property
    def array_device(self) -> tuple[DeviceType, int]:
        """Where DLPack says that this stream's memory is."""
        return self._array_type, self._device

    def flush(self) -> None:
        """Do nothing: HIP submits what is enqueued by itself."""
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
        address = self.native
        driver = self._driver
        driver.use(self._device)
        code = driver.raw("hipStreamQuery")(address)
        if code == 0:
            return
        if code != NOT_READY:
            driver.check("hipStreamQuery", code)
        driver.check("hipEventRecord", driver.raw("hipEventRecord")(self._event, address))
        if not driver.ended("hipEventQuery", self._event, timeout):
            raise WaitTimeout(f"{self._what} on device {self._device}", timeout)

    def hold(self, value: int) -> None:
        """Enqueue a wait for :meth:`release`: ``hipStreamWaitValue32`` on a pinned word.

        Where the device cannot do that, a host function blocks the stream instead; it occupies the thread by
        which the runtime calls back, so no other stream's :meth:`notify` may be what leads to the release.
        """
        self.check_open()
        if value < 1:
            msg = f"holds count up from 1, got {value}"
            raise InvalidArgument(msg)
        self._driver.use(self._device)
        self._owed.holding(value)
        self._gate.hold(value)

    def release(self, value: int, *, failed: bool = False) -> None:
        """End every hold up to ``value``; a smaller value than before changes nothing.

        HIP cannot drop enqueued work, so what was held runs even when ``failed``, and the next :meth:`synchronize`
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
        """Enqueue ``callback(value)`` on a thread of the runtime (``hipLaunchHostFunc``).

        ``failed`` is called instead behind a hold that was released as failed, and by :meth:`close` for what the
        runtime does not come to any more: it does not call after an error of the device.
        """
        self.check_open()
        self._driver.use(self._device)
        owed = self._owed
        with owed.entering:
            number = owed.add(callback, value, failed)
            try:
                self._callbacks.enqueue(owed.reached, number)
            except DriverError:
                owed.take_back(number)
                raise

    def precede(self, other: int) -> None:
        """Make another stream of this runtime, by address, wait for what is enqueued here so far."""
        driver = self._driver
        driver.use(self._device)
        driver.check("hipEventRecord", driver.raw("hipEventRecord")(self._event, self.native))
        driver.check("hipStreamWaitEvent", driver.raw("hipStreamWaitEvent")(other, self._event, 0))

    def park(self, item: object) -> None:
        """Keep ``item`` alive as long as this stream: the runtime may still write to it."""
        self._parked.append(item)


def _hold_failure() -> DriverError:
    text = "what a hold waited for has failed, so the work behind it ran on data that was not ready"
    return DriverError(HOLD, NOT_READY, "hipErrorNotReady", text)


_LEAKED: list[object] = []
"""What the runtime may still call or write to, of streams that were closed with work in flight."""


def _release(
    driver: Driver,
    device: int,
    address: int,
    event: int,
    gate: Gate,
    callbacks: Callbacks,
    owed: Notifications,
    parked: list[object],
) -> None:
    """Give a stream up, or leak it when its work does not end."""
    owed.releasing(_ALL_HOLDS, failed=True)
    gate.open()
    # One failure must not keep the others from being released.
    with driver.releasing(device), ExitStack() as every:
        try:
            idle = driver.ended("hipStreamQuery", address, PATIENCE)
        except DriverError:  # failed work has ended too
            idle = True
        if not idle:
            _LEAKED.append((gate, callbacks, parked))
            raise WaitTimeout(f"HIP stream 0x{address:x}, so it is leaked", PATIENCE)
        del driver.streams[address]
        every.callback(owed.end)
        every.callback(gate.close)
        every.callback(driver.call, "hipEventDestroy", event)
        every.callback(driver.call, "hipStreamDestroy", address)


def stream_address(stream: Stream, device: int) -> int:
    """Return the address of a stream of this backend and device.

    Raises :class:`InvalidArgument` for a stream of another backend or device, :class:`ClosedError` for one
    that was closed.
    """
    if not isinstance(stream, HipStream) or stream.device != device:
        msg = f"needs a stream of HIP device {device}, got {stream!r}"
        raise InvalidArgument(msg)
    return stream.native

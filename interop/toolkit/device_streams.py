"""Streams of CUDA-like runtimes: non-blocking, held by a gate, polled by events."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from interop.protocols import InvalidArgument, WaitTimeout
from interop.toolkit.gates import ALL_HOLDS, CallbackGate, HostFunctions
from interop.toolkit.notifications import Notifications
from interop.toolkit.polling import poll
from interop.toolkit.streams import StreamBase, hold_failure

if TYPE_CHECKING:
    from collections.abc import Generator

    from interop.protocols import Stream
    from interop.toolkit.gates import Gate
    from interop.toolkit.runtimes import DeviceRuntime

NON_BLOCKING = 1
DISABLE_TIMING = 2

LEAKED: list[object] = []
"""What the driver may still call or write to, of streams that were closed with work in flight."""


class DeviceStream(StreamBase):
    """A non-blocking stream of a CUDA-like runtime."""

    __slots__ = ("_address", "_functions", "_query", "runtime")

    def __init__(self, runtime: DeviceRuntime, *, hold: str) -> None:
        """Create a stream whose holds are memory operations if ``hold`` is the runtime's ``wait_value``."""
        with runtime.current, ExitStack() as undo:
            address = runtime.make(runtime.stream_create, NON_BLOCKING)
            undo.callback(runtime.call, runtime.stream_destroy, address)
            check = partial(runtime.check, runtime.host_function)
            functions = HostFunctions(runtime.raw(runtime.host_function), check, address)
            gate: Gate
            gate = (
                runtime.open_gate(address) if hold == runtime.wait_value else CallbackGate(functions.enqueue)
            )
            undo.pop_all()
        runtime.streams[address] = runtime.index
        parked: list[object] = []
        name = runtime.driver.describe(runtime.not_ready)[0]
        owed = Notifications(hold_failure(runtime.not_ready, name))
        what = f"{runtime.api} stream 0x{address:x}"
        kept = (runtime.hold(), address, gate, functions, owed, parked)
        super().__init__(what, gate, owed, parked, _release, *kept)
        self.runtime = runtime
        self._address = address
        self._functions = functions
        self._query = runtime.raw(runtime.stream_query)

    @property
    def native(self) -> int:
        """The stream of the API, as an address."""
        if not self.alive:
            self.check_open()
        return self._address

    def prepare_thread(self) -> None:
        """Make the device current in this thread."""
        self.check_open()
        self.runtime.use()

    def drain(self, timeout: float) -> None:
        """Poll an event behind the work so far: the drivers' own waits have no timeout."""
        runtime = self.runtime
        runtime.use()
        code = self._query(self._address)
        if code == 0:
            return
        if code != runtime.not_ready:
            runtime.check(runtime.stream_query, code)
        with self._mark() as event:
            query = runtime.raw(runtime.event_query)
            code = poll(lambda: query(event), runtime.not_ready, timeout)
            if code == runtime.not_ready:
                raise WaitTimeout(f"{self._what} on device {runtime.index}", timeout)
            runtime.check(runtime.event_query, code)

    @contextmanager
    def _mark(self) -> Generator[int]:
        """Yield an event behind all work so far. The driver keeps it for as long as a stream waits for it."""
        runtime = self.runtime
        event = runtime.make(runtime.event_create, DISABLE_TIMING)
        try:
            runtime.check(runtime.event_record, runtime.raw(runtime.event_record)(event, self._address))
            yield event
        finally:
            runtime.call(runtime.event_destroy, event)

    def enqueue_notification(self, number: int) -> None:
        """Enqueue a host function."""
        self._functions.enqueue(self.notifications.reached, number)

    def precede(self, other: int) -> None:
        """Make another stream of the process wait for the work of this stream so far.

        Args:
            other: Address of the stream, or a number of the API that stands for a default stream.
        """
        self.check_open()
        runtime = self.runtime
        runtime.select()  # default streams are those of the current device
        with self._mark() as event:
            code = runtime.raw(runtime.stream_wait_event)(other, event, 0)
            runtime.check(runtime.stream_wait_event, code)


def _release(
    runtime: DeviceRuntime,
    address: int,
    gate: Gate,
    functions: HostFunctions,
    owed: Notifications,
    parked: list[object],
) -> None:
    owed.releasing(ALL_HOLDS, failed=True)
    gate.release(ALL_HOLDS)
    # One failure must not keep the others from being released.
    with runtime.releasing(), ExitStack() as every:
        query = runtime.raw(runtime.stream_query)
        busy = poll(lambda: query(address), runtime.not_ready, runtime.patience) == runtime.not_ready
        if busy or not functions.idle:
            # Freeing pinned memory waits for the device, without bound if a peer never signals.
            LEAKED.append((gate, functions, parked))
            if busy and runtime.leaks_busy_streams:
                raise WaitTimeout(f"{runtime.api} stream 0x{address:x}, so it is leaked", runtime.patience)
        else:
            every.callback(gate.close)
        del runtime.streams[address]
        if not busy:
            every.callback(owed.end)
        every.callback(runtime.call, runtime.stream_destroy, address)


def settle(runtime: DeviceRuntime, leaked: str) -> None:
    """Wait for all streams of a device before a release that would wait for them without bound.

    Raises:
        WaitTimeout: A stream is still busy after the runtime's patience. The caller leaks what it wanted to release,
            because a leak is better than a hang.
    """
    query = runtime.raw(runtime.stream_query)
    patience = runtime.patience
    ours = [address for address, index in tuple(runtime.streams.items()) if index == runtime.index]
    for address in ours:
        if poll(partial(query, address), runtime.not_ready, patience) == runtime.not_ready:
            raise WaitTimeout(f"{runtime.api} stream 0x{address:x}, so {leaked} is leaked", patience)


def stream_address(stream: Stream, runtime: DeviceRuntime) -> int:
    """Return the address of a stream of this backend and device.

    Raises:
        InvalidArgument: The stream belongs to another backend or device.
        ClosedError: The stream has been closed.
    """
    if isinstance(stream, DeviceStream):
        theirs = stream.runtime
        if theirs is runtime or (theirs.driver is runtime.driver and theirs.index == runtime.index):
            return stream.native
    raise InvalidArgument(f"needs a stream of {runtime.api} device {runtime.index}, got {stream!r}")

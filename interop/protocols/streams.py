"""Streams: in-order queues of work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols.errors import InteropError


@runtime_checkable
class Stream(Protocol):
    """An in-order queue of work: a HIP or CUDA stream, an OpenCL command queue, a host worker.

    The bridged strategy uses `hold`, `release` and `notify`. If a stream lacks one of them, the `Capabilities` of its
    device say so and the method raises `Unsupported`.
    """

    @property
    def native(self) -> object:
        """The API's own object: the address of a stream (int) or a `pyopencl.CommandQueue`."""
        ...

    def flush(self) -> None:
        """Submit the enqueued work to the device and return immediately.

        Note:
            `clFlush`. HIP and CUDA submit each call at once, so the method does nothing there.
        """
        ...

    def synchronize(self, timeout: float) -> None:
        """Block until all work enqueued before this call has ended. Releases the GIL.

        Args:
            timeout: Longest wait in seconds.

        Raises:
            WaitTimeout: The work did not end in time. It stays enqueued.
            DriverError: The work failed, or a gate was opened as failed since the last call.
        """
        ...

    def hold(self, value: int) -> None:
        """Enqueue a gate: later work waits until `release` has been called with `value` or more. Never blocks.

        Args:
            value: Number of the gate. Gates count up from 1 in the order in which they are enqueued.

        Raises:
            InvalidArgument: `value` is below 1.
            Unsupported: The API cannot gate a stream.

        Note:
            `hipStreamWaitValue32`, `cuStreamWaitValue32`, `clCreateUserEvent`.
        """
        ...

    def release(self, value: int, *, failed: bool = False) -> None:
        """Open every gate up to `value`. Any thread may call it. A smaller value than before changes nothing.

        Args:
            value: Number of the last gate to open.
            failed: The awaited work failed. An API that can drop the work behind the gates drops it. Otherwise
                that work runs on undefined data, and the next `synchronize` raises.
        """
        ...

    def notify(
        self,
        callback: Callable[[int], None],
        value: int,
        *,
        failed: Callable[[int, InteropError], None] | None = None,
    ) -> None:
        """Enqueue a call of `callback(value)` behind all earlier work. Returns immediately.

        The stream calls exactly one of the two functions once, on a thread of the driver. `close` makes the
        call for work that the stream has not reached. Both functions must be short, must not raise and must
        not call this API.

        Args:
            callback: Called when the earlier work has ended, and also after a failure if `failed` is None.
            value: Passed to the function.
            failed: Called as `failed(value, error)` if the earlier work failed, if a gate before it was opened as
                failed, or if the stream was closed first.

        Raises:
            DriverError: The driver refused the call. Neither function will be called.
            Unsupported: The API cannot call the host back.

        Note:
            `hipLaunchHostFunc`, `cuLaunchHostFunc`, `clSetEventCallback`.
        """
        ...

    def close(self) -> None:
        """Close the stream. Its work must have ended. Idempotent."""
        ...

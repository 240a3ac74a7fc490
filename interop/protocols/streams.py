"""Streams: in-order queues of work, and the command lists that are submitted to them.

A turn enqueues a list of one call; a recorded batch of a ring enqueues a longer list. Both run the same
`PreparedCall` objects, so each operation of a backend exists once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols.errors import InteropError


class PreparedCall(NamedTuple):
    """A driver call whose arguments are converted."""

    call: Callable[[], int]
    """Makes the call and returns the driver's status, 0 for success. It may also raise an error."""
    fail: Callable[[int], object]
    """Raises the error of a status that is not 0."""
    begin: Callable[[], object] | None = None
    """Prepares the calling thread, for instance makes a context current. Runs once before a list of calls."""
    value: Callable[[int], object] | None = None
    """Sets the timeline value of the next call. None: the call takes no value."""

    def run(self) -> None:
        """Prepare the thread, make the call and raise the error of its status."""
        if self.begin is not None:
            self.begin()
        status = self.call()
        if status:
            self.fail(status)


class SemaphoreCalls(Protocol):
    """The part of `ExternalSemaphore` that a command list uses."""

    def prepare_wait(self, stream: Stream) -> PreparedCall:
        """Return the wait, with its arguments converted."""
        ...

    def prepare_signal(self, stream: Stream) -> PreparedCall:
        """Return the signal, with its arguments converted."""
        ...


class OwnershipCalls(Protocol):
    """The part of `ExternalMemory` that a command list uses."""

    def prepare_acquire(self, stream: Stream) -> PreparedCall | None:
        """Return the acquire, or None where the API has no ownership."""

    def prepare_release(self, stream: Stream) -> PreparedCall | None:
        """Return the release, or None where the API has no ownership."""


class LaunchCall(Protocol):
    """The part of `Launch` that a command list uses."""

    def prepare_call(self) -> PreparedCall:
        """Return the driver call of the launch."""
        ...


@runtime_checkable
class CommandList(Protocol):
    """Prepared calls for one stream, enqueued in the order in which they were added.

    The list borrows its semaphores, memories and launches; they must stay open while the list is in use. One thread at
    a time may use a list.
    """

    def wait(self, semaphore: SemaphoreCalls) -> None:
        """Add a wait for a semaphore; `submit` gives its timeline value."""

    def acquire(self, memory: OwnershipCalls) -> None:
        """Add the acquire of a memory. Adds nothing where the API has no ownership."""

    def launch(self, launch: LaunchCall) -> None:
        """Add a prepared kernel launch."""

    def release(self, memory: OwnershipCalls) -> None:
        """Add the release of a memory. Adds nothing where the API has no ownership."""

    def signal(self, semaphore: SemaphoreCalls) -> None:
        """Add a signal of a semaphore; `submit` gives its timeline value."""

    def submit(self, wait_value: int = 0, signal_value: int = 0) -> BaseException | None:
        """Enqueue all calls. Returns immediately; does not flush the stream.

        Args:
            wait_value: Timeline value of the waits; ignored for binary semaphores.
            signal_value: Timeline value of the signals; ignored for binary semaphores.

        Returns:
            The error of the first launch that failed, or None. The releases and signals after it are enqueued all
            the same, so that the other side is not left waiting.

        Raises:
            DriverError: A driver refused a wait, acquire, release or signal. The calls before it are enqueued.
        """


@runtime_checkable
class Stream(Protocol):
    """An in-order queue of work: a HIP or CUDA stream, an OpenCL command queue, a host worker.

    The bridged strategy uses `hold`, `release` and `notify`. If a stream lacks one of them, the `Capabilities` of its
    device say so and the method raises `Unsupported`.
    """

    @property
    def native(self) -> object:
        """The API's own object: the address of a stream (int) or a `pyopencl.CommandQueue`."""

    def flush(self) -> None:
        """Submit the enqueued work to the device and return immediately.

        Note:
            `clFlush`. HIP and CUDA submit each call at once, so the method does nothing there.
        """

    def synchronize(self, timeout: float) -> None:
        """Block until all work enqueued before this call has ended. Releases the GIL.

        Args:
            timeout: Longest wait in seconds.

        Raises:
            WaitTimeout: The work did not end in time. It stays enqueued.
            DriverError: The work failed, or a gate was opened as failed since the last call.
        """

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

    def release(self, value: int, *, failed: bool = False) -> None:
        """Open every gate up to `value`. Any thread may call it. A smaller value than before changes nothing.

        Args:
            value: Number of the last gate to open.
            failed: The awaited work failed. An API that can drop the work behind the gates drops it. Otherwise
                that work runs on undefined data, and the next `synchronize` raises.
        """

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

    def command_list(self) -> CommandList:
        """Return a new, empty list of prepared calls for this stream."""
        ...

    def close(self) -> None:
        """Close the stream. Its work must have ended. Idempotent."""

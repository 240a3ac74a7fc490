"""Streams: in-order queues of work, and the command lists that are submitted to them.

A turn enqueues a list of one call; a recorded batch of a ring enqueues a longer list. Both run the same
:class:`PreparedCall` objects, so each operation of a backend exists once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols.errors import InteropError


class PreparedCall(NamedTuple):
    """A driver call with its arguments converted already."""

    call: Callable[[], int]
    """Makes the call and returns the driver's status; 0 means success. May also raise an error of its own."""
    fail: Callable[[int], object]
    """Raises the error of a status that is not 0."""
    begin: Callable[[], object] | None = None
    """Prepares the calling thread, for instance makes a context current. Runs once before a list of calls."""
    value: Callable[[int], object] | None = None
    """Sets the timeline value of the next call. None: the call takes no value."""


class SemaphoreCalls(Protocol):
    """The part of :class:`interop.protocols.ExternalSemaphore` that a command list uses."""

    def prepare_wait(self, stream: Stream) -> PreparedCall:
        """Return the wait, with its arguments converted."""
        ...

    def prepare_signal(self, stream: Stream) -> PreparedCall:
        """Return the signal, with its arguments converted."""
        ...


class OwnershipCalls(Protocol):
    """The part of :class:`interop.protocols.ExternalMemory` that a command list uses."""

    def prepare_acquire(self, stream: Stream) -> PreparedCall | None:
        """Return the acquire, or None where the API has no ownership."""
        ...

    def prepare_release(self, stream: Stream) -> PreparedCall | None:
        """Return the release, or None where the API has no ownership."""
        ...


class LaunchCall(Protocol):
    """The part of :class:`interop.protocols.Launch` that a command list uses."""

    def prepare_call(self) -> PreparedCall:
        """Return the driver call of the launch."""
        ...


@runtime_checkable
class CommandList(Protocol):
    """Prepared calls for one stream, enqueued in the order in which they were added.

    The list borrows its semaphores, memories and launches; they must stay open while it is submitted. A list is
    for one thread at a time.
    """

    def wait(self, semaphore: SemaphoreCalls) -> None:
        """Add a wait for a semaphore; :meth:`submit` gives its timeline value."""
        ...

    def acquire(self, memory: OwnershipCalls) -> None:
        """Add the acquire of a memory. Adds nothing where the API has no ownership."""
        ...

    def launch(self, launch: LaunchCall) -> None:
        """Add a prepared kernel launch."""
        ...

    def release(self, memory: OwnershipCalls) -> None:
        """Add the release of a memory. Adds nothing where the API has no ownership."""
        ...

    def signal(self, semaphore: SemaphoreCalls) -> None:
        """Add a signal of a semaphore; :meth:`submit` gives its timeline value."""
        ...

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
        ...


@runtime_checkable
class Stream(Protocol):
    """An in-order queue of work: HIP or CUDA stream, OpenCL command queue, host worker.

    ``hold``, ``release`` and ``notify`` are what the bridged strategy is made of; a stream that lacks one
    says so in its device's :class:`interop.protocols.Capabilities` and raises :class:`Unsupported`.
    """

    @property
    def native(self) -> object:
        """What the API takes: a stream address (int), a ``pyopencl.CommandQueue``."""
        ...

    def flush(self) -> None:
        """Hand enqueued work to the device without waiting (``clFlush``; nothing where submission is eager)."""
        ...

    def synchronize(self, timeout: float) -> None:
        """Block until all work enqueued so far has ended. Releases the GIL.

        ``timeout`` in seconds; raises :class:`WaitTimeout` when it passes and :class:`DriverError` when the
        work failed.
        """
        ...

    def hold(self, value: int) -> None:
        """Enqueue a wait that ends when :meth:`release` has been called with ``value`` or more. Never blocks.

        Values count up from 1 in order of enqueueing.
        """
        ...

    def release(self, value: int, *, failed: bool = False) -> None:
        """End every hold up to ``value``; any thread.

        ``failed`` says that what was waited for did not happen: the work behind the holds is dropped where the
        API can do that, and runs on garbage that nobody reads where it cannot.
        """
        ...

    def notify(
        self,
        callback: Callable[[int], None],
        value: int,
        *,
        failed: Callable[[int, InteropError], None] | None = None,
    ) -> None:
        """Enqueue a call of ``callback(value)`` on a thread of the driver, after all earlier work.

        One call is made, whatever becomes of that work. Where it failed, a hold before it was released as failed, or
        the stream was closed before it was reached, ``failed(value, error)`` is called in place of ``callback`` if it
        is given; the stream's ``close()`` may be what calls then. Either must be short, must not raise and must not
        call this API. An error of this call itself says that nothing was enqueued, and nothing will be called.
        """
        ...

    def command_list(self) -> CommandList:
        """Return a new, empty list of prepared calls for this stream."""
        ...

    def close(self) -> None:
        """Give the stream up. Work must have ended. A second call does nothing."""
        ...

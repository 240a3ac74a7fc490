"""Streams: in-order queues of work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols.errors import InteropError


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

    def close(self) -> None:
        """Give the stream up. Work must have ended. A second call does nothing."""
        ...

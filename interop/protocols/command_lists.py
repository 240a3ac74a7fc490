"""Command lists: driver calls that are converted once and submitted many times.

A turn enqueues a list of one call; a recorded batch of a ring enqueues a longer list. Both run the same
:class:`PreparedCall` objects, so each operation of a backend exists once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols.kernels import Launch
    from interop.protocols.memory import ExternalMemory
    from interop.protocols.semaphores import ExternalSemaphore


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


@runtime_checkable
class CommandList(Protocol):
    """Prepared calls for one stream, enqueued in the order in which they were added.

    The list borrows its semaphores, memories and launches; they must stay open while it is submitted. A list is
    for one thread at a time.
    """

    def wait(self, semaphore: ExternalSemaphore) -> None:
        """Add a wait for a semaphore; :meth:`submit` gives its timeline value."""
        ...

    def acquire(self, memory: ExternalMemory) -> None:
        """Add the acquire of a memory. Adds nothing where the API has no ownership."""
        ...

    def launch(self, launch: Launch) -> None:
        """Add a prepared kernel launch."""
        ...

    def release(self, memory: ExternalMemory) -> None:
        """Add the release of a memory. Adds nothing where the API has no ownership."""
        ...

    def signal(self, semaphore: ExternalSemaphore) -> None:
        """Add a signal of a semaphore; :meth:`submit` gives its timeline value."""
        ...

    def submit(self, wait_value: int = 0, signal_value: int = 0) -> None:
        """Enqueue all calls. Returns immediately; does not flush the stream.

        Args:
            wait_value: Timeline value of the waits; ignored for binary semaphores.
            signal_value: Timeline value of the signals; ignored for binary semaphores.

        Raises:
            DriverError: A driver refused a call. The calls before it are enqueued; the calls after a failed
                launch are enqueued too, so that the other side is not left waiting.
        """
        ...

"""One-shot semaphores: what a backend adds so that ``sync_fd`` can order it, one descriptor for each hand-over.

A sync file carries one signal that is on its way already. So nothing is shared once and for all, as with opaque
handles: whoever signals exports after each signal, and whoever waits imports before each wait. A backend says
which it can in its device's :class:`interop.protocols.Capabilities`; the protocols here are needed only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from interop.protocols.handles import HandleType
from interop.protocols.producers import ProducerSemaphore

if TYPE_CHECKING:
    from interop.protocols.handles import Handle
    from interop.protocols.semaphores import SemaphoreDescriptor, SemaphoreKind
    from interop.protocols.streams import Stream

ONE_SHOT = HandleType.SYNC_FD
"""The handle type whose payload is one signal (``VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT``)."""


class ConsumerSemaphore(Protocol):
    """A semaphore that a consumer made, to be signalled by its streams and handed out after each signal."""

    @property
    def kind(self) -> SemaphoreKind:
        """Binary."""
        ...

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue on ``stream`` a signal after all earlier work, and hand it to the device.

        Raises :class:`TurnError` for a value, and while the last signal has not been handed out.
        """
        ...

    def export_semaphore(self) -> tuple[Handle, SemaphoreDescriptor]:
        """Hand out the last signal, whether or not it has run (``clGetSemaphoreHandleForTypeKHR``).

        The caller owns the handle, whose value is -1 where the driver knows that the signal has run. Exporting
        takes the signal back, as a wait would. Raises :class:`TurnError` where there is none.
        """
        ...

    def close(self) -> None:
        """Release it; what was handed out stays good. A second call does nothing."""
        ...


@runtime_checkable
class ExportingConsumer(Protocol):
    """A consumer whose device exports ``sync_fd``."""

    def create_semaphore(self, kind: SemaphoreKind, *, export: HandleType) -> ConsumerSemaphore:
        """Make a semaphore whose signals can be handed out. Raises :class:`Unsupported` for other types."""
        ...


class ImportingSemaphore(ProducerSemaphore, Protocol):
    """A producer's semaphore that takes a signal of the other side in before each wait."""

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> None:
        """Take one signal in, for the next submission that waits (``VK_SEMAPHORE_IMPORT_TEMPORARY_BIT``).

        ``handle`` is consumed when this returns and untouched when it raises. Raises :class:`TurnError` while
        no submission has waited for the one before, :class:`HandleError` for what is no signal.
        """
        ...


@runtime_checkable
class ImportingProducer(Protocol):
    """A producer whose device imports ``sync_fd``."""

    def create_importing_semaphore(self, handle_type: HandleType) -> ImportingSemaphore:
        """Make a semaphore to be waited on by submissions. Raises :class:`Unsupported` for other types."""
        ...

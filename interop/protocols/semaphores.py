"""Streams, and semaphores that order the streams of two APIs."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from interop.protocols.identity import DeviceIdentity

if TYPE_CHECKING:
    from interop.protocols.handles import HandleType
    from interop.protocols.streams import PreparedCall, Stream


class SemaphoreKind(enum.StrEnum):
    """Which of Vulkan's two semaphore types (``VkSemaphoreType``)."""

    BINARY = "binary"
    """Signalled or not; each wait takes the signal back."""
    TIMELINE = "timeline"
    """A 64-bit counter that only grows; a wait passes once it has reached the value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SemaphoreDescriptor:
    """What an importer has to know about an exported semaphore. Never inferred from the handle's value."""

    kind: SemaphoreKind
    handle_type: HandleType
    device: DeviceIdentity = DeviceIdentity()  # noqa: RUF009 - frozen


@runtime_checkable
class ExternalSemaphore(Protocol):
    """A semaphore of another API, imported by a consumer."""

    @property
    def kind(self) -> SemaphoreKind:
        """Binary or timeline."""
        ...

    def wait(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue on ``stream`` a wait for the other side's signal. Does not block the caller.

        Raises :class:`TurnError` for a value where the kind takes none, or the reverse.
        """
        ...

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue on ``stream`` a signal after all earlier work, and hand it to the device.

        Raises :class:`TurnError` for an illegal value, before the driver is called.
        """
        ...

    def prepare_wait(self, stream: Stream) -> PreparedCall:
        """Return the call that :meth:`wait` makes, with its arguments converted.

        Raises:
            ClosedError: The semaphore or the stream has been closed.
            InvalidArgument: The stream belongs to another backend or device.
        """
        ...

    def prepare_signal(self, stream: Stream) -> PreparedCall:
        """Return the call that :meth:`signal` makes, without the flush after it. Raises as :meth:`prepare_wait`."""
        ...

    def close(self) -> None:
        """Release the import. Enqueued waits and signals must have ended. A second call does nothing.

        An import of ``sync_fd`` is waited for once and never signalled, and may be closed
        as soon as that wait is enqueued.
        """
        ...

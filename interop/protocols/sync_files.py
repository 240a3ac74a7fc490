"""Sync files: optional protocols of backends that export or import a single signal by `sync_fd`.

A sync file carries one signal that is already enqueued. Each acquire or release therefore has a file of its own: the
signalling side exports after each signal, and the waiting side imports before each wait. A backend implements these
protocols if its device lists `sync_fd` in its `Capabilities`.
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
"""The handle type of sync files (`VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT`)."""


class ConsumerSemaphore(Protocol):
    """A semaphore of the consumer. Its streams signal it, and each signal is exported once."""

    @property
    def kind(self) -> SemaphoreKind:
        """Always binary."""
        ...

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a signal behind all earlier work, and submit it to the device. Returns immediately.

        Args:
            stream: Stream whose earlier work must end before the signal.
            value: Must be None.

        Raises:
            TurnError: A value was given, or the last signal has not been exported.
            DriverError: The driver refused the signal.
        """

    def export_semaphore(self) -> tuple[Handle, SemaphoreDescriptor]:
        """Export the last signal, whether or not it has run. The export consumes the signal, as a wait would.

        Returns:
            A new handle, which the caller owns, and its descriptor. The value of the handle is -1 if the driver
            knows that the signal has run.

        Raises:
            TurnError: No signal is enqueued.
            DriverError: The driver refused the export.

        Note:
            `clGetSemaphoreHandleForTypeKHR`.
        """
        ...

    def close(self) -> None:
        """Release the semaphore. Exported signals stay valid. Idempotent."""


@runtime_checkable
class ExportingConsumer(Protocol):
    """A consumer whose device exports `sync_fd`."""

    def create_semaphore(self, kind: SemaphoreKind, *, export: HandleType) -> ConsumerSemaphore:
        """Create a semaphore whose signals can be exported. The caller owns it and closes it.

        Args:
            kind: Binary.
            export: `sync_fd`.

        Raises:
            Unsupported: The device does not export this kind by this handle type.
        """
        ...


class ImportingSemaphore(ProducerSemaphore, Protocol):
    """A semaphore of the producer that imports a signal of the consumer before each wait."""

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> None:
        """Import one signal for the next submission that waits for this semaphore.

        Args:
            handle: Handle of the signal. A successful import consumes it; on failure the caller keeps it, open.
            descriptor: Kind and origin of the signal.

        Raises:
            TurnError: No submission has waited for the signal before.
            HandleError: The handle carries no signal, or contradicts the descriptor.
            DriverError: The driver refused the import.

        Note:
            `vkImportSemaphoreFdKHR` with `VK_SEMAPHORE_IMPORT_TEMPORARY_BIT`.
        """


@runtime_checkable
class ImportingProducer(Protocol):
    """A producer whose device imports `sync_fd`."""

    def create_importing_semaphore(self, handle_type: HandleType) -> ImportingSemaphore:
        """Create a semaphore that imports signals. The caller owns it and closes it.

        Args:
            handle_type: `sync_fd`.

        Raises:
            Unsupported: The device does not import signals by this handle type.
        """
        ...

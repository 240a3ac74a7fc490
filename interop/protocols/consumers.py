"""Consumers: opened devices that import memory and semaphores and run kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interop.protocols.devices import DeviceInfo
    from interop.protocols.handles import Handle
    from interop.protocols.kernels import Module
    from interop.protocols.memory import ExternalMemory, MappedBuffer, MemoryDescriptor
    from interop.protocols.semaphores import ExternalSemaphore, SemaphoreDescriptor
    from interop.protocols.streams import Stream


@runtime_checkable
class Consumer(Protocol):
    """An opened device that imports memory and semaphores and runs kernels on them."""

    @property
    def device(self) -> DeviceInfo:
        """The device that was opened."""
        ...

    @property
    def stream(self) -> Stream:
        """The default stream, used by every call that names no other stream."""
        ...

    def create_stream(self) -> Stream:
        """Create a further stream. The caller closes it."""
        ...

    def import_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> ExternalMemory:
        """Import an allocation.

        Args:
            handle: Handle of the allocation. Success consumes it; after an error the caller still owns it.
            descriptor: The exporter's description of the allocation.

        Returns:
            The imported allocation. The caller closes it.

        Raises:
            HandleError: The handle contradicts the descriptor.
            DriverError: The driver refuses the import.
        """
        ...

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> ExternalSemaphore:
        """Import a semaphore. Ownership of ``handle`` and errors are those of :meth:`import_memory`."""
        ...

    def allocate(self, size: int) -> MappedBuffer:
        """Allocate ``size`` bytes of the consumer's own memory, for the staged path. The caller closes them."""
        ...

    def compile(self, source: str | Mapping[str, str]) -> Module:
        """Compile kernel source.

        Args:
            source: Portable source (see :mod:`interop.protocols.kernels`), or a mapping from backend names to
                source. An entry named after this backend is source in the API's own language.

        Raises:
            CompileError: The compiler refuses the source; the error carries its log.
        """
        ...

    def close(self) -> None:
        """Release the device and all that it made. Submitted work must have ended. A second call does nothing."""
        ...

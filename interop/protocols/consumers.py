"""Consumers: opened devices that import memory and semaphores and run kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from interop.protocols.memory import DEFAULT_TIMEOUT

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
        """The default stream: calls without a `stream` argument enqueue here. The consumer owns it."""
        ...

    def create_stream(self) -> Stream:
        """Create another stream. The caller owns it and closes it."""
        ...

    def import_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> ExternalMemory:
        """Import an allocation of another API.

        Args:
            handle: Handle of the allocation. A successful import consumes it; on failure the caller keeps it, open.
            descriptor: Size, offset and origin of the allocation.

        Returns:
            The imported memory. The caller owns it and closes it.

        Raises:
            HandleError: The handle is closed or contradicts the descriptor.
            Unsupported: The device does not import this handle type.
            DriverError: The driver refused the import.

        Note:
            `hipImportExternalMemory`, `cuImportExternalMemory`, `clCreateBufferWithProperties`.
        """
        ...

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> ExternalSemaphore:
        """Import a semaphore of another API.

        Args:
            handle: Handle of the semaphore. A successful import consumes it; on failure the caller keeps it, open.
            descriptor: Kind and origin of the semaphore.

        Returns:
            The imported semaphore. The caller owns it and closes it.

        Raises:
            HandleError: The handle is closed or contradicts the descriptor.
            Unsupported: The device does not import this kind by this handle type.
            DriverError: The driver refused the import.

        Note:
            `hipImportExternalSemaphore`, `cuImportExternalSemaphore`, `clCreateSemaphoreWithPropertiesKHR`.
        """
        ...

    def allocate(self, size: int, *, timeout: float = DEFAULT_TIMEOUT) -> MappedBuffer:
        """Allocate memory of the consumer's own, for the staged path.

        Args:
            size: Bytes to allocate.
            timeout: Seconds that reads and writes of the view wait at most for earlier work.

        Returns:
            The memory as one row of bytes. The caller owns it and closes it.

        Raises:
            InvalidArgument: `size` is not a positive number.
            DriverError: The device is out of memory.
        """
        ...

    def compile(self, source: str | Mapping[str, str]) -> Module:
        """Compile portable kernel source for this device.

        Args:
            source: Source in the vocabulary of `interop.protocols.kernels`. A mapping may hold an entry with the
                name of this backend, in the API's own language.

        Returns:
            The compiled module. The caller owns it and closes it.

        Raises:
            CompileError: The compiler refused the source.

        Note:
            `hiprtcCompileProgram`, `nvrtcCompileProgram`, `clBuildProgram`.
        """
        ...

    def close(self) -> None:
        """Close the device and everything that it created. Enqueued work must have ended. Idempotent."""

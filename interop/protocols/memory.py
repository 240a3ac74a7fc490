"""External memory: an allocation of one API, imported by another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from interop.protocols.arguments import MAX_BYTES, as_choice, as_integer, check_range
from interop.protocols.errors import InvalidArgument
from interop.protocols.handles import HandleType
from interop.protocols.identity import DeviceIdentity

if TYPE_CHECKING:
    from typing import Any, SupportsIndex

    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from interop.protocols.dtypes import DType
    from interop.protocols.handles import HandleTypeLike
    from interop.protocols.streams import PreparedCall, Stream

HostBytes: TypeAlias = "Buffer | NDArray[Any]"
"""Contiguous bytes in host memory: bytes, bytearray, memoryview or a NumPy array."""

DEFAULT_TIMEOUT = 10.0
"""Seconds that reads and writes of a view wait at most, unless its creator says otherwise. Links pass their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryDescriptor:
    """Everything that an importer must know about an exported allocation.

    The descriptor checks its numbers, because drivers do not: HIP and CUDA accept a size that is larger than the
    allocation, and a later access faults.

    Raises:
        InvalidArgument: A size or an offset is wrong, or `handle_type` names no handle type.
    """

    allocation_size: int
    """Bytes of the whole allocation (`VkMemoryAllocateInfo::allocationSize`), not of a buffer in it."""
    size: int
    """Usable bytes, counted from `offset`."""
    offset: int = 0
    """First usable byte of the allocation."""
    handle_type: HandleType
    """Handle type of the export, as a member or by its value: `"opaque_fd"`."""
    dedicated: bool = False
    """Whether the allocation belongs to a single buffer or image (`VkMemoryDedicatedAllocateInfo`)."""
    device: DeviceIdentity = DeviceIdentity()  # noqa: RUF009 - frozen
    """The exporting device."""
    allocation: bytes | None = None
    """Opaque identifier that the exporter chose, unique for the lifetime of the allocation.

    A consumer imports the allocation once for all descriptors with equal identifiers, whatever their offsets and
    sizes. None: each descriptor has an import of its own."""

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            allocation_size: SupportsIndex,
            size: SupportsIndex,
            offset: SupportsIndex = 0,
            handle_type: HandleTypeLike,
            dedicated: bool = False,
            device: DeviceIdentity = DeviceIdentity(),  # noqa: B008 - frozen
            allocation: bytes | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        for name in ("allocation_size", "size", "offset"):
            object.__setattr__(self, name, as_integer(getattr(self, name), name))
        object.__setattr__(self, "handle_type", as_choice(HandleType, self.handle_type, "handle_type"))
        if not 0 < self.allocation_size <= MAX_BYTES:
            msg = f"allocation_size must be from 1 to 2**63 - 1 bytes, got {self.allocation_size}"
            raise InvalidArgument(msg)
        check_range(self.offset, self.size, self.allocation_size)

    def of_all(self) -> MemoryDescriptor:
        """Return the descriptor of the whole allocation."""
        if not self.offset and self.size == self.allocation_size:
            return self
        return replace(self, offset=0, size=self.allocation_size)


@runtime_checkable
class MappedBuffer(Protocol):
    """A view of linear memory in the form that the consumer's own functions take.

    A view is valid until its memory is closed.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in elements, row-major."""
        ...

    @property
    def dtype(self) -> DType:
        """Element type."""
        ...

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        ...

    @property
    def native(self) -> object:
        """The API's own object: a device address (int), a `pyopencl.Buffer` or a NumPy array."""

    def view(self, shape: tuple[int, ...], dtype: DType, *, offset: int = 0) -> MappedBuffer:
        """Return a view of a part of this memory, with another shape and element type. Calls no import.

        Args:
            shape: Extent in elements, row-major.
            dtype: Element type.
            offset: First byte, counted from the start of this view.

        Returns:
            The new view. The caller owns it and closes it.

        Raises:
            InvalidArgument: The part does not lie within this view, or is misaligned.
            ClosedError: This view or its memory was closed.
        """
        ...

    def read(self, target: HostBytes, *, timeout: float | None = None) -> None:
        """Copy this memory to the host, behind earlier work of the consumer's stream. Blocks until it is done.

        Args:
            target: Writable bytes in host memory, exactly `nbytes` long.
            timeout: Longest wait in seconds; None for the timeout that the view was created with.

        Raises:
            InvalidArgument: `target` has another size, is read-only or not contiguous.
            WaitTimeout: Earlier work of the stream did not end in time. `target` may be partly written.
            DriverError: The driver refused the copy, or earlier work failed.

        Note:
            `hipMemcpyDtoHAsync`, `cuMemcpyDtoHAsync`, `clEnqueueReadBuffer`.
        """

    def write(self, source: HostBytes, *, timeout: float | None = None) -> None:
        """Copy host bytes to this memory, behind earlier work of the consumer's stream.

        Blocks until the caller may change `source` again.

        Args:
            source: Bytes in host memory, exactly `nbytes` long.
            timeout: Longest wait in seconds; None for the timeout that the view was created with.

        Raises:
            InvalidArgument: `source` has another size or is not contiguous.
            WaitTimeout: Earlier work of the stream did not end in time. The memory may be partly written.
            DriverError: The driver refused the copy, or earlier work failed.

        Note:
            `hipMemcpyHtoDAsync`, `cuMemcpyHtoDAsync`, `clEnqueueWriteBuffer`.
        """

    def close(self) -> None:
        """Close the view. The last view of an import unmaps it. Idempotent."""


@runtime_checkable
class ExternalMemory(Protocol):
    """Imported memory of another API. It keeps the driver's import alive until it is closed."""

    @property
    def descriptor(self) -> MemoryDescriptor:
        """The descriptor with which the memory was imported."""
        ...

    def map_buffer(
        self,
        *,
        offset: int = 0,
        size: int | None = None,
        shape: tuple[int, ...] | None = None,
        dtype: DType | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> MappedBuffer:
        """Return a view of the imported memory. The driver maps each import once, for all its views.

        Args:
            offset: First byte, counted from the descriptor's own offset.
            size: Bytes of the view; by default all bytes behind `offset`, or as many as `shape` needs.
            shape: Extent in elements, row-major; by default one row of bytes.
            dtype: Element type; by default `uint8`.
            timeout: Seconds that reads and writes of the view wait at most for earlier work.

        Returns:
            The view. The caller owns it and closes it.

        Raises:
            InvalidArgument: The range does not lie within the descriptor, or is misaligned.
            ClosedError: The memory was closed.

        Note:
            `hipExternalMemoryGetMappedBuffer`, `cuExternalMemoryGetMappedBuffer`, `clCreateSubBuffer`.
        """
        ...

    def acquire(self, stream: Stream) -> None:
        """Enqueue the acquire of ownership on a stream. Does nothing where the API has no ownership.

        Note:
            `clEnqueueAcquireExternalMemObjectsKHR`.
        """

    def release(self, stream: Stream) -> None:
        """Enqueue the release of ownership on a stream. Does nothing where the API has no ownership.

        Note:
            `clEnqueueReleaseExternalMemObjectsKHR`.
        """

    def prepare_acquire(self, stream: Stream) -> PreparedCall | None:
        """Return the call that `acquire` makes on a stream, or None where the API has no ownership.

        The call stays valid when another part of the allocation is imported later.

        Raises:
            ClosedError: The memory or the stream was closed.
            InvalidArgument: The stream belongs to another backend or device.
        """

    def prepare_release(self, stream: Stream) -> PreparedCall | None:
        """Return the call that `release` makes on a stream, or None where the API has no ownership.

        Raises:
            ClosedError: The memory or the stream was closed.
            InvalidArgument: The stream belongs to another backend or device.
        """

    def close(self) -> None:
        """Unmap and release the import. Work that uses it must have ended. Idempotent."""

"""External memory: an allocation of one API, seen by another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from interop.protocols.errors import InvalidArgument
from interop.protocols.identity import DeviceIdentity

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from interop.protocols.dtypes import DType
    from interop.protocols.handles import HandleType
    from interop.protocols.streams import PreparedCall, Stream

HostBytes: TypeAlias = "Buffer | NDArray[Any]"
"""Anything with contiguous bytes in host memory: bytes, bytearray, memoryview, NumPy arrays."""

DEFAULT_TIMEOUT = 10.0
"""Seconds that reads and writes of a view wait at most, unless its creator says otherwise. Links pass their own."""

_LIMIT = 2**63


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryDescriptor:
    """What an importer has to know about an exported allocation.

    Checked when made, because drivers do not: a size larger than the allocation is accepted by HIP and
    CUDA and faults later. Raises :class:`InvalidArgument` with the offending value.
    """

    allocation_size: int
    """Bytes of the whole allocation (``VkMemoryAllocateInfo::allocationSize``), never of the buffer in it."""
    size: int
    """Bytes that may be used, from ``offset`` on."""
    offset: int = 0
    """First usable byte of the allocation."""
    handle_type: HandleType
    dedicated: bool = False
    """Whether the allocation belongs to one buffer or image alone (``VkMemoryDedicatedAllocateInfo``)."""
    device: DeviceIdentity = DeviceIdentity()  # noqa: RUF009 - frozen
    allocation: bytes | None = None
    """Which allocation it is, as its exporter named it: bytes that it never uses for another.

    A consumer imports an allocation once for all descriptors that name it, whatever their offsets and sizes.
    None: not known, so each descriptor is imported by itself."""

    def __post_init__(self) -> None:
        if not 0 < self.allocation_size < _LIMIT:
            msg = f"allocation size must be a positive number of bytes, got {self.allocation_size}"
            raise InvalidArgument(msg)
        check_range(self.offset, self.size, self.allocation_size)

    def of_all(self) -> MemoryDescriptor:
        """Return the descriptor of the whole allocation."""
        if not self.offset and self.size == self.allocation_size:
            return self
        return replace(self, offset=0, size=self.allocation_size)


def check_range(offset: int, size: int, total: int, *, alignment: int = 1) -> None:
    """Raise :class:`InvalidArgument` unless ``size`` > 0 bytes at ``offset`` lie within ``total`` bytes.

    ``alignment`` is what ``offset`` must be a multiple of. Python's integers do not overflow, so the sum is
    exact; values past 2**63 are refused by name.
    """
    if not 0 <= offset < _LIMIT:
        msg = f"offset must be between 0 and 2**63 bytes, got {offset}"
        raise InvalidArgument(msg)
    if not 0 < size < _LIMIT:
        msg = f"size must be a positive number of bytes below 2**63, got {size}"
        raise InvalidArgument(msg)
    if offset + size > total:
        msg = f"offset {offset} + size {size} = {offset + size} bytes, past the end of {total} bytes"
        raise InvalidArgument(msg)
    if offset % alignment:
        msg = f"offset {offset} is not a multiple of {alignment} bytes"
        raise InvalidArgument(msg)


@runtime_checkable
class MappedBuffer(Protocol):
    """A linear range of memory in the form that the consumer's own functions take.

    Valid until its memory is closed. Reading and writing are ordered on the stream given (the consumer's
    own when none is) and return when the host bytes may be touched again.
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
        """What the API takes: a device address (int), a ``pyopencl.Buffer``, a NumPy array."""
        ...

    def view(self, shape: tuple[int, ...], dtype: DType, *, offset: int = 0) -> MappedBuffer:
        """Look at a part of the same memory as another shape and type; ``offset`` in bytes.

        Costs no driver import. Raises :class:`InvalidArgument` when it does not fit or is misaligned.
        """
        ...

    def read(self, target: HostBytes, *, timeout: float | None = None) -> None:
        """Copy this memory into writable host bytes of the same size. Blocks until the copy is done.

        Args:
            target: Contiguous bytes, as many as the view has.
            timeout: Seconds to wait at most; by default those that the view was created with.

        Raises:
            WaitTimeout: Earlier work of the stream, or the copy, has not ended in time.
            InvalidArgument: ``target`` has another size, has gaps or cannot be written.
        """
        ...

    def write(self, source: HostBytes, *, timeout: float | None = None) -> None:
        """Copy host bytes of the same size into this memory. Blocks until the copy is done, as :meth:`read` does."""
        ...

    def close(self) -> None:
        """Give the view up; the last view of an import unmaps it. A second call does nothing."""
        ...


@runtime_checkable
class ExternalMemory(Protocol):
    """Memory of another API, imported. Keeps the driver's import alive until closed."""

    @property
    def descriptor(self) -> MemoryDescriptor:
        """What was imported."""
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
        """Return a view. The driver maps the import once; every further view is arithmetic or a sub-buffer.

        Args:
            offset: First byte, counted from the descriptor's own offset.
            size: Bytes; by default all that follow ``offset``.
            shape: Extent in elements, row-major; by default one row.
            dtype: Element type; by default bytes.
            timeout: Seconds that reads and writes of the view wait at most for earlier work.

        Raises:
            InvalidArgument: The range lies outside the descriptor or is misaligned.
            ClosedError: The memory has been closed.
        """
        ...

    def acquire(self, stream: Stream) -> None:
        """Enqueue taking ownership on ``stream`` (``clEnqueueAcquireExternalMemObjectsKHR``; else nothing)."""
        ...

    def release(self, stream: Stream) -> None:
        """Enqueue giving ownership up on ``stream`` (``clEnqueueReleaseExternalMemObjectsKHR``)."""
        ...

    def prepare_acquire(self, stream: Stream) -> PreparedCall | None:
        """Return the call that :meth:`acquire` makes, or None where the API has no ownership.

        The call stays right when another share of the allocation is imported later.

        Raises:
            ClosedError: The memory or the stream has been closed.
            InvalidArgument: The stream belongs to another backend or device.
        """
        ...

    def prepare_release(self, stream: Stream) -> PreparedCall | None:
        """Return the call that :meth:`release` makes, or None; see :meth:`prepare_acquire`."""
        ...

    def close(self) -> None:
        """Unmap and release the import. Work that uses it must have ended. A second call does nothing."""
        ...

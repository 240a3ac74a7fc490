"""Views: ranges of an import as a shape and an element type, and host bytes to copy from and to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from interop.protocols import DTYPES, ClosedError, DType, InvalidArgument, check_range, check_shape, round_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from interop.protocols import DeviceInfo, HostBytes, MemoryDescriptor

BYTES = DTYPES["uint8"]


def resolve_view(
    descriptor: MemoryDescriptor,
    *,
    offset: int,
    size: int | None,
    shape: tuple[int, ...] | None,
    dtype: DType | None,
) -> tuple[int, tuple[int, ...], int, DType]:
    """Check the arguments of ``map_buffer``; return first byte in the allocation, shape, bytes and element type.

    Without ``shape`` the view is one row of ``size`` bytes, by default of all that follow ``offset``.

    Raises:
        InvalidArgument: The range lies outside the descriptor, the size contradicts the shape, or the first byte is
            not aligned for the element type.
    """
    element = dtype or BYTES
    if shape is None:
        room = descriptor.size - offset
        nbytes = room if size is None else size
        if not (offset >= 0 and 0 < nbytes <= room):
            check_range(offset, nbytes, descriptor.size)
        itemsize = element.itemsize
        if nbytes % itemsize:
            raise InvalidArgument(
                f"{nbytes} bytes are no whole number of {element} elements of {itemsize} bytes"
            )
        shape = (nbytes // itemsize,)
    else:
        shape, nbytes = check_shape(shape, element)
        if size is not None and size != nbytes:
            raise InvalidArgument(f"shape {shape} of {element} has {nbytes} bytes, but size is {size}")
        check_range(offset, nbytes, descriptor.size)
    start = descriptor.offset + offset
    if start % element.itemsize:  # it lies within the allocation, as the descriptor does
        check_range(start, nbytes, descriptor.allocation_size, alignment=element.itemsize)
    return start, shape, nbytes, element


def host_bytes(host: Any, nbytes: int, *, writable: bool) -> Any:
    """Return contiguous host bytes as a flat NumPy array that shares them.

    Raises:
        InvalidArgument: They have gaps, are not ``nbytes`` long, or cannot be written though ``writable`` asks for it.
    """
    import numpy as np

    try:
        flat = np.frombuffer(memoryview(host), dtype=np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise InvalidArgument(f"needs contiguous host bytes, got {type(host).__name__} ({error})") from error
    if flat.nbytes != nbytes:
        raise InvalidArgument(f"needs {nbytes} host bytes, as many as the memory has, got {flat.nbytes}")
    if writable and not flat.flags.writeable:
        raise InvalidArgument(f"cannot read into {type(host).__name__}: it is not writable")
    return flat


PART_ALIGNMENT = 256
"""Bytes: the most that a device may ask of a shader's view (``minStorageBufferOffsetAlignment``)."""


def part_offsets(sizes: Sequence[int], consumer: DeviceInfo) -> list[int]:
    """Return the first byte of each part of an allocation, aligned for both sides' kernels, and the whole size."""
    alignment = max(PART_ALIGNMENT, consumer.capabilities.view_alignment)
    offsets = [0]
    for nbytes in sizes:
        offsets.append(round_up(offsets[-1] + nbytes, alignment))
    return offsets


class ViewedMemory(Protocol):
    """Memory that :class:`ViewBase` looks at."""

    @property
    def closed(self) -> bool:
        """Whether the memory has been closed."""
        ...

    def check_open(self) -> None:
        """Raise :class:`ClosedError` if the memory has been closed."""

    def close(self) -> None:
        """Release the memory."""


Memory = TypeVar("Memory", bound=ViewedMemory)


class ViewBase(ABC, Generic[Memory]):
    """A range of memory with a shape and an element type. Fulfils :class:`interop.protocols.MappedBuffer`.

    A derived class adds ``native`` and :meth:`copy`.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_dtype",
        "_nbytes",
        "_owner",
        "_shape",
        "first",
        "memory",
        "timeout",
    )

    def __init__(
        self,
        memory: Memory,
        first: int,
        shape: tuple[int, ...],
        nbytes: int,
        dtype: DType,
        timeout: float,
        *,
        owner: bool = False,
    ) -> None:
        """Look at memory.

        Args:
            memory: The memory, which must stay open.
            first: First byte of the view in ``memory``; a multiple of the element size.
            shape: Extent in elements, row-major.
            nbytes: Bytes of that shape.
            dtype: Element type.
            timeout: Seconds that reads and writes wait at most.
            owner: Whether closing the view closes ``memory``.
        """
        self.memory = memory
        self.first = first
        self._shape = shape
        self._nbytes = nbytes
        self._dtype = dtype
        self.timeout = timeout
        self._owner = owner
        self._closed = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in elements, row-major."""
        return self._shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self._dtype

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self._nbytes

    def check_open(self) -> None:
        """Raise :class:`ClosedError` if the view or its memory has been closed."""
        if self._closed:
            raise ClosedError(f"{self!r} was used after close()")
        self.memory.check_open()

    def view(self, shape: tuple[int, ...], dtype: DType, *, offset: int = 0) -> Self:
        """Look at a part of the same memory as another shape and element type. Calls no driver.

        Args:
            shape: Extent in elements.
            dtype: Element type.
            offset: First byte, from the start of this view.

        Raises:
            InvalidArgument: The part does not lie in this view or is not aligned for ``dtype``.
        """
        self.check_open()
        shape, nbytes = check_shape(shape, dtype)
        check_range(offset, nbytes, self._nbytes)
        first = self.first + offset
        if first % dtype.itemsize:  # the sum counts: an aligned offset into a misaligned view is misaligned
            raise InvalidArgument(
                f"byte {first} of the memory, at offset {offset} of this view, is not a multiple of the "
                f"{dtype.itemsize} bytes of a {dtype}"
            )
        return self.part(first, shape, nbytes, dtype)

    def part(self, first: int, shape: tuple[int, ...], nbytes: int, dtype: DType) -> Self:
        """Return a view of a part that has been checked."""
        return type(self)(self.memory, first, shape, nbytes, dtype, self.timeout)

    def read(self, target: HostBytes, *, timeout: float | None = None) -> None:
        """Copy to the host, after all earlier work of the consumer's stream. Blocks until the copy is done."""
        self.check_open()
        flat = host_bytes(target, self._nbytes, writable=True)
        self.copy(flat, self.timeout if timeout is None else timeout, to_host=True)

    def write(self, source: HostBytes, *, timeout: float | None = None) -> None:
        """Copy from the host, after all earlier work of the consumer's stream. Blocks until the copy is done."""
        self.check_open()
        flat = host_bytes(source, self._nbytes, writable=False)
        self.copy(flat, self.timeout if timeout is None else timeout, to_host=False)

    @abstractmethod
    def copy(self, host: Any, timeout: float, *, to_host: bool) -> None:
        """Copy between the view and a flat NumPy array of its size; the view is open."""

    def close(self) -> None:
        """End the view, and release memory that came from ``allocate``. A second call does nothing."""
        self._closed = True
        if self._owner:
            self.memory.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._shape} {self._dtype}>"

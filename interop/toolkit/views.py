"""Arithmetic of views: ranges of imports, and host bytes to copy from and to. For backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import InvalidArgument, check_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.protocols import (
        DeviceInfo,
        DType,
    )

from typing import TYPE_CHECKING, Any

from interop.protocols import DTYPES, DType, check_range

if TYPE_CHECKING:
    from interop.protocols import MemoryDescriptor

BYTES = DTYPES["uint8"]


def resolve(
    descriptor: MemoryDescriptor,
    *,
    offset: int,
    size: int | None,
    shape: tuple[int, ...] | None,
    dtype: DType | None,
) -> tuple[int, tuple[int, ...], int, DType]:
    """Turn the arguments of ``map_buffer`` into first byte of the allocation, shape, bytes and element type.

    Without ``shape`` the view is one row over ``size`` bytes, by default all that follow ``offset``. Raises
    :class:`InvalidArgument` for a range outside the descriptor, a size that contradicts the shape, or a first
    byte that the element type cannot stand at.
    """
    element = dtype or BYTES
    if shape is None:
        room = descriptor.size - offset
        nbytes = room if size is None else size
        if not (offset >= 0 and 0 < nbytes <= room):
            check_range(offset, nbytes, descriptor.size)
        itemsize = element.itemsize
        if nbytes % itemsize:
            raise InvalidArgument(f"{nbytes} bytes are no whole number of {element} elements")
        shape = (nbytes // itemsize,)
    else:
        shape, nbytes = check_shape(shape, element)
        if size is not None and size != nbytes:
            raise InvalidArgument(f"shape {shape} of {element} has {nbytes} bytes, size says {size}")
        check_range(offset, nbytes, descriptor.size)
    start = descriptor.offset + offset
    if start % element.itemsize:  # within the allocation it is, as the descriptor is
        check_range(start, nbytes, descriptor.allocation_size, alignment=element.itemsize)
    return start, shape, nbytes, element


def host_bytes(host: Any, nbytes: int, *, writable: bool) -> Any:
    """Return contiguous host bytes as a flat NumPy array that shares them.

    Raises :class:`InvalidArgument` when they are not contiguous, not ``nbytes`` long, or not writable and
    ``writable`` is asked for.
    """
    import numpy as np

    try:
        flat = np.frombuffer(memoryview(host), dtype=np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise InvalidArgument(f"needs contiguous host bytes, got {type(host).__name__} ({error})") from error
    if flat.nbytes != nbytes:
        raise InvalidArgument(f"needs host bytes of the same size, {nbytes}, got {flat.nbytes}")
    if writable and not flat.flags.writeable:
        raise InvalidArgument(f"cannot read into {type(host).__name__}: it is not writable")
    return flat


PART_ALIGNMENT = 256
"""Bytes: the most that any device may ask of a shader's view (``minStorageBufferOffsetAlignment``)."""


def part_offsets(sizes: Sequence[int], consumer: DeviceInfo) -> list[int]:
    """Return where each part of an allocation begins, so that both sides' kernels take it, and its whole size."""
    alignment = max(PART_ALIGNMENT, consumer.capabilities.view_alignment)
    offsets = [0]
    for nbytes in sizes:
        offsets.append(-(-(offsets[-1] + nbytes) // alignment) * alignment)
    return offsets

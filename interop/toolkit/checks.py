"""Checks of handles, values and images before a driver is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import (
    FD_TYPES,
    HandleError,
    HandleType,
    InvalidArgument,
    SemaphoreKind,
    Tiling,
    TurnError,
    check_fd,
)

if TYPE_CHECKING:
    import os

    from interop.protocols import Handle, ImageDescriptor, MemoryDescriptor, SemaphoreDescriptor


def check_import_memory(
    handle: Handle, descriptor: MemoryDescriptor, supported: frozenset[HandleType]
) -> os.stat_result | None:
    """Check a memory handle against its descriptor; return the status of the file behind an fd.

    The caller keeps the handle.

    Raises:
        HandleError: The handle is closed, of another type than the descriptor says, or of a type that is not in
            ``supported``; the file behind an fd is smaller than the allocation, which would be a SIGBUS at the first
            access; or host memory is not page-aligned or not mapped.
    """
    kind = handle.type
    if kind is not descriptor.handle_type:
        raise HandleError(f"the handle is {kind.value}, the descriptor says {descriptor.handle_type.value}")
    if kind not in supported:
        names = ", ".join(sorted(supported)) or "none"
        raise HandleError(f"{kind.value} memory cannot be imported here; importable: {names}")
    if kind not in FD_TYPES:
        if kind is HandleType.HOST_ALLOCATION:
            from interop.toolkit.host_pages import find_host_pages

            find_host_pages(handle.value, descriptor.allocation_size)
        return None
    fd = handle.value
    status = check_fd(fd)
    if 0 < status.st_size < descriptor.allocation_size:
        msg = f"fd {fd} holds {status.st_size} bytes, the descriptor promises {descriptor.allocation_size}"
        raise HandleError(msg)
    return status


def check_import_semaphore(
    handle: Handle, descriptor: SemaphoreDescriptor, supported: frozenset[HandleType]
) -> None:
    """Check a semaphore handle against its descriptor. The caller keeps the handle.

    Args:
        handle: The handle.
        descriptor: Its descriptor.
        supported: Importable handle types of the descriptor's kind of semaphore.

    Raises:
        HandleError: The handle is closed, of another type than the descriptor says, or not importable.
    """
    if handle.type is not descriptor.handle_type:
        msg = f"the handle is {handle.type.value}, the descriptor says {descriptor.handle_type.value}"
        raise HandleError(msg)
    if handle.type not in supported:
        names = ", ".join(sorted(supported)) or "none"
        msg = f"a {descriptor.kind.value} semaphore cannot be imported here as {handle.type.value}; importable: {names}"
        raise HandleError(msg)
    if handle.type.is_fd and not (handle.type is HandleType.SYNC_FD and handle.value == -1):
        check_fd(handle.value)


class ValueRule:
    """Refuses illegal values of ``wait`` and ``signal``, for which drivers hang or misbehave.

    A binary semaphore takes no value. A timeline needs one, and each signal must be greater than the last.
    """

    __slots__ = ("_kind", "_last")

    def __init__(self, kind: SemaphoreKind) -> None:
        self._kind = kind
        self._last = 0

    def check_wait(self, value: int | None) -> int:
        """Return the value to wait for (0 for binary), or raise :class:`TurnError`."""
        if self._kind is SemaphoreKind.BINARY:
            if value is not None:
                raise TurnError(f"a binary semaphore is waited on without a value, got {value}")
            return 0
        if value is None or not 0 <= value < 2**64:
            raise TurnError(f"waiting on a timeline semaphore needs a value from 0 to 2**64 - 1, got {value}")
        return value

    def check_signal(self, value: int | None) -> int:
        """Return the value to signal (0 for binary) and remember it, or raise :class:`TurnError`."""
        if self._kind is SemaphoreKind.BINARY:
            if value is not None:
                raise TurnError(f"a binary semaphore is signalled without a value, got {value}")
            return 0
        if value is None or not self._last < value < 2**64:
            msg = f"signalling a timeline semaphore needs a value above the last one ({self._last}), got {value}"
            raise TurnError(msg)
        self._last = value
        return value


def check_image(memory: MemoryDescriptor, image: ImageDescriptor) -> None:
    """Check an image against its memory before a driver is called.

    Raises:
        InvalidArgument: The row pitch of a linear image is missing, or the texels do not fit into the allocation.
    """
    width, height, _ = image.extent
    if image.tiling is Tiling.LINEAR:
        if not image.row_pitch:
            raise InvalidArgument("importing a linear image needs its row pitch, in bytes")
        needed = (height - 1) * image.row_pitch + width * image.format.texel_size
    else:
        needed = image.array_layers * sum(image.part_nbytes(level) for level in range(image.mip_levels))
    if image.offset + needed > memory.allocation_size:
        msg = (
            f"the image needs at least {needed} bytes at offset {image.offset}, "
            f"the allocation has {memory.allocation_size}"
        )
        raise InvalidArgument(msg)

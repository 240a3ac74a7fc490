"""Buffers, parts of buffers, and the export of their memory."""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from interop.protocols import (
    ClosedError,
    HandleType,
    InvalidArgument,
    MemoryDescriptor,
    Unsupported,
    check_range,
)
from interop_vulkan import _driver
from interop_vulkan._allocation import allocate, check_fits, exportable, new_buffer
from interop_vulkan._child import Child
from interop_vulkan._driver import NULL, VK, WHOLE_SIZE, struct
from interop_vulkan._exports import Exports, exported
from interop_vulkan._handle_types import memory_features

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Handle
    from interop_vulkan._context import Context

    Export = tuple[Callable[[], Handle], MemoryDescriptor]

PART_ALIGNMENT = 4
"""Alignment of parts, for vkCmdFillBuffer and vkCmdCopyBuffer. Descriptors need the device's, up to 256."""
_OPAQUE = frozenset({HandleType.OPAQUE_FD, HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT})


class Allocated(Child):
    """A buffer or an image, and its memory, which other APIs may import."""

    _kind: ClassVar[str]

    def __init__(
        self,
        context: Context,
        what: str,
        native: Any,
        export: Export | None,
        destroy: Callable[[], None],
        *pin: Any,
    ) -> None:
        super().__init__(context, what, destroy, *pin)
        self._native = native
        self._export = export

    @property
    def native(self) -> Any:
        """The ``VkBuffer`` or ``VkImage``."""
        self.check_open()
        return self._native

    def export_memory(self) -> tuple[Handle, MemoryDescriptor]:
        """Export the allocation.

        Returns:
            A new handle, owned by the caller, and the descriptor of the allocation.

        Raises:
            Unsupported: The object was created without ``export``.

        Note:
            ``vkGetMemoryFdKHR``, ``vkGetMemoryWin32HandleKHR``; for host memory the address of its pages; for imported
            memory a duplicate of the handle.
        """
        if not self.alive:
            self.check_open()
        if self._export is None:
            raise Unsupported(f"exporting this {self._kind}", "it was made without export=")
        take, descriptor = self._export
        return take(), descriptor


class VulkanBuffer(Allocated):
    """A ``VkBuffer`` and its allocation. Fulfils :class:`interop.protocols.ProducerBuffer`."""

    _kind = "buffer"

    def __init__(
        self,
        context: Context,
        native: Any,
        export: Export | None,
        destroy: Callable[[], None],
        size: int,
        allocation_size: int,
        mapped: Any = NULL,
        *,
        seen_by_host: bool = True,
        offset: int = 0,
        span: int = WHOLE_SIZE,
    ) -> None:
        # Views of the mapped bytes keep this object alive, and the bytes stay mapped as long as it lives.
        self._bytes: Any = _driver.ffi.buffer(mapped, size) if mapped != NULL else None
        self._parts: dict[int, Part] = {}
        super().__init__(context, f"buffer of {size} bytes", native, export, destroy, self._bytes)
        self._size = size
        self._allocation_size = allocation_size
        self._offset = offset
        self.span = span
        """Size that commands and descriptors take; of a caller's buffer the range alone."""
        self.seen_by_host = seen_by_host
        """Whether the host may read the memory. Other memory needs no barrier to the host."""

    @property
    def size(self) -> int:
        """Bytes that were requested."""
        return self._size

    @property
    def allocation_size(self) -> int:
        """Bytes of the ``VkDeviceMemory``."""
        return self._allocation_size

    @property
    def offset(self) -> int:
        """First byte in the ``VkBuffer``."""
        return self._offset

    def part(self, offset: int, size: int) -> Part:
        """Return ``size`` bytes from ``offset`` on. Commands take the part like a buffer; both close together."""
        self.check_open()
        check_range(offset, size, self._size, alignment=PART_ALIGNMENT)
        made = Part(self, offset, size)
        self._parts[made.serial] = made
        return made

    def forget_part(self, part: Part) -> None:
        """Drop the reference to a part that was closed."""
        self._parts.pop(part.serial, None)

    def host_view(self) -> memoryview:
        """Return the writable bytes of a host-visible buffer.

        The bytes stay mapped until the last view is gone, even after :meth:`close`. Work submitted afterwards sees
        what the host wrote. The host sees what the device wrote once :attr:`interop.protocols.Producer.progress` has
        reached the submission.

        Raises:
            Unsupported: The buffer was created without ``host_visible=True``.
        """
        self.check_open()
        if self._bytes is None:
            raise Unsupported("a host view of this buffer", "it was made without host_visible=True")
        return memoryview(self._bytes)

    def close(self) -> None:
        """Free buffer and memory as soon as no submitted work and no host view uses them."""
        for part in list(self._parts.values()):
            part.close()
        self._bytes = None
        super().close()


class Part(Child):
    """A range of a buffer. Fulfils :class:`interop.protocols.BufferPart`."""

    def __init__(self, whole: VulkanBuffer, offset: int, size: int) -> None:
        super().__init__(whole.context, f"part of {size} bytes", lambda: None)
        self._whole = weakref.ref(whole)
        self.native = whole.native
        self.offset = whole.offset + offset
        self.size = size
        self.span = size
        self.seen_by_host = whole.seen_by_host

    def part(self, offset: int, size: int) -> Part:
        """Return a part of this part. Closing the buffer closes it."""
        self.check_open()
        check_range(offset, size, self.size, alignment=PART_ALIGNMENT)
        whole = self._whole()
        if whole is None:
            raise ClosedError("the buffer of this part was used after close()")
        return whole.part(self.offset - whole.offset + offset, size)

    def close(self) -> None:
        """Give the part back to its buffer. A second call does nothing."""
        whole = self._whole()
        if whole is not None:
            whole.forget_part(self)
        super().close()


def as_buffer(context: Context, given: object) -> VulkanBuffer | Part:
    """Return the buffer or part that ``given`` is, or that its attribute ``producer_buffer`` is."""
    buffer = getattr(given, "producer_buffer", given)
    if not isinstance(buffer, (VulkanBuffer, Part)) or buffer.context is not context:
        msg = f"expected a buffer of the producer on {context.info.name}, got {given!r}"
        raise InvalidArgument(msg)
    buffer.check_open()
    return buffer


def create_buffer(
    context: Context, size: int, export: HandleType | None = None, *, host_visible: bool = False
) -> VulkanBuffer:
    """Create a buffer in device memory. The caller has checked the arguments."""
    bit = exportable(context, export) if export is not None else 0
    check_fits(context, size)
    with contextlib.ExitStack() as undo:
        native, needs, asked = new_buffer(context, size, bit, undo)
        # NVIDIA's driver prefers a dedicated allocation for large buffers. It imports 1 GiB in 0.1 ms with it and in
        # 4 ms without (H200).
        dedicated = bool(asked.requiresDedicatedAllocation or asked.prefersDedicatedAllocation) or (
            export is not None and dedicated_only(context, export)
        )
        chain = struct("VkMemoryDedicatedAllocateInfo", buffer=native) if dedicated else NULL
        if export is not None:
            chain = exported("Memory", export, chain)
        memory = allocate(context, "Buffer", native, needs, undo, chain, host_visible=host_visible)
        mapped = map_memory(context, memory, 0) if host_visible else NULL
        total = int(needs.memoryRequirements.size)
        exports = None
        if export is not None:
            name = os.urandom(16)
            descriptor = describe_memory(context, export, size, total, dedicated=dedicated, allocation=name)
            exports = Exports(context, "Memory", memory, export, undo).take, descriptor
        seen = host_visible or (export is not None and export not in _OPAQUE)
        destroy = undo.pop_all().close
        return VulkanBuffer(context, native, exports, destroy, size, total, mapped, seen_by_host=seen)


def describe_memory(
    context: Context, export: HandleType, size: int, total: int, *, dedicated: bool, allocation: bytes | None
) -> MemoryDescriptor:
    """Return the descriptor of a new allocation of ``total`` bytes."""
    return MemoryDescriptor(
        allocation_size=total,
        size=size,
        handle_type=export,
        dedicated=dedicated,
        device=context.info.identity,
        allocation=allocation,
    )


def map_memory(context: Context, memory: Any, offset: int) -> Any:
    """Map memory from ``offset`` on (``vkMapMemory``)."""
    return context.vk.create("vkMapMemory", "void *", context.device, memory, offset, WHOLE_SIZE, 0)


def dedicated_only(context: Context, handle_type: HandleType) -> bool:
    """Return whether buffers of a handle type need dedicated allocations."""
    features = memory_features(context.instance_vk, context.physical, handle_type)
    return bool(features & VK.VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT)

"""Buffers, parts of buffers, and the export of their memory."""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import TYPE_CHECKING, Any

from interop.protocols import (
    ClosedError,
    Handle,
    HandleType,
    InvalidArgument,
    MemoryDescriptor,
    Unsupported,
    check_range,
)
from interop_vulkan import _driver
from interop_vulkan._allocation import allocate, check_fits, exportable
from interop_vulkan._child import Child
from interop_vulkan._driver import NULL, VK, WHOLE_SIZE, check, struct
from interop_vulkan._exports import exported_memory, memory_exports
from interop_vulkan._handle_types import BUFFER_USAGE, memory_features

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.toolkit import HostPages
    from interop_vulkan._context import Context
    from interop_vulkan._exports import Exports

PART_ALIGNMENT = 4
"""Alignment of parts, for vkCmdFillBuffer and vkCmdCopyBuffer. Descriptors need the device's, up to 256."""
_DEDICATED_ONLY: int = VK.VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT
_OPAQUE = frozenset({HandleType.OPAQUE_FD, HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT})


class VulkanBuffer(Child):
    """A ``VkBuffer`` and its allocation. Fulfils :class:`interop.protocols.ProducerBuffer`."""

    def __init__(
        self,
        context: Context,
        native: Any,
        exports: Exports | None,
        *,
        size: int,
        allocation_size: int,
        export: HandleType | None,
        dedicated: bool,
        mapped: Any,
        destroy: Callable[[], None],
        pages: HostPages | None = None,
    ) -> None:
        # Views of the mapped bytes keep this object alive, and the bytes stay mapped as long as it lives.
        self._bytes: Any = _driver.ffi.buffer(mapped, size) if mapped != NULL else None
        self._parts: dict[int, Part] = {}
        super().__init__(context, f"buffer of {size} bytes", destroy, self._bytes)
        self._native = native
        self._exports = exports
        self._size = size
        self._allocation_size = allocation_size
        self._pages = pages
        self._exported = (
            MemoryDescriptor(
                allocation_size=allocation_size,
                size=size,
                handle_type=export,
                dedicated=dedicated,
                device=context.info.identity,
                allocation=os.urandom(16),
            )
            if export is not None
            else None
        )
        shared = export is not None and (exports is None or export not in _OPAQUE)
        self.seen_by_host = self._bytes is not None or pages is not None or shared
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
    def native(self) -> Any:
        """The ``VkBuffer``."""
        self.check_open()
        return self._native

    def export_memory(self) -> tuple[Handle, MemoryDescriptor]:
        """Export the allocation.

        Returns:
            A new handle, owned by the caller, and the descriptor of the allocation.

        Raises:
            Unsupported: The buffer was created without ``export``.

        Note:
            ``vkGetMemoryFdKHR``, ``vkGetMemoryWin32HandleKHR``; for host memory the address of its pages.
        """
        if not self.alive:
            self.check_open()
        exported = self._exported
        if exported is not None and self._exports is not None:
            return self._exports.take(), exported
        if exported is not None and self._pages is not None:
            return Handle(self._pages.address, exported.handle_type, keep=self._pages), exported
        raise Unsupported("exporting this buffer", "it was made without export=")

    @property
    def offset(self) -> int:
        """First byte in the ``VkBuffer``."""
        return 0

    @property
    def span(self) -> int:
        """Size that commands and descriptors take: the whole ``VkBuffer``."""
        return WHOLE_SIZE

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
        super().__init__(whole.context, f"part of {size} bytes", _nothing)
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


def _nothing() -> None:
    """Free nothing: a part owns no memory."""


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
    external = struct("VkExternalMemoryBufferCreateInfo", handleTypes=bit) if bit else NULL
    info = struct("VkBufferCreateInfo", pNext=external, size=size, usage=BUFFER_USAGE)
    with contextlib.ExitStack() as undo:
        native = context.create("vkCreateBuffer", "VkBuffer", info)
        context.undo(undo, "vkDestroyBuffer", native)
        asked = struct("VkMemoryDedicatedRequirements")
        needs = struct("VkMemoryRequirements2", pNext=asked)
        which = struct("VkBufferMemoryRequirementsInfo2", buffer=native)
        context.vk.vkGetBufferMemoryRequirements2(context.device, which, needs)
        # NVIDIA's driver prefers a dedicated allocation for large buffers. It imports 1 GiB in 0.1 ms with it and in
        # 4 ms without (H200).
        dedicated = bool(asked.requiresDedicatedAllocation or asked.prefersDedicatedAllocation) or (
            export is not None
            and bool(memory_features(context.instance_vk, context.physical, export) & _DEDICATED_ONLY)
        )
        chain = struct("VkMemoryDedicatedAllocateInfo", buffer=native) if dedicated else NULL
        if export is not None:
            chain = exported_memory(export, chain)
        memory = allocate(context, needs.memoryRequirements, undo, chain=chain, host_visible=host_visible)
        check("vkBindBufferMemory", context.vk.vkBindBufferMemory(context.device, native, memory, 0))
        mapped = NULL
        if host_visible:
            mapped = context.vk.create("vkMapMemory", "void *", context.device, memory, 0, WHOLE_SIZE, 0)
        exports = memory_exports(context, memory, export) if export is not None else None
        if exports is not None:
            undo.callback(exports.close)
        return VulkanBuffer(
            context,
            native,
            exports,
            size=size,
            allocation_size=int(needs.memoryRequirements.size),
            export=export,
            dedicated=dedicated,
            mapped=mapped,
            destroy=undo.pop_all().close,
        )

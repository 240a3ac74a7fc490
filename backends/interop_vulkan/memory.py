"""Buffers, their memory, and its export."""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import TYPE_CHECKING, Any

from interop.protocols import (
    ClosedError,
    DriverError,
    Handle,
    HandleType,
    InvalidArgument,
    MemoryDescriptor,
    Unsupported,
    check_range,
)
from interop_vulkan import _driver
from interop_vulkan._devices import BUFFER_USAGE, MEMORY_TYPES, memory_features
from interop_vulkan._driver import NULL, VK, WHOLE_SIZE, check, struct
from interop_vulkan._exports import exported_memory, memory_exports
from interop_vulkan._host import create_host_buffer
from interop_vulkan._lifetime import Child

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.toolkit import HostPages
    from interop_vulkan._context import Context
    from interop_vulkan._exports import Exports

_LIMIT = 2**63
PART_ALIGNMENT = 4  # vkCmdFillBuffer's and vkCmdCopyBuffer's; descriptors need the device's, up to 256
_MAPPABLE: int = VK.VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK.VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
# Never ours: protected memory, lazily allocated memory, and AMD's uncached kinds, which need a feature.
_AVOIDED: int = 0x20 | 0x10 | 0x40 | 0x80
_OPAQUE = frozenset({HandleType.OPAQUE_FD, HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT})


class Buffer(Child):
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
        super().__init__(context, f"buffer of {size} bytes", destroy)
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
        # Every view of the mapped bytes keeps this object alive, and this object keeps the bytes mapped.
        self._bytes: Any = _driver.ffi.buffer(mapped, size) if mapped != NULL else None
        self._parts: list[Part] = []
        shared = export is not None and (exports is None or export not in _OPAQUE)
        self.seen_by_host = self._bytes is not None or pages is not None or shared
        """Whether the host may read the memory; what the device alone reads need not be made visible to it."""

    @property
    def size(self) -> int:
        """Bytes asked for."""
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
        """Hand out the allocation (``vkGetMemoryFdKHR``, ``vkGetMemoryWin32HandleKHR``, or the address of its pages).

        The caller owns the handle; each call makes a new one. Raises :class:`Unsupported` for a buffer that
        was not made exportable.
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
        """What commands and descriptors take as its size: all that there is."""
        return WHOLE_SIZE

    def part(self, offset: int, size: int) -> Part:
        """Return ``size`` bytes from ``offset`` on as what commands take; closed with this buffer."""
        self.check_open()
        check_range(offset, size, self._size, alignment=PART_ALIGNMENT)
        made = Part(self, offset, size)
        self._parts.append(made)
        return made

    def host_view(self) -> memoryview:
        """Writable bytes of a host-visible buffer, mapped until the last view has gone, even past close.

        Written bytes are seen by work submitted afterwards; the device's are seen once
        :attr:`interop.protocols.Producer.progress` has reached the submission.
        """
        self.check_open()
        if self._bytes is None:
            raise Unsupported("a host view of this buffer", "it was made without host_visible=True")
        return memoryview(self._bytes)

    def close(self) -> None:
        """Free buffer and memory as soon as no submitted work and no host view uses them."""
        while self._parts:
            self._parts.pop().close()
        mapped, self._bytes = self._bytes, None
        viewed = weakref.ref(mapped) if mapped is not None else None
        del mapped
        self._close(viewed() if viewed is not None else None)


class Part(Child):
    """A range of a buffer that commands take as a buffer of its own. Fulfils :class:`interop.protocols.BufferPart`."""

    def __init__(self, whole: Buffer, offset: int, size: int) -> None:
        super().__init__(whole.context, f"part of {size} bytes", _nothing)
        self._whole = weakref.ref(whole)
        self.native = whole.native
        self.offset = whole.offset + offset
        self.size = size
        self.span = size
        self.seen_by_host = whole.seen_by_host

    def part(self, offset: int, size: int) -> Part:
        """Return a part of this part; closed with the buffer."""
        self.check_open()
        check_range(offset, size, self.size, alignment=PART_ALIGNMENT)
        whole = self._whole()
        if whole is None:
            raise ClosedError("the buffer of this part is closed")
        return whole.part(self.offset + offset, size)


def _nothing() -> None:
    """Free what a part owns."""


def as_buffer(context: Context, given: object) -> Buffer | Part:
    """Return the buffer, or part of one, that ``given`` is or has as its attribute ``producer_buffer``."""
    buffer = getattr(given, "producer_buffer", given)
    if not isinstance(buffer, (Buffer, Part)) or buffer.context is not context:
        msg = f"expected a buffer of the producer on {context.info.name}, got {given!r}"
        raise InvalidArgument(msg)
    buffer.check_open()
    return buffer


def create_buffer(context: Context, size: int, export: HandleType | None, *, host_visible: bool) -> Buffer:
    """Make a buffer; see :meth:`interop.protocols.Producer.create_buffer`."""
    context.check_open()
    context.sweep()
    if not 0 < size < _LIMIT:
        msg = f"the size of a buffer must be a positive number of bytes below 2**63, got {size}"
        raise InvalidArgument(msg)
    if export is HandleType.HOST_ALLOCATION:
        return create_host_buffer(context, size, None, host_visible=host_visible)
    bit = exportable(context, export) if export is not None else 0
    heaps = context.memory.memoryHeaps[0 : context.memory.memoryHeapCount]
    _check_fits(size, max(int(heap.size) for heap in heaps))
    external = struct("VkExternalMemoryBufferCreateInfo", handleTypes=bit) if bit else NULL
    info = struct("VkBufferCreateInfo", pNext=external, size=size, usage=BUFFER_USAGE)
    with contextlib.ExitStack() as undo:
        native = context.create("vkCreateBuffer", "VkBuffer", info)
        context.undo(undo, "vkDestroyBuffer", native)
        asked = struct("VkMemoryDedicatedRequirements")
        needs = struct("VkMemoryRequirements2", pNext=asked)
        which = struct("VkBufferMemoryRequirementsInfo2", buffer=native)
        context.vk.vkGetBufferMemoryRequirements2(context.device, which, needs)
        # What is preferred is heeded as well: NVIDIA's driver prefers it for large buffers, and takes 4 ms to import
        # 1 GiB without, 0.1 ms with it (an H200).
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
        return Buffer(
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


_DEDICATED_ONLY: int = VK.VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT


def exportable(context: Context, export: HandleType) -> int:
    """Return the bit of a handle type by which memory can be handed out, or raise :class:`Unsupported`."""
    capabilities = context.info.capabilities
    if export not in capabilities.memory_export:
        offered = ", ".join(sorted(capabilities.memory_export)) or "none"
        reason = f"{context.info.name} exports memory as: {offered}"
        raise Unsupported(f"exporting memory as {export.value}", reason, reasons=capabilities.notes)
    return MEMORY_TYPES[export][0]


def _check_fits(size: int, heap: int) -> None:
    """Refuse what no heap can hold; drivers must not be asked (VUID-vkAllocateMemory-pAllocateInfo-01713)."""
    if size > heap:
        text = f"{size} bytes asked for, the memory heap has {heap}"
        raise DriverError("vkAllocateMemory", -2, "VK_ERROR_OUT_OF_DEVICE_MEMORY", text)


def allocate(
    context: Context, needs: Any, undo: contextlib.ExitStack, *, chain: Any = NULL, host_visible: bool = False
) -> Any:
    """Allocate a ``VkDeviceMemory`` for ``VkMemoryRequirements``; freeing it is registered with ``undo``.

    ``chain`` extends ``VkMemoryAllocateInfo``: export, a dedicated buffer, and, for an import,
    ``VkImportMemoryFdInfoKHR`` or ``VkImportMemoryHostPointerInfoEXT``.
    """
    index = _memory_type(context, int(needs.memoryTypeBits), host_visible=host_visible)
    heap = context.memory.memoryHeaps[context.memory.memoryTypes[index].heapIndex]
    _check_fits(int(needs.size), int(heap.size))
    info = struct("VkMemoryAllocateInfo", pNext=chain, allocationSize=needs.size, memoryTypeIndex=index)
    memory = context.create("vkAllocateMemory", "VkDeviceMemory", info)
    context.undo(undo, "vkFreeMemory", memory)
    return memory


def _memory_type(context: Context, allowed: int, *, host_visible: bool) -> int:
    """Choose a memory type; among equals the first, as the specification orders them by speed."""
    required = _MAPPABLE if host_visible else 0
    # The host mostly reads what it maps, and reading uncached memory is slow.
    cached, local = VK.VK_MEMORY_PROPERTY_HOST_CACHED_BIT, VK.VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
    preferred: int = cached if host_visible else local
    best, best_score = -1, -1
    for index in range(context.memory.memoryTypeCount):
        flags = int(context.memory.memoryTypes[index].propertyFlags)
        if not allowed >> index & 1 or flags & required != required or flags & _AVOIDED:
            continue
        score = int(flags & preferred == preferred)
        if score > best_score:
            best, best_score = index, score
    if best < 0:
        what = "host-visible memory" if host_visible else "memory"
        raise Unsupported(what, f"{context.info.name} has no fitting type")
    return best

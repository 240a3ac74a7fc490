"""Import of memory that another API or driver allocated."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from interop.protocols import FdFate, HandleType, InvalidArgument, Unsupported, check_range, lend
from interop.toolkit import check_import_memory
from interop_vulkan import _driver
from interop_vulkan._allocation import allocate
from interop_vulkan._driver import NULL, VK, WHOLE_SIZE, check, struct
from interop_vulkan._handle_types import BUFFER_USAGE, MEMORY_TYPES, memory_features
from interop_vulkan.memory import VulkanBuffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Handle, MemoryDescriptor
    from interop_vulkan._context import Context

_DEDICATED_ONLY: int = VK.VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT


class ImportedBuffer(VulkanBuffer):
    """A buffer over imported memory. It exports duplicates of the handle that it was imported from."""

    def __init__(
        self,
        context: Context,
        native: Any,
        descriptor: MemoryDescriptor,
        handle: Handle,
        *,
        mapped: Any,
        destroy: Callable[[], None],
    ) -> None:
        super().__init__(
            context,
            native,
            None,
            size=descriptor.size,
            allocation_size=descriptor.allocation_size,
            export=descriptor.handle_type,
            dedicated=descriptor.dedicated,
            mapped=mapped,
            destroy=destroy,
        )
        self._handle = handle
        self._descriptor = descriptor

    def export_memory(self) -> tuple[Handle, MemoryDescriptor]:
        """Export the imported allocation with its descriptor. The caller owns the handle."""
        self.check_open()
        return self._handle.dup(), self._descriptor


def import_buffer(
    context: Context,
    handle: Handle,
    descriptor: MemoryDescriptor,
    *,
    memory_type: int | None,
    host_visible: bool,
) -> ImportedBuffer:
    """Create the buffer of :meth:`interop_vulkan.producer.VulkanProducer.import_memory`."""
    host = frozenset({HandleType.HOST_ALLOCATION})
    if handle.type in host:
        raise InvalidArgument(
            "a host_allocation handle cannot be imported as memory; call import_pages with its pages"
        )
    check_import_memory(handle, descriptor, context.info.capabilities.memory_import - host)
    bit = MEMORY_TYPES[handle.type][0]
    with ExitStack() as undo:
        kept = handle.dup()
        undo.callback(kept.close)
        external = struct("VkExternalMemoryBufferCreateInfo", handleTypes=bit)
        info = struct("VkBufferCreateInfo", pNext=external, size=descriptor.size, usage=BUFFER_USAGE)
        native = context.create("vkCreateBuffer", "VkBuffer", info)
        context.undo(undo, "vkDestroyBuffer", native)
        asked = struct("VkMemoryDedicatedRequirements")
        answer = struct("VkMemoryRequirements2", pNext=asked)
        which = struct("VkBufferMemoryRequirementsInfo2", buffer=native)
        context.vk.vkGetBufferMemoryRequirements2(context.device, which, answer)
        needs = answer.memoryRequirements
        total = descriptor.allocation_size
        check_range(descriptor.offset, int(needs.size), total, alignment=int(needs.alignment))
        needs.memoryTypeBits &= _types_of(context, handle, bit, memory_type)
        if not needs.memoryTypeBits:
            reason = f"{context.info.name} has no memory type for both a storage buffer and this handle"
            raise Unsupported(f"a buffer in {handle.type.value} memory", reason)
        needs.size = total
        features = memory_features(context.instance_vk, context.physical, handle.type)
        dedicated = descriptor.dedicated or bool(
            features & _DEDICATED_ONLY or asked.requiresDedicatedAllocation
        )
        chain = struct("VkMemoryDedicatedAllocateInfo", buffer=native) if dedicated else NULL
        # A failure frees the memory inside ``lend``. The memory owns the fd, so ``lend`` must not close it.
        with lend(handle, FdFate.TAKEN) as number, ExitStack() as inner:
            chain = _import_info(handle.type, bit, number, chain)
            memory = allocate(context, needs, inner, chain=chain, host_visible=host_visible)
            bind = context.vk.vkBindBufferMemory
            check("vkBindBufferMemory", bind(context.device, native, memory, descriptor.offset))
            mapped = NULL
            if host_visible:
                place = (memory, descriptor.offset, WHOLE_SIZE, 0)
                mapped = context.vk.create("vkMapMemory", "void *", context.device, *place)
            taken = inner.pop_all()
        undo.push(taken)
        destroy = undo.pop_all().close
        return ImportedBuffer(context, native, descriptor, kept, mapped=mapped, destroy=destroy)


def _import_info(handle_type: HandleType, bit: int, number: int, chain: Any) -> Any:
    """Extend the chain of ``VkMemoryAllocateInfo`` by an import."""
    if handle_type.is_fd:
        return struct("VkImportMemoryFdInfoKHR", pNext=chain, handleType=bit, fd=number)
    value = _driver.ffi.cast("HANDLE", number)
    return struct("VkImportMemoryWin32HandleInfoKHR", pNext=chain, handleType=bit, handle=value)


def _types_of(context: Context, handle: Handle, bit: int, memory_type: int | None) -> int:
    """Return the bits of the memory types in which a handle may be imported.

    The driver tells the types of a dma-buf (``vkGetMemoryFdPropertiesKHR``). It must not be asked about opaque handles
    (VUID-vkGetMemoryFdPropertiesKHR-handleType-00674, VUID-vkGetMemoryWin32HandlePropertiesKHR-handleType-00666).
    Those keep the type with which they were allocated.
    """
    bits = 0xFFFFFFFF if memory_type is None else 1 << memory_type
    if handle.type is not HandleType.DMA_BUF:
        return bits
    answer = struct("VkMemoryFdPropertiesKHR")
    name = "vkGetMemoryFdPropertiesKHR"
    check(name, getattr(context.vk, name)(context.device, bit, handle.value, answer))
    return bits & int(answer.memoryTypeBits)

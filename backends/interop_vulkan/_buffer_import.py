"""Import of memory that another API or driver allocated."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from interop.protocols import FdFate, HandleType, InvalidArgument, Unsupported, check_range, lend
from interop.toolkit import check_import_memory
from interop_vulkan import _driver
from interop_vulkan._allocation import allocate, new_buffer
from interop_vulkan._driver import NULL, check, struct
from interop_vulkan._handle_types import MEMORY_TYPES
from interop_vulkan.memory import VulkanBuffer, dedicated_only, map_memory

if TYPE_CHECKING:
    from interop.protocols import Handle, MemoryDescriptor
    from interop_vulkan._context import Context


def import_buffer(
    context: Context,
    handle: Handle,
    descriptor: MemoryDescriptor,
    *,
    memory_type: int | None,
    host_visible: bool,
) -> VulkanBuffer:
    """Create the buffer of :meth:`interop_vulkan.producer.VulkanProducer.import_memory`.

    It exports duplicates of the handle that it was imported from.
    """
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
        native, needs, asked = new_buffer(context, descriptor.size, bit, undo)
        room, total = needs.memoryRequirements, descriptor.allocation_size
        check_range(descriptor.offset, int(room.size), total, alignment=int(room.alignment))
        room.memoryTypeBits &= _types_of(context, handle, bit, memory_type)
        if not room.memoryTypeBits:
            reason = f"{context.info.name} has no memory type for both a storage buffer and this handle"
            raise Unsupported(f"a buffer in {handle.type.value} memory", reason)
        room.size = total
        dedicated = (
            descriptor.dedicated or asked.requiresDedicatedAllocation or dedicated_only(context, handle.type)
        )
        chain = struct("VkMemoryDedicatedAllocateInfo", buffer=native) if dedicated else NULL
        # A failure frees the memory inside ``lend``. The memory owns the fd, so ``lend`` must not close it.
        with lend(handle, FdFate.TAKEN) as number, ExitStack() as inner:
            chain = _import_info(handle.type, bit, number, chain)
            memory = allocate(
                context, "Buffer", native, needs, inner, chain, descriptor.offset, host_visible=host_visible
            )
            mapped = map_memory(context, memory, descriptor.offset) if host_visible else NULL
            taken = inner.pop_all()
        undo.push(taken)
        export, destroy = (kept.dup, descriptor), undo.pop_all().close
        return VulkanBuffer(context, native, export, destroy, descriptor.size, total, mapped)


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

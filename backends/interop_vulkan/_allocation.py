"""Device memory: which types can be exported, and its allocation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.protocols import DriverError, HandleType, Unsupported
from interop_vulkan._driver import NULL, VK, struct
from interop_vulkan._handle_types import MEMORY_TYPES

if TYPE_CHECKING:
    import contextlib

    from interop_vulkan._context import Context

_MAPPABLE: int = VK.VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK.VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
# Protected memory, lazily allocated memory, and AMD's uncached types, which need a feature.
_AVOIDED: int = 0x20 | 0x10 | 0x40 | 0x80


def exportable(context: Context, export: HandleType) -> int:
    """Return Vulkan's bit of a handle type. Raises :class:`Unsupported` if the device does not export memory as it."""
    capabilities = context.info.capabilities
    if export not in capabilities.memory_export:
        offered = ", ".join(sorted(capabilities.memory_export)) or "none"
        reason = f"{context.info.name} exports memory as: {offered}"
        raise Unsupported(f"exporting memory as {export.value}", reason, reasons=capabilities.notes)
    return MEMORY_TYPES[export][0]


def check_fits(context: Context, size: int, heap: int | None = None) -> None:
    """Raise :class:`DriverError` for a size that the heap, or every heap, is too small for.

    Drivers must not be asked for it (VUID-vkAllocateMemory-pAllocateInfo-01713).
    """
    heaps = context.memory.memoryHeaps
    sizes = [int(heaps[index].size) for index in range(context.memory.memoryHeapCount)]
    room = max(sizes) if heap is None else sizes[heap]
    if size > room:
        text = f"{size} bytes were requested, the memory heap has {room}"
        raise DriverError("vkAllocateMemory", -2, "VK_ERROR_OUT_OF_DEVICE_MEMORY", text)


def allocate(
    context: Context, needs: Any, undo: contextlib.ExitStack, *, chain: Any = NULL, host_visible: bool = False
) -> Any:
    """Allocate a ``VkDeviceMemory`` for ``VkMemoryRequirements``. ``undo`` frees it.

    ``chain`` extends ``VkMemoryAllocateInfo``: by an export, a dedicated buffer or image, or an import.
    """
    index = _memory_type(context, int(needs.memoryTypeBits), host_visible=host_visible)
    check_fits(context, int(needs.size), int(context.memory.memoryTypes[index].heapIndex))
    info = struct("VkMemoryAllocateInfo", pNext=chain, allocationSize=needs.size, memoryTypeIndex=index)
    memory = context.create("vkAllocateMemory", "VkDeviceMemory", info)
    context.undo(undo, "vkFreeMemory", memory)
    return memory


def _memory_type(context: Context, allowed: int, *, host_visible: bool) -> int:
    """Choose a memory type; among equals the first, as the specification orders them by speed."""
    required = _MAPPABLE if host_visible else 0
    # The host mostly reads mapped memory, and reading uncached memory is slow.
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
        raise Unsupported(what, f"{context.info.name} has no memory type that fits")
    return best

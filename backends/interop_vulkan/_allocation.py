"""Device memory: which types can be exported, and its allocation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.protocols import DriverError, HandleType, Unsupported
from interop_vulkan._driver import NULL, VK, check, struct
from interop_vulkan._handle_types import BUFFER_USAGE, MEMORY_TYPES

if TYPE_CHECKING:
    import contextlib

    from interop_vulkan._context import Context

_MAPPABLE: int = VK.VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK.VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
# Protected memory, lazily allocated memory, and AMD's uncached types, which need a feature.
_AVOIDED: int = 0x20 | 0x10 | 0x40 | 0x80


def exportable(context: Context, export: HandleType) -> int:
    """Return Vulkan's bit of a handle type. Raises :class:`Unsupported` if the device does not export memory as it."""
    context.check_offered(
        export, context.info.capabilities.memory_export, "exporting memory", "exports memory as"
    )
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


def new_buffer(context: Context, size: int, bit: int, undo: contextlib.ExitStack) -> tuple[Any, Any, Any]:
    """Create a ``VkBuffer`` for memory of a handle type, or for private memory. ``undo`` destroys it.

    Returns:
        The buffer, its ``VkMemoryRequirements2`` and its ``VkMemoryDedicatedRequirements``.
    """
    external = struct("VkExternalMemoryBufferCreateInfo", handleTypes=bit) if bit else NULL
    info = struct("VkBufferCreateInfo", pNext=external, size=size, usage=BUFFER_USAGE)
    native = context.create("Buffer", info, undo)
    return native, *requirements(context, "Buffer", native)


def requirements(context: Context, kind: str, native: Any) -> tuple[Any, Any]:
    """Return the ``VkMemoryRequirements2`` and ``VkMemoryDedicatedRequirements`` of a buffer or an image."""
    asked = struct("VkMemoryDedicatedRequirements")
    needs = struct("VkMemoryRequirements2", pNext=asked)
    which = struct(f"Vk{kind}MemoryRequirementsInfo2", **{kind.lower(): native})
    getattr(context.vk, f"vkGet{kind}MemoryRequirements2")(context.device, which, needs)
    return needs, asked


def allocate(
    context: Context,
    kind: str,
    native: Any,
    needs: Any,
    undo: contextlib.ExitStack,
    chain: Any = NULL,
    offset: int = 0,
    *,
    host_visible: bool = False,
) -> Any:
    """Allocate a ``VkDeviceMemory`` for ``VkMemoryRequirements2``, and bind it. ``undo`` frees it.

    Args:
        context: The device.
        kind: ``"Buffer"`` or ``"Image"``.
        native: The buffer or image.
        needs: Its requirements.
        undo: Frees the memory.
        chain: Extends ``VkMemoryAllocateInfo``: by an export, a dedicated buffer or image, or an import.
        offset: Byte of the memory at which the buffer or image begins.
        host_visible: Takes memory that the host can map.
    """
    room = needs.memoryRequirements
    index = _memory_type(context, int(room.memoryTypeBits), host_visible=host_visible)
    check_fits(context, int(room.size), int(context.memory.memoryTypes[index].heapIndex))
    info = struct("VkMemoryAllocateInfo", pNext=chain, allocationSize=room.size, memoryTypeIndex=index)
    memory = context.vk.create("vkAllocateMemory", "VkDeviceMemory", context.device, info, NULL)
    context.undo(undo, "vkFreeMemory", memory)
    bind = f"vkBind{kind}Memory"
    check(bind, getattr(context.vk, bind)(context.device, native, memory, offset))
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

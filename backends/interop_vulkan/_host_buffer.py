"""Buffers over pages of host memory (``VK_EXT_external_memory_host``)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from interop.protocols import HandleType, InvalidArgument, Unsupported
from interop.toolkit import HostPages
from interop_vulkan import _driver
from interop_vulkan._allocation import allocate, exportable
from interop_vulkan._driver import NULL, check, struct
from interop_vulkan._handle_types import BUFFER_USAGE
from interop_vulkan.memory import VulkanBuffer

if TYPE_CHECKING:
    from interop_vulkan._context import Context

_HOST = HandleType.HOST_ALLOCATION


def create_host_buffer(
    context: Context, size: int, pages: HostPages | None, *, host_visible: bool
) -> VulkanBuffer:
    """Create a buffer of ``size`` bytes over ``pages``, or over new pages, and import them.

    The buffer keeps the pages until the driver's memory object is freed.

    Note:
        ``vkGetMemoryHostPointerPropertiesEXT``, ``vkAllocateMemory`` with ``VkImportMemoryHostPointerInfoEXT``.
    """
    bit = exportable(context, _HOST)
    alignment = _alignment(context)
    with contextlib.ExitStack() as undo:
        external = struct("VkExternalMemoryBufferCreateInfo", handleTypes=bit)
        info = struct("VkBufferCreateInfo", pNext=external, size=size, usage=BUFFER_USAGE)
        native = context.create("vkCreateBuffer", "VkBuffer", info)
        context.undo(undo, "vkDestroyBuffer", native)
        needs = _driver.ffi.new("VkMemoryRequirements *")
        context.vk.vkGetBufferMemoryRequirements(context.device, native, needs)
        if pages is None:
            pages = HostPages.allocate(int(needs.size), alignment=alignment)
        elif pages.address % alignment or pages.size % alignment or pages.size < needs.size:
            msg = (
                f"a buffer of {size} bytes needs {int(needs.size)} bytes of host memory, whole and aligned to "
                f"{alignment}, got {pages!r}"
            )
            raise InvalidArgument(msg)
        undo.callback(_keep, pages)
        pointer = _driver.ffi.cast("void *", pages.address)
        allowed = struct("VkMemoryHostPointerPropertiesEXT")
        ask = context.vk.vkGetMemoryHostPointerPropertiesEXT
        check("vkGetMemoryHostPointerPropertiesEXT", ask(context.device, bit, pointer, allowed))
        needs.memoryTypeBits &= allowed.memoryTypeBits
        needs.size = pages.size
        if not needs.memoryTypeBits:
            reason = f"{context.info.name} has no memory type for both a storage buffer and these pages"
            raise Unsupported("a buffer in host memory", reason)
        chain = struct("VkImportMemoryHostPointerInfoEXT", handleType=bit, pHostPointer=pointer)
        memory = allocate(context, needs, undo, chain=chain, host_visible=host_visible)
        check("vkBindBufferMemory", context.vk.vkBindBufferMemory(context.device, native, memory, 0))
        return VulkanBuffer(
            context,
            native,
            None,
            size=size,
            allocation_size=pages.size,
            export=_HOST,
            dedicated=False,
            mapped=pointer if host_visible else NULL,
            destroy=undo.pop_all().close,
            pages=pages,
        )


def _alignment(context: Context) -> int:
    asked = struct("VkPhysicalDeviceExternalMemoryHostPropertiesEXT")
    properties = struct("VkPhysicalDeviceProperties2", pNext=asked)
    context.instance_vk.vkGetPhysicalDeviceProperties2(context.physical, properties)
    return int(asked.minImportedHostPointerAlignment)


def _keep(pages: HostPages) -> None:
    """Drop the last reference to the pages: the memory object has been freed."""

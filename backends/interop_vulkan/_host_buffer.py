"""Buffers over pages of host memory (``VK_EXT_external_memory_host``)."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING

from interop.protocols import Handle, HandleType, InvalidArgument, Unsupported
from interop.toolkit import HostPages
from interop_vulkan import _driver
from interop_vulkan._allocation import allocate, exportable, new_buffer
from interop_vulkan._driver import NULL, check, struct
from interop_vulkan.memory import VulkanBuffer, describe_memory

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
        native, needs, _ = new_buffer(context, size, bit, undo)
        room = needs.memoryRequirements
        if pages is None:
            pages = HostPages.allocate(int(room.size), alignment=alignment)
        elif pages.address % alignment or pages.size % alignment or pages.size < room.size:
            msg = (
                f"a buffer of {size} bytes needs {int(room.size)} bytes of host memory, whole and aligned to "
                f"{alignment}, got {pages!r}"
            )
            raise InvalidArgument(msg)
        undo.callback(_keep, pages)
        pointer = _driver.ffi.cast("void *", pages.address)
        allowed = struct("VkMemoryHostPointerPropertiesEXT")
        ask = context.vk.vkGetMemoryHostPointerPropertiesEXT
        check("vkGetMemoryHostPointerPropertiesEXT", ask(context.device, bit, pointer, allowed))
        room.memoryTypeBits &= allowed.memoryTypeBits
        room.size = pages.size
        if not room.memoryTypeBits:
            reason = f"{context.info.name} has no memory type for both a storage buffer and these pages"
            raise Unsupported("a buffer in host memory", reason)
        chain = struct("VkImportMemoryHostPointerInfoEXT", handleType=bit, pHostPointer=pointer)
        allocate(context, "Buffer", native, needs, undo, chain, host_visible=host_visible)
        name = os.urandom(16)
        descriptor = describe_memory(context, _HOST, size, pages.size, dedicated=False, allocation=name)
        export = partial(Handle, pages.address, _HOST, keep=pages), descriptor
        mapped = pointer if host_visible else NULL
        return VulkanBuffer(context, native, export, undo.pop_all().close, size, pages.size, mapped)


def _alignment(context: Context) -> int:
    asked = struct("VkPhysicalDeviceExternalMemoryHostPropertiesEXT")
    properties = struct("VkPhysicalDeviceProperties2", pNext=asked)
    context.instance_vk.vkGetPhysicalDeviceProperties2(context.physical, properties)
    return int(asked.minImportedHostPointerAlignment)


def _keep(pages: HostPages) -> None:
    """Drop the last reference to the pages: the memory object has been freed."""

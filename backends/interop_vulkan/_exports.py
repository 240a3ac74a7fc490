"""Handing memory and semaphores out: what their creation is told, and the handles themselves."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from interop.protocols import HandleType
from interop_vulkan import _driver
from interop_vulkan._devices import MEMORY_TYPES, SEMAPHORE_TYPES
from interop_vulkan._driver import check, struct, take_handle

if TYPE_CHECKING:
    from interop.protocols import Handle
    from interop_vulkan._context import Context

# DXGI_SHARED_RESOURCE_READ | DXGI_SHARED_RESOURCE_WRITE, as the samples of Khronos and NVIDIA ask for both.
_READ_AND_WRITE = 0x80000000 | 1


def exported_memory(handle_type: HandleType, chain: Any) -> Any:
    """Put in front of ``chain`` what ``VkMemoryAllocateInfo`` is told of an export."""
    chain = _described("VkExportMemoryWin32HandleInfoKHR", handle_type, chain)
    return struct("VkExportMemoryAllocateInfo", pNext=chain, handleTypes=MEMORY_TYPES[handle_type][0])


def exported_semaphore(handle_type: HandleType, chain: Any) -> Any:
    """Put in front of ``chain`` what ``VkSemaphoreCreateInfo`` is told of an export."""
    chain = _described("VkExportSemaphoreWin32HandleInfoKHR", handle_type, chain)
    return struct("VkExportSemaphoreCreateInfo", pNext=chain, handleTypes=SEMAPHORE_TYPES[handle_type][0])


def _described(structure: str, handle_type: HandleType, chain: Any) -> Any:
    """Describe the NT handle to come: the default descriptor, not inherited, without a name.

    No other type may be described (VUID-VkExportMemoryWin32HandleInfoKHR-handleTypes-00657).
    """
    if handle_type is not HandleType.OPAQUE_WIN32:
        return chain
    attributes = struct("SECURITY_ATTRIBUTES", nLength=_driver.ffi.sizeof("SECURITY_ATTRIBUTES"))
    return struct(structure, pNext=chain, pAttributes=attributes, dwAccess=_READ_AND_WRITE)


class Exports:
    """The handles of one object, as many as are asked for. Any thread.

    Of each object the driver may be asked for an NT handle once (VUID-VkMemoryGetWin32HandleInfoKHR-handleType-00663,
    VUID-VkSemaphoreGetWin32HandleInfoKHR-handleType-01127). So the first is kept until :meth:`close`, and
    duplicates are handed out.
    """

    def __init__(
        self, context: Context, function: str, out: str, handle_type: HandleType, request: Any
    ) -> None:
        self._context = context
        self._function = function
        self._out = _driver.ffi.typeof(f"{out} *")
        self._type = handle_type
        self._once = handle_type is HandleType.OPAQUE_WIN32
        self._request = request
        self._kept: Handle | None = None
        self._lock = threading.Lock()

    def take(self) -> Handle:
        """Return a new handle, the caller's."""
        if self._once:
            with self._lock:
                if self._kept is None:
                    self._kept = self._ask()
                return self._kept.dup()
        return self._ask()

    def _ask(self) -> Handle:
        context = self._context
        number = _driver.ffi.new(self._out)
        code = getattr(context.vk, self._function)(context.device, self._request, number)
        if code:
            check(self._function, code)
        return take_handle(self._function, number[0], self._type, context.private_exports)

    def close(self) -> None:
        """Close what is kept; handles that were taken stay. A second call does nothing."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()


def memory_exports(context: Context, memory: Any, handle_type: HandleType) -> Exports:
    """Return the handles of a ``VkDeviceMemory`` that was made exportable as this type."""
    asked = {"memory": memory, "handleType": MEMORY_TYPES[handle_type][0]}
    if handle_type.is_fd:
        request = struct("VkMemoryGetFdInfoKHR", **asked)
        return Exports(context, "vkGetMemoryFdKHR", "int", handle_type, request)
    request = struct("VkMemoryGetWin32HandleInfoKHR", **asked)
    return Exports(context, "vkGetMemoryWin32HandleKHR", "HANDLE", handle_type, request)


def semaphore_exports(context: Context, semaphore: Any, handle_type: HandleType) -> Exports:
    """Return the handles of a ``VkSemaphore`` that was made exportable as this type."""
    asked = {"semaphore": semaphore, "handleType": SEMAPHORE_TYPES[handle_type][0]}
    if handle_type.is_fd:
        request = struct("VkSemaphoreGetFdInfoKHR", **asked)
        return Exports(context, "vkGetSemaphoreFdKHR", "int", handle_type, request)
    request = struct("VkSemaphoreGetWin32HandleInfoKHR", **asked)
    return Exports(context, "vkGetSemaphoreWin32HandleKHR", "HANDLE", handle_type, request)

"""Export of memory and semaphores: the structures for their creation, and the handles."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from interop.protocols import FD_TYPES, DriverError, Handle, HandleError, HandleType, check_value
from interop_vulkan import _driver
from interop_vulkan._driver import check, struct
from interop_vulkan._handle_types import MEMORY_TYPES, SEMAPHORE_TYPES

if TYPE_CHECKING:
    from interop_vulkan._context import Context

# DXGI_SHARED_RESOURCE_READ | DXGI_SHARED_RESOURCE_WRITE; the samples of Khronos and NVIDIA request both.
_READ_AND_WRITE = 0x80000000 | 1


def exported_memory(handle_type: HandleType, chain: Any) -> Any:
    """Extend the chain of ``VkMemoryAllocateInfo`` by an export."""
    chain = _described("VkExportMemoryWin32HandleInfoKHR", handle_type, chain)
    return struct("VkExportMemoryAllocateInfo", pNext=chain, handleTypes=MEMORY_TYPES[handle_type][0])


def exported_semaphore(handle_type: HandleType, chain: Any) -> Any:
    """Extend the chain of ``VkSemaphoreCreateInfo`` by an export."""
    chain = _described("VkExportSemaphoreWin32HandleInfoKHR", handle_type, chain)
    return struct("VkExportSemaphoreCreateInfo", pNext=chain, handleTypes=SEMAPHORE_TYPES[handle_type][0])


def _described(structure: str, handle_type: HandleType, chain: Any) -> Any:
    """Extend the chain by the description of an NT handle: default security, not inherited, without a name.

    The specification allows it for NT handles alone (VUID-VkExportMemoryWin32HandleInfoKHR-handleTypes-00657).
    """
    if handle_type is not HandleType.OPAQUE_WIN32:
        return chain
    attributes = struct("SECURITY_ATTRIBUTES", nLength=_driver.ffi.sizeof("SECURITY_ATTRIBUTES"))
    return struct(structure, pNext=chain, pAttributes=attributes, dwAccess=_READ_AND_WRITE)


class Exports:
    """Makes the handles of one object, on any thread.

    The driver may be asked only once for an NT handle of an object. Therefore the first NT handle is kept until
    :meth:`close`, and callers get duplicates (VUID-VkMemoryGetWin32HandleInfoKHR-handleType-00663,
    VUID-VkSemaphoreGetWin32HandleInfoKHR-handleType-01127).
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
        """Return a new handle. The caller owns it."""
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
        return _owned(self._function, number[0], self._type, context.private_exports)

    def close(self) -> None:
        """Close the kept handle. Handles of callers stay open. A second call does nothing."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()


def _owned(function: str, number: Any, handle_type: HandleType, private: set[str]) -> Handle:
    """Return a handle that owns the result of an export: an ``int`` or a Windows ``HANDLE``.

    Child processes do not inherit it. ``private`` collects the functions whose descriptors are not inheritable as the
    driver returns them.
    """
    if handle_type not in FD_TYPES:
        value = _driver.address(number)
        try:
            check_value(value, handle_type)
        except HandleError as error:
            text = f"reported success and returned no handle: {error}"
            raise DriverError(function, 0, "VK_SUCCESS", text) from error
        return Handle(value, handle_type)
    handle = Handle(number, handle_type)
    if number >= 0 and function not in private:
        if os.get_inheritable(number):  # lavapipe 22.3 returns inheritable ones
            os.set_inheritable(number, False)  # noqa: FBT003 - the function's only parameter
        else:
            private.add(function)
    return handle


def memory_exports(context: Context, memory: Any, handle_type: HandleType) -> Exports:
    """Return the exports of a ``VkDeviceMemory`` that was allocated for this handle type."""
    asked = {"memory": memory, "handleType": MEMORY_TYPES[handle_type][0]}
    if handle_type.is_fd:
        request = struct("VkMemoryGetFdInfoKHR", **asked)
        return Exports(context, "vkGetMemoryFdKHR", "int", handle_type, request)
    request = struct("VkMemoryGetWin32HandleInfoKHR", **asked)
    return Exports(context, "vkGetMemoryWin32HandleKHR", "HANDLE", handle_type, request)


def semaphore_exports(context: Context, semaphore: Any, handle_type: HandleType) -> Exports:
    """Return the exports of a ``VkSemaphore`` that was created for this handle type."""
    asked = {"semaphore": semaphore, "handleType": SEMAPHORE_TYPES[handle_type][0]}
    if handle_type.is_fd:
        request = struct("VkSemaphoreGetFdInfoKHR", **asked)
        return Exports(context, "vkGetSemaphoreFdKHR", "int", handle_type, request)
    request = struct("VkSemaphoreGetWin32HandleInfoKHR", **asked)
    return Exports(context, "vkGetSemaphoreWin32HandleKHR", "HANDLE", handle_type, request)

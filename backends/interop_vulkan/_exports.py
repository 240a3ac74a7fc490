"""Export of memory and semaphores: the structures for their creation, and the handles."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from interop.protocols import DriverError, Handle, HandleError, HandleType, check_value
from interop_vulkan import _driver
from interop_vulkan._driver import check, struct
from interop_vulkan._handle_types import TYPES

if TYPE_CHECKING:
    import contextlib

    from interop_vulkan._context import Context

# DXGI_SHARED_RESOURCE_READ | DXGI_SHARED_RESOURCE_WRITE; the samples of Khronos and NVIDIA request both.
_READ_AND_WRITE = 0x80000000 | 1


_CREATION = {"Memory": "VkExportMemoryAllocateInfo", "Semaphore": "VkExportSemaphoreCreateInfo"}


def exported(kind: str, handle_type: HandleType, chain: Any) -> Any:
    """Extend the chain of ``VkMemoryAllocateInfo`` or ``VkSemaphoreCreateInfo`` by an export.

    An NT handle gets default security, is not inherited and has no name. The specification allows that description for
    NT handles alone (VUID-VkExportMemoryWin32HandleInfoKHR-handleTypes-00657).

    Args:
        kind: ``"Memory"`` or ``"Semaphore"``.
        handle_type: Handle type of the export.
        chain: The structures so far.
    """
    if handle_type is HandleType.OPAQUE_WIN32:
        described = f"VkExport{kind}Win32HandleInfoKHR"
        attributes = struct("SECURITY_ATTRIBUTES", nLength=_driver.ffi.sizeof("SECURITY_ATTRIBUTES"))
        chain = struct(described, pNext=chain, pAttributes=attributes, dwAccess=_READ_AND_WRITE)
    return struct(_CREATION[kind], pNext=chain, handleTypes=TYPES[kind][handle_type][0])


class Exports:
    """Makes the handles of one object, on any thread.

    The driver may be asked only once for an NT handle of an object. Therefore the first NT handle is kept until
    :meth:`close`, and callers get duplicates (VUID-VkMemoryGetWin32HandleInfoKHR-handleType-00663,
    VUID-VkSemaphoreGetWin32HandleInfoKHR-handleType-01127).
    """

    def __init__(
        self, context: Context, kind: str, native: Any, handle_type: HandleType, undo: contextlib.ExitStack
    ) -> None:
        """``native`` was created for this handle type. ``undo`` closes the kept handle."""
        self._is_fd = handle_type.is_fd
        self._once = handle_type is HandleType.OPAQUE_WIN32
        way, out = ("Fd", "int") if self._is_fd else ("Win32Handle", "HANDLE")
        asked = {kind.lower(): native, "handleType": TYPES[kind][handle_type][0]}
        self._context = context
        self._function = f"vkGet{kind}{way}KHR"
        self._out = _driver.ffi.typeof(f"{out} *")
        self.type = handle_type
        self._request = struct(f"Vk{kind}Get{way}InfoKHR", **asked)
        self._kept: Handle | None = None
        self._lock = threading.Lock()
        undo.callback(self.close)

    def take(self) -> Handle:
        """Return a new handle. The caller owns it."""
        if not self._once:
            return self._ask()
        with self._lock:
            if self._kept is None:
                self._kept = self._ask()
            return self._kept.dup()

    def _ask(self) -> Handle:
        """Ask the driver for a handle. Child processes do not inherit it."""
        context, function = self._context, self._function
        found = _driver.ffi.new(self._out)
        code = getattr(context.vk, function)(context.device, self._request, found)
        if code:
            check(function, code)
        number = found[0]
        if not self._is_fd:
            value = _driver.address(number)
            try:
                check_value(value, self.type)
            except HandleError as error:
                text = f"reported success and returned no handle: {error}"
                raise DriverError(function, 0, "VK_SUCCESS", text) from error
            return Handle(value, self.type)
        handle = Handle(number, self.type)
        if number >= 0 and function not in context.private_exports:
            if os.get_inheritable(number):  # lavapipe 22.3 returns inheritable ones
                os.set_inheritable(number, False)  # noqa: FBT003 - the function's only parameter
            else:
                context.private_exports.add(function)
        return handle

    def close(self) -> None:
        """Close the kept handle. Handles of callers stay open. A second call does nothing."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

"""Timeline semaphores as the host uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop_vulkan import _driver
from interop_vulkan._driver import NULL, VK, check

if TYPE_CHECKING:
    from interop_vulkan._driver import Functions

_SLICE = 0.25  # seconds in the driver at a time, so that Ctrl-C gets through
_WAIT_INFO = _driver.structure_type("VkSemaphoreWaitInfo")
_SIGNAL_INFO = _driver.structure_type("VkSemaphoreSignalInfo")
_new = _driver.ffi.new


class Timeline:
    """Waits for and signals a timeline ``VkSemaphore`` from the host. Borrows the semaphore."""

    def __init__(self, vk: Functions, device: Any, semaphore: Any) -> None:
        self.device = device
        self._get = vk.vkGetSemaphoreCounterValue
        self._wait = vk.vkWaitSemaphores
        self._signal = vk.vkSignalSemaphore
        self._semaphores = _driver.array("VkSemaphore", [semaphore])
        self.semaphore = semaphore
        self.submitted = 0
        """Timeline value of the last submission; used for the progress timeline alone."""

    def counter(self) -> int:
        """Return the present timeline value (``vkGetSemaphoreCounterValue``)."""
        value = _new("uint64_t *")
        check("vkGetSemaphoreCounterValue", self._get(self.device, self.semaphore, value))
        return int(value[0])

    def wait(self, value: int, timeout: float) -> bool:
        """Block until the counter reaches ``value``; False after ``timeout`` seconds."""
        # Any thread may wait, so each call has its own structure. A bridge waits in each turn, so it is built fast.
        values = _new("uint64_t[1]", (value,))
        info = _new("VkSemaphoreWaitInfo *", (_WAIT_INFO, NULL, 0, 1, self._semaphores, values))
        left = max(timeout, 0.0)
        while True:
            part = min(left, _SLICE)
            result = self._wait(self.device, info, int(part * 1e9))
            check("vkWaitSemaphores", result)
            if result == VK.VK_SUCCESS:
                return True
            left -= part
            if left <= 0:
                return False

    def signal(self, value: int) -> None:
        """Set the counter (``vkSignalSemaphore``). The value must be above the present one."""
        info = _new("VkSemaphoreSignalInfo *", (_SIGNAL_INFO, NULL, self.semaphore, value))
        check("vkSignalSemaphore", self._signal(self.device, info))

"""A few Vulkan objects for the self-test and the tests: shared memory, shared semaphores, submissions.

Vulkan through the ``vulkan`` package, on its CPU device. Structures stand in variables because the package
loses strings of structures that are nested inline.
"""

from __future__ import annotations

from typing import Any, Self

OPAQUE_FD = 1


class VulkanDevice:
    """The first CPU device whose extensions suffice, and one queue of it."""

    def __init__(self, *, semaphores: bool = True) -> None:
        """Open it; raises ``LookupError`` where Vulkan has no such device."""
        import vulkan

        self.vk: Any = vulkan
        vk = self.vk
        wanted = ["VK_KHR_external_memory_fd"] + (["VK_KHR_external_semaphore_fd"] if semaphores else [])
        application = vk.VkApplicationInfo(apiVersion=(1 << 22) | (1 << 12))
        self.instance = vk.vkCreateInstance(vk.VkInstanceCreateInfo(pApplicationInfo=application), None)
        for physical in vk.vkEnumeratePhysicalDevices(self.instance):
            properties = vk.vkGetPhysicalDeviceProperties(physical)
            names = {item.extensionName for item in vk.vkEnumerateDeviceExtensionProperties(physical, None)}
            if properties.deviceType == vk.VK_PHYSICAL_DEVICE_TYPE_CPU and names.issuperset(wanted):
                break
        else:
            vk.vkDestroyInstance(self.instance, None)
            raise LookupError(f"no Vulkan CPU device has {' and '.join(wanted)}")
        self.name: str = properties.deviceName
        queue = vk.VkDeviceQueueCreateInfo(queueFamilyIndex=0, queueCount=1, pQueuePriorities=[1.0])
        self.device = vk.vkCreateDevice(
            physical, vk.VkDeviceCreateInfo(pQueueCreateInfos=[queue], ppEnabledExtensionNames=wanted), None
        )
        self.queue = vk.vkGetDeviceQueue(self.device, 0, 0)
        self.get_memory_fd = vk.vkGetDeviceProcAddr(self.device, "vkGetMemoryFdKHR")
        if semaphores:
            self._get_semaphore_fd = vk.vkGetDeviceProcAddr(self.device, "vkGetSemaphoreFdKHR")
            self._import_semaphore_fd = vk.vkGetDeviceProcAddr(self.device, "vkImportSemaphoreFdKHR")

    def semaphore(self) -> tuple[Any, int]:
        """Make an exportable binary semaphore; returns it and its fd, which the caller owns."""
        vk = self.vk
        export = vk.VkExportSemaphoreCreateInfo(handleTypes=OPAQUE_FD)
        semaphore = vk.vkCreateSemaphore(self.device, vk.VkSemaphoreCreateInfo(pNext=export), None)
        info = vk.VkSemaphoreGetFdInfoKHR(semaphore=semaphore, handleType=OPAQUE_FD)
        return semaphore, self._get_semaphore_fd(self.device, info)

    def import_semaphore(self, fd: int) -> Any:
        """Make a semaphore over the payload behind ``fd``, which Vulkan takes."""
        vk = self.vk
        semaphore = vk.vkCreateSemaphore(self.device, vk.VkSemaphoreCreateInfo(), None)
        info = vk.VkImportSemaphoreFdInfoKHR(semaphore=semaphore, handleType=OPAQUE_FD, fd=fd)
        self._import_semaphore_fd(self.device, info)
        return semaphore

    def destroy_semaphore(self, semaphore: Any) -> None:
        """Destroy it."""
        self.vk.vkDestroySemaphore(self.device, semaphore, None)

    def submit(self, *, wait: Any = None, signal: Any = None) -> Any:
        """Submit an empty batch that waits for and signals semaphores; returns its fence."""
        vk = self.vk
        fence = vk.vkCreateFence(self.device, vk.VkFenceCreateInfo(), None)
        submission = vk.VkSubmitInfo(
            pWaitSemaphores=[wait] if wait is not None else [],
            pWaitDstStageMask=[vk.VK_PIPELINE_STAGE_ALL_COMMANDS_BIT] if wait is not None else [],
            pSignalSemaphores=[signal] if signal is not None else [],
        )
        vk.vkQueueSubmit(self.queue, 1, [submission], fence)
        return fence

    def finished(self, fence: Any, timeout_s: float) -> bool:
        """Wait for a fence; True when it was reached in time."""
        try:
            self.vk.vkWaitForFences(self.device, 1, [fence], True, int(timeout_s * 1e9))  # noqa: FBT003 - Vulkan's
        except self.vk.VkTimeout:
            return False
        return True

    def destroy_fence(self, fence: Any) -> None:
        """Destroy it."""
        self.vk.vkDestroyFence(self.device, fence, None)

    def memory(self, size: int) -> VulkanMemory:
        """Allocate exportable memory."""
        return VulkanMemory(self, size)

    def close(self) -> None:
        """Destroy device and instance; everything made of them must be gone."""
        self.vk.vkDeviceWaitIdle(self.device)
        self.vk.vkDestroyDevice(self.device, None)
        self.vk.vkDestroyInstance(self.instance, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class VulkanMemory:
    """Exportable device memory, mapped by Vulkan as ``view``."""

    def __init__(self, device: VulkanDevice, size: int) -> None:
        """Allocate ``size`` bytes of memory type 0, the only one of the CPU drivers."""
        vk = device.vk
        self._device = device
        export = vk.VkExportMemoryAllocateInfo(handleTypes=OPAQUE_FD)
        info = vk.VkMemoryAllocateInfo(pNext=export, allocationSize=size, memoryTypeIndex=0)
        self.memory = vk.vkAllocateMemory(device.device, info, None)
        self.view = vk.vkMapMemory(device.device, self.memory, 0, size, 0)

    def fd(self) -> int:
        """Export it once more; the caller owns the fd."""
        info = self._device.vk.VkMemoryGetFdInfoKHR(memory=self.memory, handleType=OPAQUE_FD)
        fd: int = self._device.get_memory_fd(self._device.device, info)
        return fd

    def close(self) -> None:
        """Free it; what was exported lives on."""
        self._device.vk.vkFreeMemory(self._device.device, self.memory, None)

"""Somebody else's Vulkan program: its own instance, device, queue and memory, by the ``vulkan`` package alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import vulkan as vk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

EXTENSIONS = ("VK_KHR_external_memory_fd", "VK_KHR_external_semaphore_fd")
USAGE = (
    vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT
    | vk.VK_BUFFER_USAGE_TRANSFER_SRC_BIT
    | vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT
)
OPAQUE_FD = 1
WHOLE_SIZE = 2**64 - 1  # the package has it with the wrong sign


class Engine:
    """An instance, a device with one queue, and what is allocated on it."""

    def __init__(
        self,
        *,
        api_version: tuple[int, int] = (1, 2),
        extensions: Sequence[str] = EXTENSIONS,
        timelines: bool = True,
    ) -> None:
        application = vk.VkApplicationInfo(apiVersion=vk.VK_MAKE_VERSION(*api_version, 0))
        self.instance: Any = vk.vkCreateInstance(vk.VkInstanceCreateInfo(pApplicationInfo=application), None)
        self.physical: Any = vk.vkEnumeratePhysicalDevices(self.instance)[0]
        listed = {each.extensionName for each in vk.vkEnumerateDeviceExtensionProperties(self.physical, None)}
        self.extensions = [name for name in extensions if name in listed]
        families = vk.vkGetPhysicalDeviceQueueFamilyProperties(self.physical)
        self.family = next(
            index for index, each in enumerate(families) if each.queueFlags & vk.VK_QUEUE_COMPUTE_BIT
        )
        queue = vk.VkDeviceQueueCreateInfo(queueFamilyIndex=self.family, pQueuePriorities=[1.0])
        timeline = vk.VkPhysicalDeviceTimelineSemaphoreFeatures(timelineSemaphore=1)
        info = vk.VkDeviceCreateInfo(
            pNext=timeline if timelines else None,
            pQueueCreateInfos=[queue],
            ppEnabledExtensionNames=self.extensions,
        )
        self.device: Any = vk.vkCreateDevice(self.physical, info, None)
        self.queue: Any = vk.vkGetDeviceQueue(self.device, self.family, 0)
        pool = vk.VkCommandPoolCreateInfo(queueFamilyIndex=self.family)
        self.pool: Any = vk.vkCreateCommandPool(self.device, pool, None)
        self._memories: list[tuple[Any, Any]] = []

    def buffer(
        self, size: int, *, export: bool = True, dedicated: bool = False, at: int = 0
    ) -> tuple[Any, Any, int]:
        """Return a buffer, its memory and the bytes of that; bound ``at`` bytes, rounded up, into the memory."""
        external = vk.VkExternalMemoryBufferCreateInfo(handleTypes=OPAQUE_FD)
        info = vk.VkBufferCreateInfo(pNext=external if export else None, size=size, usage=USAGE)
        buffer = vk.vkCreateBuffer(self.device, info, None)
        needs = vk.vkGetBufferMemoryRequirements(self.device, buffer)
        self.at = -(-at // needs.alignment) * needs.alignment
        kind = next(bit for bit in range(32) if needs.memoryTypeBits >> bit & 1)
        chain = vk.VkMemoryDedicatedAllocateInfo(buffer=buffer) if dedicated else None
        if export:
            chain = vk.VkExportMemoryAllocateInfo(pNext=chain, handleTypes=OPAQUE_FD)
        allocation_size = self.at + needs.size
        wanted = vk.VkMemoryAllocateInfo(pNext=chain, allocationSize=allocation_size, memoryTypeIndex=kind)
        memory = vk.vkAllocateMemory(self.device, wanted, None)
        vk.vkBindBufferMemory(self.device, buffer, memory, self.at)
        self._memories.append((buffer, memory))
        return buffer, memory, allocation_size

    def fill(self, buffer: Any, word: int) -> None:
        """Fill a buffer in a submission of one's own, and go on without waiting."""
        info = vk.VkCommandBufferAllocateInfo(
            commandPool=self.pool, level=vk.VK_COMMAND_BUFFER_LEVEL_PRIMARY, commandBufferCount=1
        )
        commands = vk.vkAllocateCommandBuffers(self.device, info)[0]
        vk.vkBeginCommandBuffer(commands, vk.VkCommandBufferBeginInfo())
        vk.vkCmdFillBuffer(commands, buffer, 0, WHOLE_SIZE, word)
        vk.vkEndCommandBuffer(commands)
        vk.vkQueueSubmit(self.queue, 1, [vk.VkSubmitInfo(pCommandBuffers=[commands])], None)

    def close(self) -> None:
        """Destroy everything, which fails or crashes if somebody else has."""
        vk.vkDeviceWaitIdle(self.device)
        for buffer, memory in self._memories:
            vk.vkDestroyBuffer(self.device, buffer, None)
            vk.vkFreeMemory(self.device, memory, None)
        vk.vkDestroyCommandPool(self.device, self.pool, None)
        vk.vkDestroyDevice(self.device, None)
        vk.vkDestroyInstance(self.instance, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""A Vulkan program of one's own, and a consumer that computes in its memory: nothing of it was made by interop.

The class below is any program that uses the ``vulkan`` package. What sharing adds to it is marked with (1) to (4).

python examples/own_vulkan.py --consumer opencl        (or hip, cuda: the same program)
"""

from __future__ import annotations

import argparse
from typing import Any

import interop_vulkan
import numpy as np
import vulkan as vk

import interop

WORDS = 1 << 16
OPAQUE_FD = vk.VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT
WANTED = ["VK_KHR_external_memory_fd", "VK_KHR_external_semaphore_fd"]
TWICE = """
KERNEL void twice(GLOBAL_MEM unsigned int *words)
{
    words[GLOBAL_ID(0)] *= 2u;
}
"""


class Program:
    """An instance, a device, a queue, and a buffer for the host and one for the device."""

    def __init__(self, number: int) -> None:
        application = vk.VkApplicationInfo(apiVersion=vk.VK_MAKE_VERSION(1, 2, 0))  # (1) 1.2 or more
        self.instance: Any = vk.vkCreateInstance(vk.VkInstanceCreateInfo(pApplicationInfo=application), None)
        self.physical: Any = vk.vkEnumeratePhysicalDevices(self.instance)[number]
        listed = {each.extensionName for each in vk.vkEnumerateDeviceExtensionProperties(self.physical, None)}
        families = vk.vkGetPhysicalDeviceQueueFamilyProperties(self.physical)
        able = [each.queueFlags & vk.VK_QUEUE_COMPUTE_BIT for each in families]
        self.family = next(index for index, flag in enumerate(able) if flag)
        self.extensions = [name for name in WANTED if name in listed]  # (2) extensions and feature
        queue = vk.VkDeviceQueueCreateInfo(queueFamilyIndex=self.family, pQueuePriorities=[1.0])
        info = vk.VkDeviceCreateInfo(
            pNext=vk.VkPhysicalDeviceTimelineSemaphoreFeatures(timelineSemaphore=1),
            pQueueCreateInfos=[queue],
            ppEnabledExtensionNames=self.extensions,
        )
        self.device: Any = vk.vkCreateDevice(self.physical, info, None)
        self.queue: Any = vk.vkGetDeviceQueue(self.device, self.family, 0)
        pool = vk.VkCommandPoolCreateInfo(queueFamilyIndex=self.family)
        self.pool: Any = vk.vkCreateCommandPool(self.device, pool, None)

    def allocate(self, *, shared: bool) -> tuple[Any, Any, int]:
        """Return a buffer, its memory, and how many bytes that has."""
        usage = vk.VK_BUFFER_USAGE_TRANSFER_SRC_BIT | vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT
        usage |= vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT
        external = (
            vk.VkExternalMemoryBufferCreateInfo(handleTypes=OPAQUE_FD) if shared else None
        )  # (3) buffer
        info = vk.VkBufferCreateInfo(pNext=external, size=4 * WORDS, usage=usage)
        buffer = vk.vkCreateBuffer(self.device, info, None)
        needs: Any = vk.vkGetBufferMemoryRequirements(self.device, buffer)
        export = vk.VkExportMemoryAllocateInfo(handleTypes=OPAQUE_FD) if shared else None  # (4) memory
        memory = vk.vkAllocateMemory(
            self.device,
            vk.VkMemoryAllocateInfo(
                pNext=export,
                allocationSize=needs.size,
                memoryTypeIndex=self.memory_type(needs.memoryTypeBits, shared=shared),
            ),
            None,
        )
        vk.vkBindBufferMemory(self.device, buffer, memory, 0)
        return buffer, memory, needs.size

    def memory_type(self, allowed: int, *, shared: bool) -> int:
        """Return device memory to share, and memory that the host can map otherwise."""
        wanted = vk.VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
        if not shared:
            wanted = vk.VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | vk.VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
        properties: Any = vk.vkGetPhysicalDeviceMemoryProperties(self.physical)
        types = properties.memoryTypes
        able = [index for index in range(len(types)) if allowed >> index & 1]
        return next((index for index in able if types[index].propertyFlags & wanted == wanted), able[0])

    def submit(self, record: Any) -> None:
        """Record commands and submit them, without waiting."""
        allocate = vk.VkCommandBufferAllocateInfo(
            commandPool=self.pool, level=vk.VK_COMMAND_BUFFER_LEVEL_PRIMARY, commandBufferCount=1
        )
        commands = vk.vkAllocateCommandBuffers(self.device, allocate)[0]
        vk.vkBeginCommandBuffer(commands, vk.VkCommandBufferBeginInfo())
        record(commands)
        vk.vkEndCommandBuffer(commands)
        vk.vkQueueSubmit(self.queue, 1, [vk.VkSubmitInfo(pCommandBuffers=[commands])], None)

    def read(self, memory: Any) -> Any:
        """Return a copy of the words in mapped memory, when the queue is idle."""
        vk.vkQueueWaitIdle(self.queue)
        mapped: Any = vk.vkMapMemory(self.device, memory, 0, 4 * WORDS, 0)
        words = np.frombuffer(mapped, np.uint32).copy()
        vk.vkUnmapMemory(self.device, memory)
        return words

    def close(self, *allocations: tuple[Any, Any, int]) -> None:
        """End the program, as if nobody else had ever used its device."""
        vk.vkDeviceWaitIdle(self.device)
        for buffer, memory, _ in allocations:
            vk.vkDestroyBuffer(self.device, buffer, None)
            vk.vkFreeMemory(self.device, memory, None)
        vk.vkDestroyCommandPool(self.device, self.pool, None)
        vk.vkDestroyDevice(self.device, None)
        vk.vkDestroyInstance(self.instance, None)


def main() -> None:
    """Fill by the program, double by the consumer, copy back by the program, and look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumer", default="opencl", help="which API computes")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--device", type=int, default=0, help="number of the physical device")
    options = parser.parse_args()

    program = Program(options.device)
    shared, host = program.allocate(shared=True), program.allocate(shared=False)
    buffer, memory, allocation_size = shared

    with (
        interop_vulkan.adopt(
            instance=program.instance,
            physical_device=program.physical,
            device=program.device,
            queue=program.queue,
            queue_family=program.family,
            api_version=(1, 2),
            extensions=program.extensions,
            features=["timelineSemaphore"],
        ) as producer,
        interop.connect(producer=producer, consumer=options.consumer) as link,
    ):
        print(link.explain())
        adopted = producer.adopt_buffer(buffer, memory, size=4 * WORDS, allocation_size=allocation_size)
        words = link.adopt(adopted, WORDS, "uint32")
        twice = link.consumer.compile(TWICE).kernel("twice")
        region = vk.VkBufferCopy(srcOffset=0, dstOffset=0, size=4 * WORDS)
        for frame in range(options.frames):
            with link.queue_turn(words):
                program.submit(
                    lambda commands, word=frame: vk.vkCmdFillBuffer(commands, buffer, 0, 4 * WORDS, word)
                )
            with link.consumer_turn(words) as view:
                twice(view, global_size=WORDS)
            with link.queue_turn(words):
                program.submit(lambda commands: vk.vkCmdCopyBuffer(commands, buffer, host[0], 1, [region]))
            seen = program.read(host[1])
            assert (seen == 2 * frame).all(), f"frame {frame}: {seen[:4]}"
        link.synchronize()
        words.close()
        adopted.close()
        print(f"{options.frames} frames, {link.path.value}, all right")
    program.close(shared, host)


if __name__ == "__main__":
    main()

"""Vulkan by hand, over the ``vulkan`` package: device, exportable memory and semaphores, prepared submissions.

Structures are made once. What runs every turn goes through the package's functions, as programs are written, or
with ``pointers`` to the driver's own entry points, past the package: as fast as Python gets.
"""

from __future__ import annotations

import time
from typing import Any

import vulkan as vk

ffi: Any = vk.ffi
NULL: Any = ffi.NULL
OPAQUE_FD = 1
_EXTERNAL = 0xFFFFFFFE
_ALL: int = vk.VK_PIPELINE_STAGE_ALL_COMMANDS_BIT
_WRITE: int = vk.VK_ACCESS_MEMORY_WRITE_BIT
_IN_FLIGHT = 16


class VulkanError(RuntimeError):
    """A call that did not succeed."""


def ok(code: int | None) -> None:
    """Raise for anything but ``VK_SUCCESS``, which the package's functions, raising by themselves, return as None."""
    if code:
        raise VulkanError(code)


class Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}
        self._last = time.perf_counter()

    def step(self, name: str) -> None:
        """Note how long it took since the last one."""
        now = time.perf_counter()
        self.steps[name] = now - self._last
        self._last = now


class Vulkan:
    """One device with one queue. ``close`` frees all of it."""

    def __init__(self, index: int, clock: Clock, *, pointers: bool) -> None:
        self.pointers = pointers
        application = vk.VkApplicationInfo(apiVersion=(1 << 22) | (2 << 12))
        self.instance = vk.vkCreateInstance(vk.VkInstanceCreateInfo(pApplicationInfo=application), None)
        self.physical = vk.vkEnumeratePhysicalDevices(self.instance)[index]
        clock.step("vulkan instance")
        families = vk.vkGetPhysicalDeviceQueueFamilyProperties(self.physical)
        self.family = next(n for n, each in enumerate(families) if each.queueFlags & vk.VK_QUEUE_COMPUTE_BIT)
        queue = vk.VkDeviceQueueCreateInfo(queueFamilyIndex=self.family, queueCount=1, pQueuePriorities=[1.0])
        timeline = vk.VkPhysicalDeviceTimelineSemaphoreFeatures(timelineSemaphore=1)
        wanted = vk.VkDeviceCreateInfo(
            pNext=timeline,
            pQueueCreateInfos=[queue],
            ppEnabledExtensionNames=["VK_KHR_external_memory_fd", "VK_KHR_external_semaphore_fd"],
        )
        self.device = vk.vkCreateDevice(self.physical, wanted, None)
        self.queue = vk.vkGetDeviceQueue(self.device, self.family, 0)
        clock.step("vulkan device")
        flags = vk.VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT
        pool = vk.VkCommandPoolCreateInfo(flags=flags, queueFamilyIndex=self.family)
        self.pool = vk.vkCreateCommandPool(self.device, pool, None)
        self._freeing: list[Any] = [lambda: vk.vkDestroyCommandPool(self.device, self.pool, None)]
        self.progress, _ = self.semaphore(timeline=True, export=False)

    def raw(self, name: str) -> Any:
        """Return the driver's function pointer."""
        found = vk.lib.vkGetDeviceProcAddr(self.device, name.encode())
        if found == NULL:
            raise VulkanError(name)
        return ffi.cast(f"PFN_{name}", found)

    def function(self, name: str) -> Any:
        """Return the package's function, which raises, or with ``pointers`` the driver's, which returns a code."""
        return self.raw(name) if self.pointers else getattr(vk, name)

    def semaphore(self, *, timeline: bool, export: bool) -> tuple[Any, int]:
        """Make a semaphore; return it and, exported, its fd."""
        kind = vk.VkSemaphoreTypeCreateInfo(
            semaphoreType=vk.VK_SEMAPHORE_TYPE_TIMELINE if timeline else vk.VK_SEMAPHORE_TYPE_BINARY
        )
        chain = vk.VkExportSemaphoreCreateInfo(pNext=kind, handleTypes=OPAQUE_FD) if export else kind
        made = vk.vkCreateSemaphore(self.device, vk.VkSemaphoreCreateInfo(pNext=chain), None)
        self._freeing.append(lambda: vk.vkDestroySemaphore(self.device, made, None))
        if not export:
            return made, -1
        info = ffi.new("VkSemaphoreGetFdInfoKHR *")
        info.sType = vk.VK_STRUCTURE_TYPE_SEMAPHORE_GET_FD_INFO_KHR
        info.semaphore, info.handleType = made, OPAQUE_FD
        fd = ffi.new("int *")
        ok(self.raw("vkGetSemaphoreFdKHR")(self.device, info, fd))
        return made, int(fd[0])

    def share(self, size: int) -> Shared:
        """Make an exportable buffer."""
        external = vk.VkExternalMemoryBufferCreateInfo(handleTypes=OPAQUE_FD)
        usage = vk.VK_BUFFER_USAGE_TRANSFER_DST_BIT | vk.VK_BUFFER_USAGE_TRANSFER_SRC_BIT
        usage |= vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT
        info = vk.VkBufferCreateInfo(pNext=external, size=size, usage=usage)
        buffer = vk.vkCreateBuffer(self.device, info, None)
        needs = vk.vkGetBufferMemoryRequirements(self.device, buffer)
        memory = self.allocate(needs, vk.VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, export=True)
        vk.vkBindBufferMemory(self.device, buffer, memory, 0)
        return Shared(self, buffer, memory, int(needs.size))

    def allocate(self, needs: Any, properties: int, *, export: bool) -> Any:
        """Allocate memory of a type with these properties."""
        types = vk.vkGetPhysicalDeviceMemoryProperties(self.physical)
        number = next(
            n
            for n in range(types.memoryTypeCount)
            if needs.memoryTypeBits >> n & 1 and types.memoryTypes[n].propertyFlags & properties == properties
        )
        chain = vk.VkExportMemoryAllocateInfo(handleTypes=OPAQUE_FD) if export else None
        info = vk.VkMemoryAllocateInfo(pNext=chain, allocationSize=needs.size, memoryTypeIndex=number)
        return vk.vkAllocateMemory(self.device, info, None)

    def commands(self, count: int) -> list[Any]:
        """Allocate command buffers."""
        info = vk.VkCommandBufferAllocateInfo(
            commandPool=self.pool, level=vk.VK_COMMAND_BUFFER_LEVEL_PRIMARY, commandBufferCount=count
        )
        return list(vk.vkAllocateCommandBuffers(self.device, info))

    def counter(self) -> int:
        """Return how far the queue has come."""
        value = ffi.new("uint64_t *")
        ok(self.raw("vkGetSemaphoreCounterValue")(self.device, self.progress, value))
        return int(value[0])

    def close(self) -> None:
        """Wait for the device and free it."""
        vk.vkDeviceWaitIdle(self.device)
        while self._freeing:
            self._freeing.pop()()
        vk.vkDestroyDevice(self.device, None)
        vk.vkDestroyInstance(self.instance, None)


class Shared:
    """An exportable buffer."""

    def __init__(self, vulkan: Vulkan, buffer: Any, memory: Any, allocated: int) -> None:
        self._vulkan = vulkan
        self.buffer, self.memory, self.allocated = buffer, memory, allocated
        self._info = ffi.new("VkMemoryGetFdInfoKHR *")
        self._info.sType = vk.VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR
        self._info.memory, self._info.handleType = memory, OPAQUE_FD
        self._get = vulkan.raw("vkGetMemoryFdKHR")
        self._fd = ffi.new("int *")

    def export(self) -> int:
        """Return a new fd, which is the caller's."""
        ok(self._get(self._vulkan.device, self._info, self._fd))
        return int(self._fd[0])

    def close(self) -> None:
        """Free it."""
        vk.vkDestroyBuffer(self._vulkan.device, self.buffer, None)
        vk.vkFreeMemory(self._vulkan.device, self.memory, None)


class Turns:
    """The producer's half of a pair of turns: waits for the consumer, takes over, records, gives away, signals.

    Without semaphores the caller waits for both sides. With ``fill`` every frame fills the buffer.
    """

    def __init__(
        self, vulkan: Vulkan, shared: Shared, ready: Any, back: Any, *, timeline: bool, fill: bool = False
    ) -> None:
        self._vulkan, self._timeline, self._shared = vulkan, timeline, shared
        self._fill = vulkan.function("vkCmdFillBuffer") if fill else None
        self._begin = vulkan.function("vkBeginCommandBuffer")
        self._end = vulkan.function("vkEndCommandBuffer")
        self._queue_submit = vulkan.function("vkQueueSubmit")
        self._wait = vulkan.raw("vkWaitSemaphores")
        self._get = vulkan.raw("vkGetSemaphoreCounterValue")
        self._once = ffi.new("VkCommandBufferBeginInfo *")
        self._once.sType = vk.VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO
        self._once.flags = vk.VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT
        head, tail, *self._free = vulkan.commands(2 + _IN_FLIGHT)
        self._record(head, shared, _EXTERNAL, vulkan.family)
        self._record(tail, shared, vulkan.family, _EXTERNAL)
        self.number = 0
        self._reached = 0
        self._counter = ffi.new("uint64_t *")
        self._progress = ffi.new("VkSemaphore[]", [vulkan.progress])
        signals = [each for each in (ready, vulkan.progress) if each is not None]
        self._last = len(signals) - 1
        self._waits = ffi.new("VkSemaphore[]", [back] if back is not None else [NULL])
        self._signals = ffi.new("VkSemaphore[]", signals)
        self._wait_values, self._signal_values = ffi.new("uint64_t[]", 1), ffi.new("uint64_t[]", 2)
        self._stages = ffi.new("VkPipelineStageFlags[]", [_ALL])
        self._first = ffi.new("VkCommandBuffer[]", [NULL, tail])
        self._again = ffi.new("VkCommandBuffer[]", [head, NULL, tail])
        self._opening = self._submission(self._first, 2, 0)
        self._repeated = self._submission(self._again, 3, int(back is not None))
        self._left = ffi.new("VkSemaphoreWaitInfo *")
        self._left.sType = vk.VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO
        self._left.semaphoreCount, self._left.pSemaphores = 1, self._progress
        self._left.pValues = self._counter

    def _record(self, native: Any, shared: Shared, source: int, target: int) -> None:
        repeated = ffi.new("VkCommandBufferBeginInfo *")
        repeated.sType = vk.VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO
        repeated.flags = vk.VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT
        ok(self._begin(native, repeated))
        giving = target == _EXTERNAL
        barrier = vk.VkBufferMemoryBarrier(
            srcAccessMask=_WRITE if giving else 0,
            dstAccessMask=0 if giving else _WRITE | vk.VK_ACCESS_MEMORY_READ_BIT,
            srcQueueFamilyIndex=source,
            dstQueueFamilyIndex=target,
            buffer=shared.buffer,
            offset=0,
            size=2**64 - 1,
        )
        vk.vkCmdPipelineBarrier(native, _ALL, _ALL, 0, 0, None, 1, [barrier], 0, None)
        ok(self._end(native))

    def _submission(self, commands: Any, count: int, waits: int) -> Any:
        values = ffi.new("VkTimelineSemaphoreSubmitInfo *")
        values.sType = vk.VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO
        values.waitSemaphoreValueCount, values.pWaitSemaphoreValues = waits, self._wait_values
        values.signalSemaphoreValueCount = self._last + 1
        values.pSignalSemaphoreValues = self._signal_values
        info = ffi.new("VkSubmitInfo *")
        info.sType, info.pNext = vk.VK_STRUCTURE_TYPE_SUBMIT_INFO, values
        info.waitSemaphoreCount, info.pWaitSemaphores = waits, self._waits
        info.pWaitDstStageMask = self._stages
        info.commandBufferCount, info.pCommandBuffers = count, commands
        info.signalSemaphoreCount, info.pSignalSemaphores = self._last + 1, self._signals
        self._kept = (getattr(self, "_kept", None), values, info)
        return info

    def begin(self) -> Any:
        """Return a command buffer that is not in flight, recording."""
        number = self.number
        if number - self._reached >= _IN_FLIGHT:
            ok(self._get(self._vulkan.device, self._vulkan.progress, self._counter))
            self._reached = self._counter[0]
            if number - self._reached >= _IN_FLIGHT:
                self.wait(number - _IN_FLIGHT + 1)
        native = self._free[number % _IN_FLIGHT]
        code = self._begin(native, self._once)
        if code:
            ok(code)
        return native

    def submit(self, native: Any) -> None:
        """End recording and submit."""
        if self._fill is not None:
            self._fill(native, self._shared.buffer, 0, 2**64 - 1, self.number & 0xFF)
        code = self._end(native)
        if code:
            ok(code)
        number = self.number = self.number + 1
        self._signal_values[self._last] = number
        if self._timeline:
            self._signal_values[0] = number
            self._wait_values[0] = number - 1
        if number == 1:
            self._first[0] = native
            info = self._opening
        else:
            self._again[1] = native
            info = self._repeated
        code = self._queue_submit(self._vulkan.queue, 1, info, NULL)
        if code:
            ok(code)

    def wait(self, value: int | None = None) -> None:
        """Block until the queue has done everything, or ``value`` submissions; 10 s at most."""
        self._counter[0] = self.number if value is None else value
        ok(self._wait(self._vulkan.device, self._left, 10_000_000_000))
        self._reached = self._counter[0]

"""Creation of a ``VkDevice`` with one queue."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from interop.protocols import Unsupported
from interop_vulkan import _driver
from interop_vulkan._context import Context
from interop_vulkan._devices import extensions_of, queue_flags, version_text
from interop_vulkan._driver import API_VERSION_1_2, NULL, VK, struct
from interop_vulkan._handle_types import WANTED_EXTENSIONS, has_timelines
from interop_vulkan._instance import find_device

if TYPE_CHECKING:
    from interop.protocols import DeviceInfo


def open_device(info: DeviceInfo) -> Context:
    """Create a ``VkDevice`` for ``info``. A failure leaves nothing behind.

    Raises:
        Unsupported: The driver is below Vulkan 1.2, or has no timeline semaphores or no compute queue.
        BackendUnavailable: The device no longer exists.
    """
    with contextlib.ExitStack() as undo:
        instance, functions, physical = find_device(info)
        basic = _driver.ffi.new("VkPhysicalDeviceProperties *")
        functions.vkGetPhysicalDeviceProperties(physical, basic)
        if basic.apiVersion < API_VERSION_1_2:
            raise Unsupported("Vulkan 1.2", f"the driver of {info.name} has {version_text(basic.apiVersion)}")
        if not has_timelines(functions, physical):
            raise Unsupported("timelineSemaphore", f"the driver of {info.name} lacks that feature")
        wanted = VK.VK_QUEUE_GRAPHICS_BIT | VK.VK_QUEUE_COMPUTE_BIT
        flags = queue_flags(functions, physical)
        families = [index for index, each in enumerate(flags) if each & VK.VK_QUEUE_COMPUTE_BIT]
        if not families:
            raise Unsupported("a compute queue", f"{info.name} has no queue family with VK_QUEUE_COMPUTE_BIT")
        family = next((index for index in families if flags[index] & wanted == wanted), families[0])
        queue = struct(
            "VkDeviceQueueCreateInfo", queueFamilyIndex=family, queueCount=1, pQueuePriorities=[1.0]
        )
        names = sorted(extensions_of(functions, physical) & WANTED_EXTENSIONS)
        device_info = struct(
            "VkDeviceCreateInfo",
            pNext=struct("VkPhysicalDeviceTimelineSemaphoreFeatures", timelineSemaphore=1),
            queueCreateInfoCount=1,
            pQueueCreateInfos=[queue],
            enabledExtensionCount=len(names),
            ppEnabledExtensionNames=[name.encode() for name in names],
        )
        device = functions.create("vkCreateDevice", "VkDevice", physical, device_info, NULL)
        undo.callback(_driver.device_functions(functions, device).vkDestroyDevice, device, NULL)
        return Context(info, functions, instance, physical, device, family, undo)

"""A producer on a device that the caller created.

Vulkan cannot tell how a device was created. Therefore the caller names the API version, the extensions and the
features. The module checks the rest: the instance of the physical device, the extensions that its driver lists, and
the functions of each enabled extension.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from interop.protocols import InvalidArgument, Unsupported
from interop_vulkan import _driver
from interop_vulkan._context import Context
from interop_vulkan._devices import describe, extensions_of, physical_devices, queue_flags, version_text
from interop_vulkan._driver import API_VERSION_1_2, VK, address, ffi
from interop_vulkan._handle_types import WANTED_EXTENSIONS
from interop_vulkan._native_handles import as_handle
from interop_vulkan._queue_lock import LOCK_TIMEOUT, QueueLock
from interop_vulkan.producer import VulkanProducer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interop.protocols import DeviceInfo
    from interop_vulkan._driver import Functions

TIMELINES = "timelineSemaphore"

# One function of each extension. A device has the function exactly when the extension was enabled.
_FUNCTION_OF = {
    "VK_KHR_external_memory_fd": "vkGetMemoryFdKHR",
    "VK_KHR_external_memory_win32": "vkGetMemoryWin32HandleKHR",
    "VK_KHR_external_semaphore_fd": "vkGetSemaphoreFdKHR",
    "VK_KHR_external_semaphore_win32": "vkGetSemaphoreWin32HandleKHR",
    "VK_EXT_external_memory_host": "vkGetMemoryHostPointerPropertiesEXT",
}
_CORE = (
    "vkWaitSemaphores",
    "vkSignalSemaphore",
    "vkGetSemaphoreCounterValue",
    "vkGetBufferMemoryRequirements2",
)
"""Functions of Vulkan 1.2. A driver hides them from a device that was created for less."""


def adopt(
    *,
    instance: object,
    physical_device: object,
    device: object,
    queue_family: int,
    queue: object = None,
    queue_index: int = 0,
    api_version: int | tuple[int, int],
    extensions: Iterable[str] | None = None,
    features: Iterable[str] = (),
    lock: object = None,
    timeout: float = LOCK_TIMEOUT,
    get_instance_proc_addr: object = None,
) -> VulkanProducer:
    """Create a producer on a ``VkDevice`` of the caller, for ``interop.connect(producer=...)``.

    The caller keeps instance, device and queue; closing the producer destroys none of them and waits for no other
    queue. Close the producer before the device is destroyed. Handles are objects of the ``vulkan`` package or of
    another cffi library, integers, or objects with the integer as their attribute ``value`` (``ctypes.c_void_p``).
    They must be alive: an integer that is no handle crashes the driver.

    Args:
        instance: The ``VkInstance``.
        physical_device: The ``VkPhysicalDevice`` of that instance.
        device: The ``VkDevice``, with the feature ``timelineSemaphore``.
        queue_family: Index of the queue's family, which must be able to compute.
        queue: The ``VkQueue``; by default ``vkGetDeviceQueue(queue_family, queue_index)``.
        queue_index: Index of the queue in its family.
        api_version: ``VkApplicationInfo::apiVersion`` of the instance, packed or as ``(1, 2)``.
        extensions: ``VkDeviceCreateInfo::ppEnabledExtensionNames``. By default an extension counts as enabled if
            ``vkGetDeviceProcAddr`` finds its functions. An extension without functions
            (``VK_EXT_external_memory_dma_buf``) must be named.
        features: Names of the enabled features; ``"timelineSemaphore"`` is required, others are ignored.
        lock: Guards the queue if other threads submit to it, as Vulkan demands (``vkQueueSubmit``, host
            synchronization). A ``threading.Lock`` or ``RLock``, a context manager that can be entered again, or a
            callable that returns one. Each submission holds it. Other code must hold it for each use of the queue.
        timeout: Seconds that a submission waits at most for a ``threading`` lock.
        get_instance_proc_addr: Address of ``vkGetInstanceProcAddr`` in the loader that made the instance. Needed if
            that is not the ``libvulkan.so.1`` of the process.

    Returns:
        The producer. The caller closes it.

    Raises:
        InvalidArgument: A handle, queue family or name is impossible.
        Unsupported: The device was created for less than Vulkan 1.2, or without timeline semaphores, or without an
            extension that ``extensions`` names; or the queue cannot compute.
    """
    instance = as_handle("VkInstance", instance)
    physical = as_handle("VkPhysicalDevice", physical_device)
    opened = as_handle("VkDevice", device)
    version = _packed(api_version)
    get = None
    if get_instance_proc_addr is not None:
        get = as_handle("PFN_vkGetInstanceProcAddr", get_instance_proc_addr)
    if version < API_VERSION_1_2:
        reason = f"api_version is {version_text(version)}; set VkApplicationInfo::apiVersion to 1.2 or more"
        raise Unsupported("Vulkan 1.2", reason)
    if TIMELINES not in set(features):
        reason = (
            "features does not name it; enable VkPhysicalDeviceTimelineSemaphoreFeatures in the chain of "
            f"VkDeviceCreateInfo and pass features=[{TIMELINES!r}]"
        )
        raise Unsupported(TIMELINES, reason)
    functions = _driver.instance_functions(instance, get)
    info, enabled = _examine(functions, instance, physical)
    device_vk = _driver.device_functions(functions, opened)
    missing = [name for name in _CORE if not device_vk.has(name)]
    if missing:
        reason = f"the device on {info.name} has no {missing[0]}; it was created for an earlier version"
        raise Unsupported("Vulkan 1.2", reason)
    names = _enabled(device_vk, info, enabled, extensions)
    _check_family(functions, physical, info, queue_family)
    info = describe(functions, physical, info.index, enabled=names)
    if queue is None:
        out = ffi.new("VkQueue *")
        device_vk.vkGetDeviceQueue(opened, queue_family, queue_index, out)
        queue = out[0]
    queue = as_handle("VkQueue", queue)
    guard = QueueLock(lock, timeout) if lock is not None else None
    with contextlib.ExitStack() as undo:
        context = Context(
            info, functions, instance, physical, opened, queue_family, undo, queue=queue, lock=guard
        )
        return VulkanProducer(context)


def _packed(version: int | tuple[int, int]) -> int:
    if isinstance(version, tuple):
        major, minor = version
        return major << 22 | minor << 12
    return version & ~0xE0000000  # without the variant


def _examine(functions: Functions, instance: Any, physical: Any) -> tuple[DeviceInfo, frozenset[str]]:
    """Return the description of the physical device and the extensions that its driver lists."""
    if not functions.has("vkGetPhysicalDeviceProperties2"):
        reason = "the instance has no vkGetPhysicalDeviceProperties2; it was created for Vulkan 1.0"
        raise Unsupported("Vulkan 1.2", reason)
    found = [address(each) for each in physical_devices(functions, instance)]
    if address(physical) not in found:
        msg = f"{physical!r} is none of the {len(found)} physical devices of {instance!r}"
        raise InvalidArgument(msg)
    info = describe(functions, physical, found.index(address(physical)))
    if "extensions" not in info.details:  # describe() asks an old driver no further
        raise Unsupported("Vulkan 1.2", f"{info.name} has {info.details['api version']}")
    return info, extensions_of(functions, physical)


def _enabled(
    device_vk: Functions, info: DeviceInfo, listed: frozenset[str], named: Iterable[str] | None
) -> frozenset[str]:
    """Return the enabled extensions, of those that interop uses."""
    if named is None:
        return frozenset(
            name for name, function in _FUNCTION_OF.items() if name in listed and device_vk.has(function)
        )
    if isinstance(named, (str, bytes)):
        raise InvalidArgument(f"extensions takes a collection of names, got the one text {named!r}")
    names = frozenset(named) & WANTED_EXTENSIONS
    for name in sorted(names):
        if name not in listed:
            raise InvalidArgument(f"{name} cannot have been enabled: {info.name} does not list it")
        function = _FUNCTION_OF.get(name)
        if function is not None and not device_vk.has(function):
            reason = (
                f"the device on {info.name} has no {function}; "
                "add the extension to VkDeviceCreateInfo::ppEnabledExtensionNames"
            )
            raise Unsupported(name, reason)
    return names


def _check_family(functions: Functions, physical: Any, info: DeviceInfo, family: int) -> None:
    flags = queue_flags(functions, physical)
    if not 0 <= family < len(flags):
        raise InvalidArgument(f"{info.name} has {len(flags)} queue families, got the index {family}")
    if not flags[family] & VK.VK_QUEUE_COMPUTE_BIT:
        able = [index for index, each in enumerate(flags) if each & VK.VK_QUEUE_COMPUTE_BIT]
        reason = f"queue family {family} of {info.name} has no VK_QUEUE_COMPUTE_BIT; these have it: {able}"
        raise Unsupported("a compute queue", reason)

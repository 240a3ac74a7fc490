"""Vulkan's bits for handle types and semaphore kinds, and the driver's answers about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.protocols import HandleType, SemaphoreKind
from interop_vulkan._driver import VK, struct

if TYPE_CHECKING:
    from interop_vulkan._driver import Functions

BUFFER_USAGE: int = (
    VK.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT
    | VK.VK_BUFFER_USAGE_VERTEX_BUFFER_BIT
    | VK.VK_BUFFER_USAGE_TRANSFER_SRC_BIT
    | VK.VK_BUFFER_USAGE_TRANSFER_DST_BIT
)
"""Usage of every buffer that is created here; export is asked about for exactly this usage."""

# Handle type -> (bit, required device extensions).
MEMORY_TYPES: dict[HandleType, tuple[int, tuple[str, ...]]] = {
    HandleType.OPAQUE_FD: (0x001, ("VK_KHR_external_memory_fd",)),
    HandleType.DMA_BUF: (0x200, ("VK_KHR_external_memory_fd", "VK_EXT_external_memory_dma_buf")),
    HandleType.OPAQUE_WIN32: (0x002, ("VK_KHR_external_memory_win32",)),
    HandleType.OPAQUE_WIN32_KMT: (0x004, ("VK_KHR_external_memory_win32",)),
    HandleType.HOST_ALLOCATION: (0x080, ("VK_EXT_external_memory_host",)),
}
SEMAPHORE_TYPES: dict[HandleType, tuple[int, tuple[str, ...]]] = {
    HandleType.OPAQUE_FD: (0x001, ("VK_KHR_external_semaphore_fd",)),
    HandleType.SYNC_FD: (0x010, ("VK_KHR_external_semaphore_fd",)),
    HandleType.OPAQUE_WIN32: (0x002, ("VK_KHR_external_semaphore_win32",)),
    HandleType.OPAQUE_WIN32_KMT: (0x004, ("VK_KHR_external_semaphore_win32",)),
}
TYPES = {"Memory": MEMORY_TYPES, "Semaphore": SEMAPHORE_TYPES}
WANTED_EXTENSIONS = frozenset(
    name for table in TYPES.values() for _, names in table.values() for name in names
)


def semaphore_type(kind: SemaphoreKind) -> Any:
    """Return the ``VkSemaphoreTypeCreateInfo``."""
    return struct("VkSemaphoreTypeCreateInfo", semaphoreType=int(kind is SemaphoreKind.TIMELINE))


def has_timelines(functions: Functions, physical: Any) -> bool:
    """Return whether the device has the feature ``timelineSemaphore``."""
    timeline = struct("VkPhysicalDeviceTimelineSemaphoreFeatures")
    functions.vkGetPhysicalDeviceFeatures2(physical, struct("VkPhysicalDeviceFeatures2", pNext=timeline))
    return bool(timeline.timelineSemaphore)


def memory_features(functions: Functions, physical: Any, handle_type: HandleType) -> int:
    """Return the ``VkExternalMemoryFeatureFlags`` of a buffer of :data:`BUFFER_USAGE`."""
    bit, _ = MEMORY_TYPES[handle_type]
    info = struct("VkPhysicalDeviceExternalBufferInfo", usage=BUFFER_USAGE, handleType=bit)
    answer = struct("VkExternalBufferProperties")
    functions.vkGetPhysicalDeviceExternalBufferProperties(physical, info, answer)
    return int(answer.externalMemoryProperties.externalMemoryFeatures)


def semaphore_features(
    functions: Functions, physical: Any, kind: SemaphoreKind, handle_type: HandleType
) -> int:
    """Return the ``VkExternalSemaphoreFeatureFlags``, which differ between binary and timeline semaphores."""
    bit, _ = SEMAPHORE_TYPES[handle_type]
    info = struct("VkPhysicalDeviceExternalSemaphoreInfo", pNext=semaphore_type(kind), handleType=bit)
    answer = struct("VkExternalSemaphoreProperties")
    functions.vkGetPhysicalDeviceExternalSemaphoreProperties(physical, info, answer)
    return int(answer.externalSemaphoreFeatures)

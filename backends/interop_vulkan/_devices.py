"""Instances, and what can be said about their devices without opening one."""

from __future__ import annotations

import threading
from typing import Any

from interop.protocols import (
    BackendUnavailable,
    Capabilities,
    DeviceIdentity,
    DeviceInfo,
    DriverError,
    HandleType,
    PciAddress,
    SemaphoreKind,
    Tiling,
    host_identity,
    is_windows,
)
from interop.toolkit import fork_generation
from interop_vulkan import _driver
from interop_vulkan._driver import API_VERSION_1_2, API_VERSION_1_3, NULL, VK, Functions, struct, text
from interop_vulkan._images import exportable_tilings
from interop_vulkan.plugin import INSTALL_HINT

BUFFER_USAGE: int = (
    VK.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT
    | VK.VK_BUFFER_USAGE_VERTEX_BUFFER_BIT
    | VK.VK_BUFFER_USAGE_TRANSFER_SRC_BIT
    | VK.VK_BUFFER_USAGE_TRANSFER_DST_BIT
)
"""What every buffer is made for; export is asked about for exactly this usage."""

# Handle type -> (bit, device extensions that it needs).
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
SEMAPHORE_KINDS: dict[SemaphoreKind, int] = {SemaphoreKind.BINARY: 0, SemaphoreKind.TIMELINE: 1}
WANTED_EXTENSIONS = frozenset(
    name for table in (MEMORY_TYPES, SEMAPHORE_TYPES) for _, names in table.values() for name in names
)


_WORTH_A_WORD = frozenset({HandleType.OPAQUE_FD, HandleType.DMA_BUF, HandleType.OPAQUE_WIN32})
"""Handle types whose absence is reported, on the system that has them."""

_making = threading.Lock()
_made: dict[int, Any] = {}
"""The instance, by the number of forks before it."""
_listed: dict[Any, DeviceInfo] = {}
"""What was found of a ``VkPhysicalDevice``, which is good for as long as its instance."""


def process_instance() -> tuple[Any, Functions]:
    """Return the one instance of this process, made on first use and never destroyed; a forked child makes its own.

    Devices are listed and opened on it, so that drivers are loaded once: an instance of NVIDIA's (580) takes 72 ms
    when it is the first and 2 ms beside another, and where none stays, loading it for the 30th time fails, as
    libnvidia-tls.so has used up the process's static thread-local storage. Raises :class:`BackendUnavailable`
    without a driver.
    """
    with _making:
        generation = fork_generation()
        if generation not in _made:
            _made[generation] = _create()
        instance = _made[generation]
    return instance, _driver.instance_functions(instance)


def list_devices() -> list[DeviceInfo]:
    """Describe the devices of the process's instance in the loader's order."""
    instance, functions = process_instance()
    found = physical_devices(functions, instance)
    devices = [describe(functions, physical, index) for index, physical in enumerate(found)]
    _listed.update(zip(found, devices, strict=True))
    return devices


def find_device(info: DeviceInfo) -> tuple[Any, Functions, Any]:
    """Return the instance, its functions, and the physical device that ``info`` describes.

    Raises :class:`BackendUnavailable` when it is not there any more.
    """
    instance, functions = process_instance()
    found = physical_devices(functions, instance)
    order = sorted(range(len(found)), key=lambda index: index != info.index)  # it may have moved
    for index in order:
        seen = _listed.get(found[index])
        if seen is None or not _same(seen, info):
            seen = describe(functions, found[index], index)
        if _same(seen, info):
            return instance, functions, found[index]
    raise BackendUnavailable("vulkan", f"{info} is not there any more", "list the devices again")


def _same(one: DeviceInfo, other: DeviceInfo) -> bool:
    return (one.name, one.identity) == (other.name, other.identity)


def _create() -> Any:
    # 1.3 where the driver has it, so that shaders may be SPIR-V 1.6; nothing here needs more than 1.2.
    application = struct("VkApplicationInfo", pApplicationName=b"interop", apiVersion=API_VERSION_1_3)
    info = struct("VkInstanceCreateInfo", pApplicationInfo=application)
    try:
        return _driver.global_functions().create("vkCreateInstance", "VkInstance", info, NULL)
    except DriverError as error:
        if error.name == "VK_ERROR_INCOMPATIBLE_DRIVER":
            raise BackendUnavailable("vulkan", "no Vulkan driver on this machine", INSTALL_HINT) from error
        raise


def physical_devices(functions: Functions, instance: Any) -> list[Any]:
    """Return the instance's ``VkPhysicalDevice`` objects in the loader's order."""
    return list(functions.enumerate("vkEnumeratePhysicalDevices", "VkPhysicalDevice", instance))


def extensions_of(functions: Functions, physical: Any) -> frozenset[str]:
    """Return the names of the device extensions that the driver lists."""
    name = "vkEnumerateDeviceExtensionProperties"
    found = functions.enumerate(name, "VkExtensionProperties", physical, NULL)
    return frozenset(text(entry.extensionName) for entry in found)


def describe(
    functions: Functions, physical: Any, index: int, *, enabled: frozenset[str] | None = None
) -> DeviceInfo:
    """Ask everything about one physical device.

    ``enabled`` holds the extensions of a ``VkDevice`` that exists already, to which its capabilities are limited.
    """
    basic = _driver.ffi.new("VkPhysicalDeviceProperties *")
    functions.vkGetPhysicalDeviceProperties(physical, basic)
    version = int(basic.apiVersion)
    name = text(basic.deviceName)
    software = basic.deviceType == VK.VK_PHYSICAL_DEVICE_TYPE_CPU
    details = {"api version": version_text(version)}
    if version < API_VERSION_1_2:
        note = f"Vulkan {version_text(version)}, but 1.2 is needed"
        return DeviceInfo(
            backend="vulkan",
            index=index,
            name=name,
            identity=DeviceIdentity(),
            capabilities=Capabilities(notes=(note,)),
            software=software,
            details=details,
        )
    listed = extensions_of(functions, physical)
    driver = struct("VkPhysicalDeviceDriverProperties")
    identity = _identity(functions, physical, listed, driver, software=software)
    details["extensions"] = ", ".join(sorted(listed & WANTED_EXTENSIONS))
    return DeviceInfo(
        backend="vulkan",
        index=index,
        name=name,
        identity=identity,
        capabilities=_capabilities(functions, physical, listed, enabled),
        software=software,
        driver=f"{text(driver.driverName)} {text(driver.driverInfo)}".strip(),
        details=details,
    )


def version_text(version: int) -> str:
    """Return a packed Vulkan version as ``"1.3.275"``."""
    return f"{version >> 22 & 0x7F}.{version >> 12 & 0x3FF}.{version & 0xFFF}"


def _identity(
    functions: Functions, physical: Any, listed: frozenset[str], driver: Any, *, software: bool
) -> DeviceIdentity:
    ids = struct("VkPhysicalDeviceIDProperties", pNext=driver)
    pci = drm = None
    chain = ids
    if "VK_EXT_pci_bus_info" in listed:
        chain = pci = struct("VkPhysicalDevicePCIBusInfoPropertiesEXT", pNext=chain)
    if "VK_EXT_physical_device_drm" in listed:
        chain = drm = struct("VkPhysicalDeviceDrmPropertiesEXT", pNext=chain)
    functions.vkGetPhysicalDeviceProperties2(physical, struct("VkPhysicalDeviceProperties2", pNext=chain))
    return DeviceIdentity(
        uuid=bytes(ids.deviceUUID),
        luid=bytes(ids.deviceLUID) if ids.deviceLUIDValid else None,
        node_mask=int(ids.deviceNodeMask) if ids.deviceLUIDValid else 0,
        pci=PciAddress(pci.pciDomain, pci.pciBus, pci.pciDevice, pci.pciFunction) if pci else None,
        drm=(int(drm.renderMajor), int(drm.renderMinor)) if drm and drm.hasRender else None,
        host=host_identity() if software else None,
    )


def has_timelines(functions: Functions, physical: Any) -> bool:
    """Ask for the feature ``timelineSemaphore``."""
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
    kind_info = struct("VkSemaphoreTypeCreateInfo", semaphoreType=SEMAPHORE_KINDS[kind])
    info = struct("VkPhysicalDeviceExternalSemaphoreInfo", pNext=kind_info, handleType=bit)
    answer = struct("VkExternalSemaphoreProperties")
    functions.vkGetPhysicalDeviceExternalSemaphoreProperties(physical, info, answer)
    return int(answer.externalSemaphoreFeatures)


def _capabilities(
    functions: Functions, physical: Any, listed: frozenset[str], enabled: frozenset[str] | None
) -> Capabilities:
    notes: list[str] = []
    usable = listed if enabled is None else listed & enabled

    def offered(table: dict[HandleType, tuple[int, tuple[str, ...]]], what: str) -> list[HandleType]:
        result: list[HandleType] = []
        for handle_type, (_, needed) in table.items():
            missing = [name for name in needed if name not in usable]
            if not missing:
                result.append(handle_type)
            elif handle_type in _WORTH_A_WORD and handle_type.is_win32 == is_windows():
                absent = [name for name in missing if name not in listed]
                why = "the driver does not list" if absent else "the VkDevice was made without"
                notes.append(f"{what} as {handle_type.value}: {why} {', '.join(absent or missing)}")
        return result

    memory = {kind: memory_features(functions, physical, kind) for kind in offered(MEMORY_TYPES, "memory")}
    handle_types = offered(SEMAPHORE_TYPES, "semaphores")
    timeline = has_timelines(functions, physical)
    kinds = [SemaphoreKind.BINARY, *([SemaphoreKind.TIMELINE] if timeline else [])]
    semaphores = {
        kind: {each: semaphore_features(functions, physical, kind, each) for each in handle_types}
        for kind in kinds
    }
    if HandleType.HOST_ALLOCATION in memory and not memory[HandleType.HOST_ALLOCATION]:
        notes.append(
            "host memory: VK_EXT_external_memory_host is listed and takes no pages for a storage buffer"
        )
    if not timeline:
        notes.append("no timeline semaphores (feature timelineSemaphore), which are needed")
    memory_import = VK.VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT
    memory_export = VK.VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT
    exported = _having(memory, memory_export)
    images = {
        kind: exportable_tilings(functions, physical, bit)
        for kind, (bit, _) in MEMORY_TYPES.items()
        if kind in exported
    }
    semaphore_import = VK.VK_EXTERNAL_SEMAPHORE_FEATURE_IMPORTABLE_BIT
    semaphore_export = VK.VK_EXTERNAL_SEMAPHORE_FEATURE_EXPORTABLE_BIT
    importable = _having(memory, memory_import)
    # Host memory is handed out by address, once Vulkan has imported it: whether it may be exported matters not.
    host = frozenset({HandleType.HOST_ALLOCATION})
    return Capabilities(
        memory_import=importable,
        memory_export=exported - host | importable & host,
        semaphore_import={kind: _having(each, semaphore_import) for kind, each in semaphores.items()},
        semaphore_export={kind: _having(each, semaphore_export) for kind, each in semaphores.items()},
        host_timeline=timeline,
        notes=tuple(notes),
        images={tiling: frozenset(kind for kind in images if tiling in images[kind]) for tiling in Tiling},
    )


def _having(features: dict[HandleType, int], bit: int) -> frozenset[HandleType]:
    return frozenset(handle_type for handle_type, bits in features.items() if bits & bit)

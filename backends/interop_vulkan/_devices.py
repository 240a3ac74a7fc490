"""Physical devices: who they are, and a description of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.protocols import Capabilities, DeviceIdentity, DeviceInfo, PciAddress, host_identity
from interop_vulkan import _driver
from interop_vulkan._capabilities import capabilities
from interop_vulkan._driver import API_VERSION_1_2, NULL, VK, struct, text
from interop_vulkan._handle_types import WANTED_EXTENSIONS

if TYPE_CHECKING:
    from interop_vulkan._driver import Functions


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
    """Return the description of one physical device.

    ``enabled`` holds the extensions of a ``VkDevice`` that exists already; they limit its capabilities.
    """
    basic = _driver.ffi.new("VkPhysicalDeviceProperties *")
    functions.vkGetPhysicalDeviceProperties(physical, basic)
    version = int(basic.apiVersion)
    software = basic.deviceType == VK.VK_PHYSICAL_DEVICE_TYPE_CPU
    details = {"api version": version_text(version)}
    driver = struct("VkPhysicalDeviceDriverProperties")
    if version < API_VERSION_1_2:
        identity = DeviceIdentity()
        note = f"the driver has Vulkan {version_text(version)}; interop needs 1.2"
        able = Capabilities(notes=(note,))
    else:
        listed = extensions_of(functions, physical)
        identity = _identity(functions, physical, listed, driver, software=software)
        able = capabilities(functions, physical, listed, enabled)
        details["extensions"] = ", ".join(sorted(listed & WANTED_EXTENSIONS))
    return DeviceInfo(
        backend="vulkan",
        index=index,
        name=text(basic.deviceName),
        identity=identity,
        capabilities=able,
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


def queue_flags(functions: Functions, physical: Any) -> list[int]:
    """Return the ``VkQueueFlags`` of each queue family."""
    name = "vkGetPhysicalDeviceQueueFamilyProperties"
    return [int(each.queueFlags) for each in functions.enumerate(name, "VkQueueFamilyProperties", physical)]

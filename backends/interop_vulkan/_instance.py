"""The one ``VkInstance`` of the process, and its physical devices."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from interop.protocols import BackendUnavailable, DriverError
from interop.toolkit import fork_generation
from interop_vulkan import _driver
from interop_vulkan._devices import describe, physical_devices
from interop_vulkan._driver import API_VERSION_1_3, NULL, struct
from interop_vulkan._install import INSTALL_HINT

if TYPE_CHECKING:
    from interop.protocols import DeviceInfo
    from interop_vulkan._driver import Functions

_making = threading.Lock()
_made: dict[int, Any] = {}
"""The instance of each fork generation."""
_listed: dict[Any, DeviceInfo] = {}
"""Descriptions by ``VkPhysicalDevice``; both live as long as their instance."""


def process_instance() -> tuple[Any, Functions]:
    """Return the instance of this process. It is created on first use and never destroyed.

    A forked child creates its own instance. One instance for all devices loads each driver once: NVIDIA's (580) takes
    72 ms for the first instance and 2 ms for one beside it. Without a lasting instance, loading that driver for the
    30th time fails, because libnvidia-tls.so has used up the static thread-local storage of the process. Raises
    :class:`BackendUnavailable` when there is no driver.
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

    Raises :class:`BackendUnavailable` when the device no longer exists.
    """
    instance, functions = process_instance()
    found = physical_devices(functions, instance)
    order = sorted(range(len(found)), key=lambda index: index != info.index)  # its index may have changed
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
    # Version 1.3 allows shaders in SPIR-V 1.6. Everything here needs 1.2 only.
    application = struct("VkApplicationInfo", pApplicationName=b"interop", apiVersion=API_VERSION_1_3)
    info = struct("VkInstanceCreateInfo", pApplicationInfo=application)
    try:
        return _driver.instance_functions(NULL).create("vkCreateInstance", "VkInstance", info, NULL)
    except DriverError as error:
        if error.name == "VK_ERROR_INCOMPATIBLE_DRIVER":
            raise BackendUnavailable("vulkan", "no Vulkan driver on this machine", INSTALL_HINT) from error
        raise

"""The Vulkan backend: its devices, and their opening as producers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import BackendUnavailable
from interop_vulkan import _driver
from interop_vulkan._device_creation import open_device
from interop_vulkan._devices import version_text
from interop_vulkan._install import INSTALL_HINT
from interop_vulkan._instance import list_devices
from interop_vulkan.producer import VulkanProducer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interop.protocols import DeviceInfo


class VulkanBackend:
    """Vulkan on this machine. Fulfils :class:`interop.protocols.ProducerBackend`."""

    name = "vulkan"

    def versions(self) -> Mapping[str, str]:
        """Return the versions of the package and of the loader (``vkEnumerateInstanceVersion``)."""
        import vulkan  # only its version is needed

        loader = _driver.instance_functions(_driver.NULL).create("vkEnumerateInstanceVersion", "uint32_t")
        return {"vulkan (package)": vulkan.__version__, "Vulkan loader": version_text(loader)}

    def devices(self) -> Sequence[DeviceInfo]:
        """List the devices in the loader's order.

        Raises:
            BackendUnavailable: There is no driver or no device.
        """
        devices = list_devices()
        if not devices:
            raise BackendUnavailable(self.name, "the Vulkan drivers find no device", INSTALL_HINT)
        return devices

    def open_producer(self, device: DeviceInfo) -> VulkanProducer:
        """Open a device with a ``VkDevice`` and a queue of its own. The caller closes the producer.

        Raises:
            Unsupported: The driver is below Vulkan 1.2, or has no timeline semaphores or no compute queue.
            BackendUnavailable: The device no longer exists.
        """
        return VulkanProducer(open_device(device))

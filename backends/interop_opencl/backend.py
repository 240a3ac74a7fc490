"""Devices of the OpenCL platforms."""

from __future__ import annotations

import struct
import warnings
from typing import TYPE_CHECKING, Any

from interop.protocols import (
    BackendUnavailable,
    Capabilities,
    DeviceIdentity,
    DeviceInfo,
    HandleType,
    InvalidArgument,
    PciAddress,
    SemaphoreKind,
    Tiling,
    host_identity,
)
from interop_opencl import _driver as cl
from interop_opencl._install import INSTALL_HINT
from interop_opencl.consumer import OpenCLConsumer
from interop_opencl.semaphore import NO_TIMELINE

if TYPE_CHECKING:
    from collections.abc import Mapping

_CPU = 1 << 1  # CL_DEVICE_TYPE_CPU


class OpenCLBackend:
    """The OpenCL platforms that pyopencl's loader finds."""

    def __init__(self) -> None:
        self._driver = cl.Driver()

    @property
    def name(self) -> str:
        """The registered name."""
        return "opencl"

    def versions(self) -> Mapping[str, str]:
        """Versions of pyopencl and the platforms, and which file the loader is."""
        import importlib.metadata  # not for connecting, which needs none of this

        found = {"pyopencl": importlib.metadata.version("pyopencl"), "loader": cl.loader_path()}
        for platform in self._platforms():
            found[f"platform {platform.name}"] = platform.version
        return found

    def devices(self) -> tuple[DeviceInfo, ...]:
        """List the devices of all platforms, platform by platform."""
        found = self._natives()
        if not found:
            raise BackendUnavailable("opencl", "no OpenCL platform has a device", INSTALL_HINT)
        listed: list[DeviceInfo] = []
        refused: Exception | None = None
        for index, (platform, device) in enumerate(found):
            try:
                listed.append(_describe(self._driver, index, platform, device))
            except self._driver.cl.Error as error:  # one broken device must not take the others away
                refused = error
                warnings.warn(f"OpenCL device {index} is left out: {error}", RuntimeWarning, stacklevel=2)
        if not listed:
            reason = f"clGetDeviceInfo failed for every OpenCL device (last: {refused})"
            raise BackendUnavailable("opencl", reason, INSTALL_HINT)
        return tuple(listed)

    def _platforms(self) -> list[Any]:
        try:
            return list(self._driver.cl.get_platforms())
        except self._driver.cl.Error as error:
            raise BackendUnavailable("opencl", f"no OpenCL platform: {error}", INSTALL_HINT) from error

    def _natives(self) -> list[tuple[Any, Any]]:
        """Return each platform with each of its devices. Mesa's Clover lists platforms without devices."""
        found: list[tuple[Any, Any]] = []
        for platform in self._platforms():
            try:
                found += [(platform, device) for device in platform.get_devices()]
            except self._driver.cl.Error as error:
                if int(error.code) != cl.DEVICE_NOT_FOUND:
                    # One vendor's broken driver must leave the other vendors' devices usable.
                    text = f"OpenCL platform {platform.name} is left out: {error}"
                    warnings.warn(text, RuntimeWarning, stacklevel=3)
        return found

    def open_consumer(self, device: DeviceInfo) -> OpenCLConsumer:
        """Open a device that :meth:`devices` listed, in a context of its own."""
        found = self._natives()
        if device.backend != self.name or not 0 <= device.index < len(found):
            raise InvalidArgument(f"not a device of the OpenCL backend: {device}")
        return OpenCLConsumer(self._driver, device, *found[device.index])


def _describe(driver: cl.Driver, index: int, platform: Any, native: Any) -> DeviceInfo:
    address: int = native.int_ptr
    extensions = frozenset(native.extensions.split())
    name = native.name.strip()
    software = bool(native.type & _CPU) or "(software)" in name
    luid = _luid(driver, address)
    return DeviceInfo(
        backend="opencl",
        index=index,
        name=name,
        identity=DeviceIdentity(
            uuid=_exactly(driver.query(address, cl.DEVICE_UUID), 16),
            luid=luid,
            node_mask=next(iter(driver.query_numbers(address, cl.DEVICE_NODE_MASK)), 0) if luid else 0,
            pci=_pci(driver.query(address, cl.DEVICE_PCI_BUS_INFO)),
            host=host_identity() if software else None,
        ),
        capabilities=_capabilities(driver, platform.int_ptr, native, extensions),
        software=software,
        driver=f"{platform.name} {native.driver_version}".strip(),
        details={"platform": platform.name, "version": native.version},
    )


def _capabilities(driver: cl.Driver, platform: int, native: Any, extensions: frozenset[str]) -> Capabilities:
    device: int = native.int_ptr
    notes: list[str] = []
    semaphore_notes: list[str] = []

    def offers(extension: str, functions: tuple[str, ...], notes: list[str]) -> bool:
        if extension not in extensions:
            notes.append(f"this OpenCL device has no {extension}")
        elif any(driver.extension(platform, name) is None for name in functions):
            notes.append(f"this OpenCL platform lists {extension} but lacks its functions")
        else:
            return True
        return False

    importable = frozenset[HandleType]()
    if offers("cl_khr_external_memory", cl.MEMORY_FUNCTIONS, notes):
        importable = driver.query_handles(device, cl.DEVICE_MEMORY_IMPORT, cl.MEMORY_HANDLES)
    semaphores: dict[SemaphoreKind, frozenset[HandleType]] = {}
    exportable: dict[SemaphoreKind, frozenset[HandleType]] = {}
    if offers("cl_khr_external_semaphore", cl.SEMAPHORE_FUNCTIONS, semaphore_notes):
        # OpenCL has binary semaphores only, so their types are not queried. NVIDIA refuses that query.
        found = driver.query_handles(device, cl.DEVICE_SEMAPHORE_IMPORT, cl.SEMAPHORE_HANDLES)
        semaphores[SemaphoreKind.BINARY] = found
        semaphore_notes.append(NO_TIMELINE)
        if driver.extension(platform, "clGetSemaphoreHandleForTypeKHR") is not None:
            exported = driver.query_handles(device, cl.DEVICE_SEMAPHORE_EXPORT, cl.SEMAPHORE_HANDLES)
            # create_semaphore makes no other
            exportable[SemaphoreKind.BINARY] = exported & {HandleType.SYNC_FD}
    images, image_notes = _images(driver, native, importable)
    return Capabilities(
        memory_import=importable | {HandleType.HOST_ALLOCATION},
        semaphore_import=semaphores,
        semaphore_export=exportable,
        host_memory=f"{cl.USE_HOST_PTR}: mapped and unmapped at each hand-over, when the driver may copy",
        stream_hold="clCreateUserEvent",
        stream_notify="clSetEventCallback",
        view_alignment=max(1, native.mem_base_addr_align // 8),  # the query counts bits
        notes=tuple(notes),
        semaphore_notes=tuple(semaphore_notes),
        images=images,
        image_notes=image_notes,
    )


def _images(
    driver: cl.Driver, device: Any, importable: frozenset[HandleType]
) -> tuple[dict[Tiling, frozenset[HandleType]], tuple[str, ...]]:
    """Return the handle types by which images of a tiling are imported, and why a tiling is missing.

    A driver reads all images of one handle type as rows, or all in the optimal tiling of its Vulkan.
    """
    if not device.image_support:
        return {}, ("the OpenCL device has no images, says CL_DEVICE_IMAGE_SUPPORT",)
    rows = importable & driver.query_handles(device.int_ptr, cl.DEVICE_LINEAR_IMAGES, cl.MEMORY_HANDLES)
    notes = [
        f"the OpenCL driver {reads} images in {each} memory as rows"
        for reads, types in (("reads", rows), ("does not read", importable - rows))
        for each in sorted(types)
    ]
    return {Tiling.OPTIMAL: importable - rows, Tiling.LINEAR: rows}, tuple(notes)


def _exactly(raw: bytes | None, size: int) -> bytes | None:
    return raw if raw is not None and len(raw) == size and any(raw) else None


def _luid(driver: cl.Driver, device: int) -> bytes | None:
    valid = driver.query(device, cl.DEVICE_LUID_VALID)
    return _exactly(driver.query(device, cl.DEVICE_LUID), 8) if valid and any(valid) else None


def _pci(raw: bytes | None) -> PciAddress | None:
    if raw is None or len(raw) != 16:  # noqa: PLR2004 - cl_device_pci_bus_info_khr: four cl_uint
        return None
    return PciAddress(*struct.unpack("=4I", raw))

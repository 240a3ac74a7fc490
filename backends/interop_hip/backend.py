"""Devices of the HIP runtime."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from interop.protocols import (
    BackendUnavailable,
    Capabilities,
    DeviceIdentity,
    DeviceInfo,
    HandleType,
    InvalidArgument,
    PciAddress,
    Tiling,
    host_identity,
)
from interop.toolkit import decode
from interop_hip._driver import Driver
from interop_hip._install import INSTALL_HINT
from interop_hip._runtime import HipRuntime
from interop_hip._semaphore_probe import probe_semaphores
from interop_hip.consumer import HipConsumer

if TYPE_CHECKING:
    from collections.abc import Mapping

_LINUX_AMD = frozenset({HandleType.OPAQUE_FD, HandleType.DMA_BUF})
_WINDOWS = frozenset({HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT})
_OTHERS = frozenset({HandleType.OPAQUE_FD})
_HOST = frozenset({HandleType.HOST_ALLOCATION})
_NOWHERE = PciAddress(0, 0, 0)  # the host bridge: what devices report that are not on the bus


class HipBackend:
    """The HIP runtime that hip-python finds."""

    def __init__(self) -> None:
        self._driver = Driver()

    @property
    def name(self) -> str:
        """The registered name."""
        return "hip"

    def versions(self) -> Mapping[str, str]:
        """Versions of hip-python and the runtime, and where the runtime was found."""
        return self._driver.versions()

    def devices(self) -> tuple[DeviceInfo, ...]:
        """List the devices in HIP's order (``HIP_VISIBLE_DEVICES`` applies)."""
        number: int = self._driver.call("hipGetDeviceCount")
        if number == 0:
            raise BackendUnavailable("hip", "the HIP runtime sees no device", INSTALL_HINT)
        return tuple(_describe(self._driver, index) for index in range(number))

    def open_consumer(self, device: DeviceInfo) -> HipConsumer:
        """Open a device that :meth:`devices` listed."""
        if device.backend != self.name:
            raise InvalidArgument(f"not a device of the HIP backend: {device}")
        return HipConsumer(HipRuntime(self._driver, device), device)


def _describe(driver: Driver, index: int) -> DeviceInfo:
    properties = driver.call("hipGetDeviceProperties", index)
    name = decode(properties.name)
    arch = decode(properties.gcnArchName)
    software = "software" in name.lower()
    amd = arch.startswith("gfx")
    pci = _pci(driver, index)
    luid = _luid(bytes(properties.luid))
    device = DeviceInfo(
        backend="hip",
        index=index,
        name=name,
        identity=DeviceIdentity(
            uuid=None if amd else _uuid(driver, index),
            # Mesa's name for a GPU; a processor that answers to HIP is none.
            alternate_uuids=(radv_uuid(pci),) if amd and pci and not software else (),
            luid=luid,
            node_mask=int(properties.luidDeviceNodeMask) if luid else 0,
            pci=pci,
            host=host_identity() if software else None,
        ),
        capabilities=Capabilities(),  # asked of the device below
        software=software,
        layered="CUDA" if arch.startswith("sm_") or "cuda" in name.lower() else "",
        driver=f"HIP runtime {driver.version()}",
        details={
            "architecture": arch,
            "largest group": str(properties.maxThreadsPerBlock),
            "memory": f"{properties.totalGlobalMem} bytes",
        },
    )
    return replace(device, capabilities=_capabilities(HipRuntime(driver, device), amd=amd))


def _capabilities(runtime: HipRuntime, *, amd: bool) -> Capabilities:
    driver, index = runtime.driver, runtime.index
    semaphores, notes = probe_semaphores(runtime, amd=amd)
    if sys.platform == "win32":
        importable = _WINDOWS
    else:
        importable = _LINUX_AMD if amd else _OTHERS
    notify = runtime.host_function if driver.exports(runtime.host_function) else ""
    hold = notify
    if driver.exports(runtime.wait_value) and driver.attribute(index, "CanUseStreamWaitValue"):
        hold = runtime.wait_value
    else:
        notes.append(f"no {runtime.wait_value} on this device: a host function that blocks holds a stream")
    importable = importable if driver.exports("hipImportExternalMemory") else frozenset()
    images, image_notes = _images(runtime, importable)
    pins = driver.exports(runtime.register) and driver.attribute(index, "HostRegisterSupported")
    return Capabilities(
        memory_import=importable | _HOST if pins else importable,
        host_memory=f"{runtime.register}: pinned, read and written over the bus" if pins else "",
        semaphore_import=semaphores,
        stream_hold=hold,
        stream_notify=notify,
        semaphore_notes=tuple(notes),
        images=images,
        image_notes=image_notes,
    )


def _images(
    runtime: HipRuntime, importable: frozenset[HandleType]
) -> tuple[dict[Tiling, frozenset[HandleType]], tuple[str, ...]]:
    """Return the handle types by which images of a tiling are imported, and why a tiling is missing.

    Runtimes on Linux before ROCm 7 do not export the call that maps arrays. Some devices have no images.
    """
    images = {Tiling.LINEAR: importable}
    if not runtime.driver.exports(runtime.map_array):
        return images, (f"the HIP runtime does not export {runtime.map_array}",)
    # None: an older runtime refuses the question; the import will tell then.
    if runtime.driver.attribute(runtime.index, "ImageSupport") == 0:
        return images, ("the HIP device has no images, says hipDeviceAttributeImageSupport",)
    return {Tiling.OPTIMAL: importable, **images}, ()


def radv_uuid(pci: PciAddress) -> bytes:
    """Return the uuid that Mesa's AMD drivers derive from a PCI address: four little-endian words."""
    return b"".join(part.to_bytes(4, "little") for part in (pci.domain, pci.bus, pci.device, pci.function))


def is_serial(uuid: bytes) -> bool:
    """Whether a uuid is what AMD reports: the board's serial number in ASCII, unknown to Vulkan."""
    return all(byte in b"0123456789abcdefABCDEF" for byte in uuid)


def _pci(driver: Driver, index: int) -> PciAddress | None:
    text = ctypes.create_string_buffer(64)
    if driver.raw("hipDeviceGetPCIBusId")(text, len(text), index) != 0:
        return None  # a device that is not on the bus; there is nothing to report
    try:
        found = PciAddress.parse(text.value.decode(errors="replace"))
    except InvalidArgument:
        return None
    return found if found != _NOWHERE else None


def _uuid(driver: Driver, index: int) -> bytes | None:
    raw = ctypes.create_string_buffer(16)
    if not driver.exports("hipDeviceGetUuid") or driver.raw("hipDeviceGetUuid")(raw, index) != 0:
        return None
    return None if is_serial(raw.raw) else raw.raw


def _luid(raw: bytes) -> bytes | None:
    return raw[:8] if sys.platform == "win32" and any(raw[:8]) else None

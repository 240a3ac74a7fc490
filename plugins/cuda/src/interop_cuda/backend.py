"""Devices of the CUDA driver."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

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
)
from interop_cuda._abi import Attribute
from interop_cuda._driver import Driver, kernel_module
from interop_cuda._install import INSTALL_HINT
from interop_cuda._runtime import WAIT_SYMBOL, CudaRuntime
from interop_cuda.consumer import CudaConsumer

if TYPE_CHECKING:
    from collections.abc import Mapping

_LINUX = frozenset({HandleType.OPAQUE_FD})
_WINDOWS = frozenset({HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT})
_HOST = frozenset({HandleType.HOST_ALLOCATION})
_WINDOWS_TIMELINE = frozenset({HandleType.OPAQUE_WIN32})


class CudaBackend:
    """The CUDA driver of this machine."""

    def __init__(self) -> None:
        self._driver = Driver()

    @property
    def name(self) -> str:
        """The registered name."""
        return "cuda"

    def versions(self) -> Mapping[str, str]:
        """Versions of cuda-bindings, the driver and NVRTC."""
        return self._driver.versions()

    def devices(self) -> tuple[DeviceInfo, ...]:
        """List the devices in CUDA's order (``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER`` apply)."""
        number = self._driver.number("cuDeviceGetCount")
        if number == 0:
            raise BackendUnavailable("cuda", "the CUDA driver sees no device", INSTALL_HINT)
        return tuple(_describe(self._driver, index) for index in range(number))

    def open_consumer(self, device: DeviceInfo) -> CudaConsumer:
        """Open a device that :meth:`devices` listed, in its primary context."""
        if device.backend != self.name:
            raise InvalidArgument(f"not a device of the CUDA backend: {device}")
        return CudaConsumer(CudaRuntime(self._driver, device.index), device)


def _describe(driver: Driver, index: int) -> DeviceInfo:
    device = driver.number("cuDeviceGet", index)
    major = _attribute(driver, device, Attribute.COMPUTE_CAPABILITY_MAJOR)
    minor = _attribute(driver, device, Attribute.COMPUTE_CAPABILITY_MINOR)
    memory_size = driver.number("cuDeviceTotalMem_v2", device)
    module = kernel_module()
    luid, node_mask = _luid(driver, device) if sys.platform == "win32" else (None, 0)
    return DeviceInfo(
        backend="cuda",
        index=index,
        name=driver.text("cuDeviceGetName", device),
        identity=DeviceIdentity(
            uuid=_uuid(driver, device), luid=luid, node_mask=node_mask, pci=_pci(driver, device)
        ),
        capabilities=_capabilities(driver, device),
        driver=f"CUDA {driver.cuda_version()}" + (f", NVIDIA {module}" if module else ""),
        details={
            "compute capability": f"{major}.{minor}",
            "largest group": str(_attribute(driver, device, Attribute.MAX_THREADS_PER_BLOCK)),
            "memory": f"{memory_size} bytes",
        },
    )


def _capabilities(driver: Driver, device: int) -> Capabilities:
    notes: list[str] = []
    windows = sys.platform == "win32"
    importable = _WINDOWS if windows else _LINUX
    semaphores = {SemaphoreKind.BINARY: importable}
    if _attribute(driver, device, Attribute.TIMELINE_SEMAPHORE_INTEROP_SUPPORTED):
        semaphores[SemaphoreKind.TIMELINE] = _WINDOWS_TIMELINE if windows else _LINUX
    else:
        notes.append("this device does not import timeline semaphores, says its driver")
    hold = CudaRuntime.host_function
    if driver.exports(WAIT_SYMBOL) and _attribute(driver, device, Attribute.CAN_USE_64_BIT_STREAM_MEM_OPS):
        hold = CudaRuntime.wait_value
    else:
        notes.append(
            f"no {CudaRuntime.wait_value} on this device: a host function that blocks holds a stream"
        )
    importable = importable if driver.exports("cuImportExternalMemory") else frozenset[HandleType]()
    images, image_notes = _images(driver, importable)
    pins = driver.exports(CudaRuntime.register) and _attribute(
        driver, device, Attribute.HOST_REGISTER_SUPPORTED
    )
    return Capabilities(
        memory_import=importable | _HOST if pins else importable,
        host_memory="cuMemHostRegister: pinned, read and written over the bus" if pins else "",
        semaphore_import=semaphores if driver.exports("cuImportExternalSemaphore") else {},
        stream_hold=hold,
        stream_notify=CudaRuntime.host_function,
        semaphore_notes=tuple(notes),
        images=images,
        image_notes=image_notes,
    )


def _images(
    driver: Driver, importable: frozenset[HandleType]
) -> tuple[dict[Tiling, frozenset[HandleType]], tuple[str, ...]]:
    """Return by which handle types images of a tiling come in, and why a tiling is missing."""
    if not driver.exports(CudaRuntime.map_array):
        return {Tiling.LINEAR: importable}, (f"this CUDA driver does not export {CudaRuntime.map_array}",)
    return {Tiling.OPTIMAL: importable, Tiling.LINEAR: importable}, ()


def _attribute(driver: Driver, device: int, attribute: int) -> int:
    """Return a number about a device; 0 for one that a driver is too old to know (``INVALID_VALUE``)."""
    value = ctypes.c_int()
    code = driver.raw("cuDeviceGetAttribute")(ctypes.byref(value), attribute, device)
    return value.value if code == 0 else 0


def _pci(driver: Driver, device: int) -> PciAddress | None:
    try:
        return PciAddress.parse(driver.text("cuDeviceGetPCIBusId", device))
    except InvalidArgument:
        return None


def _uuid(driver: Driver, device: int) -> bytes | None:
    raw = ctypes.create_string_buffer(16)
    # Version 2 names the slice of a divided GPU, version 1 the whole of it.
    name = "cuDeviceGetUuid_v2" if driver.exports("cuDeviceGetUuid_v2") else "cuDeviceGetUuid"
    return raw.raw if driver.raw(name)(raw, device) == 0 else None


def _luid(driver: Driver, device: int) -> tuple[bytes | None, int]:
    """Return the adapter and which of its GPUs the device is (``cuDeviceGetLuid``)."""
    raw, mask = ctypes.create_string_buffer(8), ctypes.c_uint()
    code = driver.raw("cuDeviceGetLuid")(raw, ctypes.byref(mask), device)
    return (raw.raw, mask.value) if code == 0 and any(raw.raw) else (None, 0)

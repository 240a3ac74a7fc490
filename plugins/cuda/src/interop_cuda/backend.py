"""Devices of the CUDA driver, and the consumer that runs on one."""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING

from interop.protocols import (
    BackendUnavailable,
    Capabilities,
    ClosedError,
    DeviceIdentity,
    DeviceInfo,
    HandleType,
    InvalidArgument,
    PciAddress,
    SemaphoreKind,
    Tiling,
)
from interop.toolkit import Children, Imports, Resource
from interop_cuda import memory, semaphore
from interop_cuda._abi import Attribute
from interop_cuda._context import Context
from interop_cuda._driver import MAP_ARRAY, REGISTER, Driver, kernel_module
from interop_cuda._gate import HOST_FUNC, WAIT_SYMBOL, WAIT_VALUE
from interop_cuda.plugin import INSTALL_HINT
from interop_cuda.stream import CudaStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interop.protocols import Handle, ImageDescriptor, MemoryDescriptor, SemaphoreDescriptor
    from interop.toolkit import Share
    from interop_cuda.image import CudaImage
    from interop_cuda.kernels import CudaModule

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
        return CudaConsumer(Context(self._driver, device.index), device)


class CudaConsumer:
    """An opened device. Enqueueing calls make its context current in the calling thread; others do not."""

    def __init__(self, context: Context, device: DeviceInfo) -> None:
        self._context = context
        self._share = Resource(f"CUDA device {device.index}", context.drop)
        self._device = device
        self._capability = int(device.details["compute capability"].replace(".", ""))
        self._limit = int(device.details["largest group"])
        self._children = Children()
        self._importable = device.capabilities.memory_import
        self._imports: Imports[memory.CudaBuffer] = self._children.add(Imports())
        try:
            self._stream = self.create_stream()
        except BaseException:
            self.close()
            raise

    @property
    def device(self) -> DeviceInfo:
        """The device that was opened."""
        return self._device

    @property
    def stream(self) -> CudaStream:
        """The stream on which everything runs that names no other."""
        self._check_open()
        return self._stream

    def create_stream(self) -> CudaStream:
        """Make a further non-blocking stream; the caller closes it."""
        self._check_open()
        return self._children.add(CudaStream(self._context, hold=self._device.capabilities.stream_hold))

    def import_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> Share[memory.CudaBuffer]:
        """Take an allocation in; ``handle`` is consumed when this returns and untouched when it raises.

        The driver imports and maps an allocation once, however many descriptors name parts of it.
        Closing the result, or this consumer, while DLPack tensors of it live leaves it imported for them.
        """
        if not self._share.alive:
            self._check_open()
        return self._children.add(
            self._imports.take(handle, descriptor, self._import_whole, supported=self._importable)
        )

    def _import_whole(self, handle: Handle, descriptor: MemoryDescriptor) -> memory.CudaExternalMemory:
        if handle.type is HandleType.HOST_ALLOCATION:
            from interop_cuda.host import import_host

            return import_host(self._stream, handle, descriptor)
        return memory.import_memory(self._stream, handle, descriptor)

    def import_image(self, handle: Handle, memory: MemoryDescriptor, image: ImageDescriptor) -> CudaImage:
        """Take an image in; see :meth:`interop.protocols.ImageConsumer.import_image`."""
        from interop_cuda.image import import_image

        return self._children.add(import_image(self.stream, handle, memory, image, self._importable))

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> semaphore.CudaSemaphore:
        """Take a semaphore in; ownership as in :meth:`import_memory`."""
        self._check_open()
        supported = self._device.capabilities.importable(descriptor.kind)
        return self._children.add(semaphore.import_semaphore(self._context, handle, descriptor, supported))

    def allocate(self, size: int) -> memory.CudaBuffer:
        """Allocate device memory (``cuMemAlloc``); the caller closes it."""
        block, buffer = memory.allocate(self.stream, size)
        self._children.add(block)
        return buffer

    def compile(self, source: str | Mapping[str, str]) -> CudaModule:
        """Compile portable source, or the entry ``"cuda"`` of a mapping, with NVRTC."""
        from interop_cuda.kernels import compile_module

        return self._children.add(
            compile_module(self.stream, source, capability=self._capability, limit=self._limit)
        )

    def close(self) -> None:
        """Close what is still open, last made first. Work must have ended. A second call does nothing."""
        try:
            self._children.close()
        finally:
            self._share.close()

    def _check_open(self) -> None:
        if self._share.closed:
            raise ClosedError(f"{self._device} was used after close()")


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
            uuid=_uuid(driver, device),
            luid=luid,
            node_mask=node_mask,
            pci=_pci(driver, device),
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
    hold = HOST_FUNC
    if driver.exports(WAIT_SYMBOL) and _attribute(driver, device, Attribute.CAN_USE_64_BIT_STREAM_MEM_OPS):
        hold = WAIT_VALUE
    else:
        notes.append(f"no {WAIT_VALUE} on this device: streams are held by a blocking host function")
    importable = importable if driver.exports("cuImportExternalMemory") else frozenset[HandleType]()
    images, image_notes = _images(driver, importable)
    pins = driver.exports(REGISTER) and _attribute(driver, device, Attribute.HOST_REGISTER_SUPPORTED)
    return Capabilities(
        memory_import=importable | _HOST if pins else importable,
        host_memory="cuMemHostRegister: pinned, read and written over the bus" if pins else "",
        semaphore_import=semaphores if driver.exports("cuImportExternalSemaphore") else {},
        stream_hold=hold,
        stream_notify=HOST_FUNC,
        notes=tuple(notes),
        images=images,
        image_notes=image_notes,
    )


def _images(
    driver: Driver, importable: frozenset[HandleType]
) -> tuple[dict[Tiling, frozenset[HandleType]], tuple[str, ...]]:
    """Return by which handle types images of a tiling come in, and why a tiling is missing."""
    if not driver.exports(MAP_ARRAY):
        return {Tiling.LINEAR: importable}, (f"this CUDA driver does not export {MAP_ARRAY}",)
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

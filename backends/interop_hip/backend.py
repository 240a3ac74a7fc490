"""Devices of the HIP runtime, and the consumer that runs on one."""

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
    FdFate,
    HandleType,
    InvalidArgument,
    PciAddress,
    Tiling,
    host_identity,
)
from interop.toolkit import Children, DeviceType, Imports
from interop_hip import memory, semaphore
from interop_hip._driver import MAP_ARRAY, REGISTER, Driver, text_of
from interop_hip._gate import HOST_FUNC, WAIT_VALUE
from interop_hip.plugin import INSTALL_HINT
from interop_hip.stream import HipStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interop.protocols import Handle, ImageDescriptor, MemoryDescriptor, SemaphoreDescriptor
    from interop.toolkit import Share
    from interop_hip.image import HipImage
    from interop_hip.kernels import HipModule

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
            msg = f"not a device of the HIP backend: {device}"
            raise InvalidArgument(msg)
        return HipConsumer(self._driver, device)


class HipConsumer:
    """An opened device. Creating calls change which HIP device is current in the calling thread."""

    def __init__(self, driver: Driver, device: DeviceInfo) -> None:
        self._driver = driver
        self._device = device
        self._amd = device.details["architecture"].startswith("gfx")
        self._limit = int(device.details["largest group"])
        # AMD never touches the fd; runtimes on top of CUDA consume it.
        self._fate = FdFate.KEPT if self._amd else FdFate.VARIES
        self._array_type = DeviceType.CUDA if device.layered == "CUDA" else DeviceType.ROCM
        self._children = Children()
        self._importable = device.capabilities.memory_import
        self._imports: Imports[memory.HipBuffer] = self._children.add(Imports())
        self._closed = False
        self._stream = self.create_stream()

    @property
    def device(self) -> DeviceInfo:
        """The device that was opened."""
        return self._device

    @property
    def stream(self) -> HipStream:
        """The stream on which everything runs that names no other."""
        self._check_open()
        return self._stream

    def create_stream(self) -> HipStream:
        """Make a further non-blocking stream; the caller closes it."""
        self._check_open()
        hold = self._device.capabilities.stream_hold
        return self._children.add(
            HipStream(self._driver, self._device.index, hold=hold, array_type=self._array_type)
        )

    def import_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> Share[memory.HipBuffer]:
        """Take an allocation in; ``handle`` is consumed when this returns and untouched when it raises.

        The driver imports and maps an allocation once, however many descriptors name parts of it.
        """
        if self._closed:
            self._check_open()
        return self._children.add(
            self._imports.take(handle, descriptor, self._import_whole, supported=self._importable)
        )

    def _import_whole(self, handle: Handle, descriptor: MemoryDescriptor) -> memory.HipExternalMemory:
        if handle.type is HandleType.HOST_ALLOCATION:
            from interop_hip.host import import_host

            return import_host(self._driver, self._stream, handle, descriptor)
        return memory.import_memory(self._driver, self._stream, handle, descriptor, self._fate)

    def import_image(self, handle: Handle, memory: MemoryDescriptor, image: ImageDescriptor) -> HipImage:
        """Take an image in; see :meth:`interop.protocols.ImageConsumer.import_image`."""
        from interop_hip.image import import_image

        return self._children.add(
            import_image(
                self._driver, self.stream, handle, memory, image, supported=self._importable, fate=self._fate
            )
        )

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> semaphore.HipSemaphore:
        """Take a semaphore in; ownership as in :meth:`import_memory`."""
        self._check_open()
        supported = self._device.capabilities.importable(descriptor.kind)
        return self._children.add(
            semaphore.import_semaphore(
                self._driver, self._device.index, handle, descriptor, supported=supported, fate=self._fate
            )
        )

    def allocate(self, size: int) -> memory.HipBuffer:
        """Allocate device memory (``hipMalloc``); the caller closes it."""
        block, buffer = memory.allocate(self._driver, self.stream, size)
        self._children.add(block)
        return buffer

    def compile(self, source: str | Mapping[str, str]) -> HipModule:
        """Compile portable source, or the entry ``"hip"`` of a mapping, with hiprtc."""
        from interop_hip.kernels import compile_module

        arch = self._device.details["architecture"]
        return self._children.add(
            compile_module(self._driver, self.stream, source, arch=arch, limit=self._limit)
        )

    def close(self) -> None:
        """Close what is still open, last made first. Work must have ended. A second call does nothing."""
        self._closed = True
        self._children.close()

    def _check_open(self) -> None:
        if self._closed:
            msg = f"{self._device} was used after close()"
            raise ClosedError(msg)


def _describe(driver: Driver, index: int) -> DeviceInfo:
    properties = driver.call("hipGetDeviceProperties", index)
    name = text_of(properties.name)
    arch = text_of(properties.gcnArchName)
    software = "software" in name.lower()
    amd = arch.startswith("gfx")
    pci = _pci(driver, index)
    luid = _luid(bytes(properties.luid))
    return DeviceInfo(
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
        capabilities=_capabilities(driver, index, amd=amd),
        software=software,
        layered="CUDA" if arch.startswith("sm_") or "cuda" in name.lower() else "",
        driver=f"HIP runtime {driver.version()}",
        details={
            "architecture": arch,
            "largest group": str(properties.maxThreadsPerBlock),
            "memory": f"{properties.totalGlobalMem} bytes",
        },
    )


def _capabilities(driver: Driver, index: int, *, amd: bool) -> Capabilities:
    semaphores, notes = semaphore.probe(driver, index, amd=amd)
    if sys.platform == "win32":
        importable = _WINDOWS
    else:
        importable = _LINUX_AMD if amd else _OTHERS
    notify = HOST_FUNC if driver.exports(HOST_FUNC) else ""
    hold = notify
    attribute = driver.hip.hipDeviceAttribute_t.hipDeviceAttributeCanUseStreamWaitValue
    if driver.exports(WAIT_VALUE) and driver.call("hipDeviceGetAttribute", attribute, index):
        hold = WAIT_VALUE
    else:
        notes = [*notes, f"no {WAIT_VALUE} on this device: streams are held by a blocking host function"]
    importable = importable if driver.exports("hipImportExternalMemory") else frozenset()
    images, image_notes = _images(driver, index, importable)
    attribute = driver.hip.hipDeviceAttribute_t.hipDeviceAttributeHostRegisterSupported
    pins = driver.exports(REGISTER) and bool(driver.call("hipDeviceGetAttribute", attribute, index))
    return Capabilities(
        memory_import=importable | _HOST if pins else importable,
        host_memory=f"{REGISTER}: pinned, read and written over the bus" if pins else "",
        semaphore_import=semaphores,
        stream_hold=hold,
        stream_notify=notify,
        semaphore_notes=tuple(notes),
        images=images,
        image_notes=image_notes,
    )


def _images(
    driver: Driver, device: int, importable: frozenset[HandleType]
) -> tuple[dict[Tiling, frozenset[HandleType]], tuple[str, ...]]:
    """Return by which handle types images of a tiling come in, and why a tiling is missing.

    Arrays are mapped by a call that runtimes on Linux before ROCm 7 do not export, and not on devices that
    have no images (``hipDeviceAttributeImageSupport``).
    """
    images = {Tiling.LINEAR: importable}
    value = ctypes.c_int(1)
    attribute = int(driver.hip.hipDeviceAttribute_t.hipDeviceAttributeImageSupport)
    if not driver.exports(MAP_ARRAY):
        return images, (f"the HIP runtime does not export {MAP_ARRAY}",)
    code = driver.raw("hipDeviceGetAttribute")(ctypes.byref(value), attribute, device)
    if code == 0 and not value.value:  # an older runtime refuses the question; the import will tell then
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

"""Devices of the OpenCL platforms, and the consumer that runs on one."""

from __future__ import annotations

import struct
import warnings
from contextlib import closing
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
from interop.toolkit import Children, Imports, Resource
from interop_opencl import _driver as cl
from interop_opencl import memory, semaphore
from interop_opencl._events import Owed
from interop_opencl._ownership import required
from interop_opencl.plugin import INSTALL_HINT
from interop_opencl.stream import OpenCLStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interop.protocols import Handle, ImageDescriptor, MemoryDescriptor, SemaphoreDescriptor
    from interop.toolkit import Share
    from interop_opencl._ownership import Calls
    from interop_opencl.image import OpenCLImage
    from interop_opencl.kernels import OpenCLModule

_SETTLE = 5.0  # seconds for the driver to make the calls that it owes
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
        return self._driver.versions()

    def devices(self) -> tuple[DeviceInfo, ...]:
        """List the devices of all platforms, platform by platform."""
        found = self._natives()
        if not found:
            raise BackendUnavailable("opencl", "no OpenCL platform has a device", INSTALL_HINT)
        listed = [_describe(self._driver, index, *pair) for index, pair in enumerate(found)]
        if not any(listed):
            raise BackendUnavailable("opencl", "no OpenCL device can be asked what it is", INSTALL_HINT)
        return tuple(each for each in listed if each is not None)

    def _natives(self) -> list[tuple[Any, Any]]:
        driver = self._driver
        return [(platform, device) for platform in driver.platforms() for device in driver.devices(platform)]

    def open_consumer(self, device: DeviceInfo) -> OpenCLConsumer:
        """Open a device that :meth:`devices` listed, in a context of its own."""
        found = self._natives()
        if device.backend != self.name or not 0 <= device.index < len(found):
            raise InvalidArgument(f"not a device of the OpenCL backend: {device}")
        return OpenCLConsumer(self._driver, device, *found[device.index])


class OpenCLConsumer(Resource):
    """An opened device: one context with this device alone, and its queues."""

    __slots__ = (
        "_alignment",
        "_calls",
        "_children",
        "_device",
        "_driver",
        "_importable",
        "_imports",
        "_kept",
        "_native",
        "_owed",
        "_platform",
        "_stream",
    )

    def __init__(self, driver: cl.Driver, device: DeviceInfo, platform: Any, native: Any) -> None:
        children = Children()
        kept: list[Any] = []
        owed = Owed()
        super().__init__(f"OpenCL consumer on {device.name}", _release, driver, children, kept, owed)
        self._owed = owed
        self._driver = driver
        self._device = device
        self._platform: int = platform.int_ptr
        self._native = native
        self._children = children
        self._imports: Imports[memory.OpenCLBuffer] = children.add(Imports())
        self._calls: Calls | None = None
        self._kept = kept  # emptied by close, so that the context goes even while this object stays
        self._alignment = device.capabilities.view_alignment
        self._importable = device.capabilities.memory_import
        try:
            kept.append(driver.cl.Context([native]))
            self._stream = self.create_stream()
        except driver.cl.Error as error:
            self.close()
            raise cl.failure("clCreateContext", error) from error

    @property
    def device(self) -> DeviceInfo:
        """The device that was opened."""
        return self._device

    @property
    def native(self) -> Any:
        """The ``pyopencl.Context``."""
        self.check_open()
        return self._kept[0]

    @property
    def stream(self) -> OpenCLStream:
        """The queue on which everything runs that names no other."""
        self.check_open()
        return self._stream

    def create_stream(self) -> OpenCLStream:
        """Make a further in-order queue (``clCreateCommandQueueWithProperties``); the caller closes it."""
        self.check_open()
        index = self._device.index
        return self._children.add(OpenCLStream(self._driver, self.native, self._native, index, self._owed))

    def import_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> Share[memory.OpenCLBuffer]:
        """Take an allocation in; ``handle`` is consumed when this returns and untouched when it raises.

        The driver imports an allocation once, however many descriptors name parts of it. Kernels take parts at
        multiples of the device's ``view_alignment``.
        """
        if not self.alive:
            self.check_open()
        return self._children.add(
            self._imports.take(handle, descriptor, self._import_whole, supported=self._importable)
        )

    def _import_whole(self, handle: Handle, descriptor: MemoryDescriptor) -> memory.OpenCLExternalMemory:
        if handle.type is HandleType.HOST_ALLOCATION:
            from interop_opencl.host import import_host

            with closing(self.create_stream()) as queue:
                return import_host(self._driver, self._stream, queue, handle, descriptor, self._alignment)
        calls = self._calls or self._ownership()
        return memory.import_memory(self._driver, calls, self._stream, handle, descriptor, self._alignment)

    def _ownership(self) -> Calls:
        self._calls = required(self._driver, self._platform)
        return self._calls

    def import_image(self, handle: Handle, memory: MemoryDescriptor, image: ImageDescriptor) -> OpenCLImage:
        """Take an image in; see :meth:`interop.protocols.ImageConsumer.import_image`."""
        from interop_opencl.image import import_image

        return self._children.add(
            import_image(
                self._driver,
                self._calls or self._ownership(),
                self._native,
                self.stream,
                handle,
                memory,
                image,
                supported=self._importable,
            )
        )

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> semaphore.OpenCLSemaphore:
        """Take a binary semaphore in; ownership as in :meth:`import_memory`. Timelines are refused."""
        self.check_open()
        return self._children.add(
            semaphore.import_semaphore(
                self._driver,
                self._platform,
                self.native.int_ptr,
                handle,
                descriptor,
                supported=self._device.capabilities.importable(descriptor.kind),
            )
        )

    def create_semaphore(self, kind: SemaphoreKind, *, export: HandleType) -> semaphore.OpenCLSignals:
        """Make a semaphore whose signals are handed out; see :class:`interop.protocols.ExportingConsumer`."""
        self.check_open()
        return self._children.add(
            semaphore.create_semaphore(
                self._driver,
                self._platform,
                self.native.int_ptr,
                self._native.int_ptr,
                self._device.identity,
                kind,
                export,
                supported=self._device.capabilities.exportable(kind),
            )
        )

    def allocate(self, size: int) -> memory.OpenCLBuffer:
        """Allocate device memory (``clCreateBuffer``); the caller closes it."""
        block, buffer = memory.allocate(self._driver, self.native, self.stream, size, self._alignment)
        self._children.add(block)
        return buffer

    def compile(self, source: str | Mapping[str, str]) -> OpenCLModule:
        """Compile portable source, or the entry ``"opencl"`` of a mapping."""
        from interop_opencl.kernels import compile_module

        return self._children.add(compile_module(self._driver, self.native, self.stream, source))

    def __repr__(self) -> str:
        return f"<OpenCLConsumer {self._device.name}>"


def _release(driver: cl.Driver, children: Children, kept: list[Any], owed: Owed) -> None:
    try:
        children.close()
    finally:
        if not owed.settle(_SETTLE):
            warnings.warn(
                "the OpenCL driver still owes calls for events of a closed queue", ResourceWarning, 2
            )
        last = [cl.LastReference(driver, "Context", context.int_ptr) for context in kept]
        kept.clear()
        for reference in last:
            reference.drop()


def _describe(driver: cl.Driver, index: int, platform: Any, native: Any) -> DeviceInfo | None:
    """Return what a device is, or None for one that does not answer: it must not take the others away."""
    try:
        return _asked(driver, index, platform, native)
    except driver.cl.Error as error:
        warnings.warn(f"OpenCL device {index} is left out: {error}", RuntimeWarning, stacklevel=3)
        return None


def _asked(driver: cl.Driver, index: int, platform: Any, native: Any) -> DeviceInfo:
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
    importable = frozenset[Any]()
    if "cl_khr_external_memory" not in extensions:
        notes.append("this OpenCL device has no cl_khr_external_memory")
    elif any(driver.extension(platform, name) is None for name in cl.MEMORY_FUNCTIONS):
        notes.append("this OpenCL platform names cl_khr_external_memory and lacks its functions")
    else:
        importable = _known(driver.query_numbers(device, cl.DEVICE_MEMORY_IMPORT), cl.MEMORY_HANDLES)
    semaphores: dict[SemaphoreKind, frozenset[Any]] = {}
    handed_out: dict[SemaphoreKind, frozenset[Any]] = {}
    if "cl_khr_external_semaphore" not in extensions:
        notes.append("this OpenCL device has no cl_khr_external_semaphore")
    elif any(driver.extension(platform, name) is None for name in cl.SEMAPHORE_FUNCTIONS):
        notes.append("this OpenCL platform names cl_khr_external_semaphore and lacks its functions")
    else:
        # Which types of semaphores there are need not be asked: binary is the only one, and NVIDIA refuses
        # the question.
        found = _known(driver.query_numbers(device, cl.DEVICE_SEMAPHORE_IMPORT), cl.SEMAPHORE_HANDLES)
        semaphores[SemaphoreKind.BINARY] = found
        notes.append(semaphore.NO_TIMELINE)
        if driver.extension(platform, "clGetSemaphoreHandleForTypeKHR") is not None:
            exported = _known(driver.query_numbers(device, cl.DEVICE_SEMAPHORE_EXPORT), cl.SEMAPHORE_HANDLES)
            handed_out[SemaphoreKind.BINARY] = exported & {HandleType.SYNC_FD}  # all that is made here
    images, image_notes = _images(driver, native, importable)
    return Capabilities(
        memory_import=importable | {HandleType.HOST_ALLOCATION},
        semaphore_import=semaphores,
        semaphore_export=handed_out,
        host_memory=f"{cl.USE_HOST_PTR}: mapped and unmapped at each hand-over, when the driver may copy",
        stream_hold="clCreateUserEvent",
        stream_notify="clSetEventCallback",
        view_alignment=max(1, native.mem_base_addr_align // 8),  # the query counts bits
        notes=tuple(notes),
        images=images,
        image_notes=image_notes,
    )


def _images(
    driver: cl.Driver, device: Any, importable: frozenset[HandleType]
) -> tuple[dict[Tiling, frozenset[HandleType]], tuple[str, ...]]:
    """Return by which handle types images of a tiling come in, and why a tiling is missing.

    A driver reads the images of one handle type in one way: as rows, or as its Vulkan lays optimal ones out.
    """
    if not device.image_support:
        return {}, ("the OpenCL device has no images, says CL_DEVICE_IMAGE_SUPPORT",)
    rows = importable & _known(
        driver.query_numbers(device.int_ptr, cl.DEVICE_LINEAR_IMAGES), cl.MEMORY_HANDLES
    )
    notes = [f"the OpenCL driver reads images in {each} memory as rows" for each in sorted(rows)]
    notes += [
        f"the OpenCL driver does not read images in {each} memory as rows"
        for each in sorted(importable - rows)
    ]
    return {Tiling.OPTIMAL: importable - rows, Tiling.LINEAR: rows}, tuple(notes)


def _known(codes: tuple[int, ...], table: Mapping[int, Any]) -> frozenset[Any]:
    return frozenset(table[code] for code in codes if code in table)


def _exactly(raw: bytes | None, size: int) -> bytes | None:
    return raw if raw is not None and len(raw) == size and any(raw) else None


def _luid(driver: cl.Driver, device: int) -> bytes | None:
    valid = driver.query(device, cl.DEVICE_LUID_VALID)
    return _exactly(driver.query(device, cl.DEVICE_LUID), 8) if valid and any(valid) else None


def _pci(raw: bytes | None) -> PciAddress | None:
    if raw is None or len(raw) != 16:  # noqa: PLR2004 - cl_device_pci_bus_info_khr: four cl_uint
        return None
    return PciAddress(*struct.unpack("=4I", raw))

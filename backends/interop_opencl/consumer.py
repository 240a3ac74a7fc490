"""The consumer on one OpenCL device: a context with this device alone, and its queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.protocols import DEFAULT_TIMEOUT, HandleType
from interop.toolkit import ImageConsumerBase
from interop_opencl._context import OpenCLContext
from interop_opencl.memory import OpenCLBuffer, OpenCLMemory, allocate, import_memory
from interop_opencl.semaphore import NO_TIMELINE, create_semaphore, import_semaphore
from interop_opencl.stream import OpenCLStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interop.protocols import (
        DeviceInfo,
        Handle,
        ImageDescriptor,
        MemoryDescriptor,
        SemaphoreDescriptor,
        SemaphoreKind,
    )
    from interop_opencl._driver import Driver
    from interop_opencl.image import OpenCLImage
    from interop_opencl.kernels import OpenCLModule
    from interop_opencl.semaphore import OpenCLSemaphore, OpenCLSignals


class OpenCLConsumer(ImageConsumerBase[OpenCLBuffer, OpenCLStream]):
    """An opened device."""

    no_timelines = NO_TIMELINE

    def __init__(self, driver: Driver, device: DeviceInfo, platform: Any, native: Any) -> None:
        """Open a device in a context of its own (``clCreateContext``)."""
        self._home = OpenCLContext(driver, device, platform, native)
        super().__init__(device, self._home.release)

    @property
    def native(self) -> Any:
        """The ``pyopencl.Context``."""
        self.check_open()
        return self._home.native

    def open_stream(self) -> OpenCLStream:
        """Create an in-order queue (``clCreateCommandQueueWithProperties``)."""
        return OpenCLStream(self._home)

    def open_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> OpenCLMemory:
        """Import an allocation, or create a buffer over host memory."""
        if handle.type is HandleType.HOST_ALLOCATION:
            from interop_opencl.host import import_host

            with self.create_stream() as queue:
                return import_host(self.stream, queue, handle, descriptor)
        return import_memory(self.stream, handle, descriptor)

    def open_image(
        self, handle: Handle, memory: MemoryDescriptor, image: ImageDescriptor, timeout: float
    ) -> OpenCLImage:
        """Import an image that has been checked. The driver knows the size of its memory."""
        from interop_opencl.image import import_image

        del memory
        return import_image(self.stream, handle, image, timeout)

    def open_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> OpenCLSemaphore:  # noqa: ARG002 - it is binary
        """Import a binary semaphore that has been checked."""
        return import_semaphore(self._home, handle)

    def create_semaphore(self, kind: SemaphoreKind, *, export: HandleType) -> OpenCLSignals:
        """Create a semaphore whose signals are exported; see ``interop.protocols.ExportingConsumer``."""
        self.check_open()
        return self.keep(create_semaphore(self._home, kind, export))

    def allocate(self, size: int, *, timeout: float = DEFAULT_TIMEOUT) -> OpenCLBuffer:
        """Allocate device memory (``clCreateBuffer``); the caller closes the view."""
        allocated, view = allocate(self.stream, size, timeout)
        self.keep(allocated)
        return view

    def compile(self, source: str | Mapping[str, str]) -> OpenCLModule:
        """Compile portable source, or the entry ``"opencl"`` of a mapping."""
        from interop_opencl.kernels import compile_module

        return self.keep(compile_module(self.stream, source))

    def __repr__(self) -> str:
        return f"<OpenCLConsumer {self.device.name}>"

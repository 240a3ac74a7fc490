"""The consumer on one OpenCL device: a context with this device alone, and its queues."""

from __future__ import annotations

import warnings
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from interop.protocols import DEFAULT_TIMEOUT, HandleType, SemaphoreKind, Unsupported
from interop.toolkit import ConsumerBase, check_image, check_import_memory
from interop_opencl import memory, semaphore
from interop_opencl._driver import LastReference, failure
from interop_opencl._events import PendingCallbacks
from interop_opencl._ownership import required
from interop_opencl.stream import OpenCLStream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interop.protocols import (
        DeviceInfo,
        ExternalSemaphore,
        Handle,
        ImageDescriptor,
        MemoryDescriptor,
        SemaphoreDescriptor,
    )
    from interop_opencl._driver import Driver
    from interop_opencl._ownership import OwnershipFunctions
    from interop_opencl.image import OpenCLImage
    from interop_opencl.kernels import OpenCLModule
    from interop_opencl.memory import OpenCLBuffer, OpenCLMemory

_SETTLE = 5.0
"""Seconds for the driver to make the callbacks that it owes."""


class OpenCLConsumer(ConsumerBase["OpenCLBuffer", OpenCLStream]):
    """An opened device."""

    def __init__(self, driver: Driver, device: DeviceInfo, platform: Any, native: Any) -> None:
        """Open a device in a context of its own (``clCreateContext``)."""
        try:
            context = driver.cl.Context([native])
        except driver.cl.Error as error:
            raise failure("clCreateContext", error) from error
        self._driver = driver
        self._platform: int = platform.int_ptr
        self._native = native
        self._kept = [
            context
        ]  # close() empties the list, so that the context goes even while this object stays
        self._pending = PendingCallbacks()
        self._functions: OwnershipFunctions | None = None
        self._alignment = device.capabilities.view_alignment
        super().__init__(device, partial(_release, driver, self._kept, self._pending))

    @property
    def native(self) -> Any:
        """The ``pyopencl.Context``."""
        self.check_open()
        return self._kept[0]

    def open_stream(self) -> OpenCLStream:
        """Create an in-order queue (``clCreateCommandQueueWithProperties``)."""
        return OpenCLStream(self._driver, self._kept[0], self._native, self.device.index, self._pending)

    def open_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> OpenCLMemory:
        """Import an allocation, or create a buffer over host memory."""
        if handle.type is HandleType.HOST_ALLOCATION:
            from interop_opencl.host import import_host

            with closing(self.create_stream()) as queue:
                return import_host(self.stream, queue, handle, descriptor, self._alignment)
        return memory.import_memory(self._ownership(), self.stream, handle, descriptor, self._alignment)

    def _ownership(self) -> OwnershipFunctions:
        if self._functions is None:
            self._functions = required(self._driver, self._platform)
        return self._functions

    def import_image(
        self,
        handle: Handle,
        memory: MemoryDescriptor,
        image: ImageDescriptor,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> OpenCLImage:
        """Import an image; see ``interop.protocols.ImageConsumer.import_image``."""
        from interop_opencl.image import import_image

        self.check_open()
        check_import_memory(handle, memory, self.device.capabilities.memory_import)
        check_image(memory, image)
        stream, functions = self.stream, self._ownership()
        return self.keep(import_image(functions, self._native, stream, handle, memory, image, timeout))

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> ExternalSemaphore:
        """Import a binary semaphore. Raises ``Unsupported`` for a timeline."""
        self.check_open()
        if descriptor.kind is SemaphoreKind.TIMELINE:
            raise Unsupported("timeline semaphores", semaphore.NO_TIMELINE)
        return super().import_semaphore(handle, descriptor)

    def open_semaphore(
        self,
        handle: Handle,
        descriptor: SemaphoreDescriptor,  # noqa: ARG002 - it is binary
    ) -> semaphore.OpenCLSemaphore:
        """Import a binary semaphore that has been checked."""
        return semaphore.import_semaphore(self._driver, self._platform, self.native.int_ptr, handle)

    def create_semaphore(self, kind: SemaphoreKind, *, export: HandleType) -> semaphore.OpenCLSignals:
        """Create a semaphore whose signals are exported; see ``interop.protocols.ExportingConsumer``."""
        self.check_open()
        return self.keep(
            semaphore.create_semaphore(
                self._driver,
                self._platform,
                self.native.int_ptr,
                self._native.int_ptr,
                self.device.identity,
                kind,
                export,
                supported=self.device.capabilities.exportable(kind),
            )
        )

    def allocate(self, size: int, *, timeout: float = DEFAULT_TIMEOUT) -> OpenCLBuffer:
        """Allocate device memory (``clCreateBuffer``); the caller closes the view."""
        allocated, view = memory.allocate(self.stream, self.native, size, self._alignment, timeout)
        self.keep(allocated)
        return view

    def compile(self, source: str | Mapping[str, str]) -> OpenCLModule:
        """Compile portable source, or the entry ``"opencl"`` of a mapping."""
        from interop_opencl.kernels import compile_module

        return self.keep(compile_module(self.stream, self.native, source))

    def __repr__(self) -> str:
        return f"<OpenCLConsumer {self.device.name}>"


def _release(driver: Driver, kept: list[Any], pending: PendingCallbacks) -> None:
    if not pending.settle(_SETTLE):
        warnings.warn(
            "the OpenCL driver still owes callbacks for events of a closed queue", ResourceWarning, 2
        )
    last = [LastReference(driver, "Context", context.int_ptr) for context in kept]
    kept.clear()
    for reference in last:
        reference.drop()

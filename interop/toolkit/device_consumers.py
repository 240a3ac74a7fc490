"""The consumer of a CUDA-like runtime."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING

from interop.protocols import DEFAULT_TIMEOUT, SEMAPHORE_FLOOR, HandleType, check_shape, lend
from interop.toolkit.bases import ImageConsumerBase
from interop.toolkit.device_memory import DeviceMemory, DeviceView, import_external, pin_host, release_memory
from interop.toolkit.device_streams import DeviceStream
from interop.toolkit.resource import adopt
from interop.toolkit.semaphores import DeviceSemaphore
from interop.toolkit.views import BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interop.protocols import DeviceInfo, Handle, ImageDescriptor, MemoryDescriptor, SemaphoreDescriptor
    from interop.toolkit.device_images import DeviceImage
    from interop.toolkit.device_kernels import DeviceModule
    from interop.toolkit.runtimes import DeviceRuntime

_HOST = HandleType.HOST_ALLOCATION


class DeviceConsumer(ImageConsumerBase[DeviceView, DeviceStream]):
    """An opened device of a CUDA-like runtime. A backend adds the compiler and the images."""

    def __init__(self, runtime: DeviceRuntime, device: DeviceInfo) -> None:
        """Open a device; ``runtime`` is held once, and dropped by :meth:`close`."""
        self.runtime = runtime
        super().__init__(device, runtime.drop)

    def open_stream(self) -> DeviceStream:
        """Create a non-blocking stream."""
        return DeviceStream(self.runtime, hold=self.device.capabilities.stream_hold)

    def open_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> DeviceMemory:
        """Import an allocation and map it whole, or pin host memory.

        Note:
            ``cuImportExternalMemory`` and ``cuExternalMemoryGetMappedBuffer`` at offset 0, or HIP's twins: HIP before
            ROCm 7.2 loses other offsets. ``cuMemHostRegister`` or ``hipHostRegister`` for host memory.
        """
        stream, runtime = self._stream, self.runtime
        if handle.type is _HOST:
            return pin_host(stream, handle, descriptor.allocation_size)
        external, address = import_external(runtime, handle, descriptor, runtime.map_memory)
        return DeviceMemory(
            "external memory", stream, address, partial(release_memory, runtime.hold(), address, external)
        )

    def open_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> DeviceSemaphore:
        """Import a semaphore that has been checked; ``handle`` is consumed on success only."""
        runtime = self.runtime
        for name in (runtime.signal_semaphores, runtime.wait_semaphores):
            runtime.raw(name)  # a driver without them must fail before it has the handle
        with runtime.current, lend(handle, runtime.fate, floor=SEMAPHORE_FLOOR) as number:
            address = runtime.import_semaphore(number, handle.type, descriptor.kind)
        return DeviceSemaphore(runtime, descriptor.kind, address)

    @abstractmethod
    def image_type(self) -> type[DeviceImage]:
        """Load the class of the backend's images."""

    def open_image(
        self, handle: Handle, memory: MemoryDescriptor, image: ImageDescriptor, timeout: float
    ) -> DeviceImage:
        """Import an image that has been checked; ``handle`` is consumed on success only."""
        return self.image_type()(self.stream, handle, memory, image, timeout)

    def allocate(self, size: int, *, timeout: float = DEFAULT_TIMEOUT) -> DeviceView:
        """Allocate device memory; the caller closes the view."""
        shape, nbytes = check_shape(size, BYTES)
        memory = self.keep(DeviceMemory.allocate(self.stream, nbytes))
        return DeviceView(memory, 0, shape, nbytes, BYTES, timeout, owner=True)

    def compile(self, source: str | Mapping[str, str]) -> DeviceModule:
        """Compile portable source, or the entry of a mapping that is named after the backend."""
        from interop.toolkit.device_kernels import PORTABLE_NAMES, PRELUDE, DeviceModule
        from interop.toolkit.kernel_source import pick_source

        stream, backend, runtime = self.stream, self.device.backend, self.runtime
        own = not isinstance(source, str) and backend in source
        prelude = PRELUDE if own else PRELUDE + PORTABLE_NAMES + self.more_names
        text, signatures = pick_source(backend, source, prelude)
        limit = int(self.device.details["largest group"])
        code = self.compile_text(text)

        def load() -> int:
            with runtime.current:
                return runtime.make(runtime.load_module, code, hints=self.load_hints)

        return self.keep(adopt(load, partial(DeviceModule, stream, signatures, limit)))

    more_names = ""
    """What portable source needs of the API's compiler besides ``PORTABLE_NAMES``."""
    load_hints: Mapping[int, str] = {}

    @abstractmethod
    def compile_text(self, text: str) -> object:
        """Compile a source for the device and return code that the driver loads. Raises :class:`CompileError`."""

"""Imported images: the base of all, and those of CUDA-like runtimes, which are mipmapped arrays or rows of memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from interop.protocols import DriverError, Tiling, Unsupported
from interop.toolkit.device_memory import import_external
from interop.toolkit.device_streams import stream_address
from interop.toolkit.resource import Resource
from interop.toolkit.views import host_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Handle, HostBytes, ImageDescriptor, ImageFormat, MemoryDescriptor, Stream
    from interop.toolkit.device_streams import DeviceStream
    from interop.toolkit.runtimes import DeviceRuntime

# Invalid value and unknown: the answers to an image that the driver does not map.
_NOT_THIS_KIND = frozenset({1, 999})


class ImageBase(Resource, ABC):
    """An imported image. Fulfils :class:`interop.protocols.MappedImage`, but for ``native`` and ownership."""

    __slots__ = ("_descriptor", "timeout")

    def __init__(
        self,
        what: str,
        descriptor: ImageDescriptor,
        timeout: float,
        release: Callable[..., None],
        *args: object,
    ) -> None:
        super().__init__(f"{what} {descriptor.shape} {descriptor.format}", release, *args)
        self._descriptor = descriptor
        self.timeout = timeout
        """Seconds that reads and writes wait at most."""

    @property
    def descriptor(self) -> ImageDescriptor:
        """The descriptor that was imported."""
        return self._descriptor

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of the largest level, row-major."""
        return self._descriptor.shape

    @property
    def format(self) -> ImageFormat:
        """Components and type of a texel."""
        return self._descriptor.format

    def read(
        self, target: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy a level of a layer to the host, after all earlier work of the consumer's stream."""
        flat = host_bytes(target, self._descriptor.part_nbytes(level, layer), writable=True)
        self.check_open()
        self.copy(flat, level, layer, self.timeout if timeout is None else timeout, to_host=True)

    def write(
        self, source: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy a level of a layer from the host, after all earlier work of the consumer's stream."""
        flat = host_bytes(source, self._descriptor.part_nbytes(level, layer), writable=False)
        self.check_open()
        self.copy(flat, level, layer, self.timeout if timeout is None else timeout, to_host=False)

    @abstractmethod
    def copy(self, host: Any, level: int, layer: int, timeout: float, *, to_host: bool) -> None:
        """Copy between a level of a layer and a flat NumPy array of its size; the image is open."""

    def __repr__(self) -> str:
        return f"<{self._what}>"


class ImageMapping(NamedTuple):
    """What the driver made of an image, and what releases it."""

    base: int
    """The mipmapped array, or the device address of the whole allocation."""
    destroy: str
    levels: tuple[int, ...]
    """The array of each level; none for a linear image."""


class DeviceImage(ImageBase):
    """An image of Vulkan, imported by a CUDA-like runtime. A backend adds the copy and how arrays are described."""

    __slots__ = ("_stream", "mapping")

    def __init__(
        self,
        stream: DeviceStream,
        handle: Handle,
        memory: MemoryDescriptor,
        descriptor: ImageDescriptor,
        timeout: float,
    ) -> None:
        """Import an image that has been checked and map it; ``handle`` is consumed on success only.

        Note:
            ``cuExternalMemoryGetMappedMipmappedArray`` or HIP's twin, which HIP on Linux before ROCm 7 does not
            export; for a linear image ``cuExternalMemoryGetMappedBuffer``, as arrays are never linear.
        """
        runtime = stream.runtime

        def mapped(external: int, memory: MemoryDescriptor, undo: list[Callable[[], object]]) -> ImageMapping:
            if descriptor.tiling is Tiling.LINEAR:
                return ImageMapping(runtime.map_memory(external, memory, undo), runtime.free, ())
            try:
                native = runtime.make(runtime.map_array, external, self.describe(runtime, descriptor))
            except DriverError as error:
                if error.code not in _NOT_THIS_KIND:
                    raise
                images = f"{descriptor.tiling} images {descriptor.shape} of {descriptor.format}"
                raise Unsupported(images, str(error)) from error
            undo.append(partial(runtime.call, runtime.free_array, native))
            levels = range(descriptor.mip_levels)
            arrays = tuple(runtime.make(runtime.array_level, native, level) for level in levels)
            return ImageMapping(native, runtime.free_array, arrays)

        external, mapping = import_external(runtime, handle, memory, mapped)
        kept = (runtime.hold(), external, mapping)
        super().__init__(f"{runtime.api} image", descriptor, timeout, _release, *kept)
        self._stream = stream
        self.mapping = mapping

    @property
    def native(self) -> int:
        """The mipmapped array, for texture and surface objects; of a linear image its device address."""
        self.check_open()
        first = 0 if self.mapping.levels else self._descriptor.offset
        return self.mapping.base + first

    def acquire(self, stream: Stream) -> None:
        """Check the stream and do nothing else: the API has no ownership of memory."""
        self.check_open()
        stream_address(stream, self._stream.runtime)

    def release(self, stream: Stream) -> None:
        """As :meth:`acquire`."""
        self.acquire(stream)

    def copy(self, host: Any, level: int, layer: int, timeout: float, *, to_host: bool) -> None:
        """Copy on the consumer's stream."""
        stream = self._stream
        place = (stream.runtime, stream.native, host.ctypes.data, level, layer)
        enqueue = partial(self.enqueue_copy, *place, to_host=to_host)
        stream.copy(enqueue, lambda: (host, self), timeout)

    @abstractmethod
    def describe(self, runtime: Any, image: ImageDescriptor, /) -> object:
        """Return a reference to the driver's descriptor of the mipmapped array that an image is."""

    @abstractmethod
    def enqueue_copy(
        self, runtime: Any, stream: int, host: int, level: int, layer: int, *, to_host: bool
    ) -> None:
        """Enqueue a copy between a level of a layer and ``host``, rows without gaps."""


def _release(runtime: DeviceRuntime, external: int, mapping: ImageMapping) -> None:
    leaked = f"{runtime.api} image at 0x{mapping.base:x}"
    with runtime.releasing(leaked), ExitStack() as every:
        every.callback(runtime.call, runtime.destroy_memory, external)
        every.callback(runtime.call, mapping.destroy, mapping.base)

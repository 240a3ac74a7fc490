"""Images of other APIs in CUDA: optimal ones are mipmapped arrays, linear ones rows in device memory."""

from __future__ import annotations

import ctypes
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from interop.protocols import DriverError, Numbers, Tiling, Unsupported, WaitTimeout
from interop.toolkit import Resource, check_image, check_import_memory, host_bytes
from interop_cuda._abi import (
    ARRAY_LAYERED,
    ARRAY_SURFACE_LOAD_STORE,
    Memcpy3D,
    Memcpy3DSide,
    MipmappedArrayDesc,
    Place,
)
from interop_cuda._driver import MAP_ARRAY
from interop_cuda.memory import DEFAULT_TIMEOUT, import_external, map_whole
from interop_cuda.stream import stream_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import (
        Handle,
        HandleType,
        HostBytes,
        ImageDescriptor,
        ImageFormat,
        MemoryDescriptor,
        Stream,
    )
    from interop_cuda._context import Context
    from interop_cuda._driver import Driver
    from interop_cuda.stream import CudaStream

# CUarray_format. Integers that shaders see as fractions are integers to whoever copies or loads them.
_FORMATS = {
    (Numbers.UINT, 8): 0x01,
    (Numbers.UINT, 16): 0x02,
    (Numbers.UINT, 32): 0x03,
    (Numbers.UNORM, 8): 0x01,
    (Numbers.UNORM, 16): 0x02,
    (Numbers.SINT, 8): 0x08,
    (Numbers.SINT, 16): 0x09,
    (Numbers.SINT, 32): 0x0A,
    (Numbers.FLOAT, 16): 0x10,
    (Numbers.FLOAT, 32): 0x20,
}
# Invalid value, unknown: what the driver answers for an image that it does not map.
_NOT_THIS_KIND = frozenset({1, 999})


class _Mapping(NamedTuple):
    """What the driver made of an image, and what gives it back."""

    base: int
    """The ``CUmipmappedArray``, or the address of the whole allocation."""
    destroy: str
    levels: tuple[int, ...]
    """The ``CUarray`` of each level; none for a linear image."""


class CudaImage(Resource):
    """An image of another API, imported and mapped."""

    __slots__ = ("_descriptor", "_mapping", "_stream")

    def __init__(
        self, stream: CudaStream, external: int, mapping: _Mapping, descriptor: ImageDescriptor
    ) -> None:
        what = f"CUDA image {descriptor.shape} {descriptor.format}"
        super().__init__(what, _release, stream.context.hold(), external, mapping)
        self._stream = stream
        self._mapping = mapping
        self._descriptor = descriptor

    @property
    def descriptor(self) -> ImageDescriptor:
        """What was imported."""
        return self._descriptor

    @property
    def shape(self) -> tuple[int, ...]:
        """The largest level, row-major."""
        return self._descriptor.shape

    @property
    def format(self) -> ImageFormat:
        """The make-up of a texel."""
        return self._descriptor.format

    @property
    def native(self) -> int:
        """The ``CUmipmappedArray``, for texture and surface objects; of a linear image its device address."""
        self.check_open()
        first = 0 if self._mapping.levels else self._descriptor.offset
        return self._mapping.base + first

    def acquire(self, stream: Stream) -> None:
        """Check the stream and do nothing else: CUDA has no ownership of memory."""
        self.check_open()
        stream_address(stream, self._stream.device)

    def release(self, stream: Stream) -> None:
        """As :meth:`acquire`."""
        self.acquire(stream)

    def read(
        self, target: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy to the host, after all earlier work of the consumer's stream (``cuMemcpy3DAsync``)."""
        flat = host_bytes(target, self._descriptor.part_nbytes(level, layer), writable=True)
        self._copy(self._side(level, layer), self._host(flat.ctypes.data, level), level, flat, timeout)

    def write(
        self, source: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy from the host, after all earlier work of the consumer's stream (``cuMemcpy3DAsync``)."""
        flat = host_bytes(source, self._descriptor.part_nbytes(level, layer), writable=False)
        self._copy(self._host(flat.ctypes.data, level), self._side(level, layer), level, flat, timeout)

    def _side(self, level: int, layer: int) -> Memcpy3DSide:
        self.check_open()
        if self._mapping.levels:
            return Memcpy3DSide(z=layer, kind=Place.ARRAY, array=self._mapping.levels[level])
        image = self._descriptor
        return Memcpy3DSide(
            kind=Place.DEVICE,
            device=self.native,
            pitch=image.row_pitch,
            height=image.extent[1],
        )

    def _host(self, address: int, level: int) -> Memcpy3DSide:
        width, height, _ = self._descriptor.level_extent(level)
        pitch = width * self.format.texel_size
        return Memcpy3DSide(kind=Place.HOST, host=address, pitch=pitch, height=height)

    def _copy(
        self, source: Memcpy3DSide, target: Memcpy3DSide, level: int, keep: object, timeout: float | None
    ) -> None:
        width, height, depth = self._descriptor.level_extent(level)
        copy = Memcpy3D(source, target, width * self.format.texel_size, height, depth)
        seconds = DEFAULT_TIMEOUT if timeout is None else timeout
        deadline = time.monotonic() + seconds
        # The copy itself may block without limit while the stream is held, because host memory is pageable:
        # so the stream is brought to rest first.
        self._stream.synchronize(seconds)
        driver = self._stream.context.driver
        driver.call("cuMemcpy3DAsync_v2", ctypes.byref(copy), self._stream.native)
        try:
            self._stream.synchronize(deadline - time.monotonic())
        except WaitTimeout:
            self._stream.park((keep, self))
            raise

    def __repr__(self) -> str:
        return f"<CudaImage {self.shape} {self.format}>"


def _release(context: Context, external: int, mapping: _Mapping) -> None:
    with ExitStack() as every:  # last given first: one failure must not keep the others from being released
        every.callback(context.drop)
        driver = every.enter_context(context.current())
        every.callback(driver.call, "cuDestroyExternalMemory", external)
        every.callback(driver.call, mapping.destroy, mapping.base)


def import_image(
    stream: CudaStream,
    handle: Handle,
    memory: MemoryDescriptor,
    image: ImageDescriptor,
    supported: frozenset[HandleType],
) -> CudaImage:
    """Import an image and map it; ``handle`` is consumed on success only.

    ``cuImportExternalMemory``, then ``cuExternalMemoryGetMappedMipmappedArray``; for a linear image
    ``cuExternalMemoryGetMappedBuffer``, as arrays are never linear.
    """
    check_image(memory, image)
    check_import_memory(handle, memory, supported)

    def mapped(
        driver: Driver, undo: list[Callable[[], object]], external: int, memory: MemoryDescriptor
    ) -> _Mapping:
        if image.tiling is Tiling.LINEAR:
            return _Mapping(map_whole(driver, undo, external, memory), "cuMemFree_v2", ())
        return _array(driver, undo, external, image)

    external, mapping = import_external(stream, handle, memory, mapped)
    return CudaImage(stream, external, mapping, image)


def _array(
    driver: Driver, undo: list[Callable[[], object]], external: int, image: ImageDescriptor
) -> _Mapping:
    wanted = MipmappedArrayDesc(offset=image.offset, levels=image.mip_levels)
    array = wanted.array
    array.width, array.height, depth = image.extent
    layered = image.array_layers > 1
    array.depth = image.array_layers if layered else depth if image.is_3d else 0
    array.format = _FORMATS[image.format.numbers, image.format.bits]
    array.channels = image.format.components
    array.flags = ARRAY_SURFACE_LOAD_STORE | (ARRAY_LAYERED if layered else 0)
    try:
        native = driver.make(MAP_ARRAY, external, ctypes.byref(wanted))
    except DriverError as error:
        if error.code not in _NOT_THIS_KIND:
            raise
        raise Unsupported(f"{image.tiling} images {image.shape} of {image.format}", str(error)) from error
    undo.append(partial(driver.call, "cuMipmappedArrayDestroy", native))
    levels = [driver.make("cuMipmappedArrayGetLevel", native, level) for level in range(image.mip_levels)]
    return _Mapping(native, "cuMipmappedArrayDestroy", tuple(levels))

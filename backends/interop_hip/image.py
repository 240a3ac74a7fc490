"""Images of other APIs in HIP: optimal ones are mipmapped arrays, linear ones rows in device memory."""

from __future__ import annotations

import ctypes
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from interop.protocols import DriverError, Numbers, Tiling, Unsupported, WaitTimeout
from interop.toolkit import Resource, check_image, check_import_memory, host_bytes
from interop_hip._abi import ChannelFormat, Extent, Memcpy3D, MipmappedArrayDesc, PitchedPointer, Position
from interop_hip._driver import MAP_ARRAY
from interop_hip.memory import DEFAULT_TIMEOUT, import_external, map_whole
from interop_hip.stream import stream_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import (
        FdFate,
        Handle,
        HandleType,
        HostBytes,
        ImageDescriptor,
        ImageFormat,
        MemoryDescriptor,
        Stream,
    )
    from interop_hip._driver import Driver
    from interop_hip.stream import HipStream

# hipChannelFormatKind. Integers that shaders see as fractions are integers to whoever copies or loads them.
_KINDS = {Numbers.SINT: 0, Numbers.UINT: 1, Numbers.UNORM: 1, Numbers.FLOAT: 2}
_LAYERED = 1
_SURFACE_LOAD_STORE = 2
# Invalid value, unknown: what runtimes answer for an image that they do not map.
_NOT_THIS_KIND = frozenset({1, 999})
_HOST_TO_DEVICE = 1
_DEVICE_TO_HOST = 2


class _Mapping(NamedTuple):
    """What the runtime made of an image, and what gives it back."""

    base: int
    """The ``hipMipmappedArray_t``, or the address of the whole allocation."""
    destroy: str
    levels: tuple[int, ...]
    """The ``hipArray_t`` of each level; none for a linear image."""


class HipImage(Resource):
    """An image of another API, imported and mapped."""

    __slots__ = ("_descriptor", "_mapping", "_stream")

    def __init__(
        self, stream: HipStream, external: int, mapping: _Mapping, descriptor: ImageDescriptor
    ) -> None:
        what = f"HIP image {descriptor.shape} {descriptor.format}"
        super().__init__(what, _release, stream.driver, stream.device, external, mapping)
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
        """The ``hipMipmappedArray_t``, for surface objects; of a linear image its device address."""
        self.check_open()
        first = 0 if self._mapping.levels else self._descriptor.offset
        return self._mapping.base + first

    def acquire(self, stream: Stream) -> None:
        """Check the stream and do nothing else: HIP has no ownership of memory."""
        self.check_open()
        stream_address(stream, self._stream.device)

    def release(self, stream: Stream) -> None:
        """As :meth:`acquire`."""
        self.acquire(stream)

    def read(
        self, target: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy to the host, after all earlier work of the consumer's stream (``hipMemcpy3DAsync``)."""
        flat = host_bytes(target, self._descriptor.part_nbytes(level, layer), writable=True)
        self._copy(_DEVICE_TO_HOST, flat, level, layer, timeout)

    def write(
        self, source: HostBytes, *, level: int = 0, layer: int = 0, timeout: float | None = None
    ) -> None:
        """Copy from the host, after all earlier work of the consumer's stream (``hipMemcpy3DAsync``)."""
        flat = host_bytes(source, self._descriptor.part_nbytes(level, layer), writable=False)
        self._copy(_HOST_TO_DEVICE, flat, level, layer, timeout)

    def _copy(self, direction: int, flat: Any, level: int, layer: int, timeout: float | None) -> None:
        self.check_open()
        seconds = DEFAULT_TIMEOUT if timeout is None else timeout
        deadline = time.monotonic() + seconds
        # The copy itself may block without limit while the stream is held, because host memory is pageable:
        # so the stream is brought to rest first.
        self._stream.synchronize(seconds)
        if self._mapping.levels:
            self._copy_array(direction, flat.ctypes.data, level, layer)
        else:
            self._copy_rows(direction, flat.ctypes.data)
        try:
            self._stream.synchronize(deadline - time.monotonic())
        except WaitTimeout:
            self._stream.park((flat, self))
            raise

    def _copy_array(self, direction: int, host: int, level: int, layer: int) -> None:
        width, height, depth = self._descriptor.level_extent(level)
        rows = PitchedPointer(host, width * self.format.texel_size, width, height)
        array, place = self._mapping.levels[level], Position(z=layer)
        copy = Memcpy3D(extent=Extent(width, height, depth), kind=direction)
        if direction == _DEVICE_TO_HOST:
            copy.source_array, copy.source_position, copy.target = array, place, rows
        else:
            copy.target_array, copy.target_position, copy.source = array, place, rows
        driver = self._stream.driver
        code = driver.raw("hipMemcpy3DAsync")(ctypes.byref(copy), self._stream.native)
        driver.check("hipMemcpy3DAsync", code)

    def _copy_rows(self, direction: int, host: int) -> None:
        width, height, _ = self._descriptor.extent
        size = width * self.format.texel_size
        device, outside = (self.native, self._descriptor.row_pitch), (host, size)
        sides = (*outside, *device) if direction == _DEVICE_TO_HOST else (*device, *outside)
        driver = self._stream.driver
        code = driver.raw("hipMemcpy2DAsync")(*sides, size, height, direction, self._stream.native)
        driver.check("hipMemcpy2DAsync", code)

    def __repr__(self) -> str:
        return f"<HipImage {self.shape} {self.format}>"


def _release(driver: Driver, device: int, external: int, mapping: _Mapping) -> None:
    with driver.releasing(device), ExitStack() as every:
        driver.settle(device, f"HIP image at 0x{mapping.base:x}")  # freeing waits for every stream
        every.callback(driver.call, "hipDestroyExternalMemory", external)
        every.callback(_destroy, driver, mapping.destroy, mapping.base)


def _destroy(driver: Driver, function: str, address: int) -> None:
    driver.check(function, driver.raw(function)(address))


def import_image(
    driver: Driver,
    stream: HipStream,
    handle: Handle,
    memory: MemoryDescriptor,
    image: ImageDescriptor,
    *,
    supported: frozenset[HandleType],
    fate: FdFate,
) -> HipImage:
    """Import an image and map it; ``handle`` is consumed on success only.

    ``hipImportExternalMemory``, then ``hipExternalMemoryGetMappedMipmappedArray``, which runtimes on Linux
    before ROCm 7 do not export or answer with "not supported"; for a linear image
    ``hipExternalMemoryGetMappedBuffer``, as arrays are never linear.
    """
    check_image(memory, image)
    check_import_memory(handle, memory, supported)

    def mapped(
        driver: Driver, undo: list[Callable[[], object]], external: int, memory: MemoryDescriptor
    ) -> _Mapping:
        if image.tiling is Tiling.LINEAR:
            return _Mapping(map_whole(driver, undo, external, memory), "hipFree", ())
        return _array(driver, undo, external, image)

    external, mapping = import_external(driver, stream, handle, memory, mapped, fate)
    return HipImage(stream, external, mapping, image)


def _array(
    driver: Driver, undo: list[Callable[[], object]], external: int, image: ImageDescriptor
) -> _Mapping:
    made = image.format
    bits = [made.bits if index < made.components else 0 for index in range(4)]
    layered = image.array_layers > 1
    width, height, depth = image.extent
    wanted = MipmappedArrayDesc(
        offset=image.offset,
        format=ChannelFormat((ctypes.c_int * 4)(*bits), _KINDS[made.numbers]),
        extent=Extent(width, height, image.array_layers if layered else depth if image.is_3d else 0),
        flags=_SURFACE_LOAD_STORE | (_LAYERED if layered else 0),
        levels=image.mip_levels,
    )
    try:
        native = _make(driver, MAP_ARRAY, external, ctypes.byref(wanted))
    except DriverError as error:
        if error.code not in _NOT_THIS_KIND:
            raise
        raise Unsupported(f"{image.tiling} images {image.shape} of {image.format}", str(error)) from error
    undo.append(partial(_destroy, driver, "hipFreeMipmappedArray", native))
    driver.raw("hipMemcpy3DAsync")  # a runtime without it must fail now, not at the first copy
    levels = [_make(driver, "hipGetMipmappedArrayLevel", native, level) for level in range(image.mip_levels)]
    return _Mapping(native, "hipFreeMipmappedArray", tuple(levels))


def _make(driver: Driver, function: str, *arguments: object) -> int:
    made = ctypes.c_void_p()
    driver.check(function, driver.raw(function)(ctypes.byref(made), *arguments))
    if made.value is None:
        raise DriverError(function, 0, text="reported success and returned no object")
    return made.value

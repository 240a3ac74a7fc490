"""External memory in HIP: imported once, mapped once, seen through views that are arithmetic."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from interop.protocols import (
    FD_TYPES,
    BareOwnership,
    ClosedError,
    DType,
    FdFate,
    HandleType,
    InvalidArgument,
    WaitTimeout,
    check_range,
    check_shape,
    lend,
)
from interop.toolkit import BYTES, capsule, check_request, host_bytes, undo_all
from interop_hip._block import Block, Host
from interop_hip._driver import OUT_OF_MEMORY
from interop_hip.stream import stream_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Handle, HostBytes, MemoryDescriptor, Stream
    from interop_hip._driver import Driver
    from interop_hip.stream import HipStream

_Mapped = TypeVar("_Mapped")
_Undo: TypeAlias = "list[Callable[[], object]]"
DEFAULT_TIMEOUT = 30.0

_NULL_STREAM = 0
_DEDICATED = 1
_HOST_TO_DEVICE = 1
_DEVICE_TO_HOST = 2

# HIP has no type for dma-bufs: on Linux AMD's runtime takes any fd as a dma-buf of its own kernel driver.
_TYPES = {
    HandleType.OPAQUE_FD: "hipExternalMemoryHandleTypeOpaqueFd",
    HandleType.DMA_BUF: "hipExternalMemoryHandleTypeOpaqueFd",
    HandleType.OPAQUE_WIN32: "hipExternalMemoryHandleTypeOpaqueWin32",
    HandleType.OPAQUE_WIN32_KMT: "hipExternalMemoryHandleTypeOpaqueWin32Kmt",
}
_IMPORT_HINTS = {
    OUT_OF_MEMORY: "the handle is not memory of this GPU's driver, or of another GPU, or memory ran out"
}


class HipExternalMemory(Block):
    """An allocation of another API, mapped whole. Fulfils :class:`interop.toolkit.Whole`."""

    __slots__ = ("_stream",)

    def __init__(
        self,
        driver: Driver,
        stream: HipStream,
        address: int,
        external: int | Host,
    ) -> None:
        super().__init__("external memory", driver, stream.device, address, external)
        self._stream = stream

    def view_at(self, first: int, shape: tuple[int, ...], nbytes: int, dtype: DType) -> HipBuffer:
        """Return a view. Costs no driver call: the import was mapped whole when it was made."""
        if self._given_up:
            self.check_open()
        return HipBuffer(self, self._stream, first, shape, nbytes, dtype)

    def acquire(self, stream: Stream) -> None:
        """Check the stream and do nothing else: HIP has no ownership of memory."""
        own = self._stream
        if stream is not own or self._given_up or not own.alive:
            self.check_open()
            stream_address(stream, own.device)

    def release(self, stream: Stream) -> None:
        """As :meth:`acquire`."""
        self.acquire(stream)

    def bare(self, stream: Stream) -> BareOwnership:
        """Return no calls, as HIP has no ownership of memory."""
        self.acquire(stream)
        return BareOwnership(None, None, _nothing, lambda: not self._given_up)


def _nothing() -> None:
    """Take note of nothing."""


class HipBuffer:
    """A range of device memory with a shape and an element type."""

    __slots__ = (
        "__weakref__",
        "_block",
        "_closed",
        "_dtype",
        "_nbytes",
        "_offset",
        "_owner",
        "_shape",
        "_stream",
    )

    def __init__(
        self,
        block: Block,
        stream: HipStream,
        offset: int,
        shape: tuple[int, ...],
        nbytes: int,
        dtype: DType,
        *,
        owner: bool = False,
    ) -> None:
        """``nbytes`` is what ``shape`` has, as whoever checked it knows."""
        self._block = block
        self._stream = stream
        self._offset = offset
        self._shape = shape
        self._nbytes = nbytes
        self._dtype = dtype
        self._owner = owner
        self._closed = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in elements, row-major."""
        return self._shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self._dtype

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self._nbytes

    @property
    def native(self) -> int:
        """Device address of the first element. Raises :class:`ClosedError` after close."""
        self.check_open()
        return self._block.address + self._offset

    def check_open(self) -> None:
        """Raise :class:`ClosedError` once the view or its memory has been closed."""
        if self._closed:
            msg = "HIP buffer was used after close()"
            raise ClosedError(msg)
        self._block.check_open()

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        """Version 3 of the CUDA array interface, which PyTorch, CuPy and Numba read on ROCm too."""
        return {
            "shape": self._shape,
            "typestr": self._dtype.typestr,
            "data": (self.native, False),
            "strides": None,
            "stream": self._stream.native,
            "version": 3,
        }

    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """Hand the memory to an array library; it stays valid until that library is done with it.

        A ``stream`` of the library waits for what the consumer's stream has got so far: a ``hipStream_t`` as
        an integer, or None or 0 for the null stream. -1 asks for no order. Raises ``BufferError`` for another
        device or a copy, :class:`DriverError` for a stream that this runtime does not know.
        """
        device = self._stream.array_device
        theirs = _NULL_STREAM if stream is None else stream
        check_request(device, stream=theirs, dl_device=dl_device, copy=copy, order=self._stream.precede)
        return capsule(
            self._block.pin(),
            address=self.native,
            shape=self._shape,
            dtype=self._dtype,
            device=device,
            max_version=max_version,
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return DLPack's type of this device, and its ordinal."""
        kind, index = self._stream.array_device
        return int(kind), index

    def view(self, shape: tuple[int, ...], dtype: DType, *, offset: int = 0) -> HipBuffer:
        """Look at a part of the same memory; ``offset`` in bytes from the start of this view."""
        shape, nbytes = check_shape(shape, dtype)
        check_range(offset, nbytes, self._nbytes)
        if (self.native + offset) % dtype.itemsize:
            msg = f"offset {offset} does not align {dtype}, whose elements have {dtype.itemsize} bytes"
            raise InvalidArgument(msg)
        return HipBuffer(self._block, self._stream, self._offset + offset, shape, nbytes, dtype)

    def read(self, target: HostBytes, *, timeout: float | None = None) -> None:
        """Copy to the host, after all earlier work of the consumer's stream."""
        self._copy(target, _DEVICE_TO_HOST, timeout)

    def write(self, source: HostBytes, *, timeout: float | None = None) -> None:
        """Copy from the host, after all earlier work of the consumer's stream."""
        self._copy(source, _HOST_TO_DEVICE, timeout)

    def _copy(self, host: HostBytes, direction: int, timeout: float | None) -> None:
        address = self.native
        flat = host_bytes(host, self._nbytes, writable=direction == _DEVICE_TO_HOST)
        seconds = DEFAULT_TIMEOUT if timeout is None else timeout
        deadline = time.monotonic() + seconds
        # The copy itself may block without limit while the stream is held, because host memory is pageable:
        # so the stream is brought to rest first.
        self._stream.synchronize(seconds)
        driver = self._stream.driver
        places = (address, flat.ctypes.data)
        if direction == _DEVICE_TO_HOST:
            places = places[::-1]
        code = driver.raw("hipMemcpyAsync")(*places, self._nbytes, direction, self._stream.native)
        driver.check("hipMemcpyAsync", code)
        try:
            self._stream.synchronize(deadline - time.monotonic())
        except WaitTimeout:
            self._stream.park((flat, self._block))
            raise

    def close(self) -> None:
        """Give the view up, and with it memory that came from ``allocate``. A second call does nothing."""
        self._closed = True
        if self._owner:
            self._block.close()

    def __repr__(self) -> str:
        return f"<HipBuffer {self._shape} {self._dtype}>"


def import_memory(
    driver: Driver,
    stream: HipStream,
    handle: Handle,
    descriptor: MemoryDescriptor,
    fate: FdFate,
) -> HipExternalMemory:
    """Import an allocation and map it; ``handle`` is consumed on success only.

    It must be of an importable type and fit the descriptor.
    ``hipImportExternalMemory``, then ``hipExternalMemoryGetMappedBuffer`` of the whole at offset 0: runtimes
    before ROCm 7.2 lose other offsets.
    """
    external, address = import_external(driver, stream, handle, descriptor, map_whole, fate)
    return HipExternalMemory(driver, stream, address, external)


def import_external(
    driver: Driver,
    stream: HipStream,
    handle: Handle,
    descriptor: MemoryDescriptor,
    mapped: Callable[[Driver, _Undo, int, MemoryDescriptor], _Mapped],
    fate: FdFate,
) -> tuple[int, _Mapped]:
    """Import an allocation (``hipImportExternalMemory``) and map it in the way that ``mapped`` does.

    ``mapped`` gets the import and adds what takes its own work back. ``handle`` is consumed on success
    only. Returns the import and what ``mapped`` returned.
    """
    hip = driver.hip
    wanted = hip.hipExternalMemoryHandleDesc()
    wanted.type = getattr(hip.hipExternalMemoryHandleType, _TYPES[handle.type])
    wanted.size = descriptor.allocation_size
    wanted.flags = _DEDICATED if descriptor.dedicated else 0
    driver.select(stream.device)
    undo: _Undo = []
    try:
        with lend(handle, fate) as number:
            if handle.type in FD_TYPES:
                wanted.handle.fd = number
            else:
                wanted.handle.win32.handle = number
            external = driver.create("hipImportExternalMemory", wanted, hints=_IMPORT_HINTS)
            undo.append(partial(driver.call, "hipDestroyExternalMemory", external))
            result = mapped(driver, undo, external, descriptor)
    except BaseException:
        undo_all(undo)
        raise
    return external, result


def map_whole(driver: Driver, undo: _Undo, external: int, descriptor: MemoryDescriptor) -> int:
    """Map all of an import (``hipExternalMemoryGetMappedBuffer``) and return its address."""
    whole = driver.hip.hipExternalMemoryBufferDesc()
    whole.size = descriptor.allocation_size
    address = driver.create("hipExternalMemoryGetMappedBuffer", external, whole)
    undo.append(partial(driver.call, "hipFree", address))
    return address


def allocate(driver: Driver, stream: HipStream, size: int) -> tuple[Block, HipBuffer]:
    """Allocate device memory (``hipMalloc``). Closing the buffer gives the block back."""
    shape, nbytes = check_shape(size, BYTES)
    driver.select(stream.device)
    address = driver.create("hipMalloc", nbytes)
    block = Block("HIP memory", driver, stream.device, address, None)
    return block, HipBuffer(block, stream, 0, shape, nbytes, BYTES, owner=True)

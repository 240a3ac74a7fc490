"""External memory in CUDA: imported once, mapped once, seen through views that are arithmetic."""

from __future__ import annotations

import ctypes
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
from interop.toolkit import BYTES, DeviceType, capsule, check_request, host_bytes, undo_all
from interop_cuda._abi import EXTERNAL_MEMORY_DEDICATED, MemoryBufferDesc, MemoryHandleDesc, MemoryType
from interop_cuda._block import Block, Host
from interop_cuda.stream import stream_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Handle, HostBytes, MemoryDescriptor, Stream
    from interop_cuda._driver import Driver
    from interop_cuda.stream import CudaStream

_Mapped = TypeVar("_Mapped")
_Undo: TypeAlias = "list[Callable[[], object]]"
DEFAULT_TIMEOUT = 30.0

_LEGACY_STREAM = 1
_TYPES = {
    HandleType.OPAQUE_FD: MemoryType.OPAQUE_FD,
    HandleType.OPAQUE_WIN32: MemoryType.OPAQUE_WIN32,
    HandleType.OPAQUE_WIN32_KMT: MemoryType.OPAQUE_WIN32_KMT,
}
_OUT_OF_MEMORY = 2
_UNKNOWN = 999
_IMPORT_HINTS = {
    _OUT_OF_MEMORY: "no room to map the allocation",
    _UNKNOWN: "the handle is not memory of this GPU's driver",
}


class CudaExternalMemory(Block):
    """An allocation of another API, mapped whole. Fulfils :class:`interop.toolkit.Whole`.

    Closing it while array libraries hold tensors of it ends its views, and leaves the memory imported and
    mapped for them: the death of the last tensor unmaps it.
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: CudaStream, address: int, external: int | Host) -> None:
        super().__init__("external memory", stream.context, address, external)
        self._stream = stream

    def view_at(self, first: int, shape: tuple[int, ...], nbytes: int, dtype: DType) -> CudaBuffer:
        """Return a view. Costs no driver call: the import was mapped whole when it was made."""
        if self._given_up:
            self.check_open()
        return CudaBuffer(self, self._stream, first, shape, nbytes, dtype)

    def acquire(self, stream: Stream) -> None:
        """Check the stream and do nothing else: CUDA has no ownership of memory."""
        own = self._stream
        if stream is not own or self._given_up or not own.alive:
            self.check_open()
            stream_address(stream, own.device)

    def release(self, stream: Stream) -> None:
        """As :meth:`acquire`."""
        self.acquire(stream)

    def bare(self, stream: Stream) -> BareOwnership:
        """Return no calls, as CUDA has no ownership of memory."""
        self.acquire(stream)
        return BareOwnership(None, None, _nothing, lambda: not self._given_up)


def _nothing() -> None:
    """Take note of nothing."""


class CudaBuffer:
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
        stream: CudaStream,
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
            msg = "CUDA buffer was used after close()"
            raise ClosedError(msg)
        self._block.check_open()

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        """Version 3 of the CUDA array interface: PyTorch, CuPy and Numba order themselves behind its stream.

        Whoever reads it must keep this buffer open; DLPack is the way for memory to outlive it.
        """
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
        """Hand the memory to an array library; it stays imported until that library is done with it.

        ``stream`` is a ``CUstream`` as an integer, 1 for the legacy default stream (also meant by None), or 2
        for the default stream of this thread: it waits for what the consumer's stream has got so far. -1 asks
        for no order; 0 is ambiguous, so ``BufferError`` is raised, as for another device or a copy.
        """
        if stream == 0:
            raise BufferError("stream 0 is ambiguous in CUDA; pass 1 (legacy) or 2 (per thread)")
        address = self.native
        device = (DeviceType.CUDA, self._stream.device)
        theirs = _LEGACY_STREAM if stream is None else stream
        check_request(device, stream=theirs, dl_device=dl_device, copy=copy, order=self._stream.precede)
        return capsule(
            self._block.pin(),
            address=address,
            shape=self._shape,
            dtype=self._dtype,
            device=device,
            max_version=max_version,
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return DLPack's type of this device, and its ordinal."""
        return int(DeviceType.CUDA), self._stream.device

    def view(self, shape: tuple[int, ...], dtype: DType, *, offset: int = 0) -> CudaBuffer:
        """Look at a part of the same memory; ``offset`` in bytes from the start of this view."""
        shape, nbytes = check_shape(shape, dtype)
        check_range(offset, nbytes, self._nbytes)
        if (self.native + offset) % dtype.itemsize:
            msg = f"offset {offset} does not align {dtype}, whose elements have {dtype.itemsize} bytes"
            raise InvalidArgument(msg)
        return CudaBuffer(self._block, self._stream, self._offset + offset, shape, nbytes, dtype)

    def read(self, target: HostBytes, *, timeout: float | None = None) -> None:
        """Copy to the host, after all earlier work of the consumer's stream (``cuMemcpyDtoHAsync``)."""
        flat = host_bytes(target, self._nbytes, writable=True)
        self._copy("cuMemcpyDtoHAsync_v2", (flat.ctypes.data, self.native), flat, timeout)

    def write(self, source: HostBytes, *, timeout: float | None = None) -> None:
        """Copy from the host, after all earlier work of the consumer's stream (``cuMemcpyHtoDAsync``)."""
        flat = host_bytes(source, self._nbytes, writable=False)
        self._copy("cuMemcpyHtoDAsync_v2", (self.native, flat.ctypes.data), flat, timeout)

    def _copy(self, function: str, places: tuple[int, int], keep: object, timeout: float | None) -> None:
        seconds = DEFAULT_TIMEOUT if timeout is None else timeout
        deadline = time.monotonic() + seconds
        # The copy itself may block without limit while the stream is held, because host memory is pageable:
        # so the stream is brought to rest first.
        self._stream.synchronize(seconds)
        self._stream.context.driver.call(function, *places, self._nbytes, self._stream.native)
        try:
            self._stream.synchronize(deadline - time.monotonic())
        except WaitTimeout:
            self._stream.park((keep, self._block.pin()))
            raise

    def close(self) -> None:
        """Give the view up, and with it memory that came from ``allocate``. A second call does nothing."""
        self._closed = True
        if self._owner:
            self._block.close()

    def __repr__(self) -> str:
        return f"<CudaBuffer {self._shape} {self._dtype}>"


def import_memory(stream: CudaStream, handle: Handle, descriptor: MemoryDescriptor) -> CudaExternalMemory:
    """Import an allocation and map it whole; ``handle`` is consumed on success only.

    It must be of an importable type and fit the descriptor. ``cuImportExternalMemory``, then
    ``cuExternalMemoryGetMappedBuffer`` once, at offset 0.
    """
    external, address = import_external(stream, handle, descriptor, map_whole)
    return CudaExternalMemory(stream, address, external)


def import_external(
    stream: CudaStream,
    handle: Handle,
    descriptor: MemoryDescriptor,
    mapped: Callable[[Driver, _Undo, int, MemoryDescriptor], _Mapped],
) -> tuple[int, _Mapped]:
    """Import an allocation (``cuImportExternalMemory``) and map it in the way that ``mapped`` does.

    ``mapped`` gets the import and adds what takes its own work back. ``handle`` is consumed on success
    only. Returns the import and what ``mapped`` returned.
    """
    wanted = MemoryHandleDesc()
    wanted.type = _TYPES[handle.type]
    wanted.size = descriptor.allocation_size
    wanted.flags = EXTERNAL_MEMORY_DEDICATED if descriptor.dedicated else 0
    undo: _Undo = []
    with stream.context.current() as driver:
        try:
            # The driver closes the fd when it succeeds, and on some of its failures too.
            with lend(handle, FdFate.TAKEN) as number:
                if handle.type in FD_TYPES:
                    wanted.handle.fd = number
                else:
                    wanted.handle.win32.handle = number
                external = driver.make("cuImportExternalMemory", ctypes.byref(wanted), hints=_IMPORT_HINTS)
                undo.append(partial(driver.call, "cuDestroyExternalMemory", external))
                result = mapped(driver, undo, external, descriptor)
        except BaseException:
            undo_all(undo)
            raise
    return external, result


def map_whole(driver: Driver, undo: _Undo, external: int, descriptor: MemoryDescriptor) -> int:
    """Map all of an import (``cuExternalMemoryGetMappedBuffer``) and return its address."""
    whole = MemoryBufferDesc(size=descriptor.allocation_size)
    arguments = (external, ctypes.byref(whole))
    address = driver.make("cuExternalMemoryGetMappedBuffer", *arguments, hints=_IMPORT_HINTS)
    undo.append(partial(driver.call, "cuMemFree_v2", address))
    return address


def allocate(stream: CudaStream, size: int) -> tuple[Block, CudaBuffer]:
    """Allocate device memory (``cuMemAlloc``). Closing the buffer gives the block back."""
    shape, nbytes = check_shape(size, BYTES)
    with stream.context.current() as driver:
        address = driver.make("cuMemAlloc_v2", nbytes)
    block = Block("CUDA memory", stream.context, address, None)
    return block, CudaBuffer(block, stream, 0, shape, nbytes, BYTES, owner=True)

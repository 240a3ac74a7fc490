"""Memory of a software Vulkan driver, mapped into this process and seen as NumPy arrays."""

from __future__ import annotations

import mmap
import os
import re
import struct
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np  # noqa: TID253 - this module is imported by load() only

from interop.dtypes import DTYPES, check_shape
from interop.errors import ClosedError, HandleError, InvalidArgument
from interop.handles import FdFate, HandleType, lend
from interop.memory import MemoryDescriptor, check_import, check_range
from interop.pages import keeper, view_of

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from interop.dtypes import DType
    from interop.handles import Handle
    from interop.memory import HostBytes
    from interop.semaphore import Stream

IMPORTABLE = frozenset({HandleType.OPAQUE_FD, HandleType.HOST_ALLOCATION})
TIMEOUT = 10.0
"""Seconds that ``read`` and ``write`` wait for the stream when the caller names none."""

_SWIFTSHADER = re.compile(r"SwiftShader\.Memory(\.\d+)?")  # numbered within the process
_SWIFTSHADER_PADDING = 15  # SwiftShader aligns the start by hand, so the file is longer than the allocation
_LAVAPIPE = "llvmpipe memory fd"
_LAVAPIPE_HEADER = struct.Struct("<QQ")  # size of the whole file, offset of the data


def payload_range(fd: int) -> tuple[int, int]:
    """Return offset and size in bytes of the allocation inside the file behind an opaque fd.

    An opaque fd means something to the driver that made it only. The two software drivers make memfds, known
    by their names. Raises :class:`HandleError` for every other file: mapping it could
    change a stranger's data.
    """
    size = os.fstat(fd).st_size
    target = str(Path(f"/proc/self/fd/{fd}").readlink())
    name = target.removeprefix("/memfd:").removesuffix(" (deleted)") if target.startswith("/memfd:") else ""
    if _SWIFTSHADER.fullmatch(name) and size > _SWIFTSHADER_PADDING:
        return 0, size - _SWIFTSHADER_PADDING
    if name == _LAVAPIPE and size > _LAVAPIPE_HEADER.size:
        stated, offset = _LAVAPIPE_HEADER.unpack(os.pread(fd, _LAVAPIPE_HEADER.size, 0))
        # The layout is Mesa's own and may change: a header that states the file's size is the one known here.
        if stated == size and _LAVAPIPE_HEADER.size <= offset < size:
            return offset, size - offset
    msg = f"fd {fd} ({target}, {size} bytes) is no memory of a software Vulkan driver that NumPy could map"
    raise HandleError(msg)


class HostMemory:
    """A mapping of the whole file, and where the usable bytes lie in it.

    Closing it unmaps it unless arrays made from it are still in use: then the last of them does.
    """

    def __init__(
        self, mapping: mmap.mmap | memoryview, start: int, descriptor: MemoryDescriptor, stream: Stream
    ) -> None:
        self._mapping: mmap.mmap | memoryview | None = mapping
        self._start = start
        self.descriptor = descriptor
        self.stream = stream

    @classmethod
    def open(cls, handle: Handle, descriptor: MemoryDescriptor, stream: Stream) -> Self:
        """Import an allocation. Consumes ``handle`` on success only; raises :class:`HandleError`."""
        check_import(handle, descriptor, IMPORTABLE)
        if handle.type is HandleType.HOST_ALLOCATION:
            with lend(handle, FdFate.KEPT) as address:
                pages = keeper(address, descriptor.allocation_size)
                view = view_of(address, descriptor.allocation_size, pages)
            return cls(view, descriptor.offset, descriptor, stream)
        offset, size = payload_range(handle.value)
        if size < descriptor.allocation_size:  # mapped all the same, touching the rest would be a SIGBUS
            msg = (
                f"fd {handle.value} holds {size} bytes, the descriptor promises {descriptor.allocation_size}"
            )
            raise HandleError(msg)
        with lend(handle, FdFate.KEPT) as fd:  # mmap keeps a reference of its own
            mapping = mmap.mmap(fd, offset + size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        return cls(mapping, offset + descriptor.offset, descriptor, stream)

    @classmethod
    def allocate(cls, size: int, stream: Stream) -> Self:
        """Allocate ``size`` zeroed bytes of the process's own."""
        check_range(0, size, size)
        descriptor = MemoryDescriptor(allocation_size=size, size=size, handle_type=HandleType.HOST_ALLOCATION)
        return cls(mmap.mmap(-1, size), 0, descriptor, stream)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._mapping is None

    def array(self, offset: int, shape: tuple[int, ...], dtype: DType) -> NDArray[Any]:
        """Return an array over the mapping; it keeps the mapping alive. Raises :class:`ClosedError`."""
        if self._mapping is None:
            msg = "the memory behind this view was closed"
            raise ClosedError(msg)
        # frombuffer keeps the mapping locked for as long as the array lives; np.ndarray(buffer=...) does not,
        # and touching its memory after close would end the process (NumPy 2.x).
        start = self._start + offset
        return np.frombuffer(self._mapping, np.dtype(dtype.name), prod(shape), start).reshape(shape)

    def map_buffer(
        self,
        *,
        offset: int = 0,
        size: int | None = None,
        shape: tuple[int, ...] | None = None,
        dtype: DType | None = None,
    ) -> HostBuffer:
        """Return a view of ``size`` bytes (default: all that follow) at ``offset``; maps nothing anew."""
        if self._mapping is None:
            msg = "this memory was closed"
            raise ClosedError(msg)
        size = self.descriptor.size - offset if size is None else size
        check_range(offset, size, self.descriptor.size)
        dtype = dtype or DTYPES["uint8"]
        if shape is None and size % dtype.itemsize:
            msg = f"{size} bytes are no whole number of {dtype.name} elements"
            raise InvalidArgument(msg)
        whole = HostBuffer(self, offset, (size,), DTYPES["uint8"])
        return whole.view(shape or (size // dtype.itemsize,), dtype)

    def acquire(self, stream: Stream) -> None:
        """Do nothing: the host's caches are coherent with a driver that runs on the host."""

    def release(self, stream: Stream) -> None:
        """Do nothing, as in :meth:`acquire`."""

    def close(self) -> None:
        """Give the import up. A second call does nothing."""
        mapping, self._mapping = self._mapping, None
        if isinstance(mapping, mmap.mmap):
            try:
                mapping.close()
            except BufferError:  # arrays are in use; rather a late unmapping than a dangling pointer
                del mapping


class HostBuffer:
    """A view of :class:`HostMemory` as an array of one shape and type."""

    def __init__(
        self, memory: HostMemory, offset: int, shape: tuple[int, ...], dtype: DType, *, owner: bool = False
    ) -> None:
        self._memory = memory
        self._offset = offset
        self._shape = shape
        self._dtype = dtype
        self._owner = owner  # of the memory: closing this view closes it
        self._closed = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent in elements."""
        return self._shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self._dtype

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return prod(self._shape) * self._dtype.itemsize

    @property
    def native(self) -> NDArray[Any]:
        """A NumPy array over the very memory; it stays valid for as long as it is held."""
        self.check_open()
        return self._memory.array(self._offset, self._shape, self._dtype)

    def check_open(self) -> None:
        """Raise :class:`ClosedError` once the view or its memory has been closed."""
        if self._closed or self._memory.closed:
            msg = "this view was closed" if self._closed else "the memory behind this view was closed"
            raise ClosedError(msg)

    def view(self, shape: tuple[int, ...], dtype: DType, *, offset: int = 0) -> HostBuffer:
        """Look at a part of the same memory as another shape and type; ``offset`` in bytes."""
        shape, nbytes = check_shape(shape, dtype)
        check_range(offset, nbytes, self.nbytes)
        # The sum counts too: an aligned offset into a misaligned view is misaligned.
        whole = self._memory.descriptor
        start = whole.offset + self._offset + offset
        check_range(start, nbytes, whole.allocation_size, alignment=dtype.itemsize)
        return HostBuffer(self._memory, self._offset + offset, shape, dtype)

    def read(self, target: HostBytes, *, timeout: float | None = None) -> None:
        """Copy into writable host bytes of the same size, once all work enqueued so far is done."""
        self._copy(memoryview(cast("Any", target)), timeout, into_memory=False)

    def write(self, source: HostBytes, *, timeout: float | None = None) -> None:
        """Copy host bytes of the same size into this memory, once all work enqueued so far is done."""
        self._copy(memoryview(cast("Any", source)), timeout, into_memory=True)

    def _copy(self, host: memoryview, timeout: float | None, *, into_memory: bool) -> None:
        if host.nbytes != self.nbytes or not host.c_contiguous or (host.readonly and not into_memory):
            kind = "contiguous" if into_memory else "contiguous, writable"
            msg = f"needs {self.nbytes} {kind} bytes, got {host!r} of {host.nbytes} bytes"
            raise InvalidArgument(msg)
        mine = self.native.reshape(-1).view(np.uint8)
        theirs = np.frombuffer(host, dtype=np.uint8)
        # Copied here, not on the worker: after a timeout nothing touches the caller's bytes any more.
        self._memory.stream.synchronize(TIMEOUT if timeout is None else timeout)
        np.copyto(*((mine, theirs) if into_memory else (theirs, mine)))

    def __dlpack__(self, **options: Any) -> Any:
        """Hand the memory to another array library; it stays mapped until the taker is done."""
        return self.native.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return (1, 0): the host."""
        kind, index = self.native.__dlpack_device__()
        return int(kind), index

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> NDArray[Any]:
        """Let ``numpy.asarray(view)`` look at the very memory."""
        array = self.native
        if dtype is None or dtype == array.dtype:
            return array.copy() if copy else array
        if copy is False:
            msg = f"a view of {array.dtype} cannot become {dtype} without a copy"
            raise InvalidArgument(msg)
        return array.astype(dtype)

    def close(self) -> None:
        """Give the view up. A second call does nothing."""
        self._closed = True
        if self._owner:
            self._memory.close()

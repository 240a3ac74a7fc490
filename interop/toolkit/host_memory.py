"""Memory that this process can touch: an import as a mapping, and views of it. For consumers on the processor.

Such a consumer needs no driver for memory. It maps the file behind a handle, or uses the pages that a handle names.
A backend derives from :class:`HostView` to return the objects of its binding.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from interop.protocols import DEFAULT_TIMEOUT, FdFate, HandleError, HandleType, check_range, lend
from interop.toolkit.host_pages import bytes_at, find_host_pages
from interop.toolkit.resource import Resource
from interop.toolkit.views import BYTES, ViewBase

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from interop.protocols import DType, Handle, MemoryDescriptor, Stream

HOST_IMPORTABLE = frozenset({HandleType.OPAQUE_FD, HandleType.HOST_ALLOCATION})
"""Handle types that :meth:`HostMemory.open` takes."""
_View = TypeVar("_View", bound="HostView")
_SWIFTSHADER = re.compile(r"SwiftShader\.Memory(\.\d+)?")  # numbered within the process
_SWIFTSHADER_PADDING = 15  # SwiftShader aligns the start by hand, so the file is longer than the allocation
_LAVAPIPE = "llvmpipe memory fd"
_LAVAPIPE_HEADER = struct.Struct("<QQ")  # size of the whole file, offset of the data


def payload_range(fd: int) -> tuple[int, int]:
    """Return offset and size, in bytes, of the allocation inside the file behind an opaque fd.

    An opaque fd has a meaning only to the driver that exported it. The two software drivers export memfds with names
    of their own.

    Raises:
        HandleError: Any other file. Mapping it could change another program's data.
    """
    size = os.fstat(fd).st_size
    target = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - pathlib takes as long as the rest of an import
    name = target.removeprefix("/memfd:").removesuffix(" (deleted)") if target.startswith("/memfd:") else ""
    if _SWIFTSHADER.fullmatch(name) and size > _SWIFTSHADER_PADDING:
        return 0, size - _SWIFTSHADER_PADDING
    if name == _LAVAPIPE and size > _LAVAPIPE_HEADER.size:
        stated, offset = _LAVAPIPE_HEADER.unpack(os.pread(fd, _LAVAPIPE_HEADER.size, 0))
        # The layout is Mesa's own and may change: a header that states the file's size is the one known here.
        if stated == size and _LAVAPIPE_HEADER.size <= offset < size:
            return offset, size - offset
    raise HandleError(
        f"fd {fd} ({target}, {size} bytes) is no memory of a software Vulkan driver that can be mapped here"
    )


def _unmap(kept: list[mmap.mmap | memoryview]) -> None:
    """Unmap, unless something still uses the bytes: a late unmapping is better than a dangling pointer."""
    mapping = kept.pop()
    if isinstance(mapping, mmap.mmap):
        try:
            mapping.close()
        except BufferError:  # the last user unmaps it
            return


class HostMemory(Resource, Generic[_View]):
    """An allocation in this process. Fulfils :class:`interop.toolkit.ImportedAllocation`.

    Closing it unmaps it, unless something made of its bytes is in use: then the last of that unmaps it.
    """

    def __init__(
        self, mapping: mmap.mmap | memoryview, size: int, stream: Stream, view: type[_View], *, start: int = 0
    ) -> None:
        """Own a mapping.

        Args:
            mapping: Holds the allocation.
            size: Bytes of the allocation.
            stream: Reads and writes of views wait for its work.
            view: Class of the views.
            start: First byte of the allocation in ``mapping``.
        """
        kept = [mapping]
        super().__init__(f"host memory of {size} bytes", _unmap, kept)
        self._kept = kept
        self._start = start
        self._view = view
        self.size = size
        self.stream = stream

    @classmethod
    def open(
        cls,
        handle: Handle,
        descriptor: MemoryDescriptor,
        stream: Stream,
        view: type[_View],
        payload: Callable[[int], tuple[int, int]] = payload_range,
    ) -> Self:
        """Import an allocation, as :meth:`interop.toolkit.ConsumerBase.open_memory` must.

        Args:
            handle: Consumed on success only.
            descriptor: Describes the whole allocation.
            stream: Reads and writes of views wait for its work.
            view: Class of the views.
            payload: Returns offset and size of the allocation inside the file behind an fd; raises
                :class:`HandleError` for a file that it does not know.

        Raises:
            HandleError: The file is smaller than the allocation, or ``payload`` does not know it.
        """
        size = descriptor.allocation_size
        if handle.type is HandleType.HOST_ALLOCATION:
            with lend(handle, FdFate.KEPT) as address:
                return cls(bytes_at(address, size, find_host_pages(address, size)), size, stream, view)
        start, held = payload(handle.value)
        if held < size:  # touching the rest of a mapping would be a SIGBUS
            raise HandleError(f"fd {handle.value} holds {held} bytes, the descriptor promises {size}")
        with lend(handle, FdFate.KEPT) as fd:  # mmap keeps a reference of its own
            mapping = mmap.mmap(fd, start + held, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        return cls(mapping, size, stream, view, start=start)

    @classmethod
    def allocate(cls, size: int, stream: Stream, view: type[_View]) -> Self:
        """Allocate ``size`` zeroed bytes of the process's own."""
        check_range(0, size, size)
        return cls(mmap.mmap(-1, size), size, stream, view)

    def owner(self, timeout: float = DEFAULT_TIMEOUT) -> _View:
        """Return a view of all bytes that closes this memory when it is closed."""
        return self._view(self, 0, (self.size,), self.size, BYTES, timeout, owner=True)

    def place(self, first: int) -> tuple[mmap.mmap | memoryview, int]:
        """Return the mapping, and the position in it of byte ``first`` of the allocation."""
        self.check_open()
        return self._kept[0], self._start + first

    def view_at(self, first: int, shape: tuple[int, ...], nbytes: int, dtype: DType, timeout: float) -> _View:
        """Return a view from byte ``first`` of the allocation. Maps nothing."""
        self.check_open()
        return self._view(self, first, shape, nbytes, dtype, timeout)

    def prepare_acquire(self, stream: Stream) -> None:
        """Return no call: the processor's caches are coherent with a driver that runs on it."""

    prepare_release = prepare_acquire


class HostView(ViewBase[HostMemory[Any]]):
    """A range of :class:`HostMemory`. Fulfils :class:`interop.protocols.MappedBuffer`."""

    __slots__ = ()

    @property
    def native(self) -> Any:
        """The bytes themselves, as a flat writable ``memoryview``; a backend returns what its API takes."""
        return self.raw()

    def raw(self) -> memoryview:
        """Return the bytes, which stay mapped for as long as they are held."""
        self.check_open()
        mapping, start = self.memory.place(self.first)
        return memoryview(mapping)[start : start + self.nbytes]

    def copy(self, host: Any, timeout: float, *, to_host: bool) -> None:
        """Copy in this thread once the stream's work is done: after a timeout nothing uses the caller's bytes."""
        mine, theirs = self.raw(), memoryview(host)
        self.memory.stream.synchronize(timeout)
        target, source = (theirs, mine) if to_host else (mine, theirs)
        target[:] = source

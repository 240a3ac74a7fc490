"""Memory that this process can touch: an import as a mapping, and views of it. For backends of the processor.

A consumer that computes on the processor needs no driver for memory. It maps the file behind a handle, or takes
the pages that a handle names, and looks at their bytes. :class:`HostMemory` does the former, :class:`HostView`
the latter; a backend derives from both to return objects of its own binding.
"""

from __future__ import annotations

import mmap
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from interop.protocols import (
    ClosedError,
    FdFate,
    HandleError,
    HandleType,
    MemoryDescriptor,
    check_range,
    check_shape,
    lend,
)
from interop.toolkit.host_pages import keeper, view_of
from interop.toolkit.resource import Resource
from interop.toolkit.views import BYTES, host_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from interop.protocols import DType, Handle, HostBytes, Stream

IMPORTABLE = frozenset({HandleType.OPAQUE_FD, HandleType.HOST_ALLOCATION})
"""What :meth:`HostMemory.open` takes."""
TIMEOUT = 10.0
"""Seconds that ``read`` and ``write`` wait for the stream when the caller names none."""


def _unmap(kept: list[mmap.mmap | memoryview]) -> None:
    """Let go of the mapping. What still looks at it keeps it: rather a late unmapping than a dangling pointer."""
    mapping = kept.pop()
    if isinstance(mapping, mmap.mmap):
        try:
            mapping.close()
        except BufferError:  # the last who looks at it unmaps it
            return


class HostMemory(Resource):
    """An allocation in this process. Fulfils :class:`interop.toolkit.Whole`.

    Closing it unmaps it, unless something made from its bytes is in use: then the last of that does.
    """

    view: ClassVar[type[HostView]]
    """What :meth:`view_at` makes; :class:`HostView`, or what a backend derives from it."""

    def __init__(
        self, mapping: mmap.mmap | memoryview, descriptor: MemoryDescriptor, stream: Stream, *, start: int = 0
    ) -> None:
        """Own ``mapping``, whose byte ``start`` is the first of the allocation. Copies wait for ``stream``."""
        kept = [mapping]
        super().__init__(f"host memory of {descriptor.size} bytes", _unmap, kept)
        self._kept = kept
        self._start = start
        self.descriptor = descriptor
        self.stream = stream

    @classmethod
    def open(
        cls,
        handle: Handle,
        descriptor: MemoryDescriptor,
        stream: Stream,
        payload: Callable[[int], tuple[int, int]],
    ) -> Self:
        """Import an allocation, as ``open_memory`` of a consumer is asked to. Consumes ``handle`` on success only.

        ``payload(fd)`` returns offset and size, in bytes, of the allocation inside the file behind a descriptor; it
        raises :class:`HandleError` for a file that it does not know. Raises that too for a file too small.
        """
        size = descriptor.allocation_size
        if handle.type is HandleType.HOST_ALLOCATION:
            with lend(handle, FdFate.KEPT) as address:
                return cls(view_of(address, size, keeper(address, size)), descriptor, stream)
        start, held = payload(handle.value)
        if held < size:  # mapped all the same, touching the rest would be a SIGBUS
            raise HandleError(f"fd {handle.value} holds {held} bytes, the descriptor promises {size}")
        with lend(handle, FdFate.KEPT) as fd:  # mmap keeps a reference of its own
            mapping = mmap.mmap(fd, start + held, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        return cls(mapping, descriptor, stream, start=start)

    @classmethod
    def allocate(cls, size: int, stream: Stream) -> Self:
        """Allocate ``size`` zeroed bytes of the process's own."""
        check_range(0, size, size)
        descriptor = MemoryDescriptor(allocation_size=size, size=size, handle_type=HandleType.HOST_ALLOCATION)
        return cls(mmap.mmap(-1, size), descriptor, stream)

    def owner(self) -> Any:
        """Return a view of all bytes that closes this memory when it is closed."""
        return self.view(self, self.descriptor.offset, (self.descriptor.size,), BYTES, owner=True)

    def place(self, first: int) -> tuple[mmap.mmap | memoryview, int]:
        """Return the mapping, and where in it byte ``first`` of the allocation lies. Raises :class:`ClosedError`."""
        self.check_open()
        return self._kept[0], self._start + first

    def view_at(self, first: int, shape: tuple[int, ...], nbytes: int, dtype: DType) -> Any:  # noqa: ARG002 - by shape
        """Return a view from byte ``first`` of the allocation on; maps nothing anew."""
        self.check_open()
        return self.view(self, first, shape, dtype)

    def acquire(self, stream: Stream) -> None:
        """Do nothing: the processor's caches are coherent with a driver that runs on it."""

    def release(self, stream: Stream) -> None:
        """Do nothing, as in :meth:`acquire`."""


class HostView:
    """A range of :class:`HostMemory` as one shape and type. Fulfils :class:`interop.protocols.MappedBuffer`."""

    def __init__(
        self, memory: HostMemory, first: int, shape: tuple[int, ...], dtype: DType, *, owner: bool = False
    ) -> None:
        """Look at the allocation from byte ``first`` on. Closing an ``owner`` closes ``memory``."""
        self._memory = memory
        self._first = first
        self._shape = shape
        self._dtype = dtype
        self._owner = owner
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
    def native(self) -> Any:
        """The bytes themselves, as a flat writable ``memoryview``; a backend returns what its API takes."""
        return self.raw()

    def raw(self) -> memoryview:
        """Return the bytes, which stay mapped for as long as they are held. Raises :class:`ClosedError`."""
        self.check_open()
        mapping, start = self._memory.place(self._first)
        return memoryview(mapping)[start : start + self.nbytes]

    def check_open(self) -> None:
        """Raise :class:`ClosedError` once the view or its memory has been closed."""
        if self._closed or self._memory.closed:
            what = "this view" if self._closed else "the memory behind this view"
            raise ClosedError(f"{what} was closed")

    def view(self, shape: tuple[int, ...], dtype: DType, *, offset: int = 0) -> Self:
        """Look at a part of the same memory as another shape and type; ``offset`` in bytes."""
        shape, nbytes = check_shape(shape, dtype)
        check_range(offset, nbytes, self.nbytes)
        # The sum counts too: an aligned offset into a misaligned view is misaligned.
        first = self._first + offset
        check_range(first, nbytes, self._memory.descriptor.allocation_size, alignment=dtype.itemsize)
        return type(self)(self._memory, first, shape, dtype)

    def read(self, target: HostBytes, *, timeout: float | None = None) -> None:
        """Copy into writable host bytes of the same size, once all work enqueued so far is done."""
        self._copy(host_bytes(target, self.nbytes, writable=True), timeout, into_memory=False)

    def write(self, source: HostBytes, *, timeout: float | None = None) -> None:
        """Copy host bytes of the same size into this memory, once all work enqueued so far is done."""
        self._copy(host_bytes(source, self.nbytes, writable=False), timeout, into_memory=True)

    def _copy(self, host: Any, timeout: float | None, *, into_memory: bool) -> None:
        mine, theirs = self.raw(), memoryview(host)
        # Copied here, not by the stream: after a timeout nothing touches the caller's bytes any more.
        self._memory.stream.synchronize(TIMEOUT if timeout is None else timeout)
        target, source = (mine, theirs) if into_memory else (theirs, mine)
        target[:] = source

    def close(self) -> None:
        """Give the view up. A second call does nothing."""
        self._closed = True
        if self._owner:
            self._memory.close()


HostMemory.view = HostView

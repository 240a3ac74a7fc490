"""Host memory in OpenCL: a ``cl_mem`` over it, mapped and unmapped at each change of ownership.

A driver may keep a copy of ``CL_MEM_USE_HOST_PTR`` memory. The specification promises that the host's and the device's
bytes agree only at a map and an unmap: mapped, the bytes are the host's; unmapped, the device's (OpenCL 3.0, 5.2.1 and
5.4.3). So the memory is mapped while the producer owns it. A driver on the host's own memory moves nothing then. A
driver of a discrete GPU may copy.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from interop.protocols import DEFAULT_TIMEOUT, DriverError, FdFate, PreparedCall, WaitTimeout, lend
from interop.toolkit import find_host_pages
from interop_opencl._driver import FALSE, MEM_READ_WRITE, MEM_USE_HOST_PTR, USE_HOST_PTR, check, name_of
from interop_opencl.memory import OpenCLMemory
from interop_opencl.stream import stream_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Handle, MemoryDescriptor, Stream
    from interop_opencl.stream import OpenCLStream

_MAP = "clEnqueueMapBuffer"
_UNMAP = "clEnqueueUnmapMemObject"
_READ_AND_WRITE = 3  # CL_MAP_READ | CL_MAP_WRITE


class HostOwnership:
    """Maps and unmaps one ``cl_mem`` over host memory, which must be open. Mapped: the bytes are the host's."""

    __slots__ = ("_address", "_host", "_mapped", "_pages", "_size", "_stream")

    def __init__(self, stream: OpenCLStream, address: int, host: int, size: int, pages: object) -> None:
        """Keep ``pages``, which hold the memory, as long as this object."""
        self._stream = stream
        self._address = address
        self._host = host
        self._size = size
        self._pages = pages
        self._mapped = False

    def prepare_acquire(self, stream: Stream) -> PreparedCall:
        """Return ``clEnqueueUnmapMemObject``: the bytes are the device's from then on."""
        return self._prepare(stream, mapped=False)

    def prepare_release(self, stream: Stream) -> PreparedCall:
        """Return ``clEnqueueMapBuffer``: once it has run, the host's bytes are what the device wrote."""
        return self._prepare(stream, mapped=True)

    def _prepare(self, stream: Stream, *, mapped: bool) -> PreparedCall:
        queue = stream_address(stream, self._stream.context)
        change: Callable[[int], None] = self._map if mapped else self._unmap

        def call() -> int:
            if self._mapped is not mapped:
                change(queue)
            return 0

        return PreparedCall(call, int)

    def map_first(self, queue: OpenCLStream) -> None:
        """Map new memory and block until it is mapped. From then on the producer may write."""
        self._map(queue.address)
        self._settle(queue)

    def give_back(self) -> None:
        """Bring the device's bytes to the host, unmap the memory and block until both are done.

        No driver holds a reference to the pages.
        """
        stream = self._stream
        if stream.closed:
            return
        if not self._mapped:
            self._map(stream.address)
        self._unmap(stream.address)
        self._settle(stream)

    def _settle(self, queue: OpenCLStream) -> None:
        try:
            queue.drain(DEFAULT_TIMEOUT)
        except WaitTimeout:
            queue.park(self._pages)
            raise

    def _map(self, queue: int) -> None:
        status = ctypes.c_int()
        arguments = (self._address, FALSE, _READ_AND_WRITE, 0, self._size, 0, None, None)
        place = self._stream.driver.raw(_MAP)(queue, *arguments, ctypes.byref(status))
        check(_MAP, status.value)
        self._mapped = True
        if place != self._host:
            text = f"mapped 0x{self._host:x} at 0x{place or 0:x}, which the specification forbids for {USE_HOST_PTR}"
            raise DriverError(_MAP, 0, text=text)

    def _unmap(self, queue: int) -> None:
        code = self._stream.driver.raw(_UNMAP)(queue, self._address, self._host, 0, None, None)
        check(_UNMAP, code)
        self._mapped = False


def import_host(
    stream: OpenCLStream, queue: OpenCLStream, handle: Handle, descriptor: MemoryDescriptor, alignment: int
) -> OpenCLMemory:
    """Create a buffer over host memory (``clCreateBuffer`` with ``CL_MEM_USE_HOST_PTR``) and map it.

    Args:
        stream: The consumer's queue.
        queue: A queue without other work, for the first map.
        handle: Fits the descriptor; consumed on success only. Pages of ``interop.toolkit.HostPages`` are kept until
            the buffer is gone. The caller keeps other memory until then.
        descriptor: Describes the whole allocation.
        alignment: Bytes of which the offset of a sub-buffer must be a multiple.
    """
    driver = stream.driver
    size = descriptor.allocation_size
    with lend(handle, FdFate.KEPT) as host:
        pages = find_host_pages(host, size)
        status = ctypes.c_int()
        flags = MEM_READ_WRITE | MEM_USE_HOST_PTR
        address = driver.raw("clCreateBuffer")(stream.context, flags, size, host, ctypes.byref(status))
        check("clCreateBuffer", status.value)
        if not address:
            raise DriverError("clCreateBuffer", 0, name_of(0), "reported success and returned no object")
        native = driver.cl.MemoryObject.from_int_ptr(address, retain=False)
        ownership = HostOwnership(stream, address, host, size, pages)
        try:
            ownership.map_first(queue)
        except BaseException:
            native.release()
            raise
    return OpenCLMemory("OpenCL external memory", stream, native, size, alignment, ownership)

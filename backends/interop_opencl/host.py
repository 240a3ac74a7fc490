"""Host memory in OpenCL: a ``cl_mem`` over it, mapped and unmapped at each change of ownership.

A driver may keep a copy of ``CL_MEM_USE_HOST_PTR`` memory. The specification promises that the host's and the device's
bytes agree only at a map and an unmap: mapped, the bytes are the host's; unmapped, the device's (OpenCL 3.0, 5.2.1 and
5.4.3). So the memory is mapped while the producer owns it. A driver on the host's own memory moves nothing then. A
driver of a discrete GPU may copy.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from interop.protocols import DEFAULT_TIMEOUT, DriverError, FdFate, PreparedCall, WaitTimeout, lend
from interop.toolkit import find_host_pages
from interop_opencl import _driver as cl
from interop_opencl._ownership import Ownership
from interop_opencl.memory import OpenCLMemory

if TYPE_CHECKING:
    from interop.protocols import Handle, MemoryDescriptor
    from interop_opencl.stream import OpenCLStream

_MAP = "clEnqueueMapBuffer"
_UNMAP = "clEnqueueUnmapMemObject"
_READ_AND_WRITE = 3  # CL_MAP_READ | CL_MAP_WRITE


class HostOwnership(Ownership):
    """Maps and unmaps one ``cl_mem`` over host memory. Mapped: the bytes are the host's."""

    __slots__ = ("_host", "_mapped", "_pages", "_size")

    def __init__(self, stream: OpenCLStream, address: int, host: int, size: int, pages: object) -> None:
        """Keep ``pages``, which hold the memory, as long as this object."""
        super().__init__(stream, address)
        self._host = host
        self._size = size
        self._pages = pages
        self._mapped = False

    def convert(self, queue: int) -> tuple[PreparedCall, PreparedCall]:
        """Return the unmap and the map. Once the map has run, the host's bytes are what the device wrote."""
        return PreparedCall(partial(self._unmap, queue), int), PreparedCall(partial(self._map, queue), int)

    def map_first(self, queue: OpenCLStream) -> None:
        """Map new memory and block until it is mapped. From then on the producer may write."""
        self._map(queue.address)
        self._settle(queue)

    def give_back(self) -> None:
        """Bring the device's bytes to the host, unmap the memory and block until both are done.

        No driver holds a reference to the pages.
        """
        stream = self.stream
        if not stream.closed:
            self._map(stream.address)
            self._unmap(stream.address)
            self._settle(stream)

    def _settle(self, queue: OpenCLStream) -> None:
        try:
            queue.drain(DEFAULT_TIMEOUT)
        except WaitTimeout:
            queue.park(self._pages)
            raise

    def _map(self, queue: int) -> int:
        if not self._mapped:
            arguments = (queue, self.address, cl.FALSE, _READ_AND_WRITE, 0, self._size, 0, None, None)
            place = cl.create(_MAP, self.stream.driver.raw(_MAP), *arguments)
            self._mapped = True
            if place != self._host:
                where = f"mapped 0x{self._host:x} at 0x{place:x}"
                raise DriverError(_MAP, 0, text=f"{where}, which {cl.USE_HOST_PTR} forbids")
        return 0

    def _unmap(self, queue: int) -> int:
        if self._mapped:
            self.stream.driver.call(_UNMAP, queue, self.address, self._host, 0, None, None)
            self._mapped = False
        return 0


def import_host(
    stream: OpenCLStream, queue: OpenCLStream, handle: Handle, descriptor: MemoryDescriptor
) -> OpenCLMemory:
    """Create a buffer over host memory (``clCreateBuffer`` with ``CL_MEM_USE_HOST_PTR``) and map it.

    Args:
        stream: The consumer's queue.
        queue: A queue without other work, for the first map.
        handle: Fits the descriptor; consumed on success only. Pages of ``interop.toolkit.HostPages`` are kept until
            the buffer is gone. The caller keeps other memory until then.
        descriptor: Describes the whole allocation.
    """
    driver = stream.driver
    size = descriptor.allocation_size
    with lend(handle, FdFate.KEPT) as host:
        pages = find_host_pages(host, size)
        flags = cl.MEM_READ_WRITE | cl.MEM_USE_HOST_PTR
        place = (stream.context, flags, size, host)
        address, native, release = driver.create_memory("clCreateBuffer", place)
        ownership = HostOwnership(stream, address, host, size, pages)
        try:
            ownership.map_first(queue)
        except BaseException:
            release()
            raise
    return OpenCLMemory(stream, size, (native, release, ownership))

"""Host memory in OpenCL: a ``cl_mem`` over it, and a map or unmap at each hand-over.

The specification lets a driver keep a copy of ``CL_MEM_USE_HOST_PTR`` memory, and promises that the host's bytes
and the device's agree only where one hands over to the other: mapped, the bytes are the host's; unmapped, the
device's (OpenCL 3.0, 5.2.1 and 5.4.3). So the memory is mapped for as long as the producer has it. A driver on
the host's own memory moves nothing then; one of a discrete GPU may copy.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from interop.protocols import DriverError, FdFate, lend
from interop.toolkit import keeper
from interop_opencl._driver import FALSE, MEM_READ_WRITE, MEM_USE_HOST_PTR, USE_HOST_PTR, check, name_of
from interop_opencl.memory import OpenCLExternalMemory
from interop_opencl.stream import stream_address

if TYPE_CHECKING:
    from interop.protocols import Handle, MemoryDescriptor, Stream
    from interop_opencl._driver import Driver
    from interop_opencl.stream import OpenCLStream

_MAP = "clEnqueueMapBuffer"
_UNMAP = "clEnqueueUnmapMemObject"
_READ_AND_WRITE = 3  # CL_MAP_READ | CL_MAP_WRITE
_TIMEOUT = 30.0


class HostOwnership:
    """Maps and unmaps one ``cl_mem`` over host memory, which must be open. Mapped: the bytes are the host's."""

    __slots__ = ("_address", "_context", "_driver", "_host", "_mapped", "_pages", "_size", "_stream")

    def __init__(
        self, driver: Driver, stream: OpenCLStream, address: int, host: int, size: int, pages: object
    ) -> None:
        """``pages`` is what keeps the memory; it is held as long as this is."""
        self._driver = driver
        self._stream = stream
        self._context = stream.context
        self._address = address
        self._host = host
        self._size = size
        self._pages = pages
        self._mapped = False

    def acquire(self, stream: Stream) -> None:
        """Enqueue ``clEnqueueUnmapMemObject``: the device's from then on."""
        queue = stream_address(stream, self._context)
        if self._mapped:
            self._unmap(queue, None)

    def release(self, stream: Stream) -> None:
        """Enqueue ``clEnqueueMapBuffer``: once it has run, the host's bytes are what the device wrote."""
        queue = stream_address(stream, self._context)
        if not self._mapped:
            self._map(queue, None)

    def take_first(self, queue: OpenCLStream) -> None:
        """Map new memory, and wait for it: from then on the producer may write."""
        event = ctypes.c_void_p()
        self._map(queue.address, event)
        queue.finish(event, _TIMEOUT, keep=self._pages)

    def give_back(self) -> None:
        """Bring what the device wrote to the host, and leave the memory unmapped, before the object goes.

        Waits for it, since no driver holds a reference to the pages.
        """
        stream = self._stream
        if stream.closed:
            return
        event = ctypes.c_void_p()
        if not self._mapped:
            self._map(stream.address, None)
        self._unmap(stream.address, event)
        stream.finish(event, _TIMEOUT, keep=self._pages)

    def _map(self, queue: int, event: ctypes.c_void_p | None) -> None:
        status = ctypes.c_int()
        out = ctypes.byref(event) if event is not None else None
        arguments = (self._address, FALSE, _READ_AND_WRITE, 0, self._size, 0, None, out)
        place = self._driver.raw(_MAP)(queue, *arguments, ctypes.byref(status))
        check(_MAP, status.value)
        self._mapped = True
        if place != self._host:
            text = f"mapped 0x{self._host:x} at 0x{place or 0:x}, which the specification forbids for {USE_HOST_PTR}"
            raise DriverError(_MAP, 0, text=text)

    def _unmap(self, queue: int, event: ctypes.c_void_p | None) -> None:
        out = ctypes.byref(event) if event is not None else None
        check(_UNMAP, self._driver.raw(_UNMAP)(queue, self._address, self._host, 0, None, out))
        self._mapped = False


def import_host(
    driver: Driver,
    stream: OpenCLStream,
    queue: OpenCLStream,
    handle: Handle,
    descriptor: MemoryDescriptor,
    alignment: int,
) -> OpenCLExternalMemory:
    """Make a buffer over host memory (``clCreateBuffer`` with ``CL_MEM_USE_HOST_PTR``) and map it.

    ``queue`` is one on which nothing waits, for the first map. ``handle`` must fit the descriptor, and is consumed on
    success only. Pages of
    :class:`interop.toolkit.HostPages` are kept until the buffer has gone; others must stay until then, which is
    the caller's to see to.
    """
    size = descriptor.allocation_size
    with lend(handle, FdFate.KEPT) as host:
        pages = keeper(host, size)
        status = ctypes.c_int()
        flags = MEM_READ_WRITE | MEM_USE_HOST_PTR
        address = driver.raw("clCreateBuffer")(stream.context, flags, size, host, ctypes.byref(status))
        check("clCreateBuffer", status.value)
        if not address:
            raise DriverError("clCreateBuffer", 0, name_of(0), "reported success and returned no object")
        native = driver.cl.MemoryObject.from_int_ptr(address, retain=False)
        ownership = HostOwnership(driver, stream, address, host, size, pages)
        try:
            ownership.take_first(queue)
        except BaseException:
            native.release()
            raise
    return OpenCLExternalMemory(driver, stream, native, address, size, ownership, alignment)

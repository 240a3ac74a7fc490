"""Memory in OpenCL: a ``cl_mem`` that was imported or allocated, its views, and who keeps it for array libraries."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from interop.protocols import ClosedError, check_range, check_shape
from interop.toolkit import BYTES, DeviceType, Pin, Resource, ViewBase, check_dlpack_request, to_dlpack
from interop_opencl import _driver as cl
from interop_opencl._ownership import import_object

if TYPE_CHECKING:
    from interop.protocols import DType, Handle, MemoryDescriptor, PreparedCall, Stream
    from interop_opencl._ownership import NewMemory
    from interop_opencl.stream import OpenCLStream

_NOT_ASKED_FOR = (
    "this is OpenCL memory: its DLPack pointer is a cl_mem, which NumPy refuses and PyTorch (2.13) crashes on; "
    "a library that knows cl_mem asks with dl_device=view.__dlpack_device__(), others take view.read(array)"
)


class OpenCLMemory:
    """A ``cl_mem`` with one owner. Imported, it fulfils ``interop.toolkit.ImportedAllocation``.

    An import is owned by its cache, so this is no ``interop.toolkit.Resource``; allocated memory holds one.
    """

    __slots__ = ("__weakref__", "_native", "_ownership", "_release", "_size", "_views", "alive", "stream")

    def __init__(self, stream: OpenCLStream, size: int, made: NewMemory) -> None:
        """Take ownership of a ``cl_mem``.

        Args:
            stream: The queue on which views are copied.
            size: Bytes.
            made: A ``pyopencl.Buffer`` and what belongs to it.
        """
        self.stream = stream
        self._size = size
        self._native, self._release, self._ownership = made
        self._views: set[weakref.ref[OpenCLBuffer]] = set()
        self.alive = True

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` has been called."""
        return not self.alive

    def check_open(self) -> None:
        """Raise ``ClosedError`` after :meth:`close`."""
        if not self.alive:
            raise ClosedError("OpenCL memory was used after close()")

    @property
    def whole(self) -> Any:
        """The ``pyopencl.Buffer`` of all of it."""
        self.check_open()
        return self._native

    def view_at(
        self, first: int, shape: tuple[int, ...], nbytes: int, dtype: DType, timeout: float
    ) -> OpenCLBuffer:
        """Return a view; host copies take any offset.

        Kernels take views at multiples of the device's ``view_alignment``. The sub-buffer that they need is created
        when they first take the view.
        """
        self.check_open()
        return OpenCLBuffer(self, first, shape, nbytes, dtype, timeout)

    def prepare_acquire(self, stream: Stream) -> PreparedCall | None:
        """Return the acquire; for host memory, the unmap."""
        self.check_open()
        return self._ownership.prepare(stream)[0] if self._ownership is not None else None

    def prepare_release(self, stream: Stream) -> PreparedCall | None:
        """Return the release; for host memory, the map."""
        self.check_open()
        return self._ownership.prepare(stream)[1] if self._ownership is not None else None

    def part(self, view: OpenCLBuffer, offset: int, size: int) -> Any:
        """Return a ``pyopencl.Buffer`` of a part, for ``view`` to keep (``clCreateSubBuffer``).

        Raises:
            InvalidArgument: The offset is not a multiple of ``CL_DEVICE_MEM_BASE_ADDR_ALIGN``.
        """
        self.check_open()
        home = self.stream.home
        check_range(offset, size, self._size, alignment=home.device.capabilities.view_alignment)
        made = home.driver.make("clCreateSubBuffer", self._native.get_sub_region, offset, size)
        self._views.add(weakref.ref(view, self._views.discard))
        return made

    def pin(self) -> Pin:
        """Keep the ``cl_mem``, and with it the import, until the result is dropped. The driver counts references."""
        return Pin(self.stream.driver.last_reference("MemObject", self.whole.int_ptr))

    def close(self) -> None:
        """Release ownership that is still acquired, then the memory. A second call does nothing."""
        if self.alive and self._ownership is not None:
            self._ownership.give_back()
        release, self._release = self._release, _nothing
        self.alive = False
        for weak in list(self._views):  # a sub-buffer would keep the driver from freeing the whole
            view = weak()
            if view is not None:
                view.release_part()
        release()


def _nothing() -> None:
    """Release nothing: the memory has been released."""


class OpenCLBuffer(ViewBase[OpenCLMemory]):
    """A range of a ``cl_mem`` with a shape and an element type."""

    __slots__ = ("_part",)

    _part: Any

    @property
    def native(self) -> Any:
        """The ``pyopencl.Buffer``. It may be longer than the view.

        Raises:
            ClosedError: The view or its memory has been closed.
            InvalidArgument: The view starts between two multiples of the device's alignment.
        """
        self.check_open()
        if self.first == 0:  # a view knows its own size, so a shorter one needs no sub-buffer
            return self.memory.whole
        if getattr(self, "_part", None) is None:
            self._part = self.memory.part(self, self.first, self._nbytes)
        return self._part

    def release_part(self) -> None:
        """Release the sub-buffer (``clReleaseMemObject``), if there is one."""
        part, self._part = getattr(self, "_part", None), None
        if part is not None:
            part.release()

    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """Export the memory to a library that knows ``cl_mem``.

        The data pointer is the ``cl_mem`` of the whole allocation and belongs to this consumer's context. The
        capsule's ``byte_offset`` tells where the view begins, at any alignment. The library's reference keeps the
        allocation and the import after every ``close``. It gives no right to use them: imported memory is for use
        inside a consumer turn.

        Args:
            stream: A ``cl_command_queue`` of that context as an integer; it waits for the consumer's queue so far.
                None: the caller waits for that. -1: no order.
            max_version: Newest DLPack version that the library takes.
            dl_device: Must be this device: a library that does not ask for it expects no ``cl_mem``.
            copy: Whether the library wants a copy.

        Raises:
            BufferError: ``dl_device`` is missing or another device, or a copy is wanted.
        """
        self.check_open()
        if dl_device is None:
            raise BufferError(_NOT_ASKED_FOR)
        ours = self.memory.stream
        device = (DeviceType.OPENCL, ours.home.device.index)
        check_dlpack_request(device, stream=stream, dl_device=dl_device, copy=copy, order=ours.precede)
        if stream is None:
            ours.synchronize(self.timeout)
        return to_dlpack(
            self.memory.pin(),
            address=self.memory.whole.int_ptr,
            byte_offset=self.first,
            shape=self._shape,
            dtype=self._dtype,
            device=device,
            max_version=max_version,
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return DLPack's type of this device, and its index among the devices of this backend."""
        return int(DeviceType.OPENCL), self.memory.stream.home.device.index

    def copy(self, host: Any, timeout: float, *, to_host: bool) -> None:
        """Copy on the consumer's queue (``clEnqueueReadBuffer``, ``clEnqueueWriteBuffer``)."""
        where = (self.memory.whole, self.first, self._nbytes)
        self.memory.stream.transfer("Buffer", *where, host=host, timeout=timeout, to_host=to_host)

    def close(self) -> None:
        """End the view, and release memory that came from ``allocate``. A second call does nothing."""
        self.release_part()
        super().close()


def import_memory(stream: OpenCLStream, handle: Handle, descriptor: MemoryDescriptor) -> OpenCLMemory:
    """Import an allocation (``clCreateBufferWithProperties``); ``handle`` is consumed on success only.

    The handle is of an importable type and fits the descriptor.
    """
    create, size = "clCreateBufferWithProperties", descriptor.allocation_size
    return OpenCLMemory(stream, size, import_object(stream, handle, create, (size,), "memory"))


def allocate(stream: OpenCLStream, size: int, timeout: float) -> tuple[OpenCLMemory, OpenCLBuffer]:
    """Allocate device memory (``clCreateBuffer``). Closing the view releases it."""
    shape, nbytes = check_shape(size, BYTES)
    place = (stream.context, cl.MEM_READ_WRITE, nbytes, None)
    _, native, release = stream.driver.create_memory("clCreateBuffer", place)
    owned = Resource("OpenCL memory", release)
    memory = OpenCLMemory(stream, nbytes, (native, owned.close, None))
    return memory, OpenCLBuffer(memory, 0, shape, nbytes, BYTES, timeout, owner=True)

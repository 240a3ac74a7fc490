"""External memory in OpenCL: imported once, seen through the import itself or through sub-buffers."""

from __future__ import annotations

import ctypes
import time
from typing import TYPE_CHECKING, Any

from interop.protocols import ClosedError, FdFate, Handle, check_range, check_shape, lend
from interop.toolkit import BYTES, capsule, check_request, host_bytes
from interop_opencl._block import Block
from interop_opencl._driver import FALSE, MEM_READ_WRITE, MEMORY_HANDLES, check, failure, imported
from interop_opencl._ownership import Ownership

if TYPE_CHECKING:
    from interop.protocols import BareOwnership, DType, HostBytes, MemoryDescriptor, Stream
    from interop_opencl._driver import Driver
    from interop_opencl._ownership import Calls
    from interop_opencl.host import HostOwnership
    from interop_opencl.stream import OpenCLStream

DEFAULT_TIMEOUT = 30.0

_CREATE = "clCreateBufferWithProperties"
_NOT_ASKED_FOR = (
    "this is OpenCL memory: its DLPack pointer is a cl_mem, which NumPy refuses and PyTorch (2.13) crashes on; "
    "a library that knows cl_mem asks with dl_device=view.__dlpack_device__(), others take view.read(array)"
)
_CODES = {handle_type: code for code, handle_type in MEMORY_HANDLES.items()}
_Properties = ctypes.c_uint64 * 3


class OpenCLExternalMemory(Block):
    """An allocation of another API, imported whole. Fulfils :class:`interop.toolkit.Whole`."""

    __slots__ = ("_ownership",)

    def __init__(
        self,
        driver: Driver,
        stream: OpenCLStream,
        native: Any,
        address: int,
        size: int,
        ownership: Ownership | HostOwnership,
        alignment: int,
    ) -> None:
        super().__init__("OpenCL external memory", driver, stream, native, address, size, alignment)
        self._ownership = ownership

    def view_at(self, first: int, shape: tuple[int, ...], nbytes: int, dtype: DType) -> OpenCLBuffer:
        """Return a view, at any offset for host copies.

        Kernels take those at multiples of the device's ``view_alignment``; the sub-buffer that they need is
        made when they first do.
        """
        if not self.alive:
            self.check_open()
        return OpenCLBuffer(self, first, shape, nbytes, dtype)

    def acquire(self, stream: Stream) -> None:
        """Enqueue ``clEnqueueAcquireExternalMemObjectsKHR``: use before it is undefined. Host memory: unmap."""
        if not self.alive:
            self.check_open()
        self._ownership.acquire(stream)

    def release(self, stream: Stream) -> None:
        """Enqueue ``clEnqueueReleaseExternalMemObjectsKHR``: use after it is undefined. Host memory: map."""
        if not self.alive:
            self.check_open()
        self._ownership.release(stream)

    def bare(self, stream: Stream) -> BareOwnership | None:
        """Return both calls alone; None for host memory, which is mapped and unmapped."""
        self.check_open()
        return self._ownership.bare(stream) if isinstance(self._ownership, Ownership) else None

    def close(self) -> None:
        """Give ownership back where that was not done, and release the import. A second call does nothing."""
        if not self.closed:
            self._ownership.give_back()
        super().close()


class OpenCLBuffer:
    """A range of a ``cl_mem`` with a shape and an element type."""

    __slots__ = (
        "__weakref__",
        "_block",
        "_closed",
        "_dtype",
        "_nbytes",
        "_offset",
        "_owner",
        "_part",
        "_shape",
        "key",
    )

    def __init__(
        self,
        block: Block,
        offset: int,
        shape: tuple[int, ...],
        nbytes: int,
        dtype: DType,
        *,
        owner: bool = False,
    ) -> None:
        """``nbytes`` is what ``shape`` has, as whoever checked it knows."""
        self._shape = shape
        self._nbytes = nbytes
        self._part: Any = None
        self.key = block.key if offset == 0 else object()
        """Equal for views that are one kernel argument; never used again for another."""
        self._block = block
        self._offset = offset
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
    def native(self) -> Any:
        """The ``pyopencl.Buffer``; it may be longer than the view.

        Raises :class:`ClosedError` after close, :class:`InvalidArgument` where the view starts between two
        multiples of the device's alignment.
        """
        self.check_open()
        if self._offset == 0:
            return self._block.whole  # a view knows its own size; no object is needed for a shorter one
        if self._part is None:
            self._part = self._block.part(self, self._offset, self._nbytes)
        return self._part

    def give_part_up(self) -> None:
        """Release the sub-buffer (``clReleaseMemObject``), if there is one."""
        part, self._part = self._part, None
        if part is not None:
            part.release()

    def check_open(self) -> None:
        """Raise :class:`ClosedError` once the view or its memory has been closed."""
        if self._closed or self._block.closed:
            raise ClosedError("OpenCL buffer was used after close()")

    def __dlpack__(
        self,
        *,
        stream: object = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """Hand the memory to a library that knows ``cl_mem``, which must ask for this very ``dl_device``.

        The data pointer is the ``cl_mem`` of the whole allocation and belongs to this consumer's context;
        where the view begins in it is the capsule's ``byte_offset``, at any alignment. The library's
        reference keeps allocation and import alive after every ``close``, but not the right to use them:
        imported memory is for use inside a consumer turn.

        ``stream`` is a ``cl_command_queue`` of that context as an integer; it waits for what the consumer's
        queue has got so far. Without one the caller waits for that, -1 asks for no order. Raises
        ``BufferError`` when ``dl_device`` is missing or another, or a copy is wanted.
        """
        self.check_open()
        if dl_device is None:
            raise BufferError(_NOT_ASKED_FOR)
        ours = self._block.stream
        check_request(ours.array_device, stream=stream, dl_device=dl_device, copy=copy, order=ours.precede)
        if stream is None:
            ours.synchronize(DEFAULT_TIMEOUT)
        return capsule(
            self._block.pin(),
            address=self._block.address,
            byte_offset=self._offset,
            shape=self._shape,
            dtype=self._dtype,
            device=ours.array_device,
            max_version=max_version,
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return DLPack's type of this device, and its index among the devices of this backend."""
        kind, index = self._block.stream.array_device
        return int(kind), index

    def view(self, shape: tuple[int, ...], dtype: DType, *, offset: int = 0) -> OpenCLBuffer:
        """Look at a part as another shape and type; ``offset`` in bytes."""
        self.check_open()
        extents, nbytes = check_shape(shape, dtype)
        check_range(offset, nbytes, self._nbytes, alignment=dtype.itemsize)
        return OpenCLBuffer(self._block, self._offset + offset, extents, nbytes, dtype)

    def read(self, target: HostBytes, *, timeout: float | None = None) -> None:
        """Copy to the host, after all earlier work of the consumer's queue (``clEnqueueReadBuffer``)."""
        self._copy("clEnqueueReadBuffer", target, timeout, writable=True)

    def write(self, source: HostBytes, *, timeout: float | None = None) -> None:
        """Copy from the host, after all earlier work of the consumer's queue (``clEnqueueWriteBuffer``)."""
        self._copy("clEnqueueWriteBuffer", source, timeout, writable=False)

    def _copy(self, function: str, host: HostBytes, timeout: float | None, *, writable: bool) -> None:
        self.check_open()
        flat = host_bytes(host, self._nbytes, writable=writable)
        stream = self._block.stream
        seconds = DEFAULT_TIMEOUT if timeout is None else timeout
        deadline = time.monotonic() + seconds
        # Some drivers block in the copy call while the queue is held; so the queue is brought to rest first.
        stream.synchronize(seconds)
        event = ctypes.c_void_p()
        enqueue = stream.driver.raw(function)
        memory = self._block.whole
        places = (self._offset, self._nbytes, flat.ctypes.data)
        with stream.keeping(flat, memory):
            code = enqueue(stream.address, memory.int_ptr, FALSE, *places, 0, None, ctypes.byref(event))
            check(function, code)
            stream.finish(event, max(deadline - time.monotonic(), 0.0), keep=(flat, memory))

    def close(self) -> None:
        """Give the view up, and the memory too if it came from ``allocate``. A second call does nothing."""
        self._closed = True
        self.give_part_up()
        if self._owner:
            self._block.close()

    def __repr__(self) -> str:
        return f"<OpenCLBuffer {self._shape} {self._dtype}>"


def import_memory(
    driver: Driver,
    calls: Calls,
    stream: OpenCLStream,
    handle: Handle,
    descriptor: MemoryDescriptor,
    alignment: int,
) -> OpenCLExternalMemory:
    """Import an allocation (``clCreateBufferWithProperties``); ``handle`` is consumed on success only.

    It must be of an importable type and fit the descriptor. No device list is passed: the context has one device,
    and the list's enums differ between driver generations.
    """
    create = driver.raw(_CREATE)
    status = ctypes.c_int()
    size = descriptor.allocation_size
    with lend(handle, FdFate.TAKEN) as number:
        properties = _Properties(_CODES[handle.type], number, 0)
        address = create(stream.context, properties, MEM_READ_WRITE, size, None, ctypes.byref(status))
        made = imported(driver, _CREATE, status.value, address, "memory", size)
        native = driver.adopt(made)  # in here, since the handle goes on success only
    ownership = Ownership(calls, stream, made)
    return OpenCLExternalMemory(driver, stream, native, made, size, ownership, alignment)


def allocate(
    driver: Driver, context: Any, stream: OpenCLStream, size: int, alignment: int
) -> tuple[Block, OpenCLBuffer]:
    """Allocate device memory (``clCreateBuffer``). Closing the buffer gives the block back."""
    shape, nbytes = check_shape(size, BYTES)
    try:
        native = driver.cl.Buffer(context, driver.cl.mem_flags.READ_WRITE, nbytes)
    except driver.cl.Error as error:
        raise failure("clCreateBuffer", error) from error
    block = Block("OpenCL memory", driver, stream, native, native.int_ptr, nbytes, alignment)
    return block, OpenCLBuffer(block, 0, shape, nbytes, BYTES, owner=True)

"""A ``cl_mem`` with one owner, and how it outlives that owner while array libraries hold it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from interop.protocols import check_range
from interop.toolkit import Resource
from interop_opencl._driver import LastReference, failure

if TYPE_CHECKING:
    from interop_opencl._driver import Driver
    from interop_opencl.memory import OpenCLBuffer
    from interop_opencl.stream import OpenCLStream


class Block(Resource):
    """A ``cl_mem`` with one owner, and how its parts may be cut."""

    __slots__ = ("_alignment", "_driver", "_native", "_size", "_stream", "_views", "key")

    def __init__(
        self,
        what: str,
        driver: Driver,
        stream: OpenCLStream,
        native: Any,
        address: int,
        size: int,
        alignment: int,
    ) -> None:
        views: set[weakref.ref[OpenCLBuffer]] = set()
        super().__init__(what, _release, views, native, LastReference(driver, "MemObject", address))
        self.key = object()
        """Stands for the whole; unlike its address it is never used again for something else."""
        self._driver = driver
        self._stream = stream
        self._native = native
        self._size = size
        self._alignment = alignment
        self._views = views

    @property
    def stream(self) -> OpenCLStream:
        """The queue on which its views are copied."""
        return self._stream

    @property
    def whole(self) -> Any:
        """The ``pyopencl.Buffer`` of all of it."""
        self.check_open()
        return self._native

    @property
    def address(self) -> int:
        """The ``cl_mem`` of all of it."""
        address: int = self.whole.int_ptr
        return address

    def pin(self) -> Pin:
        """Keep the ``cl_mem``, and with it the import, until the result is dropped."""
        return Pin(self._driver, self.address)

    def part(self, view: OpenCLBuffer, offset: int, size: int) -> Any:
        """Return a ``pyopencl.Buffer`` from ``offset`` on for ``view`` to keep (``clCreateSubBuffer``).

        Raises :class:`InvalidArgument` unless that is a multiple of ``CL_DEVICE_MEM_BASE_ADDR_ALIGN``.
        """
        self.check_open()
        check_range(offset, size, self._size, alignment=self._alignment)
        try:
            made = self._native.get_sub_region(offset, size)
        except self._driver.cl.Error as error:
            raise failure("clCreateSubBuffer", error) from error
        self._views.add(weakref.ref(view, self._views.discard))
        return made


class Pin:
    """Keeps a ``cl_mem`` for an array library; the driver counts references, so the block need not."""

    __slots__ = ("__weakref__",)

    def __init__(self, driver: Driver, address: int) -> None:
        last = LastReference(driver, "MemObject", address)
        weakref.finalize(self, last.drop).atexit = False


def _release(views: set[weakref.ref[OpenCLBuffer]], native: Any, last: LastReference) -> None:
    for weak in list(views):  # a part that is still there would keep the driver from freeing the whole
        view = weak()
        if view is not None:
            view.give_part_up()
    native.release()
    last.drop()

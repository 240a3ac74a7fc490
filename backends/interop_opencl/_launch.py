"""Launches prepared once: a ``cl_kernel`` of their own, so that its arguments are set a single time."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING, Any

from interop.protocols import BareCall
from interop_opencl._driver import bare, check
from interop_opencl.memory import OpenCLBuffer

if TYPE_CHECKING:
    from interop_opencl.kernels import OpenCLModule


class OpenCLLaunch:
    """A kernel whose arguments, grid and queue are set."""

    __slots__ = ("__weakref__", "_call", "_launch", "_memory", "_module", "_native")

    def __init__(
        self,
        module: OpenCLModule,
        native: Any,
        queue: int,
        extents: tuple[int, Any, Any],
        args: tuple[object, ...],
    ) -> None:
        self._module = module
        self._native = native
        self._launch = module.driver.raw("clEnqueueNDRangeKernel")
        self._memory = [each for each in args if isinstance(each, OpenCLBuffer)]
        dimensions, grid, group = extents
        # Converted once: ctypes passes its own objects on as they are.
        self._call = (
            ctypes.c_void_p(queue),
            ctypes.c_void_p(native.int_ptr),
            ctypes.c_uint(dimensions),
            None,
            grid,
            group,
            ctypes.c_uint(0),
            None,
            None,
        )

    def check_open(self) -> None:
        """Raise :class:`ClosedError` once the module or memory that it takes has been closed."""
        self._module.check_open()
        for view in self._memory:
            view.check_open()

    def bare(self) -> BareCall:
        """Return the call alone; see :class:`interop.protocols.BareLaunch`."""
        return BareCall(partial(bare(self._launch), *self._call), partial(check, "clEnqueueNDRangeKernel"))

    def __call__(self) -> None:
        """Enqueue (``clEnqueueNDRangeKernel``)."""
        self.check_open()
        code = self._launch(*self._call)
        if code:
            check("clEnqueueNDRangeKernel", code)

    def give_up(self) -> None:
        """Release the kernel, which keeps its arguments. Only after the module was closed."""
        self._native = None

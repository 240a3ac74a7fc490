"""Launches prepared once: an argument block, a grid and a stream of their own."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING

from interop.protocols import BareCall
from interop_hip._driver import bare
from interop_hip.memory import HipBuffer

if TYPE_CHECKING:
    from interop_hip.kernels import HipModule


class HipLaunch:
    """A kernel with an argument block, a grid and a stream of its own."""

    __slots__ = ("_call", "_device", "_driver", "_launch", "_memory", "_module", "_places")

    def __init__(
        self,
        module: HipModule,
        address: int,
        numbers: tuple[int, ...],
        values: list[bytes],
        args: tuple[object, ...],
    ) -> None:
        self._module = module
        self._driver = module.driver
        self._device = module.stream.device
        self._launch = module.driver.raw("hipModuleLaunchKernel")
        self._memory = [each for each in args if isinstance(each, HipBuffer)]
        self._places = [ctypes.create_string_buffer(value, len(value)) for value in values]
        pointers = (ctypes.c_void_p * max(1, len(values)))(*map(ctypes.addressof, self._places))
        # Converted once: ctypes passes its own objects on as they are.
        *extents, shared, stream = numbers
        self._call = (
            ctypes.c_void_p(address),
            *map(ctypes.c_uint, (*extents, shared)),
            ctypes.c_void_p(stream),
            pointers,
            None,
        )

    def check_open(self) -> None:
        """Raise :class:`ClosedError` once the module or memory that it takes has been closed."""
        self._module.check_open()
        for view in self._memory:
            view.check_open()

    def bare(self) -> BareCall:
        """Return the call alone; see :class:`interop.protocols.BareLaunch`."""
        driver = self._driver
        fail = partial(driver.check, "hipModuleLaunchKernel")
        return BareCall(partial(bare(self._launch), *self._call), fail, driver.using(self._device))

    def __call__(self) -> None:
        """Enqueue (``hipModuleLaunchKernel``)."""
        self.check_open()
        driver, device = self._driver, self._device
        driver.use(device)
        code = self._launch(*self._call)
        if code:
            driver.check("hipModuleLaunchKernel", code)

"""The context in which everything of a device lives, and which thread has it current."""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interop_cuda._driver import Driver

_here = threading.local()


class Context:
    """The primary context of a device: the one that CUDA's runtime, and so PyTorch and CuPy, use too.

    Counted: the maker holds it once, everything that lives in it once more. The last :meth:`drop` gives it
    back, so tensors may outlive the consumer that made their memory.
    """

    def __init__(self, driver: Driver, index: int) -> None:
        self.driver = driver
        self.index = index
        """Ordinal of the device."""
        self._device = driver.number("cuDeviceGet", index)
        self._address = driver.make("cuDevicePrimaryCtxRetain", self._device)
        self._set_current = driver.raw("cuCtxSetCurrent")
        self._current = Current(driver, self._address)
        self._holders = 1
        self._lock = threading.RLock()  # a garbage collection inside may drop

    def hold(self) -> Context:
        """Count one more user and return self."""
        with self._lock:
            self._holders += 1
        return self

    def drop(self) -> None:
        """Count one user less; the last gives the context back (``cuDevicePrimaryCtxRelease``)."""
        with self._lock:
            self._holders -= 1
            last = self._holders == 0
        if last:
            if getattr(_here, "context", None) is self:
                _here.context = None
            self.driver.call("cuDevicePrimaryCtxRelease_v2", self._device)

    def use(self) -> None:
        """Make it current in this thread, once per thread. For calls that name a stream."""
        if getattr(_here, "context", None) is not self:
            self.select()

    def select(self) -> None:
        """Make it current in this thread, even when another library has changed that since. For launches."""
        code = self._set_current(self._address)
        if code:
            self.driver.check("cuCtxSetCurrent", code)
        _here.context = self

    def current(self) -> Current:
        """Have it current within the block only. For calls that create, import and release.

        Releases may run in a garbage collection in any thread, which must find its own context again.
        """
        return self._current


class Current:
    """What :meth:`Context.current` returns: pushes the context, and pops it at the end of the block.

    One for all blocks of all threads, as it holds nothing of any of them.
    """

    __slots__ = ("_address", "_driver", "_out", "_pop", "_push")

    def __init__(self, driver: Driver, address: int) -> None:
        self._driver = driver
        self._address = address
        self._push = driver.raw("cuCtxPushCurrent_v2")
        self._pop = driver.raw("cuCtxPopCurrent_v2")
        self._out = ctypes.byref(ctypes.c_void_p())
        """Where the driver writes which context it popped, which nobody asks."""

    def __enter__(self) -> Driver:
        code = self._push(self._address)
        if code:
            self._driver.check("cuCtxPushCurrent_v2", code)
        return self._driver

    def __exit__(self, *_: object) -> None:
        code = self._pop(self._out)
        if code:
            self._driver.check("cuCtxPopCurrent_v2", code)

"""Who may use an imported object: acquired on a queue, given back on one."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING

from interop.bare import BareCall, BareOwnership
from interop_opencl._driver import bare, check
from interop_opencl.stream import stream_address

if TYPE_CHECKING:
    from interop.semaphore import Stream
    from interop_opencl._driver import Driver
    from interop_opencl.stream import OpenCLStream

_ACQUIRE = "clEnqueueAcquireExternalMemObjectsKHR"
_RELEASE = "clEnqueueReleaseExternalMemObjectsKHR"


class Ownership:
    """Acquires and releases one ``cl_mem``, which must be open."""

    __slots__ = ("_acquire", "_context", "_give", "_held", "_objects", "_prepared", "_stream")

    def __init__(self, driver: Driver, platform: int, stream: OpenCLStream, address: int) -> None:
        self._stream = stream
        self._context = stream.context
        self._objects = (ctypes.c_void_p * 1)(address)
        self._acquire = bare(driver.required(platform, _ACQUIRE))
        self._give = bare(driver.required(platform, _RELEASE))
        self._prepared = stream, self._arguments(stream.address)
        self._held: tuple[object, ...] | None = None
        """What acquired it and would release it; None while it is not acquired."""

    def acquire(self, stream: Stream) -> None:
        """Enqueue ``clEnqueueAcquireExternalMemObjectsKHR``: use before it is undefined."""
        known, call = self._prepared
        if known is not stream or not known.alive:
            call = self._arguments(stream_address(stream, self._context))
        code = self._acquire(*call)
        if code:
            check(_ACQUIRE, code)
        self._held = call

    def release(self, stream: Stream) -> None:
        """Enqueue ``clEnqueueReleaseExternalMemObjectsKHR``: use after it is undefined."""
        known, call = self._prepared
        if known is not stream or not known.alive:
            call = self._arguments(stream_address(stream, self._context))
        code = self._give(*call)
        if code:
            check(_RELEASE, code)
        self._held = None

    def bare(self, stream: Stream) -> BareOwnership:
        """Return both calls alone; see :class:`interop.bare.BareMemory`."""
        call = self._arguments(stream_address(stream, self._context))

        def broken() -> None:
            self._held = call

        acquire = BareCall(partial(self._acquire, *call), partial(check, _ACQUIRE))
        release = BareCall(partial(self._give, *call), partial(check, _RELEASE))
        return BareOwnership(acquire, release, broken, lambda: True)

    def _arguments(self, queue: int) -> tuple[object, ...]:
        """Convert what both calls take."""
        none = ctypes.c_void_p()
        return (ctypes.c_void_p(queue), ctypes.c_uint(1), self._objects, ctypes.c_uint(0), none, none)

    def give_back(self) -> None:
        """Release where that was not done, before the object goes.

        NVIDIA's driver (580) never returns from ``clReleaseContext`` while an import of it is acquired.
        """
        call, self._held = self._held, None
        if call is not None and self._stream.alive:
            check(_RELEASE, self._give(*call))
            self._stream.flush()


def require(driver: Driver, platform: int) -> None:
    """Raise :class:`Unsupported` for a platform that lacks the calls, before it has a handle."""
    for name in (_ACQUIRE, _RELEASE):
        driver.required(platform, name)

"""Who may use an imported object: acquired on a queue, given back on one."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from interop_opencl._driver import check
from interop_opencl.stream import stream_address

if TYPE_CHECKING:
    from interop.semaphore import Stream
    from interop_opencl._driver import Driver
    from interop_opencl.stream import OpenCLStream

_ACQUIRE = "clEnqueueAcquireExternalMemObjectsKHR"
_RELEASE = "clEnqueueReleaseExternalMemObjectsKHR"


class Ownership:
    """Acquires and releases one ``cl_mem``, which must be open."""

    __slots__ = ("_acquire", "_context", "_give", "_held", "_objects", "_stream")

    def __init__(self, driver: Driver, platform: int, stream: OpenCLStream, address: int) -> None:
        self._stream = stream
        self._context = stream.context
        self._objects = (ctypes.c_void_p * 1)(address)
        self._acquire = driver.required(platform, _ACQUIRE)
        self._give = driver.required(platform, _RELEASE)
        self._held = 0
        """The queue on which it was acquired and not released; 0 for none."""

    def acquire(self, stream: Stream) -> None:
        """Enqueue ``clEnqueueAcquireExternalMemObjectsKHR``: use before it is undefined."""
        queue = stream_address(stream, self._context)
        check(_ACQUIRE, self._acquire(queue, 1, self._objects, 0, None, None))
        self._held = queue

    def release(self, stream: Stream) -> None:
        """Enqueue ``clEnqueueReleaseExternalMemObjectsKHR``: use after it is undefined."""
        queue = stream_address(stream, self._context)
        check(_RELEASE, self._give(queue, 1, self._objects, 0, None, None))
        self._held = 0

    def give_back(self) -> None:
        """Release where that was not done, before the object goes.

        NVIDIA's driver (580) never returns from ``clReleaseContext`` while an import of it is acquired.
        """
        if self._held and not self._stream.closed:
            queue, self._held = self._held, 0
            check(_RELEASE, self._give(queue, 1, self._objects, 0, None, None))
            self._stream.flush()


def require(driver: Driver, platform: int) -> None:
    """Raise :class:`Unsupported` for a platform that lacks the calls, before it has a handle."""
    for name in (_ACQUIRE, _RELEASE):
        driver.required(platform, name)

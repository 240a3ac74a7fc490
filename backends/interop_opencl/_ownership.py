"""Who may use an imported object: acquired on a queue, given back on one."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from interop.protocols import BareCall, BareOwnership
from interop_opencl._driver import bare, check
from interop_opencl.stream import OpenCLStream, stream_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Stream
    from interop_opencl._driver import Driver

_ACQUIRE = "clEnqueueAcquireExternalMemObjectsKHR"
_RELEASE = "clEnqueueReleaseExternalMemObjectsKHR"
_Object = ctypes.c_void_p * 1


class Calls(NamedTuple):
    """What a platform acquires and releases with; looked up once, as each import needs them."""

    acquire: Callable[..., int]
    release: Callable[..., int]


def required(driver: Driver, platform: int) -> Calls:
    """Return the calls, or raise :class:`Unsupported` for a platform that lacks them, before it has a handle."""
    return Calls(*(bare(driver.required(platform, name)) for name in (_ACQUIRE, _RELEASE)))


class Ownership:
    """Acquires and releases one ``cl_mem``, which must be open."""

    __slots__ = ("_acquire", "_address", "_give", "_held", "_prepared", "_stream")

    def __init__(self, calls: Calls, stream: OpenCLStream, address: int) -> None:
        self._stream = stream
        self._address = address
        self._acquire, self._give = calls
        self._prepared: tuple[OpenCLStream | None, tuple[object, ...]] = (None, ())
        self._held: tuple[object, ...] | None = None
        """What acquired it and would release it; None while it is not acquired."""

    def acquire(self, stream: Stream) -> None:
        """Enqueue ``clEnqueueAcquireExternalMemObjectsKHR``: use before it is undefined."""
        known, call = self._prepared
        if known is None or known is not stream or not known.alive:
            call = self._prepare(stream)
        self._held = call  # before it is: a Ctrl-C during the call is raised as it returns
        code = self._acquire(*call)
        if code:
            self._held = None
            check(_ACQUIRE, code)

    def release(self, stream: Stream) -> None:
        """Enqueue ``clEnqueueReleaseExternalMemObjectsKHR``: use after it is undefined."""
        known, call = self._prepared
        if known is None or known is not stream or not known.alive:
            call = self._prepare(stream)
        code = self._give(*call)
        if code:
            check(_RELEASE, code)
        self._held = None

    def bare(self, stream: Stream) -> BareOwnership:
        """Return both calls alone; see :class:`interop.protocols.BareMemory`."""
        call = self._prepare(stream)

        def broken() -> None:
            self._held = call

        acquire = BareCall(partial(self._acquire, *call), partial(check, _ACQUIRE))
        release = BareCall(partial(self._give, *call), partial(check, _RELEASE))
        return BareOwnership(acquire, release, broken, lambda: True)

    def _prepare(self, stream: Stream) -> tuple[object, ...]:
        """Convert what both calls take, once for as long as they name the same queue; not yet at the import."""
        queue = ctypes.c_void_p(stream_address(stream, self._stream.context))
        none, one, zero = ctypes.c_void_p(), ctypes.c_uint(1), ctypes.c_uint(0)
        call = (queue, one, _Object(self._address), zero, none, none)
        self._prepared = (stream if isinstance(stream, OpenCLStream) else None, call)
        return call

    def give_back(self) -> None:
        """Release where that was not done, before the object goes.

        NVIDIA's driver (580) never returns from ``clReleaseContext`` while an import of it is acquired.
        """
        call, self._held = self._held, None
        if call is not None and self._stream.alive:
            check(_RELEASE, self._give(*call))
            self._stream.flush()

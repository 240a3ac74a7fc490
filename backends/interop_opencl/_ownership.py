"""Ownership of imported objects: acquired on a queue, released on a queue."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from interop.protocols import PreparedCall
from interop.toolkit import preconverted
from interop_opencl._driver import check
from interop_opencl.stream import OpenCLStream, stream_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Stream
    from interop_opencl._driver import Driver

_ACQUIRE = "clEnqueueAcquireExternalMemObjectsKHR"
_RELEASE = "clEnqueueReleaseExternalMemObjectsKHR"
_Object = ctypes.c_void_p * 1


class OwnershipChanges(Protocol):
    """How an import changes hands between the two APIs."""

    def prepare_acquire(self, stream: Stream) -> PreparedCall:
        """Return the acquire on a stream."""
        ...

    def prepare_release(self, stream: Stream) -> PreparedCall:
        """Return the release on a stream."""
        ...

    def give_back(self) -> None:
        """Release what is acquired, before the object goes."""
        ...


class OwnershipFunctions(NamedTuple):
    """The acquire and release functions of a platform."""

    acquire: Callable[..., int]
    release: Callable[..., int]


def required(driver: Driver, platform: int) -> OwnershipFunctions:
    """Return the functions. Raises ``Unsupported`` for a platform that lacks them, before it has a handle."""
    return OwnershipFunctions(
        *(preconverted(driver.required(platform, name)) for name in (_ACQUIRE, _RELEASE))
    )


class Ownership:
    """Acquires and releases one imported ``cl_mem``, which must be open."""

    __slots__ = ("_address", "_functions", "_held", "_prepared", "_stream")

    def __init__(self, functions: OwnershipFunctions, stream: OpenCLStream, address: int) -> None:
        self._functions = functions
        self._stream = stream
        self._address = address
        self._prepared: tuple[OpenCLStream | None, PreparedCall, PreparedCall] | None = None
        self._held: Callable[[], int] | None = None
        """The driver call that releases the object; None while it is not acquired."""

    def prepare_acquire(self, stream: Stream) -> PreparedCall:
        """Return ``clEnqueueAcquireExternalMemObjectsKHR``: use before it is undefined."""
        return self._calls(stream)[1]

    def prepare_release(self, stream: Stream) -> PreparedCall:
        """Return ``clEnqueueReleaseExternalMemObjectsKHR``: use after it is undefined."""
        return self._calls(stream)[2]

    def _calls(self, stream: Stream) -> tuple[OpenCLStream | None, PreparedCall, PreparedCall]:
        """Convert the arguments once for as long as the same queue is named."""
        found = self._prepared
        if found is not None and found[0] is stream and found[0].alive:
            return found
        queue = ctypes.c_void_p(stream_address(stream, self._stream.context))
        none, one, zero = ctypes.c_void_p(), ctypes.c_uint(1), ctypes.c_uint(0)
        arguments = (queue, one, _Object(self._address), zero, none, none)
        acquire, release = (partial(each, *arguments) for each in self._functions)

        def acquired() -> int:
            self._held = release  # before the driver is called: Ctrl-C is raised as the call returns
            return acquire()

        def refused(code: int) -> None:
            self._held = None
            check(_ACQUIRE, code)

        def released() -> int:
            code = release()
            if not code:
                self._held = None
            return code

        known = stream if isinstance(stream, OpenCLStream) else None
        made = (known, PreparedCall(acquired, refused), PreparedCall(released, partial(check, _RELEASE)))
        self._prepared = made
        return made

    def give_back(self) -> None:
        """Release the object if it is acquired.

        NVIDIA's driver (580) never returns from ``clReleaseContext`` while an import of it is acquired.
        """
        release, self._held = self._held, None
        if release is not None and self._stream.alive:
            check(_RELEASE, release())
            self._stream.flush()

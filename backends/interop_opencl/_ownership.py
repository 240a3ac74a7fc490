"""Ownership of imported objects: acquired on a queue, released on a queue."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any

from interop.protocols import PreparedCall
from interop_opencl._driver import MEMORY_FUNCTIONS, check
from interop_opencl.stream import stream_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Stream
    from interop_opencl.stream import OpenCLStream

_ACQUIRE, _RELEASE = MEMORY_FUNCTIONS
_Object = ctypes.c_void_p * 1


class Ownership(ABC):
    """How one ``cl_mem`` changes hands between the two APIs. The ``cl_mem`` must be open."""

    __slots__ = ("_calls", "_queue", "address", "stream")

    def __init__(self, stream: OpenCLStream, address: int) -> None:
        self.stream = stream
        """The consumer's queue."""
        self.address = address
        self._queue: Any = None
        self._calls: tuple[PreparedCall, PreparedCall]

    def prepare_acquire(self, stream: Stream) -> PreparedCall:
        """Return the acquire on a queue: use before it is undefined."""
        return self._prepare(stream)[0]

    def prepare_release(self, stream: Stream) -> PreparedCall:
        """Return the release on a queue: use after it is undefined."""
        return self._prepare(stream)[1]

    def _prepare(self, stream: Any) -> tuple[PreparedCall, PreparedCall]:
        """Convert the arguments once for as long as the same queue is named."""
        if self._queue is not stream or not stream.alive:
            self._calls = self.convert(stream_address(stream, self.stream.context))
            self._queue = stream
        return self._calls

    @abstractmethod
    def convert(self, queue: int) -> tuple[PreparedCall, PreparedCall]:
        """Return acquire and release on a ``cl_command_queue``."""

    @abstractmethod
    def give_back(self) -> None:
        """Release the ``cl_mem`` if it is acquired, before it is closed."""


class ExternalOwnership(Ownership):
    """Ownership of memory of another API, by ``cl_khr_external_memory``."""

    __slots__ = ("_functions", "_held")

    def __init__(self, functions: tuple[Callable[..., int], ...], stream: OpenCLStream, address: int) -> None:
        """Use ``functions``, which are :attr:`OpenCLContext.ownership`."""
        super().__init__(stream, address)
        self._functions = functions
        self._held: Callable[[], int] | None = None
        """The driver call that releases the object; None while it is not acquired."""

    def convert(self, queue: int) -> tuple[PreparedCall, PreparedCall]:
        """Return both calls with their arguments converted."""
        none, one, zero = ctypes.c_void_p(), ctypes.c_uint(1), ctypes.c_uint(0)
        arguments = (ctypes.c_void_p(queue), one, _Object(self.address), zero, none, none)
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

        return PreparedCall(acquired, refused), PreparedCall(released, partial(check, _RELEASE))

    def give_back(self) -> None:
        """Release the object if it is acquired.

        NVIDIA's driver (580) never returns from ``clReleaseContext`` while an import of it is acquired.
        """
        release, self._held = self._held, None
        if release is not None and self.stream.alive:
            check(_RELEASE, release())
            self.stream.flush()

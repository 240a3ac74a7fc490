"""Ownership of imported objects: acquired on a queue, released on a queue."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from interop.protocols import FdFate, PreparedCall, lend
from interop_opencl._driver import MEM_READ_WRITE, MEMORY_FUNCTIONS, MEMORY_HANDLES, check
from interop_opencl.stream import stream_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Handle
    from interop_opencl.stream import OpenCLStream

    NewMemory: TypeAlias = tuple[Any, Callable[[], None], "Ownership | None"]
    """A new ``cl_mem``: pyopencl's object, what releases it, and how it changes hands.

    Memory of the consumer's own does not change hands.
    """
    ImportedMemory: TypeAlias = tuple[Any, Callable[[], None], "ExternalOwnership"]
    """As :data:`NewMemory`, of another API."""

_ACQUIRE, _RELEASE = MEMORY_FUNCTIONS
_CODES = {handle_type: code for code, handle_type in MEMORY_HANDLES.items()}
_Objects = ctypes.c_void_p * 1
_Properties = ctypes.c_uint64 * 3


class Ownership(ABC):
    """How one ``cl_mem`` changes hands between the two APIs. The ``cl_mem`` must be open."""

    __slots__ = ("_calls", "_queue", "address", "stream")

    def __init__(self, stream: OpenCLStream, address: int) -> None:
        self.stream = stream
        """The consumer's queue."""
        self.address = address
        self._queue: Any = None
        self._calls: tuple[PreparedCall, PreparedCall]

    def prepare(self, stream: Any) -> tuple[PreparedCall, PreparedCall]:
        """Return acquire and release on a queue: use before the one and after the other is undefined.

        The arguments are converted once for as long as the same queue is named.
        """
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
        arguments = (ctypes.c_void_p(queue), one, _Objects(self.address), zero, none, none)
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


def import_object(
    stream: OpenCLStream, handle: Handle, function: str, layout: tuple[object, ...], imported: str
) -> ImportedMemory:
    """Import memory of another API as a ``cl_mem``; ``handle`` is consumed on success only.

    No device list is passed: the context has one device, and the enums of the list differ between driver generations.

    Args:
        stream: The consumer's queue.
        handle: Of an importable type.
        function: Creates the ``cl_mem``.
        layout: Arguments of ``function`` between the flags and the host pointer.
        imported: Description of the memory.
    """
    # Missing functions are an error before the driver has the handle.
    driver, functions = stream.driver, stream.home.ownership
    with lend(handle, FdFate.TAKEN) as number:
        properties = _Properties(_CODES[handle.type], number, 0)
        arguments = (stream.context, properties, MEM_READ_WRITE, *layout, None)
        address, native, release = driver.create_memory(function, arguments, imported)
    return native, release, ExternalOwnership(functions, stream, address)

"""External semaphores: an OpenCL queue waits for the signals of another API and signals it."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING

from interop.protocols import (
    SEMAPHORE_FLOOR,
    FdFate,
    Handle,
    HandleType,
    PreparedCall,
    SemaphoreDescriptor,
    SemaphoreKind,
    TurnError,
    Unsupported,
    lend,
)
from interop.toolkit import SemaphoreBase, preconverted
from interop_opencl import _driver as cl
from interop_opencl.stream import stream_address

if TYPE_CHECKING:
    from interop.protocols import Stream
    from interop_opencl._context import OpenCLContext

_CREATE, _WAIT, _SIGNAL, _DESTROY = cl.SEMAPHORE_FUNCTIONS
_EXPORT = "clGetSemaphoreHandleForTypeKHR"
_CODES = {handle_type: code for code, handle_type in cl.SEMAPHORE_HANDLES.items()}
NO_TIMELINE = "OpenCL has binary semaphores only: a timeline imported as one would be accepted and hang"


class OpenCLSemaphore(SemaphoreBase):
    """A binary Vulkan semaphore, imported."""

    __slots__ = ("_home", "_semaphores")

    def __init__(self, home: OpenCLContext, address: int) -> None:
        """Take ownership of a ``cl_semaphore_khr``."""
        what = f"OpenCL semaphore 0x{address:x}"
        super().__init__(what, SemaphoreKind.BINARY, home.call, _DESTROY, address)
        self._home = home
        self._semaphores = (ctypes.c_void_p * 1)(address)

    def prepare_wait(self, stream: Stream) -> PreparedCall:
        """Return ``clEnqueueWaitSemaphoresKHR``."""
        return self._prepare(_WAIT, stream)

    def prepare_signal(self, stream: Stream) -> PreparedCall:
        """Return ``clEnqueueSignalSemaphoresKHR``."""
        return self._prepare(_SIGNAL, stream)

    def submit(self, stream: Stream) -> None:
        """Flush: the other side waits for the signal."""
        stream.flush()

    def _prepare(self, name: str, stream: Stream) -> PreparedCall:
        self.check_open()
        queue = ctypes.c_void_p(stream_address(stream, self._home.address))
        none, zero = ctypes.c_void_p(), ctypes.c_uint(0)
        call = (queue, ctypes.c_uint(1), self._semaphores, none, zero, none, none)
        return PreparedCall(partial(preconverted(self._home.extension(name)), *call), partial(cl.check, name))


class OneShotSemaphore(OpenCLSemaphore):
    """One signal of Vulkan, imported from a sync file. It is waited for once and never signalled here.

    It may be closed as soon as its wait is enqueued, because OpenCL keeps it for the command. A new import for each
    signal has the effect of ``clReImportSemaphoreSyncFdKHR``, which older drivers lack.
    """

    _waited = False

    def wait(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue the one wait. Raises :class:`TurnError` for a second one."""
        if self._waited:
            raise TurnError("the one signal of this sync_fd has been waited for; import the next one")
        super().wait(stream, value)
        self._waited = True

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Raise ``TurnError``: only the side that created the semaphore signals it."""
        self.rule.check_signal(value)
        stream_address(stream, self._home.address)
        text = "a sync_fd carries a signal of the other side; signal a semaphore of create_semaphore"
        raise TurnError(text)


class OpenCLSignals(OpenCLSemaphore):
    """A semaphore of this consumer whose signals are exported. Fulfils ``interop.protocols.ConsumerSemaphore``."""

    _signalled = False

    def wait(self, stream: Stream, value: int | None = None) -> None:
        """Raise ``TurnError``: the importing side waits for the signals."""
        raise TurnError(
            f"{stream!r} cannot wait for a semaphore whose signals are exported ({value=}); the importer waits"
        )

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a signal and flush. Raises ``TurnError`` while the last signal has not been exported."""
        if self._signalled:
            raise TurnError("export the last signal before the next one: a binary semaphore holds one signal")
        super().signal(stream, value)
        self._signalled = True

    def export_semaphore(self) -> tuple[Handle, SemaphoreDescriptor]:
        """Export the last signal; see ``interop.protocols.ConsumerSemaphore.export_semaphore``."""
        self.check_open()
        if not self._signalled:
            raise TurnError("there is no signal to export; call signal first")
        home, exported, number = self._home, HandleType.SYNC_FD, ctypes.c_int(-1)
        place = (_CODES[exported], ctypes.sizeof(number), ctypes.byref(number), None)
        home.call(_EXPORT, self._semaphores[0], home.native_device.int_ptr, *place)
        self._signalled = False
        descriptor = SemaphoreDescriptor(kind=self.kind, handle_type=exported, device=home.device.identity)
        return Handle(number.value, exported), descriptor


def import_semaphore(home: OpenCLContext, handle: Handle) -> OpenCLSemaphore:
    """Import a binary semaphore (``clCreateSemaphoreWithPropertiesKHR``); ``handle`` is consumed on success only."""
    with lend(handle, FdFate.TAKEN, floor=SEMAPHORE_FLOOR) as number:
        address = _create(home, _CODES[handle.type], number, 0, imported="binary semaphore")
    kind = OneShotSemaphore if handle.type is HandleType.SYNC_FD else OpenCLSemaphore
    return kind(home, address)


def create_semaphore(home: OpenCLContext, kind: SemaphoreKind, export: HandleType) -> OpenCLSignals:
    """Create a semaphore whose signals are exported (``clCreateSemaphoreWithPropertiesKHR``).

    Raises:
        Unsupported: The device does not export that kind of semaphore by that handle type.
    """
    supported = home.device.capabilities.exportable(kind)
    if export not in supported:
        reason = f"the device exports {kind.value} semaphores as: {', '.join(sorted(supported)) or 'none'}"
        raise Unsupported(f"exporting a {kind.value} semaphore as {export.value}", reason)
    home.extension(_EXPORT)  # a platform that lacks it fails before there is an object
    return OpenCLSignals(home, _create(home, cl.SEMAPHORE_EXPORT_TYPES, _CODES[export], 0, 0))


def _create(home: OpenCLContext, *properties: int, imported: str = "") -> int:
    """Create a binary semaphore of further properties (``clCreateSemaphoreWithPropertiesKHR``).

    A platform that lacks a function fails before the driver has a handle, and before there is an object to release.
    """
    for name in cl.SEMAPHORE_FUNCTIONS:
        home.extension(name)
    words = (cl.SEMAPHORE_TYPE, cl.SEMAPHORE_TYPE_BINARY, *properties)
    given = (ctypes.c_uint64 * len(words))(*words)
    return cl.create(_CREATE, home.extension(_CREATE), home.address, given, imported=imported)

"""External semaphores: signals of another API that a CUDA stream waits for and gives."""

from __future__ import annotations

import ctypes
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from interop.protocols import SEMAPHORE_FLOOR, BareCall, FdFate, Handle, HandleType, SemaphoreKind, lend
from interop.toolkit import Resource, ValueRule, check_import_semaphore
from interop_cuda._abi import SemaphoreHandleDesc, SemaphoreParams, SemaphoreType
from interop_cuda._driver import bare
from interop_cuda.stream import CudaStream, stream_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import SemaphoreDescriptor, Stream
    from interop_cuda._context import Context

_SIGNAL = "cuSignalExternalSemaphoresAsync"
_WAIT = "cuWaitExternalSemaphoresAsync"
_UNKNOWN = 999

_TYPES = {
    (HandleType.OPAQUE_FD, SemaphoreKind.BINARY): SemaphoreType.OPAQUE_FD,
    (HandleType.OPAQUE_FD, SemaphoreKind.TIMELINE): SemaphoreType.TIMELINE_SEMAPHORE_FD,
    (HandleType.OPAQUE_WIN32, SemaphoreKind.BINARY): SemaphoreType.OPAQUE_WIN32,
    (HandleType.OPAQUE_WIN32, SemaphoreKind.TIMELINE): SemaphoreType.TIMELINE_SEMAPHORE_WIN32,
    (HandleType.OPAQUE_WIN32_KMT, SemaphoreKind.BINARY): SemaphoreType.OPAQUE_WIN32_KMT,
}
_IMPORT_HINTS = {_UNKNOWN: "the handle is no semaphore of this GPU's driver"}


class CudaSemaphore(Resource):
    """A Vulkan semaphore, imported. The parameter block of both calls is built once."""

    __slots__ = (
        "_context",
        "_kind",
        "_lock",
        "_params",
        "_prepared",
        "_rule",
        "_semaphores",
        "_signal",
        "_wait",
    )

    def __init__(self, context: Context, address: int, kind: SemaphoreKind) -> None:
        super().__init__(f"external semaphore 0x{address:x}", _release, context.hold(), address)
        self._context = context
        self._kind = kind
        self._rule = ValueRule(kind)
        self._lock = threading.Lock()
        self._semaphores = (ctypes.c_void_p * 1)(address)
        self._params = SemaphoreParams()
        self._signal = bare(context.driver.raw(_SIGNAL))
        self._wait = bare(context.driver.raw(_WAIT))
        self._prepared: tuple[CudaStream | None, tuple[object, ...]] = (None, ())

    @property
    def kind(self) -> SemaphoreKind:
        """Binary or timeline."""
        return self._kind

    def wait(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a wait (``cuWaitExternalSemaphoresAsync``)."""
        known, call = self._prepared
        if known is None or known is not stream or not (self.alive and known.alive):
            call = self._prepare(stream)
        self._context.use()
        self._lock.acquire()  # the driver reads the parameters during the call
        try:
            self._params.fence_value = self._rule.check_wait(value)
            code = self._wait(*call)
        finally:
            self._lock.release()
        if code:
            self._context.driver.check(_WAIT, code)

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a signal (``cuSignalExternalSemaphoresAsync``)."""
        known, call = self._prepared
        if known is None or known is not stream or not (self.alive and known.alive):
            call = self._prepare(stream)
        self._context.use()
        self._lock.acquire()
        try:
            self._params.fence_value = self._rule.check_signal(value)
            code = self._signal(*call)
        finally:
            self._lock.release()
        if code:
            self._context.driver.check(_SIGNAL, code)

    def bare_wait(self, stream: Stream) -> BareCall:
        """Return the wait alone; see :class:`interop.protocols.BareSemaphore`."""
        return self._bare(self._wait, _WAIT, stream)

    def bare_signal(self, stream: Stream) -> BareCall:
        """Return the signal alone; see :class:`interop.protocols.BareSemaphore`."""
        return self._bare(self._signal, _SIGNAL, stream)

    def _bare(self, function: Callable[..., int], name: str, stream: Stream) -> BareCall:
        self.check_open()
        params = SemaphoreParams()
        address = ctypes.c_void_p(stream_address(stream, self._context.index))
        call = partial(function, self._semaphores, ctypes.byref(params), ctypes.c_uint(1), address)
        value = partial(setattr, params, "fence_value") if self._kind is SemaphoreKind.TIMELINE else None
        return BareCall(call, partial(self._context.driver.check, name), self._context.select, value)

    def _prepare(self, stream: Stream) -> tuple[object, ...]:
        """Convert what both calls take, once for as long as they name the same stream."""
        self.check_open()
        address = ctypes.c_void_p(stream_address(stream, self._context.index))
        call = (self._semaphores, ctypes.byref(self._params), ctypes.c_uint(1), address)
        self._prepared = (stream if isinstance(stream, CudaStream) else None, call)
        return call


def _release(context: Context, address: int) -> None:
    with ExitStack() as every:
        every.callback(context.drop)
        driver = every.enter_context(context.current())
        driver.call("cuDestroyExternalSemaphore", address)


def import_semaphore(
    context: Context, handle: Handle, descriptor: SemaphoreDescriptor, supported: frozenset[HandleType]
) -> CudaSemaphore:
    """Import a semaphore; ``handle`` is consumed on success only (``cuImportExternalSemaphore``)."""
    check_import_semaphore(handle, descriptor, supported)
    for name in (_SIGNAL, _WAIT):
        context.driver.raw(name)  # a driver without them must fail before it has the handle
    wanted = SemaphoreHandleDesc()
    wanted.type = _TYPES[handle.type, descriptor.kind]
    with context.current() as driver, lend(handle, FdFate.TAKEN, floor=SEMAPHORE_FLOOR) as number:
        if handle.type.is_fd:
            wanted.handle.fd = number
        else:
            wanted.handle.win32.handle = number
        address = driver.make("cuImportExternalSemaphore", ctypes.byref(wanted), hints=_IMPORT_HINTS)
    return CudaSemaphore(context, address, descriptor.kind)

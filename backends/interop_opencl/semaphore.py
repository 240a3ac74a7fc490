"""External semaphores: signals of another API that an OpenCL queue waits for and gives."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from interop.errors import DriverError, Unsupported
from interop.handles import SEMAPHORE_FLOOR, FdFate, Handle, HandleType, lend
from interop.lifetime import Owned
from interop.semaphore import SemaphoreDescriptor, SemaphoreKind, ValueRule, check_import
from interop_opencl._driver import (
    SEMAPHORE_HANDLES,
    SEMAPHORE_TYPE,
    SEMAPHORE_TYPE_BINARY,
    bare,
    check,
    check_handle,
)
from interop_opencl.stream import OpenCLStream, stream_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.semaphore import Stream
    from interop_opencl._driver import Driver

_CREATE = "clCreateSemaphoreWithPropertiesKHR"
_WAIT = "clEnqueueWaitSemaphoresKHR"
_SIGNAL = "clEnqueueSignalSemaphoresKHR"
_CODES = {handle_type: code for code, handle_type in SEMAPHORE_HANDLES.items()}
NO_TIMELINE = "OpenCL has binary semaphores only: a timeline imported as one would be accepted and hang"


class OpenCLSemaphore(Owned):
    """A binary Vulkan semaphore, imported."""

    __slots__ = ("_context", "_flush", "_prepared", "_rule", "_semaphores", "_signal", "_wait")

    def __init__(self, driver: Driver, platform: int, context: int, address: int) -> None:
        release = driver.required(platform, "clReleaseSemaphoreKHR")
        super().__init__(f"OpenCL semaphore 0x{address:x}", _release, release, address)
        self._context = context
        self._semaphores = (ctypes.c_void_p * 1)(address)
        self._wait = bare(driver.required(platform, _WAIT))
        self._signal = bare(driver.required(platform, _SIGNAL))
        self._flush = bare(driver.raw("clFlush"))
        self._rule = ValueRule(SemaphoreKind.BINARY)
        self._prepared: tuple[OpenCLStream | None, ctypes.c_void_p, tuple[object, ...]]
        self._prepared = (None, ctypes.c_void_p(), ())

    @property
    def kind(self) -> SemaphoreKind:
        """Always binary."""
        return SemaphoreKind.BINARY

    def wait(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a wait (``clEnqueueWaitSemaphoresKHR``)."""
        known, _, call = self._prepared
        if known is None or known is not stream or value is not None or not (self.alive and known.alive):
            self._rule.check_wait(value)
            _, call = self._prepare(stream)
        code = self._wait(*call)
        if code:
            check(_WAIT, code)

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a signal (``clEnqueueSignalSemaphoresKHR``) and flush: the other side waits for it."""
        known, queue, call = self._prepared
        if known is None or known is not stream or value is not None or not (self.alive and known.alive):
            self._rule.check_signal(value)
            queue, call = self._prepare(stream)
        code = self._signal(*call)
        if code:
            check(_SIGNAL, code)
        code = self._flush(queue)
        if code:
            check("clFlush", code)

    def _prepare(self, stream: Stream) -> tuple[ctypes.c_void_p, tuple[object, ...]]:
        """Convert what both calls take, once for as long as they name the same queue."""
        self.check_open()
        queue = ctypes.c_void_p(stream_address(stream, self._context))
        none, zero = ctypes.c_void_p(), ctypes.c_uint(0)
        call = (queue, ctypes.c_uint(1), self._semaphores, none, zero, none, none)
        self._prepared = (stream if isinstance(stream, OpenCLStream) else None, queue, call)
        return queue, call


def _release(release: Callable[[int], int], address: int) -> None:
    check("clReleaseSemaphoreKHR", release(address))


def import_semaphore(
    driver: Driver,
    platform: int,
    context: int,
    handle: Handle,
    descriptor: SemaphoreDescriptor,
    *,
    supported: frozenset[HandleType],
) -> OpenCLSemaphore:
    """Import a binary semaphore (``clCreateSemaphoreWithPropertiesKHR``); ``handle`` goes on success only."""
    if descriptor.kind is SemaphoreKind.TIMELINE:
        raise Unsupported("timeline semaphores", NO_TIMELINE)
    check_import(handle, descriptor, supported)
    create = driver.required(platform, _CREATE)
    for name in (_WAIT, _SIGNAL, "clReleaseSemaphoreKHR"):
        driver.required(platform, name)  # a platform without them must fail before it has the handle
    status = ctypes.c_int()
    with lend(handle, FdFate.TAKEN, floor=SEMAPHORE_FLOOR) as number:
        code = _CODES[handle.type]
        properties = (ctypes.c_uint64 * 5)(SEMAPHORE_TYPE, SEMAPHORE_TYPE_BINARY, code, number, 0)
        address = create(context, properties, ctypes.byref(status))
        check_handle(_CREATE, status.value, "binary semaphore")
        if not address:
            raise DriverError(_CREATE, 0, text="reported success and returned no object")
    return OpenCLSemaphore(driver, platform, context, address)

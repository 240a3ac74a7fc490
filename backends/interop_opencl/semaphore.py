"""External semaphores: signals of another API that an OpenCL queue waits for and gives."""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING

from interop.errors import DriverError, Unsupported
from interop.handles import SEMAPHORE_FLOOR, FdFate, Handle, HandleType, lend
from interop.lifetime import Owned
from interop.semaphore import SemaphoreDescriptor, SemaphoreKind, ValueRule, check_import
from interop_opencl._driver import (
    SEMAPHORE_HANDLES,
    SEMAPHORE_TYPE,
    SEMAPHORE_TYPE_BINARY,
    check,
    check_handle,
)
from interop_opencl.stream import stream_address

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

    __slots__ = ("_context", "_flush", "_lock", "_rule", "_semaphores", "_signal", "_wait")

    def __init__(self, driver: Driver, platform: int, context: int, address: int) -> None:
        release = driver.required(platform, "clReleaseSemaphoreKHR")
        super().__init__(f"OpenCL semaphore 0x{address:x}", _release, release, address)
        self._context = context
        self._semaphores = (ctypes.c_void_p * 1)(address)
        self._wait = driver.required(platform, _WAIT)
        self._signal = driver.required(platform, _SIGNAL)
        self._flush = driver.raw("clFlush")
        self._rule = ValueRule(SemaphoreKind.BINARY)
        self._lock = threading.Lock()

    @property
    def kind(self) -> SemaphoreKind:
        """Always binary."""
        return SemaphoreKind.BINARY

    def wait(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a wait (``clEnqueueWaitSemaphoresKHR``)."""
        self.check_open()
        self._rule.check_wait(value)
        queue = stream_address(stream, self._context)
        check(_WAIT, self._wait(queue, 1, self._semaphores, None, 0, None, None))

    def signal(self, stream: Stream, value: int | None = None) -> None:
        """Enqueue a signal (``clEnqueueSignalSemaphoresKHR``) and flush: the other side waits for it."""
        self.check_open()
        self._rule.check_signal(value)
        queue = stream_address(stream, self._context)
        check(_SIGNAL, self._signal(queue, 1, self._semaphores, None, 0, None, None))
        check("clFlush", self._flush(queue))


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
